# SPDX-License-Identifier: BSD-2-Clause
"""A page in a terminal's width: what is too long for a line goes on below, or is cut.

Owns where a line may be broken.  Colours have no width.  Pure; knows no page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

CUT = "..."

HANGING = "    "
"""What the rest of a line begins with, beside the indentation of its beginning."""

_ROOM_MIN = 20
"""A terminal may be narrower; a person reads nothing there."""

_SGR = re.compile("\033\\[[0-9;]*m")


def columns_of(text: str) -> int:
    """How wide it is: its characters, less those that are colours."""
    return len(_SGR.sub("", text))


def fold(page: str, width: int | None) -> str:
    """The page with no line wider than `width`; None: as it is.

    Broken where two blanks part a line, else between words; a word is never broken.
    """
    if width is None:
        return page
    return "\n".join("\n".join(_folded(each, width)) for each in page.split("\n"))


def cut(words: str, room: int | None) -> str:
    """As many of its characters as fit, the last three dots; of a text less colours."""
    if room is None or len(words) <= room:
        return words
    return words[: max(room - len(CUT), 0)] + CUT


def clip(line: str, width: int) -> str:
    """At most `width` characters of a line with colours, which all end in it."""
    if columns_of(line) <= width:
        return line
    left, kept = width, []
    for code, text in runs(line):
        kept.append(f"\033[{code}m{text[:left]}\033[0m" if code else text[:left])
        left -= len(text[:left])
    return "".join(kept)


def runs(line: str) -> Iterator[tuple[str, str]]:
    """(SGR code, text) of a line; code "" is plain."""
    code = ""
    for at, part in enumerate(re.split("\033\\[([0-9;]*)m", line)):
        if at % 2:
            code = "" if part in ("", "0") else part
        elif part:
            yield code, part


def _folded(line: str, width: int) -> list[str]:
    if columns_of(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip(" "))]
    room = max(width - len(indent) - len(HANGING), _ROOM_MIN)
    lines = [indent]
    for gap, piece in _pieces(line, room):
        longer = f"{lines[-1]}{gap}{piece}" if lines[-1].strip() else indent + piece
        if columns_of(longer) <= width or not lines[-1].strip():
            lines[-1] = longer
        else:
            lines.append(f"{indent}{HANGING}{piece}")
    return lines


def _pieces(line: str, room: int) -> Iterator[tuple[str, str]]:
    """What is not to be broken, each with the blanks before it."""
    for gap, part in re.findall(r"( *)(\S+(?: \S+)*)", line):
        if columns_of(part) <= room:
            yield gap, part
            continue
        first, *others = part.split(" ")
        yield gap, first
        for word in others:
            yield " ", word
