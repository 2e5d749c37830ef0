# SPDX-License-Identifier: BSD-2-Clause
"""The waits of a lagg's ports as time passes: one timer, at the end of the first.

Owns that timer, and the clock.  Knows no rule (plan/delays.py) and no bundle.
"""

import asyncio
from collections.abc import Callable

from lagg.plan.delays import due_at, settled
from lagg.plan.shape import Shape
from lagg.tasks import unasked

NS = 1_000_000_000


class Delays:
    """For the event loop's thread alone; needs a loop while a port waits."""

    def __init__(self, clock: Callable[[], int], is_over: Callable[[], None]) -> None:
        """`clock`: monotonic, in nanoseconds; `is_over` is called when a wait is."""
        self._clock = clock
        self._is_over = is_over
        self._timer: asyncio.TimerHandle | None = None

    def settled(self, before: Shape, after: Shape) -> Shape:
        """`after` with the waits of now."""
        return settled(before, after, self._clock())

    def arm(self, shape: Shape) -> None:
        """Has the end of the first of its waits told."""
        self.close()
        due = due_at(shape)
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
