# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's rc.conf and teamd's JSON as laggs.

Owns what their words are here.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lagg.cli.ifconfig_words import Step, take_word
from lagg.cli.import_bonding import assignments
from lagg.cli.imported import Imported, Laggs
from lagg.cli.output import UsageError

# ---- rc.conf -----------------------------------------------------------------------


def from_rc_conf(text: str) -> Laggs:
    """cloned_interfaces with create_args_lagg0 and ifconfig_lagg0."""
    laggs, values = Laggs(), assignments(text)
    for name in values.get("cloned_interfaces", "").split():
        if not name.startswith("lagg"):
            continue
        lagg = laggs.of(name)
        lagg.set("mac_policy", "primary")  # F-DT-1
        for key in (f"create_args_{name}", f"ifconfig_{name}"):
            _add_words(lagg, values.get(key, "").split())
        prefix = f"ifconfig_{name}_"
        for key in (key for key in values if key.startswith(prefix)):
            lagg.note(f'{key}="{values[key]}"', "addresses are for ip(8)")
    return laggs


def _add_words(lagg: Imported, words: list[str]) -> None:
    while words:
        word = words[0]
        try:
            for step in take_word(words):
                _add_step(lagg, step)
        except UsageError as error:
            reason = str(error).removeprefix(f"{word}: ")
            lagg.note(word, "addresses are for ip(8)" if "DHCP" in word else reason)


def _add_step(lagg: Imported, step: Step) -> None:
    match step:
        case Step("proto" | "mac" | "mtu", value):
            lagg.set(step.verb, value)
        case Step("attach", value):
            lagg.add_port(str(value))
        case Step("option", (key, value)):
            lagg.set(str(key), value)
        case Step("inet", (address, netmask)):
            mask = f" netmask {netmask}" if netmask else ""
            lagg.note(f"inet {address}{mask}", "addresses are for ip(8)")


# ---- teamd -------------------------------------------------------------------------

_RUNNERS = {
    "activebackup": "failover",
    "roundrobin": "roundrobin",
    "random": "roundrobin",
    "broadcast": "broadcast",
    "loadbalance": "loadbalance",
    "lacp": "lacp",
}
_LAYERS = {
    **dict.fromkeys(("eth", "vlan"), "l2"),
    **dict.fromkeys(("ipv4", "ipv6", "ip", "l3"), "l3"),
    **dict.fromkeys(("tcp", "udp", "sctp", "l4"), "l4"),
}
_AGG_SELECT = {
    "lacp_prio": "stable",
    "lacp_prio_stable": "stable",
    "bandwidth": "bandwidth",
    "count": "count",
}
_TX_HASH_DEFAULT = ("eth", "ipv4", "ipv6")


def from_teamd(document: Mapping[str, Any]) -> Laggs:
    """One team."""
    laggs = Laggs()
    lagg = laggs.of(str(document.get("device", "team0")))
    runner = dict(document.get("runner", {}))
    name = runner.pop("name", "roundrobin")
    lagg.set("proto", _RUNNERS.get(name, "failover"))
    if name not in _RUNNERS or name == "random":
        lagg.note(f"runner {name}", "has no equivalent")
    ports = document.get("ports", {})
    for port in sorted(ports, key=lambda port: -ports[port].get("prio", 0)):
        lagg.add_port(port)
        _add_port(lagg, port, ports[port])
    if name in ("loadbalance", "lacp"):
        words = runner.pop("tx_hash", _TX_HASH_DEFAULT)
        layers = sorted({_LAYERS[word] for word in words if word in _LAYERS})
        lagg.set("lagghash", layers)
    for key, value in runner.items():
        _add_runner(lagg, key, value)
    if "hwaddr" in document:
        lagg.set("mac", str(document["hwaddr"]).lower())
    known = ("device", "runner", "ports", "hwaddr")
    for key in (key for key in document if key not in known):
        lagg.note(key, _TEAM_NOTES.get(key, "has no equivalent"))
    return laggs


_TEAM_NOTES = {
    "link_watch": "the kernel tells laggd of a link at once; nothing else is asked",
    "notify_peers": "another active port is announced once for each address",
    "mcast_rejoin": "memberships are not sent anew",
}


def _add_runner(lagg: Imported, key: str, value: object) -> None:
    if key == "active" and value is False:
        lagg.set("lacp_active", False)
    elif key == "fast_rate":
        lagg.set("lacp_fast_timeout", value)
    elif key == "sys_prio":
        lagg.set("lacp_system_priority", value)
    elif key == "min_ports":
        lagg.set("lacp_min_links", value)
    elif key == "agg_select_policy" and value in _AGG_SELECT:
        lagg.set("ad_select", _AGG_SELECT[str(value)])
    elif key != "active":
        lagg.note(f"runner {key}", "has no equivalent")


def _add_port(lagg: Imported, port: str, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if key == "lacp_prio":
            lagg.set_port(port, "lacp_port_priority", value)
        elif key == "prio":
            lagg.note(f"ports {port} prio {value}", "the first of ports is preferred")
        else:
            why = _TEAM_NOTES.get(key, "has no equivalent")
            lagg.note(f"ports {port} {key}", why)
