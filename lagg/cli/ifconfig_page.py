# SPDX-License-Identifier: BSD-2-Clause
"""An interface as FreeBSD's ifconfig(8) prints it, line by line; a lagg with -v too.

Owns FreeBSD's numbers of flags and its layouts.  Pure: the kernel's facts and laggd's
record in, text out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from lagg.cli import interface
from lagg.cli.interface import Facts
from lagg.options import OPTIONS

if TYPE_CHECKING:
    from lagg.records import LaggRecord, PortRecord

_UP = {"UP": 0x1, "RUNNING": 0x40}  # FreeBSD's RUNNING: the driver's, not the carrier's
_INTERFACE_FLAGS = {
    "UP": 0x1,
    "BROADCAST": 0x2,
    "LOOPBACK": 0x8,
    "POINTOPOINT": 0x10,
    "RUNNING": 0x40,
    "NOARP": 0x80,
    "PROMISC": 0x100,
    "ALLMULTI": 0x200,
    "SIMPLEX": 0x800,
    "MULTICAST": 0x8000,
}
_OF_LINUX = {
    "BROADCAST": interface.IFF_BROADCAST,
    "LOOPBACK": interface.IFF_LOOPBACK,
    "POINTOPOINT": interface.IFF_POINTOPOINT,
    "NOARP": interface.IFF_NOARP,
    "PROMISC": interface.IFF_PROMISC,
    "ALLMULTI": interface.IFF_ALLMULTI,
    "MULTICAST": interface.IFF_MULTICAST,
}
_PORT_FLAGS = {
    "MASTER": 0x1,
    "STACK": 0x2,
    "ACTIVE": 0x4,
    "COLLECTING": 0x8,
    "DISTRIBUTING": 0x10,
}
_FLAGGED = sorted(
    (row for row in OPTIONS if row.freebsd.flag), key=lambda row: row.freebsd.bit
)
_OPTION_FLAGS = {row.freebsd.flag: row.freebsd.bit for row in _FLAGGED}
_STATE_FLAGS = {
    "ACTIVITY": 0x1,
    "TIMEOUT": 0x2,
    "AGGREGATION": 0x4,
    "SYNC": 0x8,
    "COLLECTING": 0x10,
    "DISTRIBUTING": 0x20,
    "DEFAULTED": 0x40,
    "EXPIRED": 0x80,
}
_NOBODY = {
    "system_priority": 0,
    "system": "00:00:00:00:00:00",
    "key": 0,
    "port_priority": 0,
    "port": 0,
}


_NO_MAC = "00:00:00:00:00:00"
"""A loopback's, of which FreeBSD's ifconfig(8) prints no line."""


def interface_page(facts: Facts, lagg: LaggRecord | None, *, verbose: bool) -> str:
    """One interface; with `lagg`, its record, a lagg."""
    lines = [
        f"{facts.name}: {_flag_words('flags', _INTERFACE_FLAGS, _set_of(facts))}"
        f" metric 0 mtu {facts.mtu}",
        *([f"\tether {facts.mac}"] if facts.mac != _NO_MAC else []),
    ]
    if facts.inet is not None:
        mask = bytes(map(int, facts.inet.netmask.split("."))).hex()
        none = facts.inet.broadcast == "0.0.0.0"
        broadcast = "" if none else f" broadcast {facts.inet.broadcast}"
        lines.append(f"\tinet {facts.inet.address} netmask 0x{mask}{broadcast}")
    return "\n".join(lines + (_lagg_lines(lagg, verbose) if lagg else []))


def facts_of(lagg: LaggRecord) -> Facts:
    """What a record says of its interface, for who is in another namespace."""
    flags = interface.IFF_BROADCAST | interface.IFF_MULTICAST
    flags |= interface.IFF_UP if lagg["up"] else 0
    return Facts(lagg["name"], flags, lagg["mac"], lagg["mtu"], None)


def _set_of(facts: Facts) -> set[str]:
    found = {word for word, bit in _OF_LINUX.items() if facts.flags & bit}
    if facts.flags & interface.IFF_UP:
        found |= _UP.keys()
    return found | {"SIMPLEX"} if "BROADCAST" in found else found


def _flag_words(title: str, numbers: Mapping[str, int], chosen: set[str]) -> str:
    """ifconfig(8)'s printb(): `flags=8843<UP,BROADCAST,...>`."""
    total = sum(bit for word, bit in numbers.items() if word in chosen)
    words = ",".join(word for word in numbers if word in chosen)
    return f"{title}={total:x}<{words}>"


def _lagg_lines(lagg: LaggRecord, verbose: bool) -> list[str]:
    layers = ",".join(lagg["options"]["lagghash"])
    lines = [f"\tlaggproto {lagg['proto']} lagghash {layers}"]
    if verbose:
        lines += _option_lines(lagg)
    for port in lagg["ports"]:
        lines += _port_lines(port, verbose)
    status = "active" if lagg["link"] == "up" else "no carrier"
    return [
        *lines,
        "\tgroups: lagg",
        "\tmedia: Ethernet autoselect",
        f"\tstatus: {status}",
    ]


def _option_lines(lagg: LaggRecord) -> list[str]:
    options = lagg["options"]
    chosen = {
        row.freebsd.flag
        for row in _FLAGGED
        if options.get(row.key)
        and (lagg["proto"] == "lacp" or "lacp" not in row.protos)
    }
    active = sum("ACTIVE" in port["flags"] for port in lagg["ports"])
    lacp = _lacp_of(lagg)
    turns = lagg["proto"] == "roundrobin"
    return [
        "\tlagg options:",
        f"\t\t{_flag_words('flags', _OPTION_FLAGS, chosen)}",
        f"\t\tflowid_shift: {options['flowid_shift']}",
        *([f"\t\trr_limit: {options['rr_limit']}"] if turns else []),
        "\tlagg statistics:",
        f"\t\tactive ports: {active}",
        f"\t\tflapping: {(lacp or {}).get('flapping', 0)}",
        *_lag_id_lines("\tlag id: ", lacp),
    ]


def _port_lines(port: PortRecord, verbose: bool) -> list[str]:
    flags = _flag_words("flags", _PORT_FLAGS, set(port["flags"]))
    line = f"\tlaggport: {port['name']} {flags}"
    lacp = _lacp_of(port)
    if not verbose or lacp is None:
        return [line]
    state = (lacp["actor"] or {}).get("state", 0)
    chosen = {word for word, bit in _STATE_FLAGS.items() if state & bit}
    line += f" {_flag_words('state', _STATE_FLAGS, chosen)}"
    return [line, *_lag_id_lines("\t\t", lacp)]


def _lacp_of(record: LaggRecord | PortRecord) -> dict[str, Any] | None:
    return cast("dict[str, Any]", record).get("lacp")


def _lag_id_lines(title: str, lacp: Mapping[str, Any] | None) -> Sequence[str]:
    """The two parties, as lacp_format_peer() of FreeBSD's ifconfig(8) writes them."""
    if lacp is None:
        return []
    actor, partner = (
        _party_words(lacp[end] or _NOBODY) for end in ("actor", "partner")
    )
    return [f"{title}[{actor},", f"\t\t {partner}]"]


def _party_words(party: Mapping[str, Any]) -> str:
    mac = party["system"].upper().replace(":", "-")
    return (
        f"({party['system_priority']:04X},{mac},{party['key']:04X},"
        f"{party['port_priority']:04X},{party['port']:04X})"
    )
