# SPDX-License-Identifier: BSD-2-Clause
"""The JSON Schema says what laggd says, as far as a schema can."""

import json
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from lagg.config.schema import schema
from tests.config.test_config import BAD_FILES, GOOD
from tests.tree import ROOT

SHIPPED = ROOT / "packaging" / "laggd.schema.json"

BEYOND = (
    "already a port of",
    "there is a lagg of this name already",
    "a lagg cannot be",
    "is not in ports",
    "is its name already",
    "is a name of",
    "1500.0 is not a whole number",  # to a schema it is one
    "has more than 15 bytes",  # characters, to a schema
    "holds a character the kernel refuses",  # a byte of it
)
"""What holds between two keys or laggs, or is too fine for a schema."""


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(schema())
    return Draft202012Validator(schema())


def test_the_shipped_schema_is_the_one_the_rules_make() -> None:
    assert json.loads(SHIPPED.read_text()) == json.loads(json.dumps(schema())), (
        f"python -m lagg.config.schema > {SHIPPED.relative_to(ROOT)}"
    )


def parsed(text: str) -> object:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


TABLE = [
    (text, line)
    for text, line in BAD_FILES
    if parsed(text) is not None and not any(words in line for words in BEYOND)
]


@pytest.mark.parametrize(("text", "line"), TABLE, ids=[line for _, line in TABLE])
def test_the_schema_refuses_what_laggd_refuses(
    validator: Draft202012Validator, text: str, line: str
) -> None:
    assert not validator.is_valid(parsed(text)), line


def test_the_table_is_most_of_what_laggd_refuses() -> None:
    assert len(TABLE) >= len(BAD_FILES) * 3 // 4


@pytest.mark.parametrize(
    "file", sorted((ROOT / "examples").glob("*.toml")), ids=lambda file: file.name
)
def test_the_schema_takes_every_example(
    validator: Draft202012Validator, file: Path
) -> None:
    assert list(validator.iter_errors(parsed(file.read_text()))) == []


def test_the_schema_takes_every_key(validator: Draft202012Validator) -> None:
    assert list(validator.iter_errors(parsed(GOOD))) == []
