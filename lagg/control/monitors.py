# SPDX-License-Identifier: BSD-2-Clause
"""The clients that follow events, and what each has not read yet.

Owns how many there may be, and a bounded queue for each.  Knows no socket and no call.
"""

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lagg.errors import LaggError
from lagg.events import Event, EventKind

MONITORS_MAX = 32
"""Clients that follow events.  They keep their place, so half is left for calls."""

EVENTS_MAX = 1024
"""Events that wait for a slow reader; later ones are counted, and it is told."""

Subscribe = Callable[[Callable[[Event], None]], Callable[[], None]]
"""Calls its argument with each event until its result is called."""


class EventQueue:
    """The events one reader has not taken yet, at most EVENTS_MAX."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._lost_count = 0
        self._lost: Event | None = None  # the last of these

    def put(self, event: Event) -> None:
        """Keeps the event, or counts it as lost.  Event loop only."""
        if len(self._events) < EVENTS_MAX:
            self._events.append(event)
        else:
            self._lost_count += 1
            self._lost = event
        self._arrived.set()

    async def get(self) -> Event:
        """The next event; after a gap, the notice of it."""
        while not self._events:
            if self._lost is not None:
                return self._notice(self._lost)
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    def _notice(self, last: Event) -> Event:
        details = f"{self._lost_count} events lost: this reader is too slow"
        self._lost_count, self._lost = 0, None
        return Event("", None, EventKind.EVENTS_LOST, details, last.time_ns, last.at)


class Monitors:
    """All clients that follow events.  Event loop only."""

    def __init__(self, clients_max: Callable[[], int]) -> None:
        """`clients_max`: connections at a time, of which these are at most half."""
        self._clients_max = clients_max
        self._count = 0

    @contextmanager
    def queue(self, subscribe: Subscribe) -> Iterator[EventQueue]:
        """The events from now on, for one more.  LaggError (EUSERS): it is too many."""
        if self._count >= min(MONITORS_MAX, self._clients_max() // 2):
            cause = f"{self._count} clients follow events already"
            raise LaggError("monitor", cause, errno.EUSERS)
        events = EventQueue()
        self._count += 1
        unsubscribe = subscribe(events.put)
        try:
            yield events
        finally:
            unsubscribe()
            self._count -= 1
