# SPDX-License-Identifier: BSD-2-Clause
"""Buckets of one lagg that move for their load, every balance_interval_ms.

Owns the timer, and what was counted when it rang last.  Which buckets move says
plan/balance.py; how their frames keep order, the bundle's followers.
"""

import logging
import time
from collections.abc import Callable, Mapping

from lagg.errors import LaggError
from lagg.events import EventKind
from lagg.lacp.values import NS_OF_MS
from lagg.plan.balance import Memory, step
from lagg.plan.buckets import Slot
from lagg.plan.pins import with_moves
from lagg.running.bundle import Bundle
from lagg.running.flows import Counted, counted, load_since
from lagg.tasks import Alarm

log = logging.getLogger(__name__)

INTERVAL_MS_MIN = 100
"""Shorter ones see single bursts, and keep laggd busy."""


class Balancing:
    """The intervals of one lagg.  Event loop's thread only."""

    def __init__(
        self, bundle: Bundle, *, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """Does nothing before reconcile()."""
        self._bundle = bundle
        self._clock = clock
        self._alarm = Alarm(self._end)
        self._interval_ns = 0
        self._due_at = 0
        self._before: Counted | None = None  # when the interval began
        self._memory = Memory()

    def reconcile(self) -> None:
        """To be called when the shape has changed: options, ports or protocol."""
        interval_ns = self._wanted_ns()
        if interval_ns == self._interval_ns:
            return
        self._interval_ns, self._memory = interval_ns, Memory()
        self._alarm.set(None)
        if interval_ns:
            self._due_at = self._clock()
            self._begin()

    def close(self) -> None:
        """Nothing moves any more."""
        self._alarm.set(None)

    def _wanted_ns(self) -> int:
        """0: no buckets are to move, or nobody carries any."""
        wanted_ms = self._bundle.shape.options.balance_interval_ms
        if wanted_ms == 0 or self._bundle.plan.slot_of(0) is None:
            return 0
        return max(wanted_ms, INTERVAL_MS_MIN) * NS_OF_MS

    def _begin(self) -> None:
        """The next interval ends in time, however late the last one was judged."""
        now = self._clock()
        self._due_at = max(self._due_at + self._interval_ns, now)
        self._before = counted(self._bundle)
        self._alarm.set(self._due_at - now)

    def _end(self) -> None:
        assert self._before is not None, "an interval was begun"
        load = load_since(self._bundle, self._before)
        if load is None:
            self._memory = self._memory.rebased()
        else:
            memory, moves = step(self._memory, load)
            self._memory = memory if self._move(moves) else self._memory.rebased()
        if self._interval_ns:
            self._begin()

    def _move(self, moves: Mapping[int, Slot]) -> bool:
        """Gives these buckets other homes, and says so.

        False: the workers refuse it now, and the next interval asks for it again.
        """
        if not moves:
            return True
        bundle = self._bundle
        try:
            bundle.adopt(with_moves(bundle.shape, moves))
        except LaggError as error:
            log.warning("%s", error)
            return False
        bundle.count_balanced(len(moves))
        for slot in sorted(set(moves.values())):
            buckets = sorted(bucket for bucket, to in moves.items() if to == slot)
            words = f"bucket{'s' * (len(buckets) > 1)} {', '.join(map(str, buckets))}"
            name = bundle.shape.at(slot).link.name
            bundle.emit(EventKind.MOVE, words, name, cause="balance")
        return True
