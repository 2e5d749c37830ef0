# SPDX-License-Identifier: BSD-2-Clause
"""A watch that asks: a probe each interval, and how many in a row may stay unanswered.

Owns the count and the verdict, for every kind whose probes are the same each time.
Knows no frame: it is told what to send, and who can tell an answer.

Each probe is judged when the next is due.  So a path that is cut after an answer is
dead missed_max intervals after the next probe, and missed_max - 1 lost ones are borne.
It is alive again by the first answer.  One that comes when nothing is asked, or a
second one, says nothing.  What is judged was sent: one that could not look for an hour
has missed one probe, not a thousand.
"""

from collections.abc import Callable, Sequence

from lagg.lacp.values import NS_OF_MS, Instant
from lagg.watchers.watcher import Watcher
from lagg.watches import LinkWatch, WatchState

NO_CARRIER = "no carrier"
NO_REPLY = "no reply yet"


class Asking(Watcher):
    """Asks for one watch by one port; see watcher.Watcher."""

    def __init__(
        self,
        watch: LinkWatch,
        state: WatchState,
        probes: Sequence[bytes],
        is_answer: Callable[[bytes], bool],
    ) -> None:
        """`probes`: one for each target; `is_answer`: whether a frame answers one."""
        self._watch = watch
        self._probes = tuple(probes)
        self._is_answer = is_answer
        self._interval = watch.interval_ms * NS_OF_MS
        self._begins: Instant = 0
        self._due: Instant | None = None
        self._asks = False  # since the last answer
        self._missed = 0
        self.state = state
        self.reason = "replies" if state is WatchState.UP else NO_REPLY

    def due_at(self) -> Instant | None:
        """When the next probe is to leave."""
        return self._due

    def link(self, up: bool, now: Instant) -> None:
        """Begins to ask, after init_wait_ms; or ends, for there is no carrier."""
        self._asks, self._missed = False, 0
        self._begins = now + self._watch.init_wait_ms * NS_OF_MS
        self._due = self._begins if up else None
        if not up:
            self.state, self.reason = WatchState.DOWN, NO_CARRIER
        elif self.reason == NO_CARRIER:
            self.reason = NO_REPLY

    def change(self, watch: LinkWatch, now: Instant) -> None:
        """Another interval, or as many to miss; none that is longer is waited out."""
        self._watch, self._interval = watch, watch.interval_ms * NS_OF_MS
        if self._due is not None:
            self._due = max(self._begins, min(self._due, now + self._interval))

    def tick(self, now: Instant) -> list[bytes]:
        """Judges the last probe, and asks anew."""
        if self._due is None or now < self._due:
            return []
        if self._asks:
            self._miss()
        self._asks = True
        self._due = max(self._due, now - self._interval + 1) + self._interval
        return [*self._probes]

    def _miss(self) -> None:
        most = self._watch.missed_max
        self._missed = min(self._missed + 1, most)
        if self._missed == most and self.state is not WatchState.DOWN:
            self.state = WatchState.DOWN
            self.reason = f"no reply for {most} x {self._watch.interval_ms} ms"

    def heard(self, frame: bytes, now: Instant) -> list[bytes]:
        """Takes an answer; answers nothing."""
        if self._asks and self._is_answer(frame):
            self._asks, self._missed = False, 0
            self.state, self.reason = WatchState.UP, "replies"
        return []
