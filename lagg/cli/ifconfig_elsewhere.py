# SPDX-License-Identifier: BSD-2-Clause
"""Words of FreeBSD's ifconfig(8) that another program has on Linux: which one.

Owns these tables, for the grammar and for who imports an rc.conf.  Knows no line.
"""

from __future__ import annotations

from typing import NamedTuple


class Tool(NamedTuple):
    """What does on Linux what the word does on FreeBSD."""

    remedy: str  # VALUE is the word's own
    takes_value: bool = False
    secret: bool = False  # its value is not to be shown


_FEATURES = {
    "rxcsum": "rx",
    "rxcsum6": "rx",
    "txcsum": "tx",
    "txcsum6": "tx",
    "tso": "tso",
    "tso4": "tx-tcp-segmentation",
    "tso6": "tx-tcp6-segmentation",
    "lro": "lro",
    "vlanhwtag": "rxvlan",
    "vlanhwfilter": "rx-vlan-filter",
    "vlanhwcsum": "tx",
    "vlanhwtso": "tso",
}
"""Offloads by ifconfig(8)'s names, and by ethtool(8)'s."""

_WAKE = ("wol", "wol_ucast", "wol_mcast", "wol_magic")

_OF_FREEBSD = (
    *("vlanmtu", "polling", "toe", "toe4", "toe6", "netmap", "mextpg", "nomap"),
    *("txrtlmt", "hwrxtstmp", "rxtls", "txtls", "txtlsrtlmt", "txtls4", "txtls6"),
    *("link0", "link1", "link2", "monitor", "ppromisc"),
)
_NO_EQUIVALENT = "Linux has no such thing"
_SPEED = "use ethtool(8): ethtool -s NAME speed N duplex full"
_NAMESPACE = "Linux has network namespaces: ip link set dev NAME netns N"
_VLAN = "use ip(8): ip link add link LINK name NAME type vlan id N"
_CARP = "Linux has no CARP; keepalived(8) speaks VRRP"


def _both(word: str, on: str, off: str) -> dict[str, Tool]:
    """A word, and what a minus sign before it asks for."""
    return {word: Tool(on), f"-{word}": Tool(off)}


def _features() -> dict[str, Tool]:
    found: dict[str, Tool] = {}
    for word, feature in _FEATURES.items():
        setting = f"use ethtool(8): ethtool -K NAME {feature}"
        found |= _both(word, f"{setting} on", f"{setting} off")
    for word in _WAKE:
        setting = "use ethtool(8): ethtool -s NAME wol"
        found |= _both(word, f"{setting} g", f"{setting} d")
    for word in _OF_FREEBSD:
        found |= _both(word, _NO_EQUIVALENT, _NO_EQUIVALENT)
    return found


ELSEWHERE: dict[str, Tool] = {
    **_features(),
    **_both(
        "staticarp",
        "use ip(8): ip link set dev NAME arp off; ip neigh add ...",
        "use ip(8): ip link set dev NAME arp on",
    ),
    "use_numa": Tool("laggd knows no NUMA domains"),
    "name": Tool("use ip(8), laggd follows: ip link set NAME name VALUE", True),
    "group": Tool("use ip(8): ip link set dev NAME group VALUE", True),
    "-group": Tool("use ip(8): ip link set dev NAME group default", True),
    "fib": Tool("Linux has VRFs: ip link set dev NAME vrf VRF", True),
    "tunnelfib": Tool(_NO_EQUIVALENT, True),
    "maclabel": Tool(_NO_EQUIVALENT, True),
    "vnet": Tool(_NAMESPACE, True),
    "-vnet": Tool(_NAMESPACE, True),
    "media": Tool(_SPEED, True),
    "mediaopt": Tool(_SPEED, True),
    "-mediaopt": Tool(_SPEED, True),
    "mode": Tool(_SPEED, True),
    "instance": Tool(_SPEED, True),
    "vlan": Tool(_VLAN, True),
    "vlandev": Tool(_VLAN, True),
    "vlanproto": Tool(_VLAN, True),
    "vlanpcp": Tool(_VLAN, True),
    "vhid": Tool(_CARP, True),
    "advbase": Tool(_CARP, True),
    "advskew": Tool(_CARP, True),
    "pass": Tool(_CARP, True, secret=True),
    "state": Tool(_CARP, True),
    "prefixlen": Tool("use ip(8): ip addr add ADDRESS/VALUE dev NAME", True),
}
"""By the word; those of addresses beside the first are the grammar's own."""

INET6_WORDS: dict[str, bool] = {
    **dict.fromkeys(("alias", "-alias", "add", "delete", "anycast", "eui64"), False),
    **dict.fromkeys(("tentative", "deprecated", "autoconf", "accept_rtadv"), False),
    **dict.fromkeys(("-accept_rtadv", "auto_linklocal", "-auto_linklocal"), False),
    **dict.fromkeys(("ifdisabled", "-ifdisabled", "no_dad", "-no_dad"), False),
    **dict.fromkeys(("no_prefer_iface", "-no_prefer_iface", "no_radr"), False),
    **dict.fromkeys(("-no_radr", "nud", "-nud", "defaultif", "-defaultif"), False),
    **dict.fromkeys(("prefer_source", "-prefer_source", "stableaddr"), False),
    **dict.fromkeys(("prefixlen", "pltime", "vltime"), True),
}
"""What may follow `inet6`, and whether a value follows it in turn."""
