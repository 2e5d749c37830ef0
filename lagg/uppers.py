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
    """The interface `lagg`, and what stands on it, on that, and so on."""
    found = [links[lagg]]
    for below in found:  # it grows meanwhile
        found += [
            link
            for link in links.values()
            if below.ifindex == link.lower or below.master == link.ifindex
            if link.kind in UPPERS and link not in found
        ]
    return found


def taggers(links: Mapping[int, Link], lagg: int) -> list[str]:
    """The names of what stands on `lagg` and takes tagged frames from it."""
    if lagg not in links:  # it goes, and we are not told yet
        return []
    return [link.name for link in speakers(links, lagg) if link.kind in TAGGERS]
