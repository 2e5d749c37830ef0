# SPDX-License-Identifier: BSD-2-Clause
"""Peers of a lagg that teaches (laggproto alb) are told again by which port to send.

Owns who is a peer: whom the kernel knows as a neighbour, by the lagg or by a VLAN on
it; so nothing is kept of one here.  And when it is told: when peers or ports are others
than they were, twice, for a host may not believe another MAC within a second of the
last; and now and then, for somebody else may have told it otherwise, and switches
forget a port that is silent.  By which port, neither this file nor the frame knows: C
sends each by the port that it is to teach (native/lesson.c), and so it does with
whatever the kernel answers while laggd is away.
"""

import asyncio
import logging
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Self

from lagg.errors import logged
from lagg.events import EventKind
from lagg.frozen import dataclass
from lagg.kernel.netlink import neighbours, stations
from lagg.link import Link, Neighbour, Stations
from lagg.operations.announcement_frames import lesson
from lagg.operations.attendant import Attendant
from lagg.operations.uppers import speakers
from lagg.plan.stations import PortMacs, called, peer_bucket
from lagg.running.bundle import Bundle

log = logging.getLogger(__name__)

LOOK_S = 1.1
"""Between two looks, and two lessons: Linux holds to a MAC for a second (locktime)."""

ROUNDS = 2
AGAIN_LOOKS = 9
"""Lessons after news; looks without any, some 10 s, after which there is one more."""

LESSONS_MAX = 4096
BATCH = 64
REST_S = 0.005
"""Lessons in a round at most; in one go, and the rest after it: as announcements."""


@dataclass(frozen=True, slots=True)
class Pupils:
    """The peers that a lagg teaches, and the MACs that they are to learn."""

    peers: frozenset[Neighbour] = frozenset()
    macs: PortMacs | None = None


class Teacher(Attendant):
    """Follows each lagg that teaches, for as long as it does."""

    NEWS = frozenset({EventKind.CREATED, EventKind.PROTO, EventKind.PORT_ATTACHED})

    async def __aenter__(self) -> Self:
        """Opens the socket by which all is said."""
        self._followed: set[int] = set()
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._sender = socket.socket(socket.AF_PACKET, kind, 0)
        return await super().__aenter__()

    async def __aexit__(self, *error: object) -> None:
        """Says nothing more."""
        await super().__aexit__(*error)
        self._sender.close()

    def _look_at(self, bundle: Bundle) -> None:
        lagg = bundle.link.ifindex
        if bundle.shape.proto.teaches and lagg not in self._followed:
            self._followed.add(lagg)
            self._tasks.begin(self._follow, lagg)

    async def _follow(self, lagg: int) -> None:
        try:
            left, idle, before = 0, 0, Pupils()
            while (bundle := self._laggs.of_tap(lagg)) and bundle.shape.proto.teaches:
                with logged(log.debug):
                    peers = await self._peers(lagg)
                    self._seat(bundle, peers)
                    now = Pupils(frozenset(peers), bundle.plan.stations)
                    left = ROUNDS if now != before else left
                    idle = 0 if left else idle + 1
                    if left or idle >= AGAIN_LOOKS:
                        await self._teach(bundle, peers)
                        left, idle, before = max(left - 1, 0), 0, now
                await asyncio.sleep(LOOK_S)
        finally:
            self._followed.discard(lagg)

    async def _peers(self, lagg: int) -> list[Neighbour]:
        """LaggError."""
        links = await self._laggs.netlink.links()
        near = links[lagg].mac if lagg in links else ""
        # Who stands on it with a MAC of its own is behind the home alone.
        ours = {each.ifindex for each in speakers(links, lagg) if each.mac == near}
        found = await asyncio.to_thread(neighbours)
        return [each for each in found if each.ifindex in ours]

    def _seat(self, bundle: Bundle, peers: Iterable[Neighbour]) -> None:
        """Has each bucket of peers have its place.  LaggError, as adopt()."""
        buckets = {peer_bucket(each.packed) for each in peers}
        callers = called(bundle.shape.callers, buckets)
        if callers != bundle.shape.callers:
            bundle.adopt(replace(bundle.shape, callers=callers))

    async def _teach(self, bundle: Bundle, peers: Iterable[Neighbour]) -> None:
        """One lesson of each of our addresses to each peer.  LaggError.

        None where nothing is to be announced.
        """
        if bundle.shape.options.announce_count == 0:
            return
        links = await self._laggs.netlink.links()
        there = await asyncio.to_thread(stations)
        frames = islice(
            (
                (links[peer.ifindex].name, frame)
                for peer in peers
                if peer.ifindex in links
                for frame in _lessons(links[peer.ifindex], there, peer)
            ),
            LESSONS_MAX,
        )
        while batch := [*islice(frames, BATCH)]:
            for name, frame in batch:
                self._send(name, frame)
            await asyncio.sleep(REST_S)

    def _send(self, interface: str, frame: bytes) -> None:
        try:
            self._sender.sendto(frame, (interface, 0))
        except OSError as error:
            log.debug("%s: teach: %s", interface, error)


def _lessons(near: Link, there: Stations, peer: Neighbour) -> Iterator[bytes]:
    """Lessons of each usable address that `near` has of the kind of the peer's."""
    router = near.ifindex in there.routers
    for ours in there.addresses.get(near.ifindex, ()):
        if ours.usable and len(ours.packed) == len(peer.packed):
            yield lesson(near.mac, ours.packed, peer.mac, peer.packed, router=router)
