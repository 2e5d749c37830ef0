# SPDX-License-Identifier: BSD-2-Clause
"""The laggs of this network namespace, and what operations on them share.

Owns who is whose port, the event sinks, and the upkeep that follows any change: the
lagg's speed, and whether its ports send by AF_XDP.  Knows no order of effects, which
is changes.py's.
"""

import errno
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from lagg.errors import LaggError, logged
from lagg.events import Event, EventKind
from lagg.kernel.native import Device, programs_at_egress
from lagg.kernel.netlink import Netlink
from lagg.kernel.proc import listeners
from lagg.lacp.key import identity_of
from lagg.link import EgressRules, Link, Segments
from lagg.model import Transmit
from lagg.operations.rx_wanted import RxWanted
from lagg.plan.shape import Port
from lagg.ports.takeover import Takeover
from lagg.running.balancing import Balancing
from lagg.running.bundle import Bundle
from lagg.running.draining import Draining
from lagg.running.lacp_io import LacpIo
from lagg.running.negotiator import Negotiator
from lagg.running.traffic import Traffic
from lagg.running.watching import Watching
from lagg.tasks import Tasks

ALIAS = "laggd: "
"""What our aliases begin with, by which we know them."""

log = logging.getLogger(__name__)


class Laggs:
    """All laggs.  For the event loop's thread alone."""

    def __init__(
        self,
        netlink: Netlink,
        takeover: Takeover,
        make_device: Callable[[str, int], Device],
        kept_alert: int | None = None,
    ) -> None:
        """`make_device` makes the TAP of a name, its workers running.

        They write to the eventfd that is its other argument; `kept_alert`: to this one,
        if another laggd's do already.
        """
        self.netlink = netlink
        self.takeover = takeover
        self.rx_wanted = RxWanted(netlink, takeover)
        self._make_device = make_device
        self.bundles: dict[str, Bundle] = {}
        # By ifindex, and to be doubted: who is in `bundles` and has it still?
        self._by_tap: dict[int, Bundle] = {}
        self._by_port: dict[int, Bundle] = {}
        self._identities: set[int] = set()  # of laggs, and of those being made
        self._egress = EgressRules()  # when looked for last
        self._spread: set[int] = set()  # then had several transmit queues
        self._came_since: set[int] = set()  # ifindexes of ports: theirs is not known
        self._traffic = Traffic(
            lambda: [bundle.device for bundle in self.bundles.values()], kept_alert
        )
        self._tasks = Tasks()
        self._sinks: list[Callable[[Event], None]] = []
        self.changed: Callable[[Bundle], None] = lambda _: None
        """Is called with a lagg of which a successor must know something else now."""
        self.refreshed: Callable[[Bundle], None] = lambda _: None
        """Is called with a lagg of which he may know times and counts a bit later."""
        self.moved: Callable[[Bundle], None] = lambda _: None
        """Is called with a lagg to which there may be another way now."""
        self.settled: Callable[[], None] = lambda: None
        """Is called when an operation has ended, and closed what it had to close."""

    async def close(self) -> None:
        """Ends the upkeep.  To be called when there is no lagg any more."""
        await self._tasks.close()
        self._traffic.close()

    def subscribe(self, sink: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `sink` with each event from now on; returns what ends it."""
        self._sinks.append(sink)
        return lambda: self._sinks.remove(sink)

    def emit(self, event: Event) -> None:
        """Tells every sink."""
        for sink in tuple(self._sinks):
            sink(event)

    def named(self, name: str) -> Bundle | None:
        """The lagg of that name, or with that alternative name, as ip(8) finds it."""
        if name in self.bundles:
            return self.bundles[name]
        also = (b for b in self.bundles.values() if name in b.link.altnames)
        return next(also, None)

    def find(self, name: str) -> Bundle:
        """The lagg that named() finds.  LaggError (ENOENT)."""
        bundle = self.named(name)
        if bundle is None:
            raise LaggError(name, "no such lagg", errno.ENOENT)
        return bundle

    def make_device(self, name: str) -> Device:
        """Makes the TAP of a name, its workers running.  OSError, LaggError."""
        return self._make_device(name, self._traffic.fileno())

    def add(self, bundle: Bundle) -> None:
        """Takes in a lagg that has been made."""
        self.bundles[bundle.name] = bundle
        self._by_tap[bundle.link.ifindex] = bundle
        bundle.watch(lambda: self._changed(bundle), lambda: self.refreshed(bundle))
        self.follow(bundle)

    def follow(self, bundle: Bundle) -> None:
        """Has all act upon its shape that do so as long as it lives."""
        bundle.watch_by(Watching(bundle))
        bundle.followers.extend((Draining(bundle), Balancing(bundle)))

    def negotiator(self, bundle: Bundle) -> Negotiator:
        """Who is to agree with its partner, by laggproto lacp."""
        return LacpIo(bundle, lambda: self.show_speed_soon(bundle))

    def _changed(self, bundle: Bundle) -> None:
        self.changed(bundle)
        self.moved(bundle)

    def resume(self, bundle: Bundle) -> None:
        """Takes in a lagg that another laggd had, with its ports.

        Once all are taken in, watch_ports() is due.
        """
        self.add(bundle)
        self._identities.add(bundle.identity)
        for port in bundle.shape.ports:
            self.claim(port.link.ifindex, bundle)
            self._came_since.add(port.link.ifindex)

    def claim_identity(self, name: str) -> int:
        """Chooses what Bundle.identity says of a new lagg, and keeps it for it.

        Before anything is awaited: what is made together chooses in order.
        """
        identity = identity_of(name, self._identities)
        self._identities.add(identity)
        return identity

    def disclaim_identity(self, identity: int) -> None:
        """The lagg that had it is gone."""
        self._identities.discard(identity)

    def claim(self, ifindex: int, bundle: Bundle) -> None:
        """An interface is to become a port of this lagg; once it is, of_port knows."""
        self._by_port[ifindex] = bundle

    def disclaim(self, ifindex: int) -> None:
        """An interface is gone, and is no port any more, if it was one."""
        if self.of_port(ifindex) is None:
            self._by_port.pop(ifindex, None)

    def of_tap(self, ifindex: int) -> Bundle | None:
        """The lagg whose own interface this is."""
        bundle = self._by_tap.get(ifindex)
        if bundle is None or self.bundles.get(bundle.name) is bundle:
            return bundle
        del self._by_tap[ifindex]
        return None

    def of_port(self, ifindex: int) -> tuple[Bundle, Port] | None:
        """The lagg whose port this is, and the port."""
        bundle = self._by_port.get(ifindex)
        if bundle is None:
            return None
        port = bundle.shape.find(ifindex)
        if port is None or self.bundles.get(bundle.name) is not bundle:
            return None
        return bundle, port

    def warn_of_shared_mac(self, link: Link) -> None:
        """Warns of an interface that is none of ours and has the MAC of a lagg."""
        if not self.takeover.holds(link.ifindex):
            for bundle in self.bundles.values():
                bundle.warn_of_shared_mac(link)

    def warn_of_twins(self, bundle: Bundle) -> None:
        """Warns other laggs that this one has their MAC: a port gave it to both."""
        mac = bundle.shape.mac
        for other in self.bundles.values():
            theirs = other.shape.mac
            if other is not bundle and theirs.address == mac.address and mac.donor:
                remedy = "give one of them another"
                details = f"{bundle.name} has {mac.address} as well: {remedy}"
                other.emit(EventKind.MAC_SHARED, details, mac.donor)

    def ports_by_tap(self) -> dict[int, list[int]]:
        """The ifindexes of each lagg's ports by that of its own interface."""
        return {
            bundle.link.ifindex: [port.link.ifindex for port in bundle.shape.ports]
            for bundle in self.bundles.values()
        }

    def watch_ports(self) -> None:
        """Has the kernel tell every port's carrier at once (see netlink/watch.py)."""
        taken = self.ports_by_tap().values()
        ports = (ifindex for ports in taken for ifindex in ports)
        self.netlink.watch_closely(ports, self._traffic)

    async def learn_egress(self) -> None:
        """Learns what AF_XDP would pass by: shapers, filters, queues.  LaggError."""
        await self._learn_egress_of(self._port_links())

    async def _learn_egress_of(self, links: Sequence[Link]) -> None:
        """Reads all filters, which are listed at once, and these ports' queues."""
        came = frozenset(self._came_since)
        if links:
            self._egress = await self.netlink.egress_rules()
        await self._count_queues(links)
        self._came_since -= came

    def _port_links(self) -> list[Link]:
        bundles = self.bundles.values()
        return [port.link for each in bundles for port in each.shape.ports]

    async def count_queues(self, ifindexes: Collection[int] | None) -> None:
        """Counts the queues of ports among these interfaces, or of all.  LaggError."""
        links = [
            link
            for link in self._port_links()
            if ifindexes is None or link.ifindex in ifindexes
        ]
        await self._count_queues(links)
        if links:
            self.spare_sniffers()

    def await_egress(self, bundle: Bundle, slot: int, ifindex: int) -> None:
        """A port that is to come sends by the packet socket until that is known.

        So it passes none by.  All are listed once for the ports of an operation, or
        the cost of each that comes would grow with the ports there are.
        """
        self._came_since.add(ifindex)
        self._choose_transmit(bundle, slot, ifindex, sniffed=False)

    async def _count_queues(self, links: Sequence[Link]) -> None:
        """AF_XDP sends by one queue: with more, frames of a flow could overtake."""
        several = await self.netlink.transmit_by_several(links)
        self._spread -= {link.ifindex for link in links}
        self._spread |= several

    async def learn_new_egress(self) -> None:
        """Learns what shapes the frames of ports that came in an operation, at its end.

        A failure is logged: it is looked for again with that of all others.
        """
        came = [each for each in self._port_links() if each.ifindex in self._came_since]
        if came:
            with logged(log.warning):
                await self._learn_egress_of(came)
                self.spare_sniffers()

    def _choose_transmit(
        self, bundle: Bundle, slot: int, ifindex: int, *, sniffed: bool
    ) -> None:
        filtered = ifindex in self._egress.filtered or programs_at_egress(ifindex) > 0
        shaped = ifindex in self._egress.shaped or ifindex in self._came_since
        seen = sniffed or filtered or shaped
        spread = ifindex in self._spread
        wish = Transmit.PACKET if seen or spread else Transmit.XDP
        bundle.device.set_transmit(slot, wish)
        bundle.device.set_filtered(slot, filtered)

    def spare_sniffers(self) -> None:
        """A port that somebody sniffs on sends all by the packet socket, to be seen.

        So does one whose frames are shaped or filtered, or leave by several queues, by
        what was learnt last.

        LaggError, when the kernel does not say who listens.
        """
        if not any(bundle.shape.ports for bundle in self.bundles.values()):
            return
        heard = listeners()
        for bundle in self.bundles.values():
            # Its ring, of which there are more only where AF_XDP is not used, and what
            # LACP and watches hear by.
            ours = 1 + (bundle.lacp is not None)
            watching = bundle.watching
            probing = {} if watching is None else watching.descriptors()
            for port in bundle.shape.ports:
                heard_by_us = ours + (port.slot in probing)
                sniffed = heard[""] > 0 or heard[port.link.name] > heard_by_us
                self._choose_transmit(
                    bundle, port.slot, port.link.ifindex, sniffed=sniffed
                )

    def show_speed_soon(self, bundle: Bundle) -> None:
        """Calls show_speed() in a task, for a caller that cannot wait."""
        self._tasks.begin(self.show_speed, bundle)

    async def show_speed(self, bundle: Bundle) -> None:
        """ethtool(8) shows what its ports carry together, ip(8) how many carry.

        And it has the limits of its ports; see follow_segments().
        """
        await self.follow_segments(bundle)
        with logged(log.debug):
            await self.netlink.set_speed(bundle.link.ifindex, bundle.speed_mbps)
            await self._show_alias(bundle)

    async def follow_segments(self, bundle: Bundle) -> None:
        """lagg0 is given no longer frames to segment than all of its ports take.

        Of longer ones the kernel would make short ones in software.
        """
        most = Segments.least(port.link.segments for port in bundle.shape.ports)
        if most is not None and most != bundle.link.segments:
            with logged(log.warning):
                await self.netlink.set_segments(bundle.link.ifindex, most)
            bundle.note(
                bundle.link.ifindex, lambda known: replace(known, segments=most)
            )

    async def _show_alias(self, bundle: Bundle) -> None:
        """As "laggd: loadbalance 2/2 ports"; an alias that somebody gave it stays."""
        has, alias = bundle.link.alias, f"{ALIAS}{bundle.summary}"
        if has != alias and (not has or has.startswith(ALIAS)):
            await self.netlink.set_alias(bundle.link.ifindex, alias)
            bundle.note(bundle.link.ifindex, lambda known: replace(known, alias=alias))
