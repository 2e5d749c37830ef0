# SPDX-License-Identifier: BSD-2-Clause
"""A rate limit: so many events in any window of time.  Knows not which events."""

from collections import deque
from dataclasses import dataclass, field

from lagg.lacp.values import Instant


@dataclass(slots=True, eq=False)
class Limit:
    """Counts what happened lately, up to `places` in any half-open `window_ns`."""

    places: int
    window_ns: int
    _taken: deque[Instant] = field(default_factory=deque)

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
        self._taken.append(now)
        if len(self._taken) > self.places:
            self._taken.popleft()
        return True
