# SPDX-License-Identifier: BSD-2-Clause
"""What of a lagg's shape time changes: one timer, at the first that is due.

Owns that timer, the clock, and the order in which what depends on time, or on what was
before, is settled: shares, pins, gates, paths, delays, loops, damping, and who carries
by these.
Knows no rule of plan/ and no bundle.
"""

import time
from collections.abc import Callable

from lagg.plan import damping, delays, election, gate, loop_guard, paths, pins
from lagg.plan.shape import Shape
from lagg.tasks import Alarm


class Settling:
    """For the event loop's thread alone; needs a loop while a port waits."""

    def __init__(
        self,
        clock: Callable[[], int],
        is_over: Callable[[], None],
        time_of_day: Callable[[], int] = time.time_ns,
    ) -> None:
        """`clock`: monotonic, in nanoseconds; `is_over` is called when it is due."""
        self._time_of_day = time_of_day
        self.now = clock
        self._alarm = Alarm(is_over)

    def settled(self, before: Shape, after: Shape) -> Shape:
        """`after` as it is now; `before` was settled last."""
        now = self.now()
        kept = pins.settled(after.rehomed_since(before), now)
        gated = gate.settled(kept, now)
        watched = paths.settled(before, gated, self._time_of_day())
        waiting = delays.settled(before, watched, now)
        guarded = loop_guard.settled(waiting, now)
        return election.settled(before, damping.settled(before, guarded, now))

    def arm(self, shape: Shape) -> None:
        """Has it told when this shape is to be settled again."""
        timed = (gate, delays, loop_guard, damping, pins)
        ends = [each.due_at(shape) for each in timed]
        due = min((end for end in ends if end is not None), default=None)
        self._alarm.set(None if due is None else due - self.now())

    def close(self) -> None:
        """Nothing is told any more, until it is armed again."""
        self._alarm.set(None)
