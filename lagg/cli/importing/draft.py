# SPDX-License-Identifier: BSD-2-Clause
"""A lagg in the making, as another system's configuration asks for it.

Owns that no value gets in that laggd would refuse: such a one becomes a note, as does
whatever has no equivalent.  Speaks the keys of laggd.toml(5).  Pure; knows no other
system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from lagg.cli.importing.text import printable, shown
from lagg.config.keys import BASIC_RULES, OPTION_RULES, PORT_RULES
from lagg.config.rules import (
    BadValueError,
    parse_name,
)
from lagg.option_row import Kind
from lagg.options import OPTIONS, PORTS_MAX

_RULES: Mapping[str, Callable[[object], object]] = {**BASIC_RULES, **OPTION_RULES}
_MACS = ("mac", *(row.key for row in OPTIONS if row.value is Kind.MAC))
_EXPANDED_LATER = "$`"
"""In a name they are the shell's, and what it makes of them is not known."""


class Note(NamedTuple):
    """Something of the original that is not in ours."""

    what: str
    why: str


class Draft:
    """One lagg; keys, ports and notes in the order they are met."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ports: list[str] = []
        self.keys: dict[str, object] = {}
        self.port_keys: dict[str, dict[str, object]] = {}
        self.notes: list[Note] = []

    def set(self, key: str, value: object, said: str | None = None) -> None:
        """A key of the [[lagg]] table; given again, the last one counts.

        `said` is how the original put it, for a note when laggd would refuse it.
        """
        if key in _MACS:
            value = str(value).lower()
        try:
            _RULES[key](value)
        except BadValueError as bad:
            self.note(said or f"{key} {value}", bad.cause)
        else:
            self.keys[key] = value

    def set_port(self, port: str, key: str, value: object) -> None:
        """A key of the port's own table, as set()."""
        try:
            PORT_RULES[key](value)
        except BadValueError as bad:
            self.note(f"{port} {key} {value}", bad.cause)
        else:
            self.port_keys.setdefault(port, {})[key] = value

    def add_port(self, port: str) -> None:
        """The next port; once is enough."""
        if port in self.ports:
            return
        cause = _name_refusal(port) or self._port_refusal(port)
        if cause:
            self.note(f"port {port}", cause)
        else:
            self.ports.append(port)

    def _port_refusal(self, port: str) -> str:
        if port == self.name:
            return "a lagg cannot be its own port"
        full = len(self.ports) >= PORTS_MAX
        return f"a lagg has at most {PORTS_MAX} ports" if full else ""

    def drop_port(self, port: str, why: str) -> None:
        """Not a port after all, if it was one."""
        if port in self.ports:
            self.ports.remove(port)
            self.port_keys.pop(port, None)
            self.note(f"port {port}", why)

    def put_first(self, ports: Sequence[str]) -> None:
        """Moves the preferred ports to the front, the most preferred first (F-AT-7)."""
        rank = {port: at for at, port in reversed(list(enumerate(ports)))}
        self.ports.sort(key=lambda port: rank.get(port, len(rank)))

    def note(self, what: str, why: str) -> None:
        """Something of the original that is not in ours; once is enough."""
        note = Note(shown(what), printable(why))
        if note not in self.notes:
            self.notes.append(note)


class Drafts:
    """Several, by name, and what the files say beside."""

    def __init__(self) -> None:
        self.left: list[Note] = []
        self._found: dict[str, Draft] = {}

    def of(self, name: str) -> Draft:
        """The draft of this name, a new one if it was not named before."""
        return self._found.setdefault(name, Draft(name))

    def add(self, draft: Draft) -> None:
        """Adds a draft made elsewhere; of two with one name the first has all."""
        first = self._found.setdefault(draft.name, draft)
        if first is draft:
            return
        for port in draft.ports:
            first.add_port(port)
        for key, value in draft.keys.items():
            if first.keys.setdefault(key, value) != value:
                first.note(f"{key} {value}", "of another file; the first one rules")
        first.port_keys = draft.port_keys | first.port_keys
        first.notes += draft.notes

    def __iter__(self) -> Iterator[Draft]:
        """In the order they were named."""
        return iter(self._found.values())

    def leave(self, what: str, why: str) -> None:
        """Something that is no lagg's; once is enough."""
        note = Note(shown(what), printable(why))
        if note not in self.left:
            self.left.append(note)

    def settle(self) -> None:
        """What only all of them together show: ports that two claim.

        ValueError for a name that no lagg can have.
        """
        for draft in self:
            cause = _name_refusal(draft.name)
            if cause:
                raise ValueError(f"{draft.name}: no lagg can have this name: {cause}")
        owners: dict[str, str] = {}
        for draft in self:
            for port in tuple(draft.ports):
                if port in self._found:
                    draft.drop_port(port, "a lagg cannot be the port of a lagg")
                elif owners.setdefault(port, draft.name) != draft.name:
                    draft.drop_port(port, f"already a port of {owners[port]}")


def _name_refusal(name: str) -> str:
    """Why no interface has this name; empty when one can."""
    if any(c in name for c in _EXPANDED_LATER):
        return "what the shell makes of it is not known here"
    try:
        parse_name(name)
    except BadValueError as bad:
        return bad.cause
    return ""
