# SPDX-License-Identifier: BSD-2-Clause
"""The pages that people read: links lead somewhere, and what is to be typed exists."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.cli.parser import parsed
from lagg.config.files import load
from lagg.daemon.command_line import make_parser
from tests.tree import ROOT

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
USERS = (ROOT / "docs" / "USERS.md").read_text(encoding="utf-8")
DEFECTS = 29

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def anchors_of(page: Path) -> set[str]:
    """The headings, as the forge names them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in titles}


def dead_links(page: Path) -> Iterator[str]:
    for link in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page if not name else page.parent / name
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_page_and_its_heading(page: Path) -> None:
    assert list(dead_links(page)) == []


def test_every_page_is_reached_from_the_readme() -> None:
    """Those of decisions by their folder."""
    found, left = set[Path](), [ROOT / "README.md"]
    while left:
        page = left.pop()
        found.add(page)
        links = (link.partition("#")[0] for link in _LINK.findall(page.read_text()))
        paths = {(page.parent / link).resolve() for link in links if link}
        left += [each for each in paths & set(PAGES) if each not in found]
    lost = set(PAGES) - found - {*(ROOT / "docs" / "adr").iterdir()}
    assert lost == set()


# ---- what is to be typed -----------------------------------------------------------


def blocks_of(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


COMMANDS = [
    shlex.split(line, comments=True)
    for block in blocks_of(README, "sh")
    for line in block.splitlines()
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_the_readme_has_typed_is_there_and_takes_these_words(
    words: list[str],
) -> None:
    program, *rest = words[1:] if words[0] == "sudo" else words
    if program == ".venv/bin/laggctl":
        parsed(rest)
    elif program == ".venv/bin/laggd":
        make_parser().parse_args([word for word in rest if word != "&"])
    elif program.startswith(("tools/", "packaging/", "examples/")):
        assert (ROOT / program).is_file()


def test_the_readmes_configuration_is_one(tmp_path: Path) -> None:
    (block,) = blocks_of(README, "toml")
    file = tmp_path / "laggd.toml"
    file.write_text(block)
    assert [lagg.proto.value for lagg in load(file)] == ["lacp"]


def test_the_readme_says_what_setup_leaves() -> None:
    assert "no trace" not in README
    left = (".venv", "lagg/", ".verify/", "~/.cache/laggd")
    assert [each for each in left if f"`{each}`" not in README] == []


# ---- what a user found -------------------------------------------------------------


def test_every_defect_has_its_row_and_what_became_of_it() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]*)\|$", USERS, re.M)
    assert [int(row[0]) for row in rows] == [*range(1, DEFECTS + 1)]
    assert [row[0] for row in rows if "`test_" not in row[3]] == []


@pytest.mark.parametrize("name", sorted({*re.findall(r"`(test_\w+)`", USERS)}))
def test_a_test_that_is_named_there_exists(name: str) -> None:
    sources = (ROOT / "tests").rglob("test_*.py")
    assert any(f"def {name}" in path.read_text() for path in sources)
