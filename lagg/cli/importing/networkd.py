# SPDX-License-Identifier: BSD-2-Clause
"""systemd-networkd's files: a bond's .netdev, and the .network of it and its ports.

Owns their sections and keys (systemd.netdev(5), systemd.network(5)), the units of time
and size in them, and which drop-in belongs to which file.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from lagg.cli.importing import above
from lagg.cli.importing.bonding import NO_EQUIVALENT, Bond, Bonds
from lagg.cli.importing.draft import Draft, Drafts
from lagg.cli.importing.ini import Setting, Unit, has_section, settings, switch
from lagg.cli.importing.text import Source

HARMLESS = frozenset(
    (
        *(("NetDev", "Name"), ("NetDev", "Kind"), ("Match", "Name")),
        ("Network", "Bond"),
    )
)
"""Settings that say only what a laggd.toml says by being there."""

_OF_PORT = {
    ("Network", "PrimarySlave"): "primary",
    ("Network", "ActiveSlave"): "active_slave",
}
_SECTIONS = frozenset(("NetDev", "Bond", "Match", "Link", "Network"))
_GONE = "of the bond's own file, which is to go: laggd makes the lagg"
_NO_NAME = "which interface that is, is not known here: name the port"
_STAYS = "stays where it is"

is_networkd = has_section("NetDev", "Match")


# ---- values ------------------------------------------------------------------------

_US = {
    **dict.fromkeys(("us", "usec", "µs", "μs"), 1),
    **dict.fromkeys(("ms", "msec"), 1000),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1_000_000),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60_000_000),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3_600_000_000),
}
_SPAN = re.compile(r"\s*(\d{1,9})(?:\.(\d{1,6}))?\s*([a-zµμ]*)", re.ASCII)
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def milliseconds(value: str) -> str | None:
    """A time span of systemd.time(7), seconds without a unit; None when it is none."""
    total, at = 0, 0
    while at < len(value):
        found = _SPAN.match(value, at)
        if found is None or found[3] not in _US:
            return None
        micros = int(found[1]) * 1_000_000 + int((found[2] or "").ljust(6, "0"))
        total += micros * _US[found[3]] // 1_000_000
        at = found.end()
    return str(total // 1000) if value else None


def seconds(value: str) -> str | None:
    """A time span of systemd.time(7) in whole seconds; None when it is none."""
    found = milliseconds(value)
    return None if found is None else str(int(found) // 1000)


def _bytes(value: str) -> int | None:
    found = re.fullmatch(r"(\d{1,9})([KMG]?)", value, re.ASCII)
    return int(found[1]) * _BYTES[found[2]] if found else None


def given(value: str) -> str | None:
    """Any value but none at all."""
    return value or None


def digit(value: str) -> str | None:
    """Yes as "1" and no as "0", bonding's words; None for a word that is neither."""
    found = switch(value)
    return None if found is None else str(int(found))


BOND: dict[str, tuple[str, Callable[[str], str | None]]] = {
    "Mode": ("mode", given),
    "TransmitHashPolicy": ("xmit_hash_policy", given),
    "LACPTransmitRate": ("lacp_rate", given),
    "MIIMonitorSec": ("miimon", milliseconds),
    "PeerNotifyDelaySec": ("peer_notif_delay", milliseconds),
    "UpDelaySec": ("updelay", milliseconds),
    "DownDelaySec": ("downdelay", milliseconds),
    "LearnPacketIntervalSec": ("lp_interval", seconds),
    "AdSelect": ("ad_select", given),
    "AdActorSystemPriority": ("ad_actor_sys_prio", given),
    "AdUserPortKey": ("ad_user_port_key", given),
    "AdActorSystem": ("ad_actor_system", given),
    "FailOverMACPolicy": ("fail_over_mac", given),
    "ARPValidate": ("arp_validate", given),
    "ARPIntervalSec": ("arp_interval", milliseconds),
    "ARPIPTargets": ("arp_ip_target", given),
    "ARPAllTargets": ("arp_all_targets", given),
    "ARPMissedMax": ("arp_missed_max", given),
    "PrimaryReselectPolicy": ("primary_reselect", given),
    "ResendIGMP": ("resend_igmp", given),
    "PacketsPerSlave": ("packets_per_slave", given),
    "GratuitousARP": ("num_grat_arp", given),
    "AllSlavesActive": ("all_slaves_active", digit),
    "DynamicTransmitLoadBalancing": ("tlb_dynamic_lb", digit),
    "MinLinks": ("min_links", given),
}
"""Bonding's own option for each key of [Bond], and how its value becomes one."""


# ---- files -------------------------------------------------------------------------


def read(sources: Sequence[Source], bonds: Bonds, drafts: Drafts) -> None:
    """The bonds of files that belong together."""
    units = _units(sources)
    made = [unit for unit in units if unit.get("NetDev", "Kind") == "bond"]
    for unit in made:
        if not unit.get("NetDev", "Name"):
            raise ValueError(f"{unit.name}: a bond without Name=")
        _add_bond(bonds.made(unit.get("NetDev", "Name")), unit)
    names = sorted({unit.get("NetDev", "Name") for unit in made})
    networks = {name: _network_of(name, units) for name in names}
    for unit in units:
        master = unit.get("Network", "Bond")
        below = [name for name in names if networks[name] is unit]
        for name in below:
            _add_network(bonds.made(name).draft, unit)
        if master in names:
            _add_ports(bonds.made(master), unit)
        elif not below and unit not in made:
            drafts.leave(unit.name, _why_left(unit, networks))


def _network_of(name: str, units: Sequence[Unit]) -> Unit | None:
    """The .network of an interface: the first by name that matches, as networkd."""
    matching = [
        unit
        for unit in units
        if any(fnmatchcase(name, pattern) for pattern in _names(unit))
        and not unit.name.endswith(".link")
    ]
    return min(matching, key=lambda unit: unit.name, default=None)


def _units(sources: Sequence[Source]) -> list[Unit]:
    """By the files' names; a drop-in, as bond0.netdev.d/mtu.conf, is its file's."""
    found: dict[str, Unit] = {}
    for source in sorted(sources, key=lambda source: _of_drop_in(source) is not None):
        name = _of_drop_in(source) or source.base
        unit = found.setdefault(name, Unit(name, []))
        unit.settings += settings(source)
    return list(found.values())


def _of_drop_in(source: Source) -> str | None:
    found = re.search(r"([^/]+\.(?:netdev|network|link))\.d/[^/]+$", source.name)
    return found[1] if found else None


def _names(unit: Unit) -> list[str]:
    """Which interfaces a .network is for."""
    return [name for value in unit.all("Match", "Name") for name in value.split()]


def _why_left(unit: Unit, networks: Mapping[str, Unit | None]) -> str:
    """`networks` has the .network of each bond."""
    master = unit.get("Network", "Bond")
    if master:
        return f"a port of {master}, of which there is no .netdev: give it, too"
    kind, name = unit.get("NetDev", "Kind"), unit.get("NetDev", "Name")
    vlans = [each for each in networks if _says(networks[each], "VLAN", name)]
    bridges = [each for each in networks if _says(networks[each], "Bridge", name)]
    if kind == "vlan" and vlans:
        command = above.vlan(name, vlans[0], unit.get("VLAN", "Id"))
    elif kind == "bridge" and bridges:
        command = above.bridge(name, bridges)
    else:
        return f"no bond and no port of these, and {_STAYS}"
    return f"{_STAYS}, or by hand: {command}"


def _says(network: Unit | None, key: str, name: str) -> bool:
    return network is not None and name in network.all("Network", key)


# ---- what they say -----------------------------------------------------------------


def _add_bond(bond: Bond, unit: Unit) -> None:
    for each in unit.settings:
        if each.section == "Bond" and each.key in BOND:
            _add_option(bond, each)
        elif not _set_key(bond.draft, each):
            why = NO_EQUIVALENT if each.section == "Bond" else _GONE
            bond.draft.note(str(each), why)
    bond.draft.note(unit.name, "is to go: laggd makes the lagg")


def _add_option(bond: Bond, setting: Setting) -> None:
    option, reading = BOND[setting.key]
    value = reading(setting.value)
    if value is None:
        bond.draft.note(str(setting), "no value of this key")
    elif option == "arp_ip_target" and option in bond.options:
        bond.options[option] += f",{value}"  # given again, they are added
    else:
        bond.add_options([(option, value)])


def _set_key(draft: Draft, setting: Setting) -> bool:
    """A setting that is a key of the lagg's; False when it is none."""
    size = _bytes(setting.value)
    if not setting.key:
        return not _is_unknown(setting)
    if setting[:2] in (("NetDev", "MTUBytes"), ("Link", "MTUBytes")) and size:
        draft.set("mtu", size, str(setting))
    elif setting[:2] in (("NetDev", "MACAddress"), ("Link", "MACAddress")):
        draft.set("mac", setting.value, str(setting))
    else:
        return setting[:2] in HARMLESS
    return True


def _add_network(draft: Draft, unit: Unit) -> None:
    """The .network of the bond itself, which the lagg's interface goes on with."""
    others = [name for name in _names(unit) if name != draft.name]
    if others:
        draft.note(f"{unit.name}: [Match] Name={' '.join(others)}", _STAYS)
    for each in unit.settings:
        if not _set_key(draft, each):
            draft.note(str(each), f"stays in {unit.name}")


def _add_ports(bond: Bond, unit: Unit) -> None:
    """The .network of one port or several."""
    ports = [name for name in _names(unit) if not is_pattern(name)]
    for port in ports:
        bond.draft.add_port(port)
    for name in _names(unit):
        if name not in ports:
            bond.draft.note(f"{unit.name}: [Match] Name={name}", _NO_NAME)
    for each in unit.settings:
        _add_setting_of_port(bond, unit, each, ports)
    bond.draft.note(f"{unit.name}: [Network] Bond=", "is to go: laggd has the port")


def is_pattern(name: str) -> bool:
    """A glob, or what all but some names match: no name of an interface."""
    return any(character in name for character in "*?[!")


def _add_setting_of_port(
    bond: Bond, unit: Unit, setting: Setting, ports: list[str]
) -> None:
    said, yes = f"{unit.name}: {setting}", switch(setting.value)
    if setting[:2] in _OF_PORT and yes is not None:
        if yes:
            bond.add_options([(_OF_PORT[setting[:2]], " ".join(ports))])
    elif setting[:2] in _OF_PORT:
        bond.draft.note(said, "neither yes nor no")
    elif setting.section == "Match" and not ports and setting.key not in ("", "Name"):
        bond.draft.note(said, _NO_NAME)
    elif setting[:2] not in HARMLESS and (setting.key or _is_unknown(setting)):
        bond.draft.note(said, f"of a port, and {_STAYS}")


def _is_unknown(setting: Setting) -> bool:
    return setting.section not in _SECTIONS
