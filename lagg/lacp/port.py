# SPDX-License-Identifier: BSD-2-Clause
"""The variables of one port (802.1AX 6.4.6 to 6.4.8), which all its machines share.

Owns what is true of one port, and what follows from that alone: its actor's words, when
its next timer runs out.  Knows no table and no other port.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Self

from lagg.lacp.limit import Limit
from lagg.lacp.pdu import NULL_MAC, STATES, Lacpdu
from lagg.lacp.values import (
    Bad,
    Churn,
    Instant,
    Medium,
    Mux,
    Party,
    Periodic,
    PortCounts,
    PortId,
    Receive,
    Selected,
    Settings,
    State,
    System,
)

NOBODY = Party(System(0xFFFF, NULL_MAC), 0, PortId(0, 0), State(0))
"""Partner_Admin_*: what is said of a partner nobody has heard; lagg(4)'s values."""

PDUS_PER_WINDOW = 3
WINDOW_NS = 1_000_000_000
"""No more than three LACPDUs in any Fast_Periodic_Time (6.4.16)."""

INBOX_PDUS = 3
INBOX_NS = 300_000_000
"""802.3 57A.2 allows a partner ten frames a second.  When more come, only the newest is
looked at, once this limit has a place for it (H-14, H-16)."""


def inbox_limit(taken: Iterable[Instant] = ()) -> Limit:
    """The limit for the LACPDUs that a port looks at, of which it has these."""
    return Limit(INBOX_PDUS, INBOX_NS, taken)


def sent_limit(taken: Iterable[Instant] = ()) -> Limit:
    """The limit for a port's LACPDUs, of which these have left already."""
    return Limit(PDUS_PER_WINDOW, WINDOW_NS, taken)


DISTRIBUTES = frozenset({Mux.DISTRIBUTING, Mux.COLLECTING_DISTRIBUTING})
COLLECTS = DISTRIBUTES | {Mux.COLLECTING}
ATTACHED = COLLECTS | {Mux.ATTACHED}


@dataclass(slots=True)
class Counts:
    """PortCounts as it grows."""

    lacpdu_rx: int = 0
    lacpdu_tx: int = 0
    lacpdu_late: int = 0
    marker_rx: int = 0
    marker_tx: int = 0
    marker_response_rx: int = 0
    marker_response_tx: int = 0
    marker_unanswered: int = 0
    flaps: int = 0
    actor_churns: int = 0
    partner_churns: int = 0
    bad: dict[Bad, int] = field(default_factory=lambda: dict.fromkeys(Bad, 0))

    @classmethod
    def of(cls, counts: PortCounts) -> Self:
        """Counts that go on from these."""
        numbers: dict[str, int] = {name: getattr(counts, name) for name in _NUMBERS}
        return cls(**numbers, bad=dict.fromkeys(Bad, 0) | dict(counts.bad))

    def frozen(self) -> PortCounts:
        """The counts as a frozen value."""
        numbers: dict[str, int] = {name: getattr(self, name) for name in _NUMBERS}
        return PortCounts(**numbers, bad=tuple(self.bad.items()))


_NUMBERS = tuple(field.name for field in fields(PortCounts) if field.name != "bad")


@dataclass(slots=True, eq=False)
class Port:
    """One port.  The machines write it; nobody outside the engine sees it."""

    number: int
    mac: str
    priority: int
    medium: Medium
    settings: Settings
    key: int

    receive: Receive = Receive.INITIALIZE
    pdu: Lacpdu | None = None  # received, and not yet seen by the receive machine
    pdu_at: Instant = 0  # when it came: the timeout counts from there
    deferred: tuple[Lacpdu, Instant] | None = None  # the newest that came too fast
    inbox: Limit = field(default_factory=inbox_limit)
    partner: Party = NOBODY  # Partner_Oper_*; its SYNC is what recordPDU made of it
    partner_since: Instant = 0
    partner_was_active: bool = False  # whoever was last heard, since the link came up
    defaulted: bool = True
    expired: bool = False
    port_moved: bool = False
    current_while: Instant | None = None

    selected: Selected = Selected.UNSELECTED
    aggregator: int | None = None
    ready: bool = False
    fallback: bool = False  # carries without a partner: Settings.fallback_ns
    duplicate_of: int | None = None
    loop_while: Instant | None = None  # our own PDUs came back not long ago
    held_until: Instant | None = None  # its partner changes too often
    held: bool = False  # and the others carry without it
    strikes: int = 0
    struck_at: Instant = 0

    mux: Mux = Mux.DETACHED
    wait_while: Instant | None = None
    sync: bool = False
    collecting: bool = False
    distributing: bool = False
    leaving: bool = False
    left_active: bool = False  # was in the active aggregator when it began to leave
    gated: bool = False  # a user holds it: in no aggregator, and the partner is told

    periodic: Periodic = Periodic.NO_PERIODIC
    periodic_timer: Instant | None = None

    actor_churn: Churn = Churn.MONITOR
    partner_churn: Churn = Churn.MONITOR
    actor_churn_timer: Instant | None = None
    partner_churn_timer: Instant | None = None

    need_to_transmit: bool = False
    news: bool = False  # it is our own state that needs to be told
    goodbye: bool = False  # the partner is yet to be told that we leave
    sent: Limit = field(default_factory=sent_limit)
    counts: Counts = field(default_factory=Counts)

    @property
    def enabled(self) -> bool:
        """Whether port_enabled holds and the link is point-to-point, as LACP asks."""
        return self.medium.up and self.medium.full_duplex

    @property
    def drains(self) -> bool:
        """Whether it goes on collecting, for its partner does not know better yet."""
        sends = self.enabled and State.DISTRIBUTING in self.partner.state
        return self.leaving or (self.gated and sends)

    @property
    def heard(self) -> bool:
        """Whether there is a partner, even one whose PDUs are late."""
        return self.medium.up and not self.defaulted

    @property
    def wire_number(self) -> int:
        """Actor_Port, by which the partner tells it from all others of its system."""
        return self.number + self.settings.port_offset

    @property
    def requester(self) -> tuple[int, str]:
        """Requester_Port and Requester_System of its markers."""
        return self.wire_number, self.settings.system.mac

    def actor(self) -> Party:
        """Actor_Oper_*, as the next PDU says it."""
        return Party(
            self.settings.system,
            self.key,
            PortId(self.priority, self.wire_number),
            STATES[self._actor_octet()],
        )

    def tell(self) -> None:
        """NTT for a change of our own, which the partner waits for."""
        self.need_to_transmit = self.news = True

    def _actor_octet(self) -> int:
        octet, going = 0, self.leaving or self.gated
        for condition, bit in (
            (self.settings.active, 0x01),
            (self.settings.fast, 0x02),
            (not self.leaving, 0x04),
            (self.sync and not going, 0x08),
            (self.collecting and not going, 0x10),
            (self.distributing and not going, 0x20),
            (self.defaulted, 0x40),
            (self.expired, 0x80),
        ):
            if condition:
                octet |= bit
        return octet
