# SPDX-License-Identifier: BSD-2-Clause
"""The bond that runs, as /proc/net/bonding tells it: a file for each, by its name.

Owns that file's lines (the kernel's bond_procfs.c), those of older kernels, too, and
which of them are state and no setting.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lagg.cli.importing.bonding import Bond, Bonds
from lagg.cli.importing.draft import Drafts
from lagg.cli.importing.text import Source

_HEAD = re.compile(r"^Ethernet Channel Bonding Driver", re.MULTILINE)

_MODES = {
    "load balancing (round-robin)": "balance-rr",
    "fault-tolerance (active-backup)": "active-backup",
    "load balancing (xor)": "balance-xor",
    "fault-tolerance (broadcast)": "broadcast",
    "IEEE 802.3ad Dynamic link aggregation": "802.3ad",
    "transmit load balancing": "balance-tlb",
    "adaptive load balancing": "balance-alb",
}
_NS = "NS IPv6 target/s (xx::xx form)"  # the one label with colons in it
_OPTIONS = {
    "MII Polling Interval (ms)": "miimon",
    "Up Delay (ms)": "updelay",
    "Down Delay (ms)": "downdelay",
    "Peer Notification Delay (ms)": "peer_notif_delay",
    "ARP Polling Interval (ms)": "arp_interval",
    "ARP Missed Max": "arp_missed_max",
    "ARP IP target/s (n.n.n.n form)": "arp_ip_target",
    _NS: "ns_ip6_target",
    "LACP active": "lacp_active",
    "LACP rate": "lacp_rate",
    "Min links": "min_links",
    "Aggregator selection policy (ad_select)": "ad_select",
    "System priority": "ad_actor_sys_prio",
}
HARMLESS = frozenset(
    (
        *("Ethernet Channel Bonding Driver", "Currently Active Slave", "MII Status"),
        *("802.3ad info", "Active Aggregator Info", "Aggregator ID", "Actor Key"),
        *("Number of ports", "Partner Key", "Partner Mac Address", "Slave Interface"),
        *("Speed", "Duplex", "Link Failure Count", "Permanent HW addr"),
        *("Actor Churn State", "Partner Churn State", "Actor Churned Count"),
        *("Partner Churned Count", "details actor lacp pdu", "port key"),
        *("details partner lacp pdu", "system priority", "system mac address"),
        *("oper key", "port number", "port state"),
    )
)
"""Lines of what is, was counted or is the partner's, and no setting."""

_PORT_PRIO = "255"
"""Bonding's actor_port_prio unless it was set."""

_NO_MAC = "00:00:00:00:00:00"
_MISSING = (
    "has neither MTU, MAC and addresses nor fail_over_mac, num_grat_arp, resend_igmp,"
    " packets_per_slave, arp_validate and arp_all_targets: see ip -d address show dev"
)


class _Line(NamedTuple):
    """A line, and the port and the part that it is of; empty above all ports."""

    label: str
    value: str
    port: str
    part: str


def is_procfs(source: Source) -> bool:
    """Whether it begins as the driver's file does."""
    return _HEAD.search(source.text) is not None


def read(sources: Iterable[Source], bonds: Bonds, _: Drafts) -> None:
    """A bond for each file, which has its name."""
    for source in sources:
        name = source.base.removesuffix(".txt")
        bond, lines = bonds.made(name), list(_lines(source.text))
        for line in lines:
            _add(bond, line)
        _set_system(bond, lines)
        bond.draft.note(source.base, f"{_MISSING} {name}")


def _lines(text: str) -> Iterator[_Line]:
    port = part = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        at = len(_NS) if line.startswith(f"{_NS}:") else (line + ":").index(":")
        label, value = line[:at].strip(), line[at + 1 :].strip()
        if label == "Slave Interface":
            port, part = value, ""
        elif label.startswith("details "):
            part = label
        yield _Line(label, value, port, part)


def _add(bond: Bond, line: _Line) -> None:
    label, value = line.label, line.value
    if label == "Slave Interface":
        bond.draft.add_port(value)
    elif label == "Bonding Mode":
        _add_mode(bond, value)
    elif label in _OPTIONS and not line.port:
        if value:
            bond.add_options([(_OPTIONS[label], value)])
    elif label == "Transmit Hash Policy":
        bond.add_options([("xmit_hash_policy", re.sub(r" \(\d\)$", "", value))])
    elif label == "Primary Slave":
        _add_primary(bond, value)
    elif label == "port priority":
        _add_priority(bond, line)
    elif label == "Slave queue ID":
        if value != "0":
            bond.draft.note(f"{line.port}: {label} {value}", "a TAP has one queue")
    elif label not in HARMLESS and label != "System MAC address":
        _add_other(bond, line)


def _add_other(bond: Bond, line: _Line) -> None:
    said = f"{line.port and line.port + ': '}{line.label} {line.value}".rstrip()
    if re.fullmatch(r"bond \S+ has no active aggregator", line.label) is None:
        bond.draft.note(said, "no line of a kernel that is known here")


def _add_mode(bond: Bond, value: str) -> None:
    """`fault-tolerance (active-backup) (fail_over_mac active)`."""
    text, sign, policy = value.partition(" (fail_over_mac ")
    bond.add_options([("mode", _MODES.get(text, text))])
    if sign:
        bond.add_options([("fail_over_mac", policy.removesuffix(")"))])


def _add_primary(bond: Bond, value: str) -> None:
    """`eth1 (primary_reselect always)`."""
    port, _, policy = value.partition(" (primary_reselect ")
    if port != "None":
        bond.add_options([("primary", port)])
    if policy:
        bond.add_options([("primary_reselect", policy.removesuffix(")"))])


def _add_priority(bond: Bond, line: _Line) -> None:
    """Our own of a port; the partner's is its business."""
    if line.part != "details actor lacp pdu" or line.value == _PORT_PRIO:
        return
    number = int(line.value) if re.fullmatch(r"[0-9]{1,9}", line.value) else line.value
    bond.draft.set_port(line.port, "lacp_port_priority", number)


def _set_system(bond: Bond, lines: list[_Line]) -> None:
    """A system that is not a port's MAC was set; else it follows from the ports."""
    macs = {line.value for line in lines if line.label == "Permanent HW addr"}
    for line in lines:
        if line.label != "System MAC address" or line.value == _NO_MAC:
            continue
        if line.value in macs:
            bond.draft.note(
                f"{line.label} {line.value}", "of a port; so is the lagg's, unless set"
            )
        else:
            bond.add_options([("ad_actor_system", line.value)])
