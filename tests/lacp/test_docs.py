# SPDX-License-Identifier: BSD-2-Clause
"""What is drawn, shown and written of LACP is so: figures, example, page, fuzzing."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.lacp_pdu import one_input
from tests.tree import ROOT

PAGE = (ROOT / "docs" / "LACP.md").read_text(encoding="utf-8")


def output_of(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_figures_are_those_of_the_tables() -> None:
    assert output_of("tools/diagrams", "--check") == ""


def test_the_page_shows_every_figure() -> None:
    figures = sorted(path.name for path in (ROOT / "docs" / "lacp").iterdir())
    assert sorted(re.findall(r"\]\(lacp/([\w-]+\.svg)\)", PAGE)) == figures


def test_two_engines_of_the_example_aggregate_lose_a_port_and_find_it_again() -> None:
    said = re.findall(
        r"A port 2 distributing: (.*)", output_of("examples/two_engines.py")
    )
    assert said == ["started", "stopped: partner silent", "started"]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PAGE))))
def test_a_test_named_in_the_page_exists(name: str) -> None:
    sources = (ROOT / "tests").rglob("test_*.py")
    assert any(f"def {name}(" in path.read_text(encoding="utf-8") for path in sources)


def test_the_page_has_every_row_of_lacp() -> None:
    rows = [int(row) for row in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)]
    assert rows == list(range(31, 54))


@given(st.binary(max_size=800))
def test_the_fuzz_target_takes_any_bytes(octets: bytes) -> None:
    one_input(octets)
