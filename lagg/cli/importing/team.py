# SPDX-License-Identifier: BSD-2-Clause
"""teamd.conf(5)'s documents as drafts.

Owns what team's words are here; the documents come as JSON, or inside ifcfg files.
Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lagg.cli.importing.bonding import NO_EQUIVALENT, Bonds
from lagg.cli.importing.draft import Draft, Drafts
from lagg.cli.importing.text import Source
from lagg.cli.importing.watches import probes, team_watch

_RUNNERS = {
    "activebackup": "failover",
    "roundrobin": "roundrobin",
    "random": "roundrobin",
    "broadcast": "broadcast",
    "loadbalance": "loadbalance",
    "lacp": "lacp",
}
_HASHED = ("loadbalance", "lacp")
_LAYERS = {
    **dict.fromkeys(("eth", "vlan"), "l2"),
    **dict.fromkeys(("ipv4", "ipv6", "ip", "l3"), "l3"),
    **dict.fromkeys(("tcp", "udp", "sctp", "l4"), "l4"),
}
_TX_HASH_DEFAULT = ("eth", "ipv4", "ipv6")
_AGG_SELECT = {
    "lacp_prio": "stable",
    "lacp_prio_stable": "stable",
    "bandwidth": "bandwidth",
    "count": "count",
}
_SETTINGS = {
    "active": "lacp_active",
    "fast_rate": "lacp_fast_timeout",
    "sys_prio": "lacp_system_priority",
    "min_ports": "lacp_min_links",
}
"""The lacp runner's, which take the same values here."""

_AT_ONCE = "the kernel tells laggd of a link at once; nothing else is asked"
_DELAYS_OF_ALL = "delays are of all ports: up_delay_ms, down_delay_ms"
_NO_PROBE = "there is no such link watch"
_WATCHING = ("link_watch", "link_watch_policy")
_HWADDR_POLICIES = {"same_all": "stable", "by_active": "active", "only_active": "own"}
_REPEATED = {
    "notify_peers": {"count": "announce_count", "interval": "announce_interval_ms"},
    "mcast_rejoin": {"count": "rejoin_count"},
}
_WHY = {
    "mcast_rejoin interval": "groups are reported every 200 ms",
    "tx_balancer": "flows are spread by their hash, not by load",
    "prio": "says who carries with the runner activebackup alone",
    "hwaddr_policy": "of runner activebackup alone: all ports have the lagg's MAC",
    "lacp_key": "a lagg has one key for all its ports: lacp_key",
    "fallback": "see lacp_fallback_timeout, which is in seconds",
    "queue_id": "a TAP has one queue",
}


def is_file_of_team(source: Source) -> bool:
    """Whether it is JSON, and a team's."""
    try:
        return is_team(json.loads(source.text))
    except ValueError:
        return False


def is_team(document: object) -> bool:
    """Whether it is a team's, and not another program's JSON."""
    if not isinstance(document, dict):
        return False
    parts = [document[key] for key in ("runner", "ports") if key in document]
    return bool(parts) and all(isinstance(part, dict) for part in parts)


def read(sources: Sequence[Source], _: Bonds, drafts: Drafts) -> None:
    """A team for each file.  ValueError where one is none."""
    for source in sources:
        document = json.loads(source.text)
        drafts.add(team(document, source.base.partition(".")[0]))


def team(document: Mapping[str, Any], name: str) -> Draft:
    """The team of a document; `name` is its name where the document has none."""
    draft = Draft(str(document.get("device", name)))
    runner = dict(document.get("runner", {}))
    _set_runner(draft, runner)
    ports = document.get("ports", {})
    for port in ports:
        draft.add_port(port)
        _add_port(draft, port, ports[port])
    _set_sticky(draft, ports)
    for key, value in runner.items():
        _add_runner(draft, key, value)
    for key, value in document.items():
        if key == "hwaddr":
            draft.set("mac", value, f"hwaddr {value}")
        elif key in _REPEATED and isinstance(value, dict):
            _set_repeated(draft, key, value)
        elif key not in ("device", "runner", "ports", *_WATCHING):
            _note(draft, key, value)
    _set_watches(draft, document)
    return draft


def _set_runner(draft: Draft, runner: dict[str, Any]) -> None:
    """The protocol and its hash; what is left in `runner` are its settings."""
    name = str(runner.pop("name", "roundrobin"))
    draft.set("proto", _RUNNERS.get(name, "failover"))
    if name not in _RUNNERS:
        draft.note(f"runner {name}", NO_EQUIVALENT)
    if name == "random":
        draft.set("rr_limit", 0)
    if name in _HASHED or "tx_hash" in runner:
        words = runner.pop("tx_hash", list(_TX_HASH_DEFAULT))
        _set_hash(draft, words if isinstance(words, list) else [words])


def _set_hash(draft: Draft, words: list[Any]) -> None:
    for word in words:
        if str(word) not in _LAYERS:
            draft.note(f"tx_hash {word}", "no layer of lagghash")
    layers = {_LAYERS[str(word)] for word in words if str(word) in _LAYERS}
    if not layers:
        draft.note(f"tx_hash {json.dumps(words)}", "teamd's default is taken")
        layers = {_LAYERS[word] for word in _TX_HASH_DEFAULT}
    draft.set("lagghash", sorted(layers))


def _add_runner(draft: Draft, key: str, value: object) -> None:
    if key in _SETTINGS:
        none = key == "min_ports" and value == 0 and value is not False
        wanted = 1 if none else value
        draft.set(_SETTINGS[key], wanted, f"runner {key} {json.dumps(value)}")
    elif (
        key == "hwaddr_policy"
        and draft.keys["proto"] == "failover"
        and str(value) in _HWADDR_POLICIES
    ):
        draft.set("mac_policy", _HWADDR_POLICIES[str(value)])
    elif key == "agg_select_policy" and str(value) in _AGG_SELECT:
        draft.set("ad_select", _AGG_SELECT[str(value)])
        if value == "lacp_prio":
            draft.note(f"runner {key} {value}", "an aggregator in use is kept (stable)")
    else:
        _note(draft, key, value, of="runner ")


def _add_port(draft: Draft, port: str, settings: object) -> None:
    if not isinstance(settings, dict):
        draft.note(f"ports {port} {json.dumps(settings)}", "no settings of a port")
        return
    for key, value in settings.items():
        if key == "lacp_prio":
            draft.set_port(port, "lacp_port_priority", value)
        elif key == "prio" and draft.keys["proto"] == "failover":
            draft.set_port(port, "priority", value)
        elif key == "link_watch":
            _note_watches(draft, value, of=f"ports {port} ")
        elif key != "sticky" or not isinstance(value, bool):
            _note(draft, key, value, of=f"ports {port} ")


def _set_repeated(draft: Draft, key: str, settings: Mapping[str, object]) -> None:
    for word, value in settings.items():
        if word in _REPEATED[key]:
            said = f"{key} {word} {json.dumps(value)}"
            draft.set(_REPEATED[key][word], value, said)
        else:
            _note(draft, f"{key} {word}", value)


def _set_sticky(draft: Draft, ports: Mapping[str, Any]) -> None:
    """A port that stays when a better one is back: here all do so, or none.

    A port that is no better than the one that carries never takes over from it.
    """
    settings = [each for each in ports.values() if isinstance(each, dict)]
    sticky = [each.get("sticky") is True for each in settings]
    prefers = any("prio" in each for each in settings)
    if any(sticky):
        draft.set("reselect", "failure")
    elif draft.keys.get("proto") == "failover" and not prefers:
        draft.set("reselect", "better")
    if any(sticky) and not all(sticky):
        draft.note("sticky true, of some ports", "reselect is of all ports")


def _set_watches(draft: Draft, document: Mapping[str, Any]) -> None:
    """The team's link watches; a port's own stand in their place (teamd.conf(5))."""
    ports = document.get("ports", {})
    own = {
        port: ports[port]["link_watch"]
        for port in draft.ports
        if isinstance(ports[port], dict) and "link_watch" in ports[port]
    }
    others = [port for port in draft.ports if port not in own] if own else []
    found = []
    for each in _watches(document.get("link_watch", [])):
        if _is_delay(each):
            _set_delays(draft, each)
        elif probes(each):
            found.append(team_watch(draft, each, others))
        else:
            _note(draft, "link_watch", each)
    for port, value in own.items():
        found += [team_watch(draft, w, [port]) for w in _watches(value) if probes(w)]
    if found:
        draft.set("watch", found, f"link_watch {'; '.join(found)}")
    policy = document.get("link_watch_policy", "any" if len(found) > 1 else "all")
    if policy != "all":
        draft.set("watch_policy", policy, f"link_watch_policy {json.dumps(policy)}")


def _watches(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _note_watches(draft: Draft, value: object, of: str) -> None:
    """A port's own that ask nobody."""
    for each in _watches(value):
        if not probes(each):
            _note(draft, "link_watch", each, of)


def _is_delay(value: object) -> bool:
    """Whether it is team's watch of a link, whose delays are ours."""
    return isinstance(value, dict) and value.get("name") == "ethtool"


def _set_delays(draft: Draft, watch: Mapping[str, Any]) -> None:
    for theirs, ours in (("delay_up", "up_delay_ms"), ("delay_down", "down_delay_ms")):
        if theirs in watch:
            draft.set(ours, watch[theirs], f"link_watch {theirs} {watch[theirs]}")
    for key, value in watch.items():
        if key not in ("name", "delay_up", "delay_down"):
            draft.note(f"link_watch {key} {json.dumps(value)}", NO_EQUIVALENT)


def _note(draft: Draft, key: str, value: object, of: str = "") -> None:
    why = _why_watch(value) if key == "link_watch" else _WHY.get(key, NO_EQUIVALENT)
    draft.note(f"{of}{key} {json.dumps(value, ensure_ascii=False)}", why)


def _why_watch(value: Any) -> str:  # noqa: ANN401  as JSON has it
    """Why a link watch that asks nobody has no equivalent."""
    if not _is_delay(value):
        return _NO_PROBE
    return _DELAYS_OF_ALL if {*value} & {"delay_up", "delay_down"} else _AT_ONCE
