# SPDX-License-Identifier: BSD-2-Clause
"""Laggs in OpenConfig's words: `laggctl show --openconfig`.

Owns how a record maps to the leaves of openconfig-interfaces, openconfig-if-ethernet,
openconfig-if-aggregate and openconfig-lacp, written as RFC 7951 says: a name has its
module where that changes, and a number of 64 bits is a string.  A leaf whose value
laggd does not know is left out.  Pure.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from lagg.cli.lacp_page import NOBODY

if TYPE_CHECKING:  # at run time they would cost a command a third of its start-up
    from lagg.records import LaggRecord, PartyRecord, PortLacpRecord, PortRecord

Tree = dict[str, object]

_UNKNOWN = "subtype"
"""The reason that counts frames of no protocol that laggd knows."""

_NOT_ILLEGAL = frozenset({_UNKNOWN, "port-down", "rate", "rxtest"})
"""Reasons for which a good LACPDU is not taken, and that."""


def openconfig(laggs: list[LaggRecord]) -> Tree:
    """All laggs and their ports, as one document."""
    interfaces = [each for lagg in laggs for each in _interfaces(lagg)]
    speaking = [_lacp_interface(lagg) for lagg in laggs if lagg["lacp"] is not None]
    found: Tree = {"openconfig-interfaces:interfaces": _list("interface", interfaces)}
    if speaking:
        found["openconfig-lacp:lacp"] = {"interfaces": _list("interface", speaking)}
    return found


def _list(name: str, entries: list[Tree]) -> Tree:
    """A list in its container; one without entries is no node."""
    return {name: entries} if entries else {}


# ---- openconfig-interfaces, and what augments it ------------------------------------


def _interfaces(lagg: LaggRecord) -> list[Tree]:
    return [_lagg(lagg), *(_port(port, lagg["name"]) for port in lagg["ports"])]


def _lagg(lagg: LaggRecord) -> Tree:
    config: Tree = {
        "name": lagg["name"],
        "type": "iana-if-type:ieee8023adLag",
        "mtu": lagg["mtu"],
        "enabled": lagg["up"],
    }
    return {
        "name": lagg["name"],
        "config": config,
        "state": config | _lagg_state(lagg),
        "openconfig-if-aggregate:aggregation": _aggregation(lagg),
        "openconfig-if-ethernet:ethernet": {"state": {"mac-address": lagg["mac"]}},
    }


def _lagg_state(lagg: LaggRecord) -> Tree:
    counters = lagg["counters"]
    return {
        "ifindex": lagg["ifindex"],
        "admin-status": "UP" if lagg["up"] else "DOWN",
        "oper-status": _status(lagg["link"]),
        "last-change": str(_ns_of(lagg["link_since"])),
        "logical": True,
        "counters": {
            "in-pkts": str(counters["rx_out"]),
            "out-pkts": str(counters["tx_out"]),
        },
    }


def _aggregation(lagg: LaggRecord) -> Tree:
    options = lagg["options"]
    speaks = lagg["proto"] == "lacp"
    of_lacp = options["lacp_min_links"] if speaks else 1
    config: Tree = {
        "lag-type": "LACP" if speaks else "STATIC",
        "min-links": max(options["min_links"], of_lacp),
    }
    members = [port["name"] for port in lagg["ports"]]
    state: Tree = {**config, "lag-speed": lagg["speed_mbps"]}
    return {"config": config, "state": state | ({"member": members} if members else {})}


def _port(port: PortRecord, lagg: str) -> Tree:
    config: Tree = {"name": port["name"], "type": "iana-if-type:ethernetCsmacd"}
    member: Tree = {"openconfig-if-aggregate:aggregate-id": lagg}
    return {
        "name": port["name"],
        "config": config,
        "state": config | _port_state(port),
        "openconfig-if-ethernet:ethernet": {
            "config": member,
            "state": {**member, "hw-mac-address": port["home_mac"]},
        },
    }


def _port_state(port: PortRecord) -> Tree:
    return {
        "ifindex": port["ifindex"],
        "oper-status": _status(port["link"]),
        "logical": False,
        "counters": {
            "in-octets": str(port["rx_bytes"]),
            "in-pkts": str(port["rx_frames"]),
            "out-octets": str(port["tx_bytes"]),
            "out-pkts": str(port["tx_frames"]),
        },
    }


def _status(link: str) -> str:
    return "UP" if link == "up" else "DOWN"


def _ns_of(at: str) -> int:
    """An instant of RFC 3339 as nanoseconds since 1970; exact to the microsecond."""
    since = datetime.fromisoformat(at) - datetime.fromisoformat("1970-01-01T00:00:00Z")
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


# ---- openconfig-lacp ----------------------------------------------------------------


def _lacp_interface(lagg: LaggRecord) -> Tree:
    options = lagg["options"]
    config: Tree = {
        "name": lagg["name"],
        "interval": "FAST" if options["lacp_fast_timeout"] else "SLOW",
        "lacp-mode": "ACTIVE" if options["lacp_active"] else "PASSIVE",
        "system-priority": options["lacp_system_priority"],
        "fallback": options["lacp_fallback_timeout"] > 0 or not options["lacp_strict"],
    }
    if options["lacp_system"] is not None:
        config["system-id-mac"] = options["lacp_system"]
    said = [port["lacp"] for port in lagg["ports"] if port["lacp"] is not None]
    system: Tree = {"system-id-mac": said[0]["actor"]["system"]} if said else {}
    members = [_member(port, port["lacp"]) for port in lagg["ports"] if port["lacp"]]
    return {
        "name": lagg["name"],
        "config": config,
        "state": config | system,
        "members": _list("member", members),
    }


def _member(port: PortRecord, lacp: PortLacpRecord) -> Tree:
    config: Tree = {
        "interface": port["name"],
        "port-priority": port["lacp_port_priority"],
    }
    actor = lacp["actor"]
    return {
        "interface": port["name"],
        "config": config,
        "state": {
            **config,
            **_state(actor["state_bits"]),
            "system-id": actor["system"],
            "oper-key": actor["key"],
            "port-num": actor["port"],
            **_partner(lacp["partner"]),
            "counters": _counters(lacp),
        },
    }


def _state(bits: list[str]) -> Tree:
    return {
        "activity": "ACTIVE" if "ACTIVITY" in bits else "PASSIVE",
        "timeout": "SHORT" if "TIMEOUT" in bits else "LONG",
        "synchronization": "IN_SYNC" if "SYNC" in bits else "OUT_SYNC",
        "aggregatable": "AGGREGATION" in bits,
        "collecting": "COLLECTING" in bits,
        "distributing": "DISTRIBUTING" in bits,
    }


def _partner(partner: PartyRecord) -> Tree:
    """What is known of it: nothing while none was heard."""
    if partner["system"] == NOBODY:
        return {}
    return {
        "partner-id": partner["system"],
        "partner-key": partner["key"],
        "partner-port-num": partner["port"],
        "partner-port-priority": partner["port_priority"],
    }


def _counters(lacp: PortLacpRecord) -> Tree:
    counters = lacp["counters"]
    bad = counters["bad"]
    illegal = sum(n for why, n in bad.items() if why not in _NOT_ILLEGAL)
    return {
        "lacp-in-pkts": str(counters["lacpdu_rx"]),
        "lacp-out-pkts": str(counters["lacpdu_tx"]),
        "lacp-rx-errors": str(sum(bad.values())),
        "lacp-unknown-errors": str(bad.get(_UNKNOWN, 0)),
        "lacp-errors": str(illegal),
    }
