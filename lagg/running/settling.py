# SPDX-License-Identifier: BSD-2-Clause
"""What of a lagg's shape time changes: one timer, at the first that is due.

Owns that timer, the clock, and the order in which what depends on time is settled:
gates, delays, and who carries by these.  Knows no rule of plan/ and no bundle.
"""

import asyncio
from collections.abc import Callable

from lagg.plan import delays, election, gate
from lagg.plan.shape import Shape
from lagg.tasks import unasked

NS = 1_000_000_000


class Settling:
    """For the event loop's thread alone; needs a loop while a port waits."""

    def __init__(self, clock: Callable[[], int], is_over: Callable[[], None]) -> None:
        """`clock`: monotonic, in nanoseconds; `is_over` is called when it is due."""
        self._clock = clock
        self._is_over = is_over
        self._timer: asyncio.TimerHandle | None = None

    def settled(self, before: Shape, after: Shape) -> Shape:
        """`after` as it is now; `before` was settled last."""
        now = self._clock()
        waiting = delays.settled(before, gate.settled(after, now), now)
        return election.settled(before, waiting)

    def arm(self, shape: Shape) -> None:
        """Has it told when this shape is to be settled again."""
        self.close()
        ends = (delays.due_at(shape), gate.due_at(shape))
        due = min((end for end in ends if end is not None), default=None)
        if due is not None:
            wait_ns = max(due - self._clock(), 0)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(
                wait_ns / NS, self._is_over, context=unasked()
            )

    def close(self) -> None:
        """Nothing is told any more, until it is armed again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
