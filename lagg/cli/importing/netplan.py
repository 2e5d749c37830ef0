# SPDX-License-Identifier: BSD-2-Clause
"""netplan's files: bonds, and the ethernets, VLANs and bridges below and above them.

Owns netplan's keys (netplan-yaml(5)), how its files add up, and which interface one of
its IDs is.  A setting is told as `netplan set` takes it, with dots.  Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from lagg.cli.importing import above
from lagg.cli.importing.bonding import NO_EQUIVALENT, Bond, Bonds
from lagg.cli.importing.draft import Drafts
from lagg.cli.importing.networkd import (
    digit,
    given,
    is_pattern,
    milliseconds,
    seconds,
)
from lagg.cli.importing.text import Source, whole
from lagg.cli.importing.yaml_document import (
    Table,
    Value,
    document,
    said,
    table,
    words,
)

_SECTIONS = frozenset(
    (
        *("ethernets", "modems", "wifis", "bonds", "bridges", "vlans", "tunnels"),
        *("vrfs", "dummy-devices", "virtual-ethernets", "nm-devices"),
    )
)
_GOES_TO = {
    "networkd": "goes to ethernets.{}",
    "NetworkManager": "goes to a connection of type tun, mode tap, for {}",
}
"""By the renderer, where a setting goes that is the interface's, not the bond's."""

_STAYS = "stays where it is"
_NO_NAME = "which interface that is, is not known here: name the port"
_NO_VALUE = "no value of this key"
_LATER = "what a later file says rules"
_OVS = "of Open vSwitch: import what ovs-vsctl list port and list interface print"


class _Definition(NamedTuple):
    """An entry of a section."""

    section: str
    id: str
    settings: Table
    renderer: str

    @property
    def path(self) -> str:
        """What netplan's own commands call it."""
        return f"{self.section}.{self.id}"

    def words(self, key: str) -> list[str]:
        """A setting that is a list.  ValueError."""
        return words(self.settings.get(key, ""), f"{self.path}.{key}")


def read(sources: Sequence[Source], bonds: Bonds, drafts: Drafts) -> None:
    """The bonds of files that belong together."""
    found: dict[str, _Definition] = {}
    for each in _definitions(_network(sources, drafts), drafts):
        if found.setdefault(each.id, each) is not each:
            raise ValueError(f"{each.path}: is {found[each.id].path} already")
    made = [each for each in found.values() if each.section == "bonds"]
    ports = {port for each in made for port in each.words("interfaces")}
    for each in made:
        _add_bond(bonds.made(each.id), each, found)
    for each in found.values():
        if each not in made and each.id not in ports:
            drafts.leave(each.path, _why_left(each, {bond.id for bond in made}))


# ---- files -------------------------------------------------------------------------


def _network(sources: Iterable[Source], drafts: Drafts) -> Table:
    """All of `network:`, by the order of the files' names, as netplan reads them."""
    found: Table = {}
    for source in sorted(sources, key=lambda source: source.base):
        for key, value in table(document(source), source.base).items():
            if key == "network":
                _merge(found, table(value, key), "", drafts)
            else:
                drafts.leave(key, "not of netplan")
    return found


def _merge(into: Table, new: Table, path: str, drafts: Drafts) -> None:
    """Mappings and lists add up; of two words the later one rules."""
    for key, value in new.items():
        before = into.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            _merge(before, value, f"{path}{key}.", drafts)
        elif isinstance(before, list) and isinstance(value, list):
            before += [each for each in value if each not in before]
        else:
            if before is not None and before != value:
                drafts.leave(f"{path}{key}={said(before)}", _LATER)
            into[key] = value


def _definitions(network: Table, drafts: Drafts) -> Iterator[_Definition]:
    default = _renderer(network, "networkd", drafts)
    for section, value in network.items():
        if section in _SECTIONS:
            entries = table(value, section)
            of_section = _renderer(entries, default, drafts)
            for name, settings in entries.items():
                if name != "renderer":
                    found = table(settings, f"{section}.{name}")
                    renderer = _renderer(found, of_section, drafts)
                    yield _Definition(section, name, found, renderer)
        elif section != "renderer" and (section, value) != ("version", "2"):
            drafts.leave(f"{section}={said(value)}", f"no interfaces, and {_STAYS}")


def _renderer(settings: Table, default: str, drafts: Drafts) -> str:
    word = said(settings.get("renderer", default))
    if word not in _GOES_TO:
        drafts.leave(f"renderer={word}", "neither networkd nor NetworkManager")
    return word if word in _GOES_TO else default


def _why_left(definition: _Definition, bonds: set[str]) -> str:
    link = said(definition.settings.get("link", ""))
    if definition.section == "vlans" and link in bonds:
        number = said(definition.settings.get("id", ""))
        command = above.vlan(definition.id, link, number)
        return f"{_STAYS}, or by hand: {command}"
    is_bridge = definition.section == "bridges"
    below = [id for id in definition.words("interfaces") if id in bonds]
    if is_bridge and below:
        return f"{_STAYS}, or by hand: {above.bridge(definition.id, below)}"
    return f"no bond and no port of these, and {_STAYS}"


# ---- parameters --------------------------------------------------------------------


def time_ms(value: str) -> str | None:
    """A time span in milliseconds, which a bare number is; None when it is none."""
    return milliseconds(value if whole(value) is None else f"{value}ms")


PARAMETERS: dict[str, tuple[str, Callable[[str], str | None]]] = {
    "mode": ("mode", given),
    "lacp-rate": ("lacp_rate", given),
    "mii-monitor-interval": ("miimon", time_ms),
    "min-links": ("min_links", given),
    "transmit-hash-policy": ("xmit_hash_policy", given),
    "ad-select": ("ad_select", given),
    "all-members-active": ("all_slaves_active", digit),
    "all-slaves-active": ("all_slaves_active", digit),
    "arp-interval": ("arp_interval", time_ms),
    "arp-ip-targets": ("arp_ip_target", given),
    "arp-validate": ("arp_validate", given),
    "arp-all-targets": ("arp_all_targets", given),
    "up-delay": ("updelay", time_ms),
    "down-delay": ("downdelay", time_ms),
    "fail-over-mac-policy": ("fail_over_mac", given),
    "gratuitous-arp": ("num_grat_arp", given),
    "gratuitious-arp": ("num_grat_arp", given),  # netplan's own slip, which it keeps
    "packets-per-member": ("packets_per_slave", given),
    "packets-per-slave": ("packets_per_slave", given),
    "primary-reselect-policy": ("primary_reselect", given),
    "resend-igmp": ("resend_igmp", given),
    "learn-packet-interval": ("lp_interval", seconds),
    "primary": ("primary", given),
}
"""Bonding's own option for each parameter, and how its value becomes one."""


def _add_parameters(
    bond: Bond, parameters: Table, found: Mapping[str, _Definition]
) -> None:
    for key, value in parameters.items():
        text = f"parameters.{key}={said(value)}"
        if key not in PARAMETERS:
            bond.draft.note(text, NO_EQUIVALENT)
            continue
        option, reading = PARAMETERS[key]
        word = reading(_joined(key, value))
        if key == "primary" and word and word in found:
            word = _interface(found[word])
        if word is None:
            bond.draft.note(text, _NO_NAME if key == "primary" else _NO_VALUE)
        else:
            bond.add_options([(option, word)])


def _joined(key: str, value: Value) -> str:
    """As bonding has it; empty for what is no value of a parameter."""
    if key == "arp-ip-targets":
        return ",".join(words(value, f"parameters.{key}"))
    return value if isinstance(value, str) else ""


# ---- what they say -----------------------------------------------------------------


def _add_bond(
    bond: Bond, definition: _Definition, found: Mapping[str, _Definition]
) -> None:
    for port in definition.words("interfaces"):
        if port in found:
            _add_port(bond, found[port])
        else:
            bond.draft.add_port(port)
    for key, value in definition.settings.items():
        if key == "parameters":
            _add_parameters(bond, table(value, f"{definition.path}.{key}"), found)
        elif key not in ("interfaces", "renderer"):
            _add_setting(bond, definition, key, value)
    bond.draft.note(definition.path, "is to go: laggd makes the lagg")


def _add_setting(bond: Bond, definition: _Definition, key: str, value: Value) -> None:
    """What is said of the bond's interface."""
    text = f"{key}={said(value)}"
    number = whole(said(value))
    if key == "mtu" and number:
        bond.draft.set("mtu", number, text)
    elif key == "macaddress" and ":" in value:
        bond.draft.set("mac", said(value), text)
    elif key == "openvswitch":
        bond.draft.note(text, _OVS)
    else:
        bond.draft.note(text, _GOES_TO[definition.renderer].format(definition.id))


def _interface(definition: _Definition) -> str | None:
    """Its name; None where `match` leaves open which it is."""
    if "match" not in definition.settings:
        return definition.id
    match = table(definition.settings["match"], f"{definition.path}.match")
    name = said(definition.settings.get("set-name", match.get("name", "")))
    return None if not name or is_pattern(name) else name


def _add_port(bond: Bond, definition: _Definition) -> None:
    name = _interface(definition)
    if name is None:
        bond.draft.note(f"interfaces {definition.id}", _NO_NAME)
    else:
        bond.draft.add_port(name)
    for key, value in _of_port(definition):
        is_name = key in ("match.name", "set-name") and value == name
        if not is_name and key != "renderer":
            is_open = name is None and key.startswith("match.")
            why = _NO_NAME if is_open else f"of a port, and {_STAYS}"
            bond.draft.note(f"{definition.path}.{key}={said(value)}", why)


def _of_port(definition: _Definition) -> Iterator[tuple[str, Value]]:
    """Its settings, those of `match` each on its own."""
    for key, value in definition.settings.items():
        if key == "match":
            match = table(value, f"{definition.path}.match")
            yield from ((f"match.{each}", match[each]) for each in match)
        else:
            yield key, value
