# SPDX-License-Identifier: BSD-2-Clause
"""Each code that sources, tests and pages cite is defined once, and each is cited.

F- and R-codes are the rows of docs/PARITY.md, all others those of docs/GLOSSARY.md.
"""

import re
from collections import Counter
from functools import cache

from tests.tree import ROOT, is_text, tree

CODE = r"(?:F-[A-Z]+-[A-Z0-9]+|(?:H|R|L-I|T-N)-[0-9]+)"
GLOSSARY = ROOT / "docs" / "GLOSSARY.md"
PARITY = ROOT / "docs" / "PARITY.md"


def defined() -> Counter[str]:
    """How many rows of the two pages begin with each code and nothing beside it."""
    pages = GLOSSARY.read_text() + PARITY.read_text()
    return Counter(re.findall(rf"^\| ({CODE}) \|", pages, re.MULTILINE))


@cache
def cited() -> dict[str, str]:
    """Each code that a file has beside the glossary, with one of these files."""
    files = [path for path in tree() if is_text(path) and path != GLOSSARY]
    return {
        code: str(path.relative_to(ROOT))
        for path in files
        for code in re.findall(rf"\b{CODE}\b", path.read_text(encoding="utf-8"))
    }


def test_each_code_that_is_cited_is_defined() -> None:
    known = defined()
    assert {c: file for c, file in cited().items() if c not in known} == {}


def test_each_code_that_is_defined_is_cited() -> None:
    assert [code for code in defined() if code not in cited()] == []


def test_no_code_is_defined_twice() -> None:
    assert [code for code, times in defined().items() if times > 1] == []
