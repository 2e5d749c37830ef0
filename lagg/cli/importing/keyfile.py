# SPDX-License-Identifier: BSD-2-Clause
"""NetworkManager's keyfiles: a bond's or team's connection, and those of its ports.

Owns their sections and keys (nm-settings-keyfile(5)), old names as new ones, and how
one connection names another: by its UUID, its interface or its id.  Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from lagg.cli.importing import above
from lagg.cli.importing.bonding import Bonds
from lagg.cli.importing.draft import Draft, Drafts
from lagg.cli.importing.ini import Setting, Unit, has_section, settings
from lagg.cli.importing.team import is_team, team
from lagg.cli.importing.text import Source, whole

HARMLESS = frozenset(
    ("connection", key)
    for key in (
        *("id", "uuid", "type", "interface-name", "controller", "master", "port-type"),
        *("slave-type", "timestamp"),
    )
)
"""Settings that say only what a laggd.toml says by being there."""

_SECTIONS = frozenset(
    (
        *("connection", "bond", "team", "bond-port", "team-port", "ethernet", "ipv4"),
        *("802-3-ethernet", "ipv6", "proxy"),
    )
)
"""Sections whose own line, `[bond]` and the like, says nothing."""

_KINDS = ("bond", "team")
_ESCAPES = {"s": " ", "n": "\n", "t": "\t", "r": "\r"}
_STAYS = "stays where it is"

is_keyfile = has_section("connection")


def read(sources: Sequence[Source], bonds: Bonds, drafts: Drafts) -> None:
    """The bonds and teams of files that belong together."""
    units = [Unit(source.base, list(settings(source))) for source in sources]
    made = [unit for unit in units if _kind(unit) in _KINDS]
    for unit in made:
        if not _interface(unit):
            raise ValueError(f"{unit.name}: a {_kind(unit)} without interface-name=")
        ports = [each for each in units if _above(each, units) is unit]
        draft = _bond(bonds, unit) if _kind(unit) == "bond" else _team(unit, ports)
        if _kind(unit) == "team":
            drafts.add(draft)
        _add_ports(draft, ports)
        _add_common(draft, unit, units)
    for unit in units:
        if unit not in made and _above(unit, units) not in made:
            drafts.leave(unit.name, _why_left(unit, units, made))


def _kind(unit: Unit) -> str:
    return unit.get("connection", "type")


def _interface(unit: Unit) -> str:
    return unit.get("connection", "interface-name") or unit.get(
        _kind(unit), "interface-name"
    )


def _wanted(unit: Unit) -> str:
    """Whose port it is, as it says it."""
    controller = unit.get("connection", "controller")
    return controller or unit.get("connection", "master")


def _above(unit: Unit, units: Sequence[Unit]) -> Unit | None:
    return _named(_wanted(unit), units)


def _named(word: str, units: Sequence[Unit]) -> Unit | None:
    """The connection that is meant by a UUID, an interface or an id."""
    for names in (
        lambda unit: unit.get("connection", "uuid"),
        _interface,
        lambda unit: unit.get("connection", "id"),
    ):
        for unit in units:
            if word and names(unit) == word:
                return unit
    return None


def _why_left(unit: Unit, units: Sequence[Unit], made: Sequence[Unit]) -> str:
    wanted = unit.get("vlan", "parent")
    link = _named(wanted, units)
    if link in made and link is not None:
        number = unit.get("vlan", "id")
        command = above.vlan(_interface(unit), _interface(link), number)
        return f"{_STAYS}, or by hand: {command}"
    below = [_interface(each) for each in made if _above(each, units) is unit]
    if below:
        command = above.bridge(_interface(unit), below)
        return f"{_STAYS}, or by hand: {command}"
    if _wanted(unit) and _above(unit, units) is None:
        return f"a port of {_wanted(unit)}, of which there is no file: give it, too"
    return f"no bond and no port of these, and {_STAYS}"


# ---- what they say -----------------------------------------------------------------


def _bond(bonds: Bonds, unit: Unit) -> Draft:
    bond = bonds.made(_interface(unit))
    own = [each for each in unit.settings if _is_own(each, unit)]
    bond.add_options((each.key, each.value) for each in own)
    return bond.draft


def _is_own(setting: Setting, unit: Unit) -> bool:
    """Whether it is an option in the section of its connection's own kind."""
    is_name = setting.key == "interface-name"
    return setting.section == _kind(unit) and bool(setting.value) and not is_name


def _team(unit: Unit, ports: Sequence[Unit]) -> Draft:
    document = _document(unit, "team")
    found = document.setdefault("ports", {})
    for port in ports:
        if _interface(port):
            found[_interface(port)] = _document(port, "team-port")
    draft = team({**document, "device": _interface(unit)}, unit.name)
    for each in unit.settings:
        if _is_own(each, unit) and each.key != "config":
            draft.note(str(each), "say it in its config, which is read")
    return draft


def _document(unit: Unit, section: str) -> dict[str, Any]:
    """A team's JSON, as a keyfile quotes it."""
    text = re.sub(
        r"\\(.)",
        lambda found: _ESCAPES.get(found[1], found[1]),
        unit.get(section, "config"),
    )
    document = json.loads(text or "{}")
    whole_team = section == "team" and document
    if not isinstance(document, dict) or (
        whole_team and not is_team({"runner": {}, **document})
    ):
        raise ValueError(f"{unit.name}: [{section}] config is no team's")
    return document


def _add_ports(draft: Draft, ports: Sequence[Unit]) -> None:
    for unit in ports:
        port = _interface(unit)
        if port:
            draft.add_port(port)
        else:
            draft.note(unit.name, "which interface that is, it does not say: name it")
        for each in unit.settings:
            if (each.section, each.key) != ("team-port", "config"):
                _note(draft, each, f"{unit.name}: ", f"of a port, and {_STAYS}")
        draft.note(unit.name, f"is to go: laggd has the port {port}".rstrip())


def _add_common(draft: Draft, unit: Unit, units: Sequence[Unit]) -> None:
    """What is said of the connection itself."""
    for each in unit.settings:
        number = whole(each.value)
        is_ethernet = each.section in ("ethernet", "802-3-ethernet")
        if _is_own(each, unit):
            continue
        if is_ethernet and each.key == "mtu" and number:
            draft.set("mtu", number, str(each))
        elif is_ethernet and each.key == "cloned-mac-address" and ":" in each.value:
            draft.set("mac", each.value, str(each))
        else:
            _note(
                draft, each, "", f"for the interface {draft.name}, not a bond any more"
            )
    draft.note(unit.name, "is to go: laggd makes the lagg")
    if _wanted(unit) and _above(unit, units) is None:
        draft.note(
            f"controller {_wanted(unit)}",
            f"by hand: ip link set {draft.name} master {_wanted(unit)}",
        )


def _note(draft: Draft, setting: Setting, of: str, why: str) -> None:
    if setting.key:
        is_told = setting[:2] not in HARMLESS
    else:
        is_told = setting.section not in _SECTIONS
    if is_told:
        draft.note(f"{of}{setting}", why)
