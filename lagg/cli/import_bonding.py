# SPDX-License-Identifier: BSD-2-Clause
"""Linux bonding's configuration as laggs: ifupdown, ip(8) commands, ifcfg files.

Owns bonding's options and what each is here.  Pure.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

from lagg.cli.imported import Imported, Laggs

_MODES = {
    "balance-rr": "roundrobin",
    "active-backup": "failover",
    "balance-xor": "loadbalance",
    "broadcast": "broadcast",
    "802.3ad": "lacp",
    "balance-tlb": "loadbalance",
    "balance-alb": "loadbalance",
}
_MODE_NUMBERS = dict(zip("0123456", _MODES, strict=True))
_POLICIES = {
    "layer2": ["l2"],
    "layer2+3": ["l2", "l3"],
    "layer3+4": ["l3", "l4"],
    "encap2+3": ["l2", "l3"],
    "encap3+4": ["l3", "l4"],
    "vlan+srcmac": ["l2"],
}
_POLICY_NUMBERS = dict(zip("012345", _POLICIES, strict=True))
_AD_SELECT = {
    "stable": "stable",
    "0": "stable",
    "bandwidth": "bandwidth",
    "1": "bandwidth",
    "count": "count",
    "2": "count",
    "actor_port_prio": "port-priority",
    "3": "port-priority",
}
_ON = {"on", "1", "yes"}
_NUMBERS = {
    "ad_actor_sys_prio": "lacp_system_priority",
    "min_links": "lacp_min_links",
}
_NOTES = {
    "miimon": "the kernel tells laggd of a link at once; nothing is polled",
    "use_carrier": "the kernel tells laggd of a link at once; nothing is polled",
    "updelay": "no delay: a port carries as soon as its link is up",
    "downdelay": "no delay: a port is left as soon as its link is down",
    "num_grat_arp": "another active port is announced once for each address",
    "num_unsol_na": "another active port is announced once for each address",
    "peer_notif_delay": "another active port is announced at once",
    "fail_over_mac": "all ports have the lagg's MAC",
    "primary_reselect": "the primary carries again as soon as its link is up",
    "arp_interval": "there is no ARP monitor",
    "arp_ip_target": "there is no ARP monitor",
    "arp_validate": "there is no ARP monitor",
    "resend_igmp": "memberships are not sent anew",
    "tlb_dynamic_lb": "flows are spread by their hash, not by load",
    "lp_interval": "there are no learning packets",
}
_HASHED = ("loadbalance", "lacp")


def set_options(lagg: Imported, options: Mapping[str, str]) -> None:
    """Bonding's options, by its names with underscores, and its defaults."""
    mode = options.get("mode", "balance-rr")
    mode = _MODE_NUMBERS.get(mode, mode)
    proto = _MODES.get(mode)
    if proto is None:
        lagg.note(f"mode {mode}", "no such mode of bonding")
        return
    lagg.set("proto", proto)
    if mode in ("balance-tlb", "balance-alb"):
        lagg.note(f"mode {mode}", "flows are spread by their hash, not by load")
    if proto in _HASHED:
        _set_policy(lagg, options.get("xmit_hash_policy", "layer2"))
    for key, value in options.items():
        if key not in ("mode", "xmit_hash_policy"):
            _set_option(lagg, proto, key, value)


def _set_policy(lagg: Imported, word: str) -> None:
    policy = _POLICY_NUMBERS.get(word, word)
    if policy not in _POLICIES:
        lagg.note(f"xmit_hash_policy {word}", "no such policy of bonding")
        return
    lagg.set("lagghash", _POLICIES[policy])
    if policy.startswith("encap"):
        lagg.note(f"xmit_hash_policy {policy}", "headers inside a tunnel are not read")
    if policy == "vlan+srcmac":
        lagg.note(f"xmit_hash_policy {policy}", "l2 has both MACs and the VLAN")


def _set_option(lagg: Imported, proto: str, key: str, value: str) -> None:
    switches = {
        "lacp_rate": ("lacp_fast_timeout", value in ("fast", "1"), True),
        "lacp_active": ("lacp_active", value in _ON, False),
        "coupled_control": ("lacp_coupled", value in _ON, True),
        "all_slaves_active": ("failover_rx_all", value in _ON, True),
    }
    if key in switches:
        ours, wanted, unlike_default = switches[key]
        if wanted is unlike_default:
            lagg.set(ours, wanted)
    elif key in _NUMBERS and value.isdecimal():
        if int(value) > 0:
            lagg.set(_NUMBERS[key], int(value))
    elif key == "ad_select" and value in _AD_SELECT:
        lagg.set("ad_select", _AD_SELECT[value])
    elif key == "ad_actor_system":
        lagg.set("lacp_system", value.lower())
    elif key == "packets_per_slave" and value.isdecimal() and int(value) > 0:
        lagg.set("rr_limit", int(value))
    elif key == "primary":
        lagg.put_first(value)
    else:
        why = _NOTES.get(key, "has no equivalent")
        lagg.note(f"{key} {value}", why)


# ---- ifupdown: /etc/network/interfaces ---------------------------------------------


def from_ifupdown(text: str) -> Laggs:
    """Stanzas with bond-mode, bond-slaves or bond-master."""
    laggs = Laggs()
    stanzas = list(_stanzas(text))
    for name, options in stanzas:
        bonding = _prefixed(options)
        if "slaves" in bonding or "mode" in bonding:
            _add_stanza(laggs.of(name), options, bonding, stanzas)
    return laggs


def _add_stanza(
    lagg: Imported,
    options: Mapping[str, str],
    bonding: dict[str, str],
    stanzas: list[tuple[str, dict[str, str]]],
) -> None:
    for port in bonding.pop("slaves", "").split():
        if port != "none":
            lagg.add_port(port)
    for name, others in stanzas:
        if _prefixed(others).get("master") == lagg.name:
            lagg.add_port(name)
    set_options(lagg, bonding)
    if "mtu" in options:
        lagg.set("mtu", int(options["mtu"]))
    if "hwaddress" in options:
        lagg.set("mac", options["hwaddress"].split()[-1].lower())
    for key in ("address", "gateway", "vlan-raw-device"):
        if key in options:
            lagg.note(f"{key} {options[key]}", "stays in /etc/network/interfaces")


def _stanzas(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(interface, its options) for each `iface`."""
    name, options = None, dict[str, str]()
    for line in text.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word in ("iface", "auto", "mapping", "source") or word.startswith("allow-"):
            if name is not None:
                yield name, options
            name, options = (rest.split()[0], {}) if word == "iface" else (None, {})
        elif word and not word.startswith("#") and name is not None:
            options[word] = rest.strip()
    if name is not None:
        yield name, options


def _prefixed(options: Mapping[str, str]) -> dict[str, str]:
    """bond-lacp-rate, bond_lacp_rate -> lacp_rate; the old `slaves`, too."""
    found = {}
    for key, value in options.items():
        plain = key.replace("-", "_")
        if plain.startswith("bond_"):
            found[plain.removeprefix("bond_")] = value
        elif plain == "slaves":
            found["slaves"] = value
    return found


# ---- ip(8) commands ----------------------------------------------------------------


def from_commands(text: str) -> Laggs:
    """Lines of `ip link add ... type bond ...` and `ip link set ... master ...`."""
    laggs, options = Laggs(), dict[str, dict[str, str]]()
    for line in re.split(r"\n|;|&&", text.replace("\\\n", " ")):
        words = shlex.split(line, comments=True)
        if words[:1] == ["sudo"]:
            words = words[1:]
        if words[:2] not in (["ip", "link"], ["ip", "l"]) or len(words) < 4:
            continue
        verb, words = words[2], words[3:]
        if words[0] in ("name", "dev"):
            words = words[1:]
        name, rest = words[0], words[1:]
        if "bond" in rest and "type" in rest:
            laggs.of(name)
            pairs = rest[rest.index("bond") + 1 :]
            options.setdefault(name, {}).update(_pairs(pairs))
        _add_set(laggs, options, name, _pairs(rest) if verb == "set" else {})
    for lagg in laggs:
        set_options(lagg, options.get(lagg.name, {}))
    return laggs


def _add_set(
    laggs: Laggs,
    options: Mapping[str, dict[str, str]],
    name: str,
    given: Mapping[str, str],
) -> None:
    if "master" in given:
        laggs.of(given["master"]).add_port(name)
    if name in options and "mtu" in given:
        laggs.of(name).set("mtu", int(given["mtu"]))
    if name in options and "address" in given:
        laggs.of(name).set("mac", given["address"].lower())


def _pairs(words: list[str]) -> dict[str, str]:
    """`a 1 up b 2` -> a, b; what stands alone is passed over."""
    found, at = {}, 0
    while at + 1 < len(words):
        if words[at] in ("up", "down"):
            at += 1
            continue
        found[words[at]] = words[at + 1]
        at += 2
    return found


# ---- ifcfg files: Red Hat and SUSE -------------------------------------------------


def from_ifcfg(files: Mapping[str, str]) -> Laggs:
    """ifcfg-bond0, ifcfg-eth0, ... by file name."""
    laggs = Laggs()
    found = {name: assignments(text) for name, text in files.items()}
    for file, values in found.items():
        name = _device(file, values)
        words = values.get("BONDING_OPTS") or values.get("BONDING_MODULE_OPTS")
        if words is None and "BONDING_MASTER" not in values:
            continue
        lagg = laggs.of(name)
        _add_ifcfg_ports(lagg, values, found)
        pairs = (word.partition("=") for word in (words or "").split())
        set_options(lagg, {key: value for key, _, value in pairs})
        if values.get("MTU"):
            lagg.set("mtu", int(values["MTU"]))
        if values.get("MACADDR"):
            lagg.set("mac", values["MACADDR"].lower())
        for key in ("IPADDR", "GATEWAY"):
            if key in values:
                lagg.note(f"{key} {values[key]}", "stays where it is")
    return laggs


def _add_ifcfg_ports(
    lagg: Imported, values: Mapping[str, str], files: Mapping[str, dict[str, str]]
) -> None:
    for key in sorted(values):
        if key.startswith("BONDING_SLAVE"):
            lagg.add_port(values[key])
    for file, others in files.items():
        if others.get("MASTER") == lagg.name:
            lagg.add_port(_device(file, others))


def _device(file: str, values: Mapping[str, str]) -> str:
    return values.get("DEVICE") or file.rpartition("/")[2].removeprefix("ifcfg-")


def assignments(text: str) -> dict[str, str]:
    """NAME="value" lines of a shell's configuration file; the last one counts."""
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name.isidentifier():
            found[name] = " ".join(shlex.split(value, comments=True))
    return found
