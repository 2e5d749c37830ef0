# SPDX-License-Identifier: BSD-2-Clause
"""A rate limit: so many events in any window of time.  Knows not which events."""

from collections import deque
from collections.abc import Iterable

from lagg.lacp.values import Instant


class Limit:
    """Counts what happened lately, up to `places` in any half-open `window_ns`."""

    __slots__ = ("_taken", "places", "window_ns")

    def __init__(
        self, places: int, window_ns: int, taken: Iterable[Instant] = ()
    ) -> None:
        """`taken`: what counts already, by another Limit whose `taken` it was."""
        self.places = places
        self.window_ns = window_ns
        self._taken = deque(taken, places)

    @property
    def taken(self) -> tuple[Instant, ...]:
        """When what counts was, the oldest first."""
        return tuple(self._taken)

    def free_at(self, now: Instant, places: int | None = None) -> Instant:
        """When the next may happen if there are no more `places` than these."""
        limit = places or self.places
        if len(self._taken) < limit:
            return now
        return max(now, self._taken[-limit] + self.window_ns)

    def take(self, now: Instant) -> bool:
        """Take a place, if one is free."""
        if self.free_at(now) > now:
            return False
        self._taken.append(now)  # and the oldest goes
        return True
