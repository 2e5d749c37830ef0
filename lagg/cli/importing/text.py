# SPDX-License-Identifier: BSD-2-Clause
"""Words of somebody's file as a comment may show them.

Owns what is a secret and is therefore left out, whichever system's file it stood in.
Pure; knows no system.
"""

from __future__ import annotations

import re
from typing import NamedTuple

LEFT_OUT = "(not copied)"

_SECRET = (
    r"(?:[\w.-]*(?:(?<!by)pass|psk|secret|token|credential|community|wep|nwkey)[\w.-]*"
    r"|[\w.-]*(?:wireless|wpa|eap|auth|enc|crypt|private|shared)[\w.-]*key[\w.-]*"
    r"|key\d*)"
)
_SECRET_AND_REST = re.compile(
    rf"(?<![\w.-])(?P<word>[\"']?-*{_SECRET}[\"']?)(?![\w.-])(?:\s*[=:]\s*|\s+)[^;]+",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(\w://[^\s/:@]*:)[^\s/@]+(?=@)")

_CHARS_MAX = 4000
"""The most characters of one statement in a comment."""

_SECRET_CHARS_MAX = 100
"""The most characters of a word that may mean a secret."""


class Source(NamedTuple):
    """A file: what it is called, and what is in it."""

    name: str
    text: str

    @property
    def base(self) -> str:
        """The file's name without directories."""
        return self.name.rpartition("/")[2]


def is_secret(word: str) -> bool:
    """Whether what follows this word is one."""
    short = len(word) <= _SECRET_CHARS_MAX
    return short and re.fullmatch(f"-*{_SECRET}", word, re.IGNORECASE) is not None


def shown(text: str) -> str:
    """One line without secrets, for a comment.

    After a word that means a secret nothing up to the next semicolon is shown: a pass
    phrase may be of several words.
    """
    line = " ".join(text.split())
    if len(line) > _CHARS_MAX:  # before what follows, which takes longer the longer
        line = f"{line[:_CHARS_MAX]}... ({len(line)} characters)"
    line = _IN_URL.sub(rf"\1{LEFT_OUT}", line)
    line = _SECRET_AND_REST.sub(rf"\g<word> {LEFT_OUT}", line)
    return printable(line)


def printable(text: str) -> str:
    """One line with its secrets, for words of our own."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def whole(word: str) -> int | None:
    """A number as configuration files write them; None when it is none."""
    plain = word.isascii() and word.isdecimal() and len(word) <= 19
    return int(word) if plain else None


def mentions(text: str, names: frozenset[str]) -> bool:
    """Whether one of the interfaces stands there: itself, or a VLAN or alias of it."""
    found = re.split(r"[^\w.:@-]+|[@:]|\.(?=\d+\b)", text)
    return not names.isdisjoint(found)
