# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl show --bonding`: a lagg in the words of Linux's /proc/net/bonding.

Owns that file's words, for people and scripts that know it.  What laggd does not know
(permanent addresses, polling) is left out.  Pure: records in, text out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from lagg.records import LaggRecord, PortRecord

_MODES = {
    "failover": "fault-tolerance (active-backup)",
    "roundrobin": "load balancing (round-robin)",
    "loadbalance": "load balancing (xor)",
    "broadcast": "fault-tolerance (broadcast)",
    "lacp": "IEEE 802.3ad Dynamic link aggregation",
    "none": "none",
}
_POLICIES = {
    ("l2",): "layer2 (0)",
    ("l3", "l4"): "layer3+4 (1)",
    ("l2", "l3"): "layer2+3 (2)",
}
_HASHED = ("loadbalance", "lacp")


def bonding_page(lagg: LaggRecord) -> str:
    """One lagg with its ports."""
    head = [
        "laggd: in the words of the Ethernet Channel Bonding Driver",
        "",
        f"Bonding Mode: {_MODES[lagg['proto']]}",
        *_mode_lines(lagg),
        f"MII Status: {lagg['link']}",
        f"Up Delay (ms): {lagg['options']['up_delay_ms']}",
        f"Down Delay (ms): {lagg['options']['down_delay_ms']}",
        *_aggregator_lines(lagg),
    ]
    blocks = ["\n".join(head), *("\n".join(_port_lines(p)) for p in lagg["ports"])]
    return "\n\n".join(blocks)


def _mode_lines(lagg: LaggRecord) -> list[str]:
    if lagg["proto"] in _HASHED:
        layers = tuple(lagg["options"]["lagghash"])
        return [f"Transmit Hash Policy: {_POLICIES.get(layers, ','.join(layers))}"]
    if lagg["proto"] != "failover":
        return []
    return [
        f"Primary Slave: {_flagged(lagg, 'MASTER')}"
        f" (primary_reselect {lagg['options']['reselect']})",
        f"Currently Active Slave: {_flagged(lagg, 'ACTIVE')}",
    ]


def _flagged(lagg: LaggRecord, flag: str) -> str:
    found = (port["name"] for port in lagg["ports"] if flag in port["flags"])
    return next(found, "None")


def _aggregator_lines(lagg: LaggRecord) -> list[str]:
    options = lagg["options"]
    lacp = _lacp_of(lagg)
    if lacp is None:
        return []
    actor, partner = lacp["actor"], lacp["partner"]
    lines = [
        "",
        "802.3ad info",
        f"LACP active: {'on' if options['lacp_active'] else 'off'}",
        f"LACP rate: {'fast' if options['lacp_fast_timeout'] else 'slow'}",
        f"Min links: {options['lacp_min_links']}",
        f"Aggregator selection policy (ad_select): {options['ad_select']}",
    ]
    if actor is None:
        return [*lines, "Active Aggregator: none"]
    return [
        *lines,
        f"System priority: {actor['system_priority']}",
        f"System MAC address: {actor['system']}",
        "Active Aggregator Info:",
        f"\tAggregator ID: {lacp['aggregator']}",
        f"\tNumber of ports: {_count_of(lagg, lacp['aggregator'])}",
        f"\tActor Key: {actor['key']}",
        f"\tPartner Key: {partner['key'] if partner else 0}",
        f"\tPartner Mac Address: {partner['system'] if partner else _NO_MAC}",
    ]


_NO_MAC = "00:00:00:00:00:00"


def _count_of(lagg: LaggRecord, aggregator: int) -> int:
    return sum(
        (_lacp_of(port) or {}).get("aggregator") == aggregator for port in lagg["ports"]
    )


def _port_lines(port: PortRecord) -> list[str]:
    speed = f"{port['speed_mbps']} Mbps" if port["speed_mbps"] else "Unknown"
    return [
        f"Slave Interface: {port['name']}",
        f"MII Status: {port['link']}",
        f"Speed: {speed}",
        f"Link Failure Count: {port['failures']}",
        *_port_lacp_lines(port),
    ]


def _port_lacp_lines(port: PortRecord) -> list[str]:
    lacp = _lacp_of(port)
    if lacp is None:
        return []
    aggregator = "N/A" if lacp["aggregator"] is None else lacp["aggregator"]
    return [
        f"Aggregator ID: {aggregator}",
        f"Actor Churn State: {lacp['actor_churn']}",
        f"Partner Churn State: {lacp['partner_churn']}",
        *_party_lines("actor", "port key", lacp["actor"]),
        *_party_lines("partner", "oper key", lacp["partner"]),
    ]


def _party_lines(end: str, key: str, party: dict[str, Any]) -> list[str]:
    return [
        f"details {end} lacp pdu:",
        f"    system priority: {party['system_priority']}",
        f"    system mac address: {party['system']}",
        f"    {key}: {party['key']}",
        f"    port priority: {party['port_priority']}",
        f"    port number: {party['port']}",
        f"    port state: {party['state']}",
    ]


def _lacp_of(record: LaggRecord | PortRecord) -> dict[str, Any] | None:
    return cast("dict[str, Any]", record).get("lacp")
