# SPDX-License-Identifier: BSD-2-Clause
"""Markers for the flows of one lagg that wait to move (802.1AX 6.5).

Owns which marker is out for which port, and which partners answer at all: a flow waits
only for one that does, so that a partner without the protocol costs nothing.  Knows no
frame and no socket.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from lagg.errors import LaggError
from lagg.plan.flow_moves import Moves
from lagg.plan.shape import port_number
from lagg.tasks import Tasks

log = logging.getLogger(__name__)


class Holder(Protocol):
    """What Markers needs of lagg.running.bundle.Bundle."""

    @property
    def moves(self) -> Moves:
        """The flows that wait, and for which slots."""

    def release(self, slots: Collection[int]) -> None:
        """The flows that wait for these slots go on.  LaggError (EAGAIN)."""

    def when_free(
        self, attempt: Callable[[tuple[int, ...]], None], slots: tuple[int, ...]
    ) -> None:
        """Calls `attempt` with the slots when release() may not be refused any more."""

    async def grace(self) -> None:
        """Until no worker sends by an older plan.  LaggError."""


class Markers:
    """For the event loop's thread alone."""

    def __init__(self, holder: Holder, mark: Callable[[int], int | None]) -> None:
        """`mark` sends a marker by a port; its transaction, or None if it may not."""
        self._holder = holder
        self._mark = mark
        self._answering: set[int] = set()  # numbers of ports whose partner does
        self._asked: dict[int, int | None] = {}  # slot, transaction; None: soon
        self._seen = Moves()
        self._tasks = Tasks()
        self._closed = False

    def saved(self) -> tuple[frozenset[int], tuple[tuple[int, int], ...]]:
        """Who answers markers, and which slots have which transaction, for resume()."""
        asked = ((slot, sent) for slot, sent in self._asked.items() if sent is not None)
        return frozenset(self._answering), tuple(asked)

    def resume(
        self, answering: Collection[int], asked: Iterable[tuple[int, int]]
    ) -> None:
        """Goes on with what was saved; the others that wait are asked for anew."""
        self._answering = set(answering)
        self._asked = dict(asked)
        waiting = self._holder.moves
        unasked = {*waiting.origins.values()}.difference(self._asked)
        self._seen = waiting.without(unasked)

    @property
    def marked(self) -> frozenset[int]:
        """Numbers of the ports whose partner answered the last marker."""
        return frozenset(self._answering)

    def keep(self, numbers: Collection[int]) -> None:
        """Forgets what was learnt of all other ports."""
        self._answering &= set(numbers)

    def mark_waiting(self) -> None:
        """The plan has changed: asks for the flows that have begun to wait."""
        fresh, seen = self._holder.moves.origins, self._seen.origins
        slots = {slot for index, slot in fresh.items() if seen.get(index) != slot}
        self._seen = self._holder.moves
        if slots:
            self._asked |= dict.fromkeys(slots)
            self._tasks.begin(self._ask, slots)

    async def _ask(self, slots: Collection[int]) -> None:
        """A marker follows the last frame of the flow, so that is sent first."""
        try:
            await self._holder.grace()
        except LaggError as error:
            log.warning("%s", error)
            self._release(slots)
            return
        for slot in slots:
            self._asked[slot] = self._mark(port_number(slot))
        self._release([slot for slot in slots if self._asked[slot] is None])

    def answered(self, number: int, transaction: int) -> None:
        """The partner has all that left by the port before that marker."""
        self._answering.add(number)
        self._conclude(number, transaction)

    def unanswered(self, number: int, transaction: int) -> None:
        """The partner did not answer in time, so nobody knows what it has."""
        self._answering.discard(number)
        self._conclude(number, transaction)

    def _conclude(self, number: int, transaction: int) -> None:
        slots = [s for s, asked in self._asked.items() if asked == transaction]
        self._release([slot for slot in slots if port_number(slot) == number])

    def _release(self, slots: Collection[int]) -> None:
        if self._closed or not slots:
            return
        try:
            self._holder.release(slots)
        except LaggError as error:
            log.warning("%s", error)
            self._holder.when_free(self._release, tuple(slots))
            return
        self._seen = self._holder.moves
        for slot in slots:
            self._asked.pop(slot, None)

    async def close(self) -> None:
        """Asks no more; what waits is for the next plan to release."""
        self._closed = True
        await self._tasks.close()
