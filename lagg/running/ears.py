# SPDX-License-Identifier: BSD-2-Clause
"""Sockets by which one lagg's ports are heard: opened, listened to in turn, closed.

Owns that no port is heard so much that the others, or the data, would wait: of each a
few frames in a slot of time, the rest in the kernel.  Knows no engine and no shape; a
port is its number.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from lagg.lacp.lease import Lease
from lagg.link import Link
from lagg.tasks import together

SLOT_NS = 100_000_000
FRAMES_PER_SLOT = 8
"""Slow-protocol frames read from one port.  A partner sends at most ten a second
(802.3 57A); more are left to the kernel's small queue, and cost the other ports nothing
(H-16)."""


class Slow(Protocol):
    """What is needed of lagg.kernel.slow.SlowSocket."""

    def close(self) -> None:
        """Closes the socket."""

    def fileno(self) -> int:
        """The descriptor, for the event loop."""

    def frames(self) -> Iterator[bytes]:
        """The frames that wait, up to a bound."""

    def send(self, frame: bytes) -> bool:
        """Whether the kernel took it."""

    def take_overruns(self) -> int:
        """Frames that found no room since the last call."""


@dataclass(slots=True)
class _Ear:
    """A port that is listened to."""

    socket: Slow
    heard: int = 0  # frames in this slot
    overruns: int = 0  # frames that the socket had no room for
    lease: Lease | None = None  # by the last LACPDU; None: none was sent by us


class Ears:
    """The sockets by their ports' numbers.  Event loop's thread only."""

    def __init__(
        self,
        open_socket: Callable[[int, str], Slow],
        clock: Callable[[], int],
        received: Callable[[int, list[bytes]], None],
        is_paused: Callable[[], bool] = lambda: False,
        lease_of: Callable[[bytes], Lease | None] = lambda _: None,
        frames_per_slot: int = FRAMES_PER_SLOT,
    ) -> None:
        """`open_socket` takes ifindex and name; it may run in any thread.

        `received` is called with a port's number and its frames; while `is_paused` it
        is with none, and the frames wait in the kernel.  `lease_of`: how a frame that
        was sent is to be repeated while nobody is here; None: as those before it.
        """
        self._open_socket = open_socket
        self._clock = clock
        self._received = received
        self._is_paused = is_paused
        self._lease_of = lease_of
        self._frames_per_slot = frames_per_slot
        self._ears: dict[int, _Ear] = {}
        self._slot_ends_at: int | None = None  # None: nobody was heard lately

    def __contains__(self, number: int) -> bool:
        return number in self._ears

    def descriptors(self) -> dict[int, int]:
        """The sockets by their ports' numbers, to be kept for take()."""
        return {number: ear.socket.fileno() for number, ear in self._ears.items()}

    def leases(self) -> dict[int, Lease]:
        """What partners are to hear while nobody is here, by their ports' numbers."""
        leases = ((number, ear.lease) for number, ear in self._ears.items())
        return {number: lease for number, lease in leases if lease is not None}

    @property
    def due_at(self) -> int | None:
        """When begin_slot() is to be called, in nanoseconds of the clock; or never."""
        return self._slot_ends_at

    async def open(self, number: int, link: Link) -> None:
        """Opens the socket of a port.  LaggError: nothing has changed."""
        opened = await asyncio.to_thread(self._open_socket, link.ifindex, link.name)
        self._ears[number] = _Ear(opened)
        self._hear(number)

    def take(self, number: int, opened: Slow, overruns: int) -> None:
        """Listens to a port by a socket that is open, and has had so many overruns."""
        self._ears[number] = _Ear(opened, overruns=overruns)
        self._hear(number)

    async def close(self, numbers: Collection[int]) -> None:
        """Closes the sockets of these ports, which are listened to no more at once."""
        found = [self._ears.pop(n).socket for n in numbers if n in self._ears]
        for each in found:
            asyncio.get_running_loop().remove_reader(each.fileno())
        await together(asyncio.to_thread(each.close) for each in found)

    async def close_all(self) -> None:
        """Closes all sockets."""
        await self.close(tuple(self._ears))

    def send(self, number: int, frame: bytes) -> None:
        """Sends a frame out of a port, if its socket is open."""
        ear = self._ears.get(number)
        if ear is not None:
            ear.socket.send(frame)
            ear.lease = self._lease_of(frame) or ear.lease

    def waiting(self, number: int) -> list[bytes]:
        """What waits at a port, for who must not judge before that is heard."""
        ear = self._ears.get(number)
        return [] if ear is None else list(ear.socket.frames())

    def overruns(self, number: int) -> int:
        """The frames for which a port's socket had no room since it was opened."""
        ear = self._ears.get(number)
        if ear is None:
            return 0
        ear.overruns += ear.socket.take_overruns()
        return ear.overruns

    def begin_slot(self, now: int) -> None:
        """Listens to all ports again, if a slot has ended by now."""
        if self._slot_ends_at is None or now < self._slot_ends_at:
            return
        for number, ear in self._ears.items():
            if ear.heard >= self._frames_per_slot:
                self._hear(number)
            ear.heard = 0
        self._slot_ends_at = None

    def _hear(self, number: int) -> None:
        ear = self._ears[number]
        loop = asyncio.get_running_loop()
        loop.add_reader(ear.socket.fileno(), self._readable, number, ear)

    def _readable(self, number: int, ear: _Ear) -> None:
        """A frame waits at a port; after too many the rest waits for the next slot."""
        is_paused = self._is_paused()
        # One: to learn that no other waits costs as much, and if one does, the event
        # loop says so by calling again.
        found = [] if is_paused else list(islice(ear.socket.frames(), 1))
        if self._slot_ends_at is None:
            self._slot_ends_at = self._clock() + SLOT_NS
        ear.heard += self._frames_per_slot if is_paused else len(found)
        if ear.heard >= self._frames_per_slot:
            asyncio.get_running_loop().remove_reader(ear.socket.fileno())
        self._received(number, found)
