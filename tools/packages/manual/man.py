# SPDX-License-Identifier: BSD-2-Clause
"""A manual page in man(7), from plain text with `literal` and *argument* in it.

Owns the escapes.  Knows nothing of what a page says.
"""

import re
from collections.abc import Iterable

DATE = "2026-11-22"
_MARK = re.compile(r"`([^`]+)`|\*([^*\s]+)\*")


class Page:
    """One page; `text` is it."""

    def __init__(self, name: str, section: int, purpose: str) -> None:
        self._lines = [
            '.\\" SPDX-License-Identifier: BSD-2-Clause',
            f'.TH {name.upper()} {section} {DATE} laggd "laggd manual"',
            ".SH NAME",
            f"{_escaped(name)} \\- {_escaped(purpose)}",
        ]

    @property
    def text(self) -> str:
        """The page's source."""
        return "\n".join(self._lines) + "\n"

    def section(self, title: str) -> None:
        """A heading in capitals."""
        self._lines.append(f".SH {title.upper()}")

    def subsection(self, title: str) -> None:
        """A heading below it."""
        self._lines.append(f".SS {_marked(title)}")

    def paragraphs(self, text: str) -> None:
        """Paragraphs, with an empty line between two."""
        for number, paragraph in enumerate(text.strip().split("\n\n")):
            if number > 0 or not self._lines[-1].startswith((".SH", ".SS")):
                self._lines.append(".PP")
            self._lines += map(_marked, paragraph.split("\n"))

    def terms(self, pairs: Iterable[tuple[str, str]]) -> None:
        """What each of these is."""
        for term, text in pairs:
            self._lines += [".TP", _marked(term)]
            first, *rest = text.strip().split("\n\n")
            self._lines += map(_marked, first.split("\n"))
            for paragraph in rest:
                self._lines += [".IP", *map(_marked, paragraph.split("\n"))]

    def example(self, text: str) -> None:
        """Lines as they are."""
        self._lines += [".RS 4", ".nf"]
        self._lines += [_escaped(line) for line in text.strip("\n").split("\n")]
        self._lines += [".fi", ".RE"]


def _marked(line: str) -> str:
    written, at = "", 0
    for mark in _MARK.finditer(line):
        written += _escaped(line[at : mark.start()], first=not written)
        font = "B" if mark[1] else "I"
        written += f"\\f{font}{_escaped(mark[1] or mark[2], first=False)}\\fR"
        at = mark.end()
    return written + _escaped(line[at:], first=not written)


def _escaped(text: str, *, first: bool = True) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if first and text.startswith((".", "'")) else text
