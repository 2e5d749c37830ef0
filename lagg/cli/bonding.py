# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl show --bonding`: a lagg in the words of Linux's /proc/net/bonding.

Owns that file's words and their order, for people and scripts that know it.  Where
bonding polls a link and laggd is told, the interval is 0.  Pure: records in, text out.
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
    "tlb": "transmit load balancing",
    "alb": "adaptive load balancing",
    "none": "none",
}
_POLICIES = {
    ("l2",): "layer2 (0)",
    ("l3", "l4"): "layer3+4 (1)",
    ("l2", "l3"): "layer2+3 (2)",
}
_CHURNS = {"monitor": "monitoring", "no-churn": "none", "churn": "churned"}
_HASHED = ("loadbalance", "lacp", "tlb", "alb")
_ELECTS = ("failover", "tlb", "alb")


def bonding_page(lagg: LaggRecord) -> str:
    """One lagg with its ports."""
    head = [
        "laggd: in the words of the Ethernet Channel Bonding Driver",
        "",
        f"Bonding Mode: {_MODES[lagg['proto']]}",
        *_mode_lines(lagg),
        f"MII Status: {lagg['link']}",
        f"MII Polling Interval (ms): {_polling_ms(lagg)}",
        f"Up Delay (ms): {lagg['options']['up_delay_ms']}",
        f"Down Delay (ms): {lagg['options']['down_delay_ms']}",
        f"Peer Notification Delay (ms): {lagg['options']['announce_interval_ms']}",
        *_probe_lines(lagg),
        *_aggregator_lines(lagg),
    ]
    blocks = ["\n".join(head), *("\n".join(_port_lines(p)) for p in lagg["ports"])]
    return "\n\n".join(blocks)


def _mode_lines(lagg: LaggRecord) -> list[str]:
    lines = []
    if lagg["proto"] in _HASHED:
        layers = tuple(lagg["options"]["lagghash"])
        policy = _POLICIES.get(layers, ",".join(layers))
        lines.append(f"Transmit Hash Policy: {policy}")
    if lagg["proto"] in _ELECTS:
        reselect = lagg["options"]["reselect"]
        lines += [
            f"Primary Slave: {_master(lagg)} (primary_reselect {reselect})",
            f"Currently Active Slave: {lagg['active']}",
        ]
    return lines


def _polling_ms(lagg: LaggRecord) -> str:
    return next((_said(words, "interval_ms") for words in _watches(lagg, "poll")), "0")


def _probe_lines(lagg: LaggRecord) -> list[str]:
    """How often the first watch that asks does, for bonding has one; whom all ask."""
    arp, ns = _watches(lagg, "arp"), _watches(lagg, "ns")
    if not arp + ns:
        return []
    first = (arp + ns)[0]
    lines = [
        f"ARP Polling Interval (ms): {_said(first, 'interval_ms')}",
        f"ARP Missed Max: {_said(first, 'missed_max')}",
    ]
    if arp:
        lines.append(f"ARP IP target/s (n.n.n.n form): {_targets(arp)}")
    if ns:
        lines.append(f"NS IPv6 target/s (xx::xx form): {_targets(ns)}")
    return lines


_USUAL = {"interval_ms": "1000", "missed_max": "3"}


def _watches(lagg: LaggRecord, kind: str) -> list[list[str]]:
    """The words of each watch of that kind, as `--watch` takes them."""
    found = [watch.split(",") for watch in lagg["options"]["watch"]]
    return [words for words in found if words[0] == kind]


def _said(words: list[str], key: str) -> str:
    return dict(word.partition("=")[::2] for word in words).get(key, _USUAL[key])


def _targets(watches: list[list[str]]) -> str:
    pairs = (word.partition("=") for words in watches for word in words)
    return ", ".join(value for key, _, value in pairs if key == "target")


def _master(lagg: LaggRecord) -> str:
    found = (port["name"] for port in lagg["ports"] if "MASTER" in port["flags"])
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
        f"Duplex: {'full' if port['full_duplex'] else 'half'}",
        f"Link Failure Count: {port['failures']}",
        f"Permanent HW addr: {port['home_mac']}",
        "Slave queue ID: 0",
        *_port_lacp_lines(port),
    ]


def _port_lacp_lines(port: PortRecord) -> list[str]:
    lacp = _lacp_of(port)
    if lacp is None:
        return []
    aggregator = "N/A" if lacp["aggregator"] is None else lacp["aggregator"]
    return [
        f"Aggregator ID: {aggregator}",
        f"Actor Churn State: {_CHURNS[lacp['actor_churn']]}",
        f"Partner Churn State: {_CHURNS[lacp['partner_churn']]}",
        f"Actor Churned Count: {lacp['counters']['actor_churns']}",
        f"Partner Churned Count: {lacp['counters']['partner_churns']}",
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
