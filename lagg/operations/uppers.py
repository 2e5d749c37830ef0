# SPDX-License-Identifier: BSD-2-Clause
"""What stands on a lagg: VLANs, macvlans, bridges, and what stands on these.

Owns which of them speak through the lagg, and which bring it tagged frames.  Pure.
"""

from collections.abc import Mapping

from lagg.link import Link

UPPERS = frozenset({"vlan", "macvlan", "macvtap", "ipvlan", "bridge"})
"""Kinds of interfaces that speak through a lagg with addresses of their own."""

TAGGERS = frozenset({"vlan", "bridge"})
"""Kinds that take tagged frames from the lagg.  What a bridge does with VLANs is not
told with its link; one that filters them need not make the lagg promiscuous."""


def speakers(links: Mapping[int, Link], lagg: int) -> list[Link]:
    """The interface `lagg`, and what stands on it, on that, and so on.

    Nothing when it is gone, which we are not told yet.
    """
    # Each is looked at once: thousands of VLANs must not keep a lost carrier waiting.
    above: dict[int, list[Link]] = {}
    for link in links.values():
        above.setdefault(link.lower, []).append(link)
    found = {lagg: links[lagg]} if lagg in links else {}
    left = list(found.values())
    for below in left:  # it grows meanwhile
        masters = [links[below.master]] if below.master in links else []
        for link in (*above.get(below.ifindex, ()), *masters):
            if link.kind in UPPERS and link.ifindex not in found:
                found[link.ifindex] = link
                left.append(link)
    return left


def taggers(links: Mapping[int, Link], lagg: int) -> list[str]:
    """The names of what stands on `lagg` and takes tagged frames from it."""
    return [link.name for link in speakers(links, lagg) if link.kind in TAGGERS]
