# SPDX-License-Identifier: BSD-2-Clause
"""Bonding's monitors and team's link watches as watches of ours.

Owns what their settings are here.  Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lagg.cli.importing.draft import Draft
from lagg.cli.importing.text import whole
from lagg.watches import MISSED_MAX

BONDING = (
    *("arp_interval", "arp_ip_target", "ns_ip6_target"),
    *("arp_missed_max", "arp_all_targets", "arp_validate"),
)
"""The options of bonding that are read here."""

_POLLED = ("miimon", "use_carrier")
_OFF = ("off", "0")

_SPREADING = ("roundrobin", "loadbalance", "broadcast")
"""With these the partner is one device, which answers a probe by whichever port."""

_LOOKED_AT = "every port asks for itself, and its answers are looked at always"
_NOBODY_ASKED = "nobody is asked without arp_interval and a target"
_MISSED_MAX = "2"
_ALL = {"all": True, "1": True, "any": False, "0": False}


def set_bonding(draft: Draft, options: Mapping[str, str]) -> None:
    """The watches of a bond, as its options say."""
    said = {key: options[key] for key in BONDING if key in options}
    interval = whole(said.get("arp_interval", ""))
    arp, ns = (_listed(said, key) for key in ("arp_ip_target", "ns_ip6_target"))
    if not interval or not (arp or ns):
        for key, value in said.items():
            draft.note(f"{key} {value}".rstrip(), _NOBODY_ASKED)
        return
    if "arp_validate" in said:
        draft.note(f"arp_validate {said['arp_validate']}", _LOOKED_AT)
    every = said.get("arp_all_targets", "any")
    if every not in _ALL:
        draft.note(f"arp_all_targets {every}", "neither any nor all")
    missed_max = said.get("arp_missed_max", _MISSED_MAX)
    rest = f"interval_ms={interval},missed_max={missed_max}{_answer(draft)}"
    groups = (("arp", arp), ("ns", ns))
    if _ALL.get(every, False):
        found = [
            f"{kind},target={each},{rest}" for kind, hosts in groups for each in hosts
        ]
    else:
        found = [
            ",".join([kind, *(f"target={each}" for each in hosts), rest])
            for kind, hosts in groups
            if hosts
        ]
        if len(found) > 1:
            draft.set("watch_policy", "any")
    draft.set("watch", found, " ".join(f"{k} {v}" for k, v in said.items()))


def set_poll(draft: Draft, options: Mapping[str, str]) -> tuple[str, ...]:
    """A bond that has its drivers asked; which options say so.

    Of miimon alone nothing is left to do: the kernel tells of a link at once.
    """
    interval = whole(options.get("miimon", ""))
    if options.get("use_carrier") not in _OFF or not interval:
        return ()
    missed = 1 + (whole(options.get("downdelay", "")) or 0) // interval
    found = f"poll,interval_ms={interval},missed_max={min(missed, MISSED_MAX)}"
    draft.set("watch", [found], " ".join(f"{key} {options[key]}" for key in _POLLED))
    return _POLLED


def _answer(draft: Draft) -> str:
    return ",answer=lagg" if draft.keys.get("proto") in _SPREADING else ""


def _listed(said: Mapping[str, str], key: str) -> list[str]:
    """Addresses with commas or blanks between them; sysfs has a plus before each."""
    words = said.get(key, "").replace(",", " ").split()
    return list(dict.fromkeys(word.removeprefix("+") for word in words))


# ---- team --------------------------------------------------------------------------

_KINDS = {"arp_ping": "arp", "nsna_ping": "ns"}
_WORDS = {
    "target_host": "target",
    "interval": "interval_ms",
    "missed_max": "missed_max",
    "init_wait": "init_wait_ms",
    "vlanid": "vlan",
}
_NOTED = {
    "source_host": "a probe is from no address: no host learns a wrong one",
    **dict.fromkeys(
        ("validate_active", "validate_inactive", "send_always"), _LOOKED_AT
    ),
}


def probes(value: object) -> bool:
    """Whether it is a watch of team that asks somebody."""
    return isinstance(value, dict) and value.get("name") in _KINDS


def team_watch(draft: Draft, watch: Mapping[str, Any], ports: Iterable[str]) -> str:
    """A watch of team in our words, of these ports alone if there are any."""
    words = [_KINDS[watch["name"]]]
    for key, value in watch.items():
        if key in _WORDS:
            words.append(f"{_WORDS[key]}={value}")
        elif key in _NOTED:
            draft.note(f"link_watch {key} {json.dumps(value)}", _NOTED[key])
        elif key != "name":
            draft.note(f"link_watch {key} {json.dumps(value)}", "has no equivalent")
    of_ports = "".join(f",port={port}" for port in ports)
    return f"{','.join(words)}{_answer(draft)}{of_ports}"
