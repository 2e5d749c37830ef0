# SPDX-License-Identifier: BSD-2-Clause
"""ifcfg files of Red Hat and SUSE: bonds and teams, each port in a file of its own.

Owns their variables, and which file belongs to which.  Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from lagg.cli.importing.bonding import Bonds, pairs
from lagg.cli.importing.draft import Draft, Drafts
from lagg.cli.importing.shell import assignment, commands
from lagg.cli.importing.team import is_team, team
from lagg.cli.importing.text import Source, whole

STAYS = "stays where it is"

HARMLESS = frozenset(
    (
        *("DEVICE", "NAME", "UUID", "TYPE", "DEVICETYPE", "ONBOOT", "STARTMODE"),
        *("BONDING_MASTER", "SLAVE", "MASTER", "MASTER_UUID", "TEAM_MASTER"),
        *("TEAM_MASTER_UUID", "NM_CONTROLLED", "USERCTL"),
    )
)
"""Variables that say only what a laggd.toml says by being there."""

_MACS = ("MACADDR", "LLADDR")
_OPTIONS = ("BONDING_OPTS", "BONDING_MODULE_OPTS")
_SUSE_RUNNER = {
    "TEAM_LACP_ACTIVE": "active",
    "TEAM_LACP_SYS_PRIO": "sys_prio",
    "TEAM_LACP_FAST_RATE": "fast_rate",
    "TEAM_LACP_MIN_PORTS": "min_ports",
    "TEAM_LACP_SELECT_POLICY": "agg_select_policy",
    "TEAM_LACP_TX_HASH": "tx_hash",
    "TEAM_LB_TX_HASH": "tx_hash",
    "TEAM_AB_HWADDR_POLICY": "hwaddr_policy",
}
_SUSE_LACP = {"fast_rate": True, "sys_prio": 255}
"""ifcfg-team(5)'s defaults, which are not teamd's."""

_SUSE_PORT = {
    "TEAM_PORT_PRIO": "prio",
    "TEAM_PORT_STICKY": "sticky",
    "TEAM_PORT_LACP_PRIO": "lacp_prio",
    "TEAM_PORT_LACP_KEY": "lacp_key",
    "TEAM_PORT_QUEUE_ID": "queue_id",
}


class _File(NamedTuple):
    """One interface."""

    name: str
    values: dict[str, str]

    @property
    def is_bond(self) -> bool:
        """Whether it says itself that it is a bond."""
        kind = self.values.get("TYPE", "").lower()
        master = self.values.get("BONDING_MASTER", "").lower() in ("yes", "true", "1")
        return kind == "bond" or master or any(key in self.values for key in _OPTIONS)

    @property
    def is_team(self) -> bool:
        """Whether it says itself that it is a team."""
        kinds = (self.values.get("TYPE", ""), self.values.get("DEVICETYPE", ""))
        return "team" in (kind.lower() for kind in kinds) or any(
            key in self.values for key in ("TEAM_CONFIG", "TEAM_RUNNER")
        )


def read(sources: Iterable[Source], bonds: Bonds, drafts: Drafts) -> None:
    """The bonds and teams of files that belong together."""
    files = [_file(source, drafts) for source in sources]
    masters = {_master(file, files, "MASTER") for file in files}
    of_teams = {_master(file, files, "TEAM_MASTER") for file in files}
    told = set[str]()
    for file in files:
        if file.is_bond or file.name in masters:
            told |= {file.name, *_add_bond(file, files, bonds)}
        elif file.is_team or file.name in of_teams:
            told |= {file.name, *_add_team(file, files, drafts)}
    for file in files:
        if file.name not in told:
            drafts.leave(f"ifcfg-{file.name}", f"no port of these, and {STAYS}")


def _file(source: Source, drafts: Drafts) -> _File:
    values: dict[str, str] = {}
    for command in commands(source.text):
        parts = [assignment(word) for word in command.words]
        if not all(parts):
            said = f"{source.base} line {command.line}"
            drafts.leave(said, f"no variable, and {STAYS}")
        for part in filter(None, parts):
            values[part[0]] = part[2]
    name = values.get("DEVICE") or source.base.removeprefix("ifcfg-")
    return _File(name, values)


def _master(port: _File, files: list[_File], key: str) -> str | None:
    """Whose port it is; NetworkManager names it by its UUID."""
    wanted = port.values.get(key) or port.values.get(f"{key}_UUID")
    for file in files:
        if wanted and wanted == file.values.get("UUID"):
            return file.name
    return wanted


def _add_bond(file: _File, files: list[_File], bonds: Bonds) -> list[str]:
    """Answers which interfaces are its ports."""
    bond, values = bonds.made(file.name), file.values
    for _, name in _numbered(values, "BONDING_SLAVE"):
        bond.draft.add_port(name)
    for port in files:
        if _master(port, files, "MASTER") == file.name:
            bond.draft.add_port(port.name)
            _note_port(bond.draft, port)
    for key in _OPTIONS:
        bond.add_options(pairs(values.get(key, "").split()))
    if not (bond.options or bonds.module):
        bond.draft.note("BONDING_OPTS", "none: give the file of /etc/modprobe.d, too")
    _add_common(bond.draft, values)
    return list(bond.draft.ports)


def _add_common(draft: Draft, values: dict[str, str]) -> None:
    for key, value in values.items():
        number = whole(value)
        if key == "MTU" and number is not None:
            draft.set("mtu", number, f"MTU {value}")
        elif key in _MACS:
            draft.set("mac", value, f"{key} {value}")
        elif key not in (*HARMLESS, *_OPTIONS) and not _is_port_of_bond(key):
            draft.note(f"{key} {value}", STAYS)


def _is_port_of_bond(key: str) -> bool:
    return re.fullmatch(r"BONDING_SLAVE_?\d*", key) is not None


def _note_port(draft: Draft, port: _File) -> None:
    for key, value in port.values.items():
        if key not in HARMLESS:
            draft.note(f"{port.name}: {key} {value}", f"of a port, and {STAYS}")


def _numbered(values: dict[str, str], key: str) -> Iterator[tuple[str, str]]:
    """BONDING_SLAVE0, BONDING_SLAVE_1, ... by their numbers: (number, value)."""
    found = [(re.fullmatch(rf"{key}_?(\d*)", name), v) for name, v in values.items()]
    numbered = [(match[1], value) for match, value in found if match]
    return iter(sorted(numbered, key=lambda each: (len(each[0]), each[0])))


# ---- teams -------------------------------------------------------------------------


def _add_team(file: _File, files: list[_File], drafts: Drafts) -> list[str]:
    """Answers which interfaces are its ports."""
    rest = dict(file.values)
    suse = "TEAM_RUNNER" in rest
    document = _suse_team(rest) if suse else _red_hat_team(rest)
    ports = document.setdefault("ports", {})
    joined = [f for f in files if _master(f, files, "TEAM_MASTER") == file.name]
    for port in joined:
        ports[port.name] = _json(port.values.get("TEAM_PORT_CONFIG", "{}"))
    draft = team({**document, "device": file.name}, file.name)
    for port in joined:
        _note_port(draft, _without(port, "TEAM_PORT_CONFIG"))
    _add_common(draft, rest)
    drafts.add(draft)
    return list(draft.ports)


def _without(file: _File, key: str) -> _File:
    return _File(file.name, {k: v for k, v in file.values.items() if k != key})


def _red_hat_team(rest: dict[str, str]) -> dict[str, Any]:
    document = _json(rest.pop("TEAM_CONFIG", "{}"))
    if document and not is_team({"runner": {}, **document}):
        raise ValueError("TEAM_CONFIG is no team's")
    return document


def _json(text: str) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError(f"{text!r} is no JSON object")
    return document


def _suse_team(rest: dict[str, str]) -> dict[str, Any]:
    """Takes out of `rest` what goes into the document."""
    name = rest.pop("TEAM_RUNNER")
    runner: dict[str, Any] = {"name": name}
    if name == "lacp":
        runner |= _SUSE_LACP
    for key, ours in _SUSE_RUNNER.items():
        if key in rest:
            value = rest.pop(key)
            words = re.split(r"[,\s]+", value.strip())
            runner[ours] = words if ours == "tx_hash" else _typed(value)
    return {"runner": runner, "ports": _suse_ports(rest)}


def _suse_ports(rest: dict[str, str]) -> dict[str, dict[str, Any]]:
    ports: dict[str, dict[str, Any]] = {}
    for number, port in _numbered(rest, "TEAM_PORT_DEVICE"):
        rest.pop(f"TEAM_PORT_DEVICE_{number}", None)
        rest.pop(f"TEAM_PORT_DEVICE{number}", None)
        settings = ports.setdefault(port, {})
        for key, ours in _SUSE_PORT.items():
            if f"{key}_{number}" in rest:
                settings[ours] = _typed(rest.pop(f"{key}_{number}"))
    return ports


def _typed(value: str) -> object:
    """A variable's text as JSON has it."""
    switches = {"true": True, "yes": True, "on": True}
    switches |= {"false": False, "no": False, "off": False}
    number = whole(value)
    return switches.get(value.lower(), value) if number is None else number
