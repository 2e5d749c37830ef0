# SPDX-License-Identifier: BSD-2-Clause
"""What happens to laggs, as values: for whoever monitors, and for what acts upon it.

Owns the words of the events and what each carries.  Whoever acts upon an event goes by
its kind and its typed fields; `details` and `cause` are words for people.  Knows no
clock and nobody who tells or is told.
"""

from enum import Enum

from lagg.frozen import dataclass
from lagg.lacp.values import NoticeKind


class EventKind(Enum):
    """What happened, by the word that `monitor` and the log have; in OPERATIONS.md."""

    # A lagg.
    CREATED = "created"
    DESTROYED = "destroyed"
    RENAMED = "renamed"
    LOST = "lost"  # somebody deleted its interface, or moved it away
    ADMIN = "admin"  # somebody set its interface up or down
    LINK = "link"  # it begins to carry frames, or ends to
    CARRIER = "carrier"  # its interface's was not the plan's, and is put back
    PROTO = "proto"
    OPTION = "option"  # its own, or one of a port's
    MTU = "mtu"
    MAC = "mac"  # the lagg and all its ports have another
    MAC_HEARD = "mac-heard"  # an interface had the lagg's before it became a port
    MAC_SHARED = "mac-shared"  # the port that gave it has left, and is up beside it
    PIN = "pin"  # a bucket stays on a port, or does no more
    MOVE = "move"  # buckets have another home
    ACTIVE_PORT = "active-port"  # another one carries a failover lagg
    TRIAL = "trial"  # a change reverts by itself unless it is confirmed in time
    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    NOT_REVERTED = "not-reverted"  # a part of it, which could not be
    WORKER_STUCK = "worker-stuck"
    # A port.
    PORT_ATTACHED = "port-attached"
    PORT_DETACHED = "port-detached"
    PORT_DEPARTED = "port-departed"  # its interface was deleted, or moved away
    PORT_RENAMED = "port-renamed"
    PORT_LINK = "port-link"
    PORT_DELAY = "port-delay"  # its link changed before, and it is used or left now
    PORT_HOLD = "port-hold"  # nothing is given to it, or something again
    PORT_DAMPING = "port-damping"  # kept out, for it was lost often, or let in
    OWN_SOURCE = "own-source"  # by it came back what the lagg sent
    PORT_LOOP = "port-loop"  # kept out for that, or let in again
    PORT_WATCH = "port-watch"  # its path is lost, or found
    PORT_MTU = "port-mtu"  # was not its lagg's, and is put back
    PORT_MAC = "port-mac"
    PORT_WAITING = "port-waiting"
    PORT_REFUSED = "port-refused"
    PORT_WARNING = "port-warning"  # somebody uses it for something beside
    PORT_WARNING_OVER = "port-warning-over"
    RING_REOPENED = "ring-reopened"
    # LACP, of the lagg and of a port.
    AGGREGATOR = NoticeKind.AGGREGATOR.value
    DISTRIBUTING = NoticeKind.DISTRIBUTING.value
    PARTNER = NoticeKind.PARTNER.value
    LATE = NoticeKind.LATE.value
    ACTOR_CHURN = NoticeKind.ACTOR_CHURN.value
    PARTNER_CHURN = NoticeKind.PARTNER_CHURN.value
    LOOP_BACK = NoticeKind.LOOP_BACK.value
    DUPLICATE = NoticeKind.DUPLICATE.value
    HELD = NoticeKind.HELD.value
    # The stream of events itself.
    EVENTS_LOST = "events-lost"


WARNINGS = frozenset(
    {
        *(EventKind.LOST, EventKind.MAC_SHARED, EventKind.WORKER_STUCK),
        *(EventKind.REVERTED, EventKind.NOT_REVERTED),
        *(EventKind.PORT_DEPARTED, EventKind.PORT_REFUSED, EventKind.PORT_WARNING),
        *(EventKind.LATE, EventKind.ACTOR_CHURN, EventKind.PARTNER_CHURN),
        *(EventKind.LOOP_BACK, EventKind.DUPLICATE, EventKind.HELD),
    }
)
"""What an operator is to look at whenever it happens; of others it depends on what."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked for a change over the control socket, as the kernel attests it."""

    uid: int
    pid: int  # 0: a process that this one cannot see
    program: str | None  # its name in ps(1); None when that cannot be read

    def __str__(self) -> str:
        """As "laggctl, pid 4711, uid 0"; what laggd could not see is left out."""
        program = [self.program] if self.program else []
        pid = [f"pid {self.pid}"] if self.pid else []
        return ", ".join((*program, *pid, f"uid {self.uid}"))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    lagg: str  # empty: it concerns none
    port: str | None
    event: EventKind
    details: str  # in words
    time_ns: int  # monotonic
    at: str  # the time of day: RFC 3339, UTC, to the microsecond
    cause: str | None = None  # in words, where `details` does not say it
    by: Asker | None = None  # None: the kernel, a partner or laggd itself did it
