# SPDX-License-Identifier: BSD-2-Clause
"""What a lagg is to receive, and that its ports receive it (F-PR-FLAGS, F-PR-MC).

Owns when the kernel is asked, for it tells little of this by itself, and what a port
holds for its lagg: all multicast, groups, the lagg's MAC where the port has its own,
and promiscuity, which it needs when the lagg is promiscuous (also for another MAC above
it), and when VLANs stand on the lagg, or are asked in by a watch, and the port's NIC
keeps out tags that nobody registered with it.  Knows no memberships.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field

from lagg.errors import LaggError
from lagg.frozen import dataclass
from lagg.kernel.netlink import Netlink
from lagg.kernel.proc import multicast
from lagg.link import Link, RxFilter
from lagg.operations.uppers import UPPERS, taggers
from lagg.plan.shape import Shape
from lagg.plan.stations import let_in_beside
from lagg.ports.takeover import Takeover
from lagg.running.bundle import Bundle

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a lagg is to receive besides its own MAC."""

    promisc: bool
    allmulti: bool
    groups: frozenset[str]
    taggers: tuple[str, ...]  # what takes tagged frames, in words
    filters: frozenset[int]  # ifindexes of ports whose NIC would keep these out
    # What ports let in beside their own MAC, by ifindex.  A NIC that has no filter of
    # several is made promiscuous by the kernel.
    unicast: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def opening(self, ifindex: int) -> str | None:
        """Why this port is to be promiscuous, in words."""
        if self.promisc:
            return "its lagg is"
        if ifindex in self.filters:
            return f"its NIC filters VLANs, and {', '.join(self.taggers)} needs them"
        return None


class RxWanted:
    """Keeps the ports' receive filters.  For the event loop's thread alone."""

    def __init__(self, netlink: Netlink, takeover: Takeover) -> None:
        """Nothing is read before it is asked for."""
        self._netlink = netlink
        self._takeover = takeover
        self._met: dict[int, Wish] = {}  # by the lagg's ifindex

    async def update_all(self, bundles: Collection[Bundle]) -> None:
        """Meets the wish of every lagg that has another than the one met last.

        LaggError when the kernel does not answer.
        """
        wishes = await self._wishes(bundles) if bundles else {}
        self._met = {tap: wish for tap, wish in self._met.items() if tap in wishes}
        for bundle in bundles:
            tap = bundle.link.ifindex
            if tap in wishes and wishes[tap] != self._met.get(tap):
                self._apply(bundle, wishes[tap])

    async def update(self, bundle: Bundle) -> None:
        """Meets the wish of one lagg, also if it is the one met last."""
        for tap, wish in (await self._wishes([bundle])).items():
            self._met.pop(tap, None)
            self._apply(bundle, wish)

    async def update_port(self, bundle: Bundle, ifindex: int) -> None:
        """Meets its lagg's wish for a port that is to be.  LaggError; then not."""
        for wish in (await self._wishes([bundle], ifindex)).values():
            self._apply_to_port(bundle, wish, ifindex)

    def let_in(self, wanted: Shape) -> None:
        """Has ports let in what they must once the shape is the one that is wanted.

        Beside what they let in now, until that is adopted and update() called.
        LaggError: one does not.
        """
        for port in wanted.ports:
            macs = _lets_in(wanted, port.home_mac)
            if macs:
                self._takeover.let_in(port.link.ifindex, macs)

    async def _wishes(self, bundles: Collection[Bundle], *more: int) -> dict[int, Wish]:
        """By the lagg's ifindex; `more`: interfaces that are to be ports."""
        taps = {bundle.link.ifindex for bundle in bundles}
        # All at once, which takes the kernel time for each interface there is.
        groups = multicast(taps)
        links = await self._netlink.links()
        near = {
            i: link for i, link in links.items() if link.kind in UPPERS or i in taps
        }
        coming = [links[each] for each in more if each in links]
        found = {}
        for bundle in bundles:
            tap = bundle.link.ifindex
            counts = self._netlink.reception(tap)
            if counts is None:
                continue  # it is gone, and we are not told yet
            tagged = (*taggers(near, tap), *bundle.shape.asked_in_vlans)
            ports = [port.link.ifindex for port in bundle.shape.ports]
            found[tap] = Wish(
                promisc=counts.promiscuity > 0,
                allmulti=counts.allmulti > 0,
                groups=groups.get(tap, frozenset()),
                taggers=tagged,
                filters=await self._filters([*ports, *more] if tagged else []),
                unicast=_unicast(bundle.shape, coming),
            )
        return found

    async def _filters(self, ports: Iterable[int]) -> frozenset[int]:
        """The ports whose NIC keeps out VLANs that nobody registered with it."""
        return frozenset(
            [port for port in ports if await self._netlink.filters_vlans(port)]
        )

    def _apply(self, bundle: Bundle, wish: Wish) -> None:
        tap = bundle.link.ifindex
        self._met[tap] = wish
        for port in bundle.shape.ports:
            try:
                self._apply_to_port(bundle, wish, port.link.ifindex)
            except LaggError as error:
                log.warning("%s: %s", bundle.name, error)
                self._met.pop(tap, None)  # to be tried again

    def _apply_to_port(self, bundle: Bundle, wish: Wish, ifindex: int) -> None:
        opening = wish.opening(ifindex)
        macs = wish.unicast.get(ifindex, frozenset())
        rx = RxFilter(opening is not None, wish.allmulti, wish.groups, macs)
        self._takeover.set_rx_filter(ifindex, rx)
        bundle.note_opening(ifindex, opening)


def _lets_in(shape: Shape, home_mac: str) -> frozenset[str]:
    return shape.lets_in(home_mac) | let_in_beside(shape, home_mac)


def _unicast(shape: Shape, coming: Iterable[Link]) -> dict[int, frozenset[str]]:
    """What each port lets in; of `coming`, which are to be ports, likewise."""
    homes = {port.link.ifindex: port.home_mac for port in shape.ports}
    homes |= {link.ifindex: link.mac for link in coming}
    found = {ifindex: _lets_in(shape, mac) for ifindex, mac in homes.items()}
    return {ifindex: macs for ifindex, macs in found.items() if macs}
