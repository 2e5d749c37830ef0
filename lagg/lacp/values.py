# SPDX-License-Identifier: BSD-2-Clause
"""The words of IEEE 802.1AX as values: systems, ports, states, settings, outputs.

Owns what crosses the engine's border, in both directions.  Frozen values only; knows no
machine.  A port is named by its `number`, 1 ... 65535, unique in its engine; on
the wire Settings.port_offset is added.  MACs are "02:00:5e:00:53:01", lower case.
"""

from dataclasses import fields, replace
from enum import Enum, IntFlag
from typing import Annotated

from lagg.frozen import dataclass

# A range behind a type is what the value may be, or how long: lagg/codec.py holds
# what comes in from elsewhere to it.
U16 = Annotated[int, range(1 << 16)]
U32 = Annotated[int, range(1 << 32)]
Count = Annotated[int, range(1 << 64)]

Instant = Annotated[int, range(1 << 63)]
"""Nanoseconds on the caller's monotonic clock."""

NS = 1_000_000_000
"""Nanoseconds of a second."""

NS_OF_MS = 1_000_000
"""Nanoseconds of a millisecond."""

PORTS_MAX = 32
"""Ports of one system, and so the most that one aggregator can have."""

_HEX = frozenset("0123456789abcdef")


def is_mac(text: str) -> bool:
    """Whether this is a MAC as all of ours are written: "02:00:5e:00:53:01"."""
    octets = text.split(":")
    return len(octets) == 6 and all(len(o) == 2 and _HEX.issuperset(o) for o in octets)


Mac = Annotated[str, is_mac]
PortNumber = Annotated[int, range(1, 1 << 16)]
Places = Annotated[int, range(1, PORTS_MAX + 1)]

PORT_OFFSET_MAX = (1 << 16) - 1 - PORTS_MAX
"""With it the last of a lagg's ports has the last port number that 16 bits hold."""

PortOffset = Annotated[int, range(PORT_OFFSET_MAX + 1)]

PRIORITY_DEFAULT = 0x8000
"""System and port priority, as lagg(4); the lower number is the higher priority."""


class State(IntFlag):
    """The state octet of a LACPDU (6.4.2.3 m); ifconfig(8) prints these names."""

    ACTIVITY = 0x01
    TIMEOUT = 0x02  # set: short
    AGGREGATION = 0x04
    SYNC = 0x08
    COLLECTING = 0x10
    DISTRIBUTING = 0x20
    DEFAULTED = 0x40
    EXPIRED = 0x80


@dataclass(frozen=True, slots=True, order=True)
class System:
    """A system identifier; the lower one decides (6.3.2)."""

    priority: U16
    mac: Mac


@dataclass(frozen=True, slots=True, order=True)
class PortId:
    """A port identifier within its system (6.3.4)."""

    priority: U16
    number: U16  # 0 only in defaults and from bad partners


@dataclass(frozen=True, slots=True)
class Party:
    """What a LACPDU says of one end: Actor_* or Partner_*."""

    system: System
    key: U16
    port: PortId
    state: State


class AdSelect(Enum):
    """Which aggregator is the active one, when several could be; Linux bonding's words.

    A port that carries traffic is never taken away from `stable` but by its loss.
    """

    STABLE = "stable"
    BANDWIDTH = "bandwidth"
    COUNT = "count"
    PORT_PRIORITY = "port-priority"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user sets for all ports of a lagg; every field may change live."""

    system: System
    active: bool = True  # LACP_Activity; False: passive
    fast: bool = False  # LACP_Timeout short: the partner sends every second
    strict: bool = True  # False: without a partner the ports are as if it agreed
    key: U16 = 0  # 0: from the port's speed
    ad_select: AdSelect = AdSelect.STABLE
    max_ports: Places = PORTS_MAX  # in one aggregator; more are STANDBY
    min_links: Places = 1  # with fewer the aggregator carries nothing
    fallback_ns: Instant = 0  # without any partner so long, one port carries; 0: never
    coupled: bool = False  # Mux with coupled control: collect and distribute at once
    txtest: bool = False  # lacp_txtest: no PDU is sent
    rxtest: bool = False  # lacp_rxtest: every PDU is ignored
    port_offset: PortOffset = 0  # of port numbers on the wire: another host has others

    @property
    def in_pdu(self) -> tuple[object, ...]:
        """The settings that a PDU shows."""
        return self.system, self.active, self.fast, self.port_offset

    @property
    def identity(self) -> tuple[object, ...]:
        """By which a partner knows our ports: with another it begins anew."""
        return self.system, self.port_offset


@dataclass(frozen=True, slots=True)
class Medium:
    """A port's link as the kernel describes it."""

    up: bool  # F-ACT-1: carrier, and administratively up
    speed_mbps: U32 = 0  # 0: unknown, which excludes nothing (H-63)
    full_duplex: bool = True  # also when unknown


class Selected(Enum):
    """Selection logic's word on a port (6.4.8)."""

    UNSELECTED = "unselected"
    SELECTED = "selected"
    STANDBY = "standby"


class Receive(Enum):
    """Receive machine (figure 6-18)."""

    INITIALIZE = "initialize"
    PORT_DISABLED = "port-disabled"
    EXPIRED = "expired"
    LACP_DISABLED = "lacp-disabled"
    DEFAULTED = "defaulted"
    CURRENT = "current"


class Periodic(Enum):
    """Periodic transmission machine (figure 6-19)."""

    NO_PERIODIC = "no-periodic"
    FAST_PERIODIC = "fast"
    SLOW_PERIODIC = "slow"
    PERIODIC_TX = "tx"


class Mux(Enum):
    """Mux machine, independent and coupled control (figures 6-21, 6-22)."""

    DETACHED = "detached"
    WAITING = "waiting"
    ATTACHED = "attached"
    COLLECTING = "collecting"
    DISTRIBUTING = "distributing"
    COLLECTING_DISTRIBUTING = "collecting-distributing"


class Churn(Enum):
    """Actor and partner churn detection (figures 6-23, 6-24)."""

    MONITOR = "monitor"
    NO_CHURN = "no-churn"
    CHURN = "churn"


class Bad(Enum):
    """Why a slow-protocol frame was not taken; counted per port, never raised."""

    RUNT = "runt"
    TRUNCATED = "truncated"
    DESTINATION = "destination"
    SOURCE = "source"
    OWN_SOURCE = "own-source"
    OWN_SYSTEM = "own-system"  # a looped cable, or two of our ports patched together
    ETHERTYPE = "ethertype"  # a tagged one is data: H-7
    SUBTYPE = "subtype"
    TLV = "tlv"
    PARTY = "party"  # an actor that no one can aggregate with: H-13
    MARKER = "marker"
    PORT_DOWN = "port-down"
    RATE = "rate"  # more than a well-behaved partner ever sends (H-14, H-16)
    RXTEST = "rxtest"


@dataclass(frozen=True, slots=True)
class PortCounts:
    """A port's slow-protocol counters since it was added; monotone."""

    lacpdu_rx: Count = 0
    lacpdu_tx: Count = 0
    lacpdu_late: Count = 0  # current_while ran out: the partner was not heard in time
    marker_rx: Count = 0
    marker_tx: Count = 0
    marker_response_rx: Count = 0
    marker_response_tx: Count = 0
    marker_unanswered: Count = 0
    flaps: Count = 0  # left distributing, for whatever reason
    actor_churns: Count = 0
    partner_churns: Count = 0
    bad: tuple[tuple[Bad, Count], ...] = ()  # every reason, in order


@dataclass(frozen=True, slots=True)
class PortStatus:
    """All there is to see of one port."""

    number: int
    aggregator: int | None  # number of the aggregator it is attached to or selects
    active: bool  # attached to the active aggregator
    collecting: bool  # frames from it are for the lagg
    distributing: bool  # frames of the lagg may leave by it
    selected: Selected
    receive: Receive
    periodic: Periodic
    mux: Mux
    actor_churn: Churn
    partner_churn: Churn
    actor: Party
    partner: Party
    reason: str | None  # why it does not distribute, in words
    counts: PortCounts

    @property
    def is_heard(self) -> bool:
        """Whether there is a partner that hears and is heard."""
        return self.receive is Receive.CURRENT

    def with_bad(self, why: Bad, frames: int) -> "PortStatus":
        """The status of a port of which so many more frames were not taken."""
        counts, more = self.counts, {why: frames}
        bad = tuple((each, n + more.get(each, 0)) for each, n in counts.bad)
        return replace(self, counts=replace(counts, bad=bad))

    @property
    def steady(self) -> tuple[object, ...]:
        """All but the counts: another one is news."""
        return tuple(getattr(self, name) for name in _STEADY)


_STEADY = tuple(each.name for each in fields(PortStatus) if each.name != "counts")


@dataclass(frozen=True, slots=True)
class View:
    """What the engine says at one instant; equal views mean equal plans."""

    ports: tuple[PortStatus, ...]  # by number
    aggregator: int | None  # the active one
    actor: Party | None  # of the active aggregator's first port
    partner: Party | None
    flapping: int  # lagg(4)'s sc_flapping: ports that left distributing, ever

    @property
    def steady(self) -> tuple[object, ...]:
        """All but the counts: another one is news, which a successor must not miss."""
        ports = tuple(port.steady for port in self.ports)
        return ports, self.aggregator, self.actor, self.partner


@dataclass(frozen=True, slots=True)
class Send:
    """A frame to be sent out of a port at once."""

    number: int
    frame: bytes  # from the Ethernet destination on, without FCS


class NoticeKind(Enum):
    """What a person wants to know of, in a word."""

    AGGREGATOR = "aggregator"  # another one carries, or none
    DISTRIBUTING = "distributing"
    PARTNER = "partner"  # is another one, or none
    LATE = "late"  # was not heard in time
    ACTOR_CHURN = "actor-churn"
    PARTNER_CHURN = "partner-churn"
    LOOP_BACK = "loop-back"
    DUPLICATE = "duplicate"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person wants to know; `details` a sentence part."""

    number: int | None
    event: NoticeKind
    details: str


@dataclass(frozen=True, slots=True)
class MarkerAnswered:
    """The partner has everything that was sent out of the port before the marker."""

    number: int
    transaction: int


@dataclass(frozen=True, slots=True)
class MarkerUnanswered:
    """The partner did not answer in time."""

    number: int
    transaction: int


Output = Send | Notice | MarkerAnswered | MarkerUnanswered
