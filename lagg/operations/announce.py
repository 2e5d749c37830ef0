# SPDX-License-Identifier: BSD-2-Clause
"""Announcements: when there is another way in to a lagg, the network is told.

Owns that it is done at once and yet without haste: of thousands of VLANs and MACs a few
at a time, each with the MAC that it has then.  So switches learn the new way, and
neighbours a new MAC, before the host's next frame (FreeBSD PR 156226).  Each frame
leaves through the interface that it speaks of, which gives it its VLAN tag.  Nothing is
said while the lagg's interface has a MAC that its ports have not yet: its neighbours
would believe it.  When that is to be, and how often, is plan/way_in.py's; of whom,
speech.py's; and what a frame has in it, announcement_frames.py's.
"""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Self

from lagg.errors import logged
from lagg.events import Event, EventKind
from lagg.kernel.groups import joined_groups
from lagg.kernel.netlink import stations
from lagg.lacp.values import Instant
from lagg.link import Link
from lagg.model import MacPolicy, Wanted
from lagg.operations.laggs import Laggs
from lagg.operations.speech import Announced, Speech, announced, rejoined
from lagg.operations.uppers import speakers
from lagg.plan.shape import Shape
from lagg.plan.way_in import (
    due_at,
    is_due,
    looked_at,
    said,
    to_announce,
    way_in,
)
from lagg.running.bundle import Bundle
from lagg.tasks import Alarm, Listings, Tasks

log = logging.getLogger(__name__)

NEWS = frozenset({EventKind.MAC_HEARD, EventKind.MAC_SHARED})
"""Events after which a lagg is announced though the way in to it is what it was."""

ABLE_S = 1.0
ABLE_POLL_S = 0.001
"""A lagg's queue opens a moment after its carrier is up; earlier frames are lost."""

BATCH_FRAMES = 64
REST_S = 0.005
"""Frames in one go, and the rest after them: less than the queue of a TAP has room for,
and less than half of a CPU."""


class Announcer:
    """Announces each lagg of which there is news; an async context manager."""

    def __init__(
        self, laggs: Laggs, clock: Callable[[], Instant] = time.monotonic_ns
    ) -> None:
        """Nothing is announced before it is entered."""
        self._laggs = laggs
        self._clock = clock
        self._tasks = Tasks()
        self._alarm = Alarm(self._ring)
        self._due: dict[int, Instant] = {}  # by lagg, when something is to be said
        self._speaking: set[int] = set()  # laggs of which something is said now
        self._stations = Listings(stations)

    async def __aenter__(self) -> Self:
        """Looks at all laggs now, and at each whenever it changes."""
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        # Of protocol 0: it gets no frame.  One for all, for to close one takes 10 ms.
        self._sender = socket.socket(socket.AF_PACKET, kind, 0)
        self._unsubscribe = self._laggs.subscribe(self._on_event)
        self._laggs.moved = self._look
        for bundle in self._laggs.bundles.values():
            self._look(bundle)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listens no more."""
        self._laggs.moved = lambda _: None
        self._unsubscribe()
        self._alarm.set(None)
        await self._tasks.close()
        self._sender.close()

    def _on_event(self, event: Event) -> None:
        bundle = self._laggs.bundles.get(event.lagg)
        # Without a port that carries it says nothing; with the first there is news.
        if event.event in NEWS and bundle is not None and bundle.plan.tx_slots:
            options, now = bundle.shape.options, self._clock()
            bundle.want(to_announce(bundle.wanted, options, now))

    def _look(self, bundle: Bundle) -> None:
        """Whether the way in to a lagg is another, or something is left to be said."""
        way, options = way_in(bundle.shape, bundle.plan), bundle.shape.options
        wanted = looked_at(bundle.wanted, way, options, self._clock())
        if wanted != bundle.wanted:
            bundle.want(wanted)  # and this is called again
            return
        due, lagg = due_at(wanted), bundle.link.ifindex
        if due == self._due.get(lagg):
            return
        self._due.pop(lagg, None)
        if due is not None:
            self._due[lagg] = due
        self._arm()

    def _arm(self) -> None:
        waiting = (at for lagg, at in self._due.items() if lagg not in self._speaking)
        at = min(waiting, default=None)
        self._alarm.set(None if at is None else at - self._clock())

    def _ring(self) -> None:
        now = self._clock()
        for lagg in [lagg for lagg, at in self._due.items() if at <= now]:
            if lagg not in self._speaking:
                self._speaking.add(lagg)
                self._tasks.begin(self._announce, lagg)
        self._arm()

    async def _announce(self, lagg: int) -> None:
        """Says what is due of a lagg, and then that it was said."""
        bundle, is_able = self._laggs.of_tap(lagg), False
        try:
            if bundle is None:
                self._due.pop(lagg, None)
                return
            with logged(log.debug):
                is_able = await self._until_able(bundle)
            begun, at = bundle.wanted, self._clock()
            with logged(log.debug):
                if is_able:
                    await self._say(bundle, begun, at)
            bundle.want(said(bundle.wanted, begun, bundle.shape.options, at))
        finally:
            self._speaking.discard(lagg)
            self._arm()

    async def _say(self, bundle: Bundle, begun: Wanted, at: Instant) -> None:
        """All that is due at `at`, unless there is newer news.  LaggError."""
        async for left in self._speeches(bundle.link.ifindex, begun, at):
            while (
                left
                and _is_same(bundle.wanted, begun)
                and await self._until_able(bundle)
            ):
                left = left[self._speak(await self._laggs.netlink.links(), left) :]
                await asyncio.sleep(REST_S if left else 0)

    async def _speeches(
        self, lagg: int, begun: Wanted, at: Instant
    ) -> AsyncIterator[list[Speech]]:
        """What is due, the most urgent first: to list the rest takes its time."""
        announces, rejoins = is_due(begun.announcements, at), is_due(begun.rejoins, at)
        if announces:
            yield [await self._own(lagg)]
        there = await self._stations.next()
        above = speakers(await self._laggs.netlink.links(), lagg)
        if announces:
            yield [*announced(above, there)]
        if rejoins:
            groups = await asyncio.to_thread(joined_groups)
            yield [*rejoined(above, there, groups)]

    async def _own(self, lagg: int) -> Speech:
        """What a lagg says of itself."""
        addresses = await self._laggs.netlink.host_addresses(lagg)
        # Asked for, for nobody tells that it has become a router.
        router = (await self._laggs.netlink.link(lagg)).router
        return Announced(lagg, addresses, router)

    async def _until_able(self, bundle: Bundle) -> bool:
        """Whether its interface can send, with the MAC that rules; waits, bounded.

        LaggError when it is gone.
        """
        loop = asyncio.get_running_loop()
        end_s = loop.time() + ABLE_S
        while loop.time() < end_s:
            link = await self._laggs.netlink.link(bundle.link.ifindex)
            if link.active and _rules(bundle.shape, link.mac):
                return True
            await asyncio.sleep(ABLE_POLL_S)
        return False

    def _speak(self, links: Mapping[int, Link], speeches: list[Speech]) -> int:
        """Sends a batch of what is to be said; answers how much of it that was."""
        frames = 0
        for count, speech in enumerate(speeches, start=1):
            link = links.get(speech.ifindex)
            if link is not None and link.mac:
                found = speech.frames(link)
                self._send(link.name, found)
                frames += len(found)
            if frames >= BATCH_FRAMES:
                return count
        return len(speeches)

    def _send(self, interface: str, frames: list[bytes]) -> None:
        try:
            for frame in frames:
                self._sender.sendto(frame, (interface, 0))
        except OSError as error:
            log.debug("%s: announce: %s", interface, error)


def _rules(shape: Shape, mac: str) -> bool:
    """Whether it is the lagg's, and stays that: no active port's is to follow."""
    follows = shape.options.mac_policy is MacPolicy.ACTIVE
    late = follows and shape.wanted_mac != shape.mac
    return mac == shape.mac.address and not late


def _is_same(wanted: Wanted, begun: Wanted) -> bool:
    """Whether what is being said is still what is to be said."""
    asked = begun.announcements, begun.rejoins
    return asked == (wanted.announcements, wanted.rejoins)
