# SPDX-License-Identifier: BSD-2-Clause
"""What waits until the workers of one lagg let it publish again.

A publication is refused (EAGAIN) while a worker holds up all the snapshots there are.
Nobody waits for that in an operation's turn, nor in a loop of his own: he leaves here
what is to be called when it may succeed.  Owns the one timer that looks.  Knows no
snapshot and no caller.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVarTuple

from lagg.tasks import unasked

LOOK_S = 0.01
"""Nobody tells that a worker has left its section: it is looked at so often."""

Ts = TypeVarTuple("Ts")


class Backlog:
    """Attempts for when a worker has let go.  For the event loop's thread alone."""

    def __init__(self, is_held_up: Callable[[], bool]) -> None:
        """`is_held_up` says whether any publication would be refused now; cheap."""
        self._is_held_up = is_held_up
        self._due: dict[object, Callable[[], object]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def add(self, attempt: Callable[[*Ts], object], *args: *Ts) -> None:
        """Has `attempt` called with these arguments, LOOK_S from now or later.

        That is when nothing is held up, and once however often it is added until then.
        No client asked for it (lagg/tasks.py).  If it is refused it adds itself again.
        """
        if not self._closed:
            self._due[attempt, args] = partial(attempt, *args)
            self._arm()

    def close(self) -> None:
        """Nothing is called any more."""
        self._closed = True
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(LOOK_S, self._tick, context=unasked())

    def _tick(self) -> None:
        self._timer = None
        if self._is_held_up():
            self._arm()
            return
        due, self._due = self._due, {}
        for attempt in due.values():
            attempt()
