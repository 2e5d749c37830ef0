# SPDX-License-Identifier: BSD-2-Clause
"""What stands on a lagg: VLANs, macvlans, bridges, and what stands on these.

Owns which of them speak through the lagg, which bring it tagged frames, and which MACs
of others are reached through it.  Pure.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from lagg.link import BridgePort, FdbEntry, Link, Stations

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


def taught(above: Sequence[Link], there: Stations) -> Iterator[FdbEntry]:
    """The MACs that speak through `above`, the speakers(), and have no address there.

    Each by the interface that a frame of it is to be sent by, and with the tag that it
    is to have: guests behind a bridge, a macvlan that lives in another namespace.
    """
    yield from _own(above, there)
    yield from _bridged(above, there)


def _own(above: Sequence[Link], there: Stations) -> Iterator[FdbEntry]:
    """What the speakers let in beside their own MAC, for somebody who uses it."""
    by_index = {link.ifindex: link for link in above}
    announced = {link.mac for link in above if there.addresses.get(link.ifindex)}
    found = [
        each
        for each in there.macs
        if not each.master and each.ifindex in by_index and each.mac not in announced
    ]
    # What a VLAN lets in the interface below it must let in, too.
    higher = {(by_index[each.ifindex].lower, each.mac) for each in found}
    return (each for each in found if (each.ifindex, each.mac) not in higher)


def _bridged(above: Sequence[Link], there: Stations) -> Iterator[FdbEntry]:
    """What bridges above the lagg have learnt behind their other ports."""
    ours: defaultdict[int, list[int]] = defaultdict(list)
    for link in above:
        if link.master:
            ours[link.master].append(link.ifindex)
    for entry in there.macs:
        ports = ours.get(entry.master, ()) if entry.master and not entry.local else ()
        if entry.ifindex not in ports:
            for port in ports:
                tag = _tag(entry.vlan, there.bridge_ports.get(port, BridgePort()))
                if tag is not None:
                    yield FdbEntry(port, entry.mac, vlan=tag)


def _tag(vlan: int, port: BridgePort) -> int | None:
    """The tag with which frames of a VLAN leave a bridge by a port; None: they do not.

    0: without one.
    """
    if not port.forwards or (vlan and vlan not in port.tagged):
        return None
    return vlan if port.tagged.get(vlan) else 0
