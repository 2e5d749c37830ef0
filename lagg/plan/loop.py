# SPDX-License-Identifier: BSD-2-Clause
"""How long a port by which the lagg's own frames come back is left alone.

Owns the arithmetic: until none has come for QUIET_NS, and twice as long each time that
they come again soon after, for whoever lets a loop in again feeds it.  So a cable that
is put right costs seconds, and one that is not is tried ever more rarely, as switches
do that recover a port from an error by themselves.  Pure and in integers; knows no
port.
"""

from dataclasses import replace
from typing import Annotated

from lagg.frozen import dataclass
from lagg.lacp.values import NS, Instant

QUIET_NS = 5 * NS
"""What comes by a port that nothing is sent by has left the network by then."""

QUIET_NS_MAX = 64 * QUIET_NS
"""Some five minutes: what switches wait that try such a port again."""


@dataclass(frozen=True, slots=True)
class Loop:
    """The lagg's own frames that came back by a port, and what follows from it."""

    seen_at: Instant  # the last of them
    quiet_ns: Annotated[int, range(QUIET_NS, QUIET_NS_MAX + 1)] = QUIET_NS
    holds: bool = True  # nothing is given to the port

    def seen(self, now: Instant) -> "Loop":
        """With more of them, which hold the port again if nothing does."""
        if self.holds:
            return replace(self, seen_at=now)
        soon = now < self.over_at + self.quiet_ns
        doubled = min(2 * self.quiet_ns, QUIET_NS_MAX)
        return Loop(now, doubled if soon else QUIET_NS)

    def at(self, now: Instant) -> "Loop":
        """As it is then: it may have let go."""
        return self.released() if self.holds and now >= self.over_at else self

    def released(self) -> "Loop":
        """As if it had let go."""
        return replace(self, holds=False)

    @property
    def over_at(self) -> Instant:
        """When it lets go, if no more come."""
        return self.seen_at + self.quiet_ns
