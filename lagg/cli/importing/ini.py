# SPDX-License-Identifier: BSD-2-Clause
"""Files of sections and keys, as systemd and NetworkManager have them.

Owns that grammar, and what both take for yes and no.  A line that is neither a section
nor a setting is a setting without a value, so that it is told as any unknown one.
Pure; knows no section and no key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lagg.cli.importing.text import Source

_SWITCHES = {
    **dict.fromkeys(("1", "yes", "y", "true", "t", "on"), True),
    **dict.fromkeys(("0", "no", "n", "false", "f", "off"), False),
}


class Setting(NamedTuple):
    """A line of a section; of the section's own line the key is empty."""

    section: str
    key: str
    value: str = ""

    def __str__(self) -> str:
        """As it is written, in one line."""
        if not self.key:
            return f"[{self.section}]"
        said = f"{self.key}={self.value}" if self.value else self.key
        return f"[{self.section}] {said}"


class Unit:
    """All that the files of one unit say."""

    def __init__(self, name: str, settings: list[Setting]) -> None:
        self.name = name
        self.settings = settings

    def all(self, section: str, key: str) -> list[str]:
        """Every value of a key, in the order written."""
        return [each.value for each in self.settings if each[:2] == (section, key)]

    def get(self, section: str, key: str) -> str:
        """The last value of a key; empty when there is none."""
        return (self.all(section, key) or [""])[-1]


def settings(source: Source) -> Iterator[Setting]:
    """The lines of a file that are no comment."""
    section = ""
    for line in source.text.replace("\\\n", " ").splitlines():
        text = line.strip()
        found = re.fullmatch(r"\[([^\]]*)\]", text)
        if found:
            section = found[1]
            yield Setting(section, "")
        elif text and text[0] not in "#;":
            key, sign, value = text.partition("=")
            whole = Setting(section, key.strip(), value.strip())
            yield whole if sign and whole.key else Setting(section, text)


def switch(value: str) -> bool | None:
    """Yes or no; None for a word that is neither."""
    return _SWITCHES.get(value.lower())


def has_section(*names: str) -> Callable[[Source], bool]:
    """Whether one of these sections begins in a file."""
    found = re.compile(rf"^[ \t]*\[(?:{'|'.join(names)})\][ \t]*$", re.MULTILINE)
    return lambda source: found.search(source.text) is not None
