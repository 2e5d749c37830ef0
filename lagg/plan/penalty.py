# SPDX-License-Identifier: BSD-2-Clause
"""How unsteady a port was of late, as one number that fades.

Owns the arithmetic of flap damping, RFC 2439's: each loss of a port adds to its
penalty, which halves every HALF_LIFE; from SUPPRESS on the port is kept out, until
its penalty is down at REUSE.  The numbers are those by which routers damp an interface
(RFC 2439, 4.2, is about routes, and minutes): two losses within seconds are somebody
at a cable, three are a bad one.  Pure and in integers; knows no port.

Between two halvings the penalty falls along a straight line, which is above the true
curve by 6.2 % at most.  It is computed of the last loss each time, and so is the same
however often anybody looks.
"""

from dataclasses import replace
from typing import Annotated

from lagg.frozen import dataclass
from lagg.lacp.values import NS, Instant

LOSS = 1000
"""What a loss adds."""

SUPPRESS = 2000
"""From this penalty on a port is kept out: at its third loss in 5 s, or so."""

REUSE = 1000
"""At this penalty it is let in again; a loss more or two keep it out anew."""

HALF_LIFE_NS = 5 * NS

HALVINGS_MAX = 4
"""However often a port was lost, it is let in when this many half-lives were quiet."""

PENALTY_MAX = REUSE << HALVINGS_MAX


@dataclass(frozen=True, slots=True)
class Penalty:
    """A port's losses, and whether it is kept out for them."""

    at_loss: Annotated[int, range(PENALTY_MAX + 1)] = 0  # just after the last one
    lost_at: Instant = 0
    suppresses: bool = False

    def now(self, now: Instant) -> int:
        """What is left of it, rounded down: two losses are never SUPPRESS."""
        halvings, rest_ns = divmod(max(0, now - self.lost_at), HALF_LIFE_NS)
        left = self.at_loss >> min(halvings, self.at_loss.bit_length())
        return left + -left * rest_ns // (2 * HALF_LIFE_NS)

    def after_loss(self, now: Instant) -> "Penalty":
        """With one more loss."""
        sum_ = min(self.now(now) + LOSS, PENALTY_MAX)
        return Penalty(sum_, now, self.suppresses or sum_ >= SUPPRESS)

    def at(self, now: Instant) -> "Penalty":
        """As it is then: it may have let go."""
        if self.suppresses and now >= self.reuse_at:
            return self.released()
        return self

    def released(self) -> "Penalty":
        """As if it had let go: until the next loss it keeps nothing out."""
        return replace(self, suppresses=False)

    @property
    def reuse_at(self) -> Instant:
        """When it is down at REUSE."""
        left, at = self.at_loss, self.lost_at
        while left >> 1 > REUSE:
            left, at = left >> 1, at + HALF_LIFE_NS
        above = left - REUSE
        return at + 2 * HALF_LIFE_NS * (above - 1) // left + 1 if above > 0 else at
