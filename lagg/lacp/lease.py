# SPDX-License-Identifier: BSD-2-Clause
"""What a partner is to hear again while nobody is there to say anything new.

Owns which LACPDU that is, and how often.  Pure.
"""

from lagg.frozen import dataclass
from lagg.lacp.pdu import Lacpdu, decode
from lagg.lacp.periodic import FAST_PERIODIC_NS, SLOW_PERIODIC_NS
from lagg.lacp.values import State

_CARRIES = State.COLLECTING | State.DISTRIBUTING
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Lease:
    """A frame to be repeated; of none there is neither frame nor period."""

    frame: bytes = b""
    period_ms: int = 0


def lease_of(frame: bytes) -> Lease | None:
    """How a frame that was sent is to be repeated; None: it is no LACPDU.

    A port that does not carry yet, or no more, is not to look as if somebody did it.
    """
    found = decode(frame)
    if not isinstance(found, Lacpdu):
        return None
    if found.actor.state & _CARRIES != _CARRIES:
        return Lease()
    fast = State.TIMEOUT in found.partner.state
    period_ns = FAST_PERIODIC_NS if fast else SLOW_PERIODIC_NS
    return Lease(frame, period_ns // _NS_PER_MS)
