# SPDX-License-Identifier: BSD-2-Clause
"""Linux bonding's bonds as drafts: its options and what each is here.

Owns bonding's words and numbers (the kernel's Documentation/networking/bonding.rst and
its tables of options), for every file that configures it.  Pure; knows no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lagg.cli.importing import watches
from lagg.cli.importing.draft import Draft, Drafts
from lagg.cli.importing.text import whole

MODES = {
    "balance-rr": "roundrobin",
    "active-backup": "failover",
    "balance-xor": "loadbalance",
    "broadcast": "broadcast",
    "802.3ad": "lacp",
    "balance-tlb": "tlb",
    "balance-alb": "alb",
}
"""By BOND_MODE_*: the place of each is its number."""

POLICIES = {
    "layer2": ["l2"],
    "layer3+4": ["l3", "l4"],
    "layer2+3": ["l2", "l3"],
    "encap2+3": ["l2", "l3"],
    "encap3+4": ["l3", "l4"],
    "vlan+srcmac": ["l2"],
}
"""By BOND_XMIT_POLICY_*: the place of each is its number."""

AD_SELECT = {
    "stable": "stable",
    "bandwidth": "bandwidth",
    "count": "count",
    "actor_port_prio": "port-priority",
}
"""By BOND_AD_*: the place of each is its number."""

RESELECT = {"always": "always", "better": "better", "failure": "failure"}
"""By BOND_PRI_RESELECT_*: the place of each is its number."""

FAIL_OVER_MAC = {"none": "stable", "active": "active", "follow": "own"}
"""By BOND_FOM_*: the place of each is its number."""

_ON = {"on": True, "1": True, "off": False, "0": False}
_SWITCHES = {
    "lacp_rate": (
        "lacp_fast_timeout",
        {"fast": True, "1": True, "slow": False, "0": False},
    ),
    "lacp_active": ("lacp_active", _ON),
    "coupled_control": ("lacp_coupled", _ON),
    "all_slaves_active": ("failover_rx_all", _ON),
}
_NUMBERS = {
    "ad_actor_sys_prio": "lacp_system_priority",
    "min_links": "lacp_min_links",
    "packets_per_slave": "rr_limit",
    "updelay": "up_delay_ms",
    "downdelay": "down_delay_ms",
    "num_grat_arp": "announce_count",
    "num_unsol_na": "announce_count",  # which bonding keeps as one
    "peer_notif_delay": "announce_interval_ms",
    "resend_igmp": "rejoin_count",
}
_OF_PORTS = {
    "prio": (("failover", "tlb", "alb"), "priority"),
    "actor_port_prio": (("lacp",), "lacp_port_priority"),
}
"""Options of a port: the protocols that ask for them, and ours."""

_NO_MAC = "00:00:00:00:00:00"

_LINK = "the kernel tells laggd of a link at once; nothing is polled"
TLB_INTERVAL_MS = 10_000
"""After which bonding looks at the load anew (BOND_TLB_REBALANCE_INTERVAL)."""
_WHY = {
    "miimon": _LINK,
    "use_carrier": _LINK,
    "fail_over_mac": "of mode active-backup alone: all ports have the lagg's MAC",
    "active_slave": "a state and no setting: laggctl set --active",
    "tlb_dynamic_lb": "of modes balance-tlb and balance-alb alone",
    "prio": "says who carries with failover and tlb alone",
    "actor_port_prio": "of mode 802.3ad alone",
    "queue_id": "a TAP has one queue",
    "lp_interval": "switches are taught when flows move, and not in between",
}
NO_EQUIVALENT = "has no equivalent"
_ELSEWHERE = "what is said elsewhere rules"

_HASHED = ("loadbalance", "lacp", "tlb", "alb")


Pairs = Iterable[tuple[str, str]]
"""Options and their values, in the order written; one may come again."""


class Bond:
    """One bond in the making, in bonding's words."""

    def __init__(self, name: str) -> None:
        self.draft = Draft(name)
        self.is_made = False  # else it was only spoken of
        self.options: dict[str, str] = {}
        self.of_ports: list[tuple[str, str, str]] = []  # port, option, value

    def add_options(self, options: Pairs) -> None:
        """Sets options of the bond itself; of each the last one counts."""
        for key, value in options:
            self._replace(key, value)

    def add_weaker(self, options: Pairs) -> None:
        """Sets options given for ports or the module, unless the bond has its own."""
        for key, value in options:
            if self.options.setdefault(key, value) != value:
                self.draft.note(f"{key} {value}", _ELSEWHERE)

    def _replace(self, key: str, value: str) -> None:
        before = self.options.pop(key, value)
        self.options[key] = value
        if before != value:
            self.draft.note(f"{key} {before}", _ELSEWHERE)


class Bonds:
    """Several, by name, and what the module is loaded with."""

    def __init__(self) -> None:
        self.module: list[tuple[str, str]] = []  # options of all bonds
        self._found: dict[str, Bond] = {}

    def of(self, name: str) -> Bond:
        """The bond of this name, which may not be made yet."""
        return self._found.setdefault(name, Bond(name))

    def made(self, name: str) -> Bond:
        """The bond of this name, made from now on."""
        bond = self.of(name)
        bond.is_made = True
        return bond

    def __iter__(self) -> Iterator[Bond]:
        """The bonds that are made."""
        return (bond for bond in self._found.values() if bond.is_made)

    @property
    def names(self) -> frozenset[str]:
        """The names of these bonds and of their ports."""
        bonds = {bond.draft.name for bond in self}
        return frozenset(bonds.union(*(bond.draft.ports for bond in self)))

    def finish(self, drafts: Drafts) -> None:
        """The bonds that are made as drafts, in the order they were named."""
        for bond in self:
            bond.add_weaker(self.module)
            set_options(bond.draft, bond.options, bond.of_ports)
            drafts.add(bond.draft)
        for bond in self._found.values():
            if not bond.is_made:
                for what, _ in bond.draft.notes:
                    drafts.leave(what, f"{bond.draft.name} is no bond here")
        if self.module and not list(self):
            for key, value in self.module:
                drafts.leave(f"bonding {key} {value}", "there is no bond here")


def pairs(words: Iterable[str]) -> list[tuple[str, str]]:
    """`mode=1 miimon=100`; a word without a value has the value ""."""
    parts = (word.partition("=") for word in words)
    return [(key, value) for key, _, value in parts]


def set_options(
    draft: Draft,
    options: Mapping[str, str],
    of_ports: Iterable[tuple[str, str, str]] = (),
) -> None:
    """Bonding's options, by its names with underscores, and its defaults.

    `of_ports`: a port, an option of it, and the value.
    """
    proto = _set_mode(draft, options.get("mode"))
    for port, key, value in of_ports:
        _set_of_port(draft, port, key, value)
    done = (
        "mode",
        *_set_tlb(draft, options),
        *watches.BONDING,
        *watches.set_poll(draft, options),
    )
    for key, value in options.items():
        if key not in done:
            _set_option(draft, key, value)
    watches.set_bonding(draft, options)
    _set_pace(draft, options)
    _set_stay(draft)
    if proto in _HASHED and "lagghash" not in draft.keys:
        draft.set("lagghash", POLICIES["layer2"])


def _set_mode(draft: Draft, word: str | None) -> str | None:
    if word is None:
        draft.set("proto", MODES["balance-rr"])
        draft.note("mode", "none is said here; balance-rr is bonding's default")
        return MODES["balance-rr"]
    mode = _by_number(MODES, word)
    if mode is None:
        draft.note(f"mode {word}", "no such mode of bonding")
        return None
    draft.set("proto", MODES[mode])
    return MODES[mode]


def _set_tlb(draft: Draft, options: Mapping[str, str]) -> tuple[str, ...]:
    """Where flows move for their load, bonding tells them by the address alone.

    Answers with the options that are done by that.
    """
    if draft.keys.get("proto") not in ("tlb", "alb"):
        return ()
    if _ON.get(options.get("tlb_dynamic_lb", "on"), True):
        draft.set("balance_interval_ms", TLB_INTERVAL_MS)
        draft.set("lagghash", ["l3"])
        return "tlb_dynamic_lb", "xmit_hash_policy"
    return ("tlb_dynamic_lb",)


def _set_of_port(draft: Draft, port: str, key: str, value: str) -> None:
    """Where the mode asks for it: elsewhere our priority makes groups."""
    protos, ours = _OF_PORTS.get(key, ((), ""))
    number = whole(value.removeprefix("-"))
    if number is None or draft.keys.get("proto") not in protos:
        draft.note(f"{port} {key} {value}".rstrip(), _WHY.get(key, NO_EQUIVALENT))
        return
    draft.set_port(port, ours, -number if value.startswith("-") else number)


def _by_number(table: Mapping[str, object], word: str) -> str | None:
    """The word of a table that is meant by itself or by its place."""
    number = whole(word)
    if number is not None:
        return list(table)[number] if number < len(table) else None
    return word if word in table else None


def _set_policy(draft: Draft, word: str) -> None:
    policy = _by_number(POLICIES, word)
    if policy is None:
        draft.note(f"xmit_hash_policy {word}", "no such policy of bonding")
        return
    draft.set("lagghash", POLICIES[policy])
    if policy.startswith("encap"):
        draft.note(f"xmit_hash_policy {policy}", "headers inside a tunnel are not read")
    if policy == "vlan+srcmac":
        draft.note(f"xmit_hash_policy {policy}", "l2 has both MACs and the VLAN")


def _set_option(draft: Draft, key: str, value: str) -> None:
    number, said = whole(value), f"{key} {value}".rstrip()
    if key == "xmit_hash_policy":
        _set_policy(draft, value)
    elif key in _SWITCHES and value in _SWITCHES[key][1]:
        ours, values = _SWITCHES[key]
        draft.set(ours, values[value])
    elif key in _NUMBERS and number is not None:
        _set_number(draft, key, number)
    elif key == "ad_select" and _by_number(AD_SELECT, value):
        draft.set("ad_select", AD_SELECT[str(_by_number(AD_SELECT, value))])
    elif key == "primary_reselect" and _by_number(RESELECT, value):
        draft.set("reselect", RESELECT[str(_by_number(RESELECT, value))])
    elif key == "fail_over_mac" and _by_number(FAIL_OVER_MAC, value):
        _set_fail_over_mac(draft, str(_by_number(FAIL_OVER_MAC, value)))
    elif key == "ad_actor_system" and value != _NO_MAC:  # which is the bond's own
        draft.set("lacp_system", value, said)
    elif key == "primary" and value:
        _set_primary(draft, value.split())
    else:
        draft.note(said, _WHY.get(key, NO_EQUIVALENT))


def _set_number(draft: Draft, key: str, number: int) -> None:
    if key == "min_links":
        draft.set("lacp_min_links", max(number, 1), f"{key} {number}")
    elif number == 0 and key == "peer_notif_delay":
        return  # as without it
    else:
        draft.set(_NUMBERS[key], number, f"{key} {number}")


def _set_fail_over_mac(draft: Draft, word: str) -> None:
    if draft.keys.get("proto") != "failover" and word != "none":
        draft.note(f"fail_over_mac {word}", _WHY["fail_over_mac"])
        return
    draft.set("mac_policy", FAIL_OVER_MAC[word])
    if word == "follow":
        draft.note(
            "fail_over_mac follow", "ports keep their MACs, and let in the lagg's"
        )


def _set_pace(draft: Draft, options: Mapping[str, str]) -> None:
    """Without a delay of its own, bonding announces as often as it looks at links."""
    miimon = whole(options.get("miimon", "")) or 0
    repeats = draft.keys.get("announce_count", 1) not in (0, 1)
    if repeats and miimon and "announce_interval_ms" not in draft.keys:
        draft.set("announce_interval_ms", miimon, f"miimon {miimon}")


def _set_stay(draft: Draft) -> None:
    """Without a primary nothing makes bonding leave a port that carries."""
    prefers = any("priority" in keys for keys in draft.port_keys.values())
    named = "primary" in draft.keys or prefers
    if draft.keys.get("proto") in ("failover", "tlb", "alb") and not named:
        draft.set("reselect", "failure")


def _set_primary(draft: Draft, ports: list[str]) -> None:
    """The first of them that is a port; those behind it stand in for it (ifupdown)."""
    there = [port for port in ports if port in draft.ports]
    if there:
        draft.set("primary", there[0])
    if len(there) > 1:
        draft.put_first(there)
    for port in ports:
        if port not in there:
            draft.note(f"primary {port}", "no port of it")
