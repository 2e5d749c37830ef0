# SPDX-License-Identifier: BSD-2-Clause
"""The laggs of this network namespace, and what operations on them share.

Owns who is whose port, the event sinks, and the upkeep that follows any change: the
lagg's speed and its ports' receive filters.  Knows no order of effects: driver.py does.
"""

import errno
import logging
from collections.abc import Callable

from lagg.bundle import Bundle
from lagg.custody import Custody
from lagg.errors import LaggError
from lagg.membership import multicast_of
from lagg.model import Event
from lagg.native import Device
from lagg.netlink import Netlink
from lagg.shape import Port

log = logging.getLogger(__name__)


class Fleet:
    """All laggs.  For the event loop's thread alone."""

    def __init__(
        self, netlink: Netlink, custody: Custody, make_device: Callable[[str], Device]
    ) -> None:
        """`make_device` makes the TAP of a name, its workers running."""
        self.netlink = netlink
        self.custody = custody
        self.make_device = make_device
        self.bundles: dict[str, Bundle] = {}
        self._frames_seen = 0
        self._sinks: list[Callable[[Event], None]] = []

    def subscribe(self, sink: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `sink` with each event from now on; returns what ends it."""
        self._sinks.append(sink)
        return lambda: self._sinks.remove(sink)

    def emit(self, event: Event) -> None:
        """Tells every sink."""
        for sink in tuple(self._sinks):
            sink(event)

    def find(self, name: str) -> Bundle:
        """The lagg of that name.  LaggError (ENOENT)."""
        try:
            return self.bundles[name]
        except KeyError:
            raise LaggError(name, "no such lagg", errno.ENOENT) from None

    def of_tap(self, ifindex: int) -> Bundle | None:
        """The lagg whose own interface this is."""
        found = (b for b in self.bundles.values() if b.link.ifindex == ifindex)
        return next(found, None)

    def of_port(self, ifindex: int) -> tuple[Bundle, Port] | None:
        """The lagg whose port this is, and the port."""
        for bundle in self.bundles.values():
            port = bundle.shape.find(ifindex)
            if port is not None:
                return bundle, port
        return None

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
        self.netlink.watch_closely(ports, self._carried)

    def _carried(self) -> bool:
        """Whether any lagg had frames to carry since this was asked last."""
        frames = sum(bundle.device.frames for bundle in self.bundles.values())
        carried, self._frames_seen = frames != self._frames_seen, frames
        return carried

    def listen(self, bundle: Bundle) -> None:
        """The ports receive what the lagg is to receive (F-PR-FLAGS, F-PR-MC)."""
        for port in bundle.shape.ports:
            try:
                self.listen_port(bundle, port.link.ifindex)
            except LaggError as error:
                log.warning("%s: %s", bundle.name, error)

    def listen_port(self, bundle: Bundle, ifindex: int) -> None:
        """The same for one port.  LaggError; then it receives what it did."""
        self.custody.listen(
            ifindex,
            promisc=bundle.link.promiscuity > 0,
            allmulti=bundle.link.allmulti > 0,
            multicast=multicast_of(bundle.link.ifindex),
        )

    async def follow_speed(self, bundle: Bundle) -> None:
        """ethtool(8) on the lagg shows what its distributing ports carry together."""
        try:
            await self.netlink.set_speed(bundle.link.ifindex, bundle.speed_mbps)
        except LaggError as error:
            log.debug("%s", error)
