# SPDX-License-Identifier: BSD-2-Clause
"""A lagg as another system's configuration asks for it, and as our TOML.

Owns what both sides of the converter speak: keys of laggd.toml(5), and a note for each
thing that has no equivalent.  Pure; knows no other system.
"""

from __future__ import annotations

import json
from collections.abc import Iterator


class Imported:
    """One lagg in the making; keys and notes in the order they are met."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ports: list[str] = []
        self._keys: dict[str, object] = {}
        self._port_keys: dict[str, dict[str, object]] = {}
        self._notes: list[str] = []

    def set(self, key: str, value: object) -> None:
        """A key of the [[lagg]] table; given again, the last one counts."""
        self._keys[key] = value

    def has(self, key: str) -> bool:
        """Whether it was set."""
        return key in self._keys

    def set_port(self, port: str, key: str, value: object) -> None:
        """A key of the port's own table."""
        self._port_keys.setdefault(port, {})[key] = value

    def add_port(self, port: str) -> None:
        """The next port; once is enough."""
        if port not in self.ports:
            self.ports.append(port)

    def put_first(self, port: str) -> None:
        """The primary is the port attached first (F-AT-7)."""
        self.ports.sort(key=lambda each: each != port)

    def note(self, what: str, why: str) -> None:
        """Something of the original that is not in ours."""
        line = f"# {what}: {why}"
        if line not in self._notes:
            self._notes.append(line)

    def toml(self) -> str:
        """The [[lagg]] table, its notes at the end."""
        lines = ["[[lagg]]", f"name = {json.dumps(self.name)}"]
        proto = {"proto": self._keys.get("proto", "failover")}
        keys = proto | {"ports": self.ports} | self._keys
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        lines += self._notes
        for port, table in self._port_keys.items():
            lines.append(f"[lagg.port.{_bare(port)}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        return "\n".join(lines) + "\n"


def _bare(key: str) -> str:
    plain = all(c.isascii() and (c.isalnum() or c in "-_") for c in key)
    return key if plain else json.dumps(key)


class Laggs:
    """Several, by name."""

    def __init__(self) -> None:
        self._found: dict[str, Imported] = {}

    def of(self, name: str) -> Imported:
        """The one of this name, new if it was not named before."""
        return self._found.setdefault(name, Imported(name))

    def __iter__(self) -> Iterator[Imported]:
        """In the order they were named."""
        return iter(self._found.values())
