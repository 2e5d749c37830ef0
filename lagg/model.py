# SPDX-License-Identifier: BSD-2-Clause
"""The values the control plane speaks in.

Owns lagg(4)'s words: protocols, hash layers, options, port flags, drop reasons.
Frozen values and enumerations only; knows no kernel, socket or clock.
"""

from collections.abc import Iterator, Mapping
from dataclasses import field, fields, replace
from enum import Enum
from typing import Annotated, Any, TypeVar, cast

from lagg.frozen import dataclass
from lagg.lacp.values import PRIORITY_DEFAULT, U32, AdSelect, Instant, Mac
from lagg.options import PORTS_MAX, ROUNDS_MAX
from lagg.watches import LinkWatch, WatchPolicy

WORKERS_MAX = 8
"""Threads that may carry one lagg."""

BUSY_POLL_US_MAX = 1000
"""Microseconds for which a worker may look for frames before it sleeps."""

SNAPSHOTS_MAX = 16
"""Snapshots of one lagg, in use and in limbo; with more a change is refused."""

CONFIRM_MS_MIN = 1_000
CONFIRM_MS_MAX = 24 * 3600 * 1000
"""For how long a change may wait to be confirmed: a day is a visit on site."""

BUCKETS = 256
"""Entries of a flow table; a power of two so that no port count re-maps a flow."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A bucket of the flow table that stays on a port while that carries."""

    bucket: Annotated[int, range(BUCKETS)]
    port: str  # by name, there or not

    def renamed(self, was: str, name: str) -> "Pin":
        """As it is once a port has another name."""
        return replace(self, port=name) if self.port == was else self

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.bucket}={self.port}"


class Proto(Enum):
    """laggproto: who carries a frame.  The numbers of lagg(4) are not used."""

    FAILOVER = "failover"
    ROUNDROBIN = "roundrobin"
    LOADBALANCE = "loadbalance"
    LACP = "lacp"
    BROADCAST = "broadcast"
    TLB = "tlb"
    ALB = "alb"
    NONE = "none"

    @property
    def by_stations(self) -> bool:
        """Whether each port is a host of its own to the switch: see plan/stations."""
        return self in (Proto.TLB, Proto.ALB)

    @property
    def teaches(self) -> bool:
        """Whether peers are told by which port each is to send: see native/lesson.c."""
        return self is Proto.ALB

    @property
    def elects(self) -> bool:
        """Whether one port is elected: failover's, and the home of stations."""
        return self is Proto.FAILOVER or self.by_stations


class HashLayer(Enum):
    """lagghash: the header layers a flow is told apart by."""

    L2 = "l2"
    L3 = "l3"
    L4 = "l4"
    INNER = "inner"  # beside them: those of what tunnels carry


class HashKind(Enum):
    """The function over those layers: FreeBSD's FNV-1, or the fast default."""

    FNV1 = "fnv1"
    CRC32C = "crc32c"


class PortFlag(Enum):
    """laggport flags as ifconfig(8) prints them."""

    MASTER = "MASTER"
    ACTIVE = "ACTIVE"
    COLLECTING = "COLLECTING"
    DISTRIBUTING = "DISTRIBUTING"


class Spread(Enum):
    """How the index into a plan's `tx_slots` is formed; native/lagg.h has the twin."""

    FIRST = 0
    TURN = 1
    FLOW = 2
    ALL = 3


class Drop(Enum):
    """Why a frame was not delivered.  Order and names are enum lagg_drop's."""

    NO_PORT = "no-port"
    NO_ACTIVE_PORT = "no-active-port"
    PROTO_NONE = "proto-none"
    TX_DOWN = "tx-down"
    TX_FULL = "tx-full"
    TX_ERROR = "tx-error"
    NOT_ACCEPTED = "not-accepted"
    RUNT = "runt"
    OVERSIZE = "oversize"
    BAD_OFFLOAD = "bad-offload"
    TAP_DOWN = "tap-down"
    TAP_FULL = "tap-full"
    TAP_ERROR = "tap-error"
    TAP_OVERRUN = "tap-overrun"
    RING_OVERRUN = "ring-overrun"
    HOLD_FULL = "hold-full"
    TX_FILTERED = "tx-filtered"
    WORKER_DIED = "worker-died"
    OWN_SOURCE = "own-source"
    DUPLICATE = "duplicate"
    LINK_LOCAL = "link-local"


class MacPolicy(Enum):
    """Whose MAC a lagg has while the user gave it none."""

    STABLE = "stable"  # the first port's, which stays when that port leaves
    PRIMARY = "primary"  # the primary's, whoever that is: lagg(4)'s way (F-DT-1)
    # Each port keeps its own, and the lagg has
    ACTIVE = "active"  # that of the port that carries
    OWN = "own"  # one as with STABLE, which all ports let in beside their own

    @property
    def keeps_own(self) -> bool:
        """Whether each port keeps its own MAC."""
        return self in (MacPolicy.ACTIVE, MacPolicy.OWN)


class Reselect(Enum):
    """When a preferred port that is usable again takes over; bonding's words."""

    ALWAYS = "always"
    BETTER = "better"  # when it is faster
    FAILURE = "failure"  # when the one that carries fails


class HoldLink(Enum):
    """What becomes of the link of a port that is held."""

    UP = "up"  # it stays
    DOWN = "down"  # it is set down, which a partner of a static lagg notices


class LinkLocal(Enum):
    """What becomes of frames to 01-80-C2-00-00-0x, which no bridge forwards."""

    STAY = "stay"  # whoever listens on the port has them: LLDP, STP, EAPOL, PTP
    PASS = "pass"  # they go up: lagg(4)'s way


class Transmit(Enum):
    """How frames leave a port; native/lagg.h has the twin."""

    PACKET = "packet"  # all by the packet socket
    XDP = "xdp+packet"  # short ones by AF_XDP


@dataclass(frozen=True, slots=True)
class Tuning:
    """How every lagg's frames are carried; the command line's, not a lagg's."""

    workers: int = 1  # threads, 1 ... WORKERS_MAX
    transmit: Transmit = Transmit.XDP  # the best that ports may do, where they can
    busy_poll_us: int = 50  # 0 ... BUSY_POLL_US_MAX: see native/pace.c


USUAL_TUNING = Tuning()


ALL_LAYERS = (HashLayer.L2, HashLayer.L3, HashLayer.L4)


@dataclass(frozen=True, slots=True)
class Options:
    """What `laggctl set` may change besides protocol, MAC and MTU; lagg(4)'s defaults.

    Type and default of each row of options.OPTIONS, where its range is.  An option of a
    protocol that is not running is kept and counts from the switch on.
    """

    altname: tuple[str, ...] = ()  # ip(8)'s altnames; those others gave are not ours
    mac_policy: MacPolicy = MacPolicy.STABLE
    up_delay_ms: int = 0
    down_delay_ms: int = 0
    damping: bool = False
    loop_guard: bool = False
    link_local: LinkLocal = LinkLocal.STAY
    watch: tuple[LinkWatch, ...] = ()
    watch_policy: WatchPolicy = WatchPolicy.ALL
    primary: str | None = None  # None: the first, as lagg(4)
    reselect: Reselect = Reselect.ALWAYS
    min_links: int = 1  # with fewer nothing is carried
    announce_count: int = 1
    announce_interval_ms: int = 200
    rejoin_count: int = 1
    lagghash: tuple[HashLayer, ...] = ALL_LAYERS  # non-empty, in this order
    hash: HashKind = HashKind.CRC32C
    hash_seed: int | None = None  # None: random, drawn at creation
    hash_symmetric: bool = False  # both directions of a flow have one hash
    pin: tuple[Pin, ...] = ()  # each bucket once
    balance_interval_ms: int = 0  # 0: buckets do not move for their load
    use_flowid: bool = False
    flowid_shift: int = 16
    rr_limit: int = 1  # frames per port and turn; 0: each by a port drawn by chance
    dedup: bool = False  # of broadcast's copies one goes up
    failover_rx_all: bool = False
    lacp_strict: bool = True
    lacp_fast_timeout: bool = False
    lacp_active: bool = True
    lacp_system_priority: int = PRIORITY_DEFAULT  # 0 the highest
    lacp_system: Mac | None = None  # None: the lagg's
    lacp_key: int = 0  # 0: derived from the speed
    lacp_port_offset: int = 0  # of the port numbers in LACPDUs
    ad_select: AdSelect = AdSelect.STABLE
    lacp_max_ports: int = PORTS_MAX  # more are on standby
    lacp_min_links: int = 1  # with fewer nothing is carried
    lacp_fallback_timeout: int = 0  # seconds; 0: never
    lacp_coupled: bool = False
    lacp_txtest: bool = False
    lacp_rxtest: bool = False


OptionValue = (
    tuple[str, ...]
    | tuple[HashLayer, ...]
    | tuple[LinkWatch, ...]
    | tuple[Pin, ...]
    | HashKind
    | MacPolicy
    | Reselect
    | HoldLink
    | LinkLocal
    | WatchPolicy
    | AdSelect
    | str
    | int
    | bool
) | None
"""What a field of Options may hold."""


def senseless(proto: Proto, options: Options) -> str | None:
    """Why these options make no sense with the protocol, and what would; None: they do.

    lagg(4)'s options are kept while another protocol runs; this is of what would cut
    off the lagg.
    """
    one = proto.elects or proto is Proto.NONE
    if options.mac_policy is not MacPolicy.ACTIVE or one:
        return None
    return (
        f"with laggproto {proto.value} there is no active port whose MAC it could have;"
        " own leaves each port its MAC, too"
    )


@dataclass(frozen=True, slots=True)
class PortOptions:
    """What a user may set for one port, by its name, whether it is attached or not.

    Type and default of each row of port_options.PORT_OPTIONS.
    """

    lacp_port_priority: int = PRIORITY_DEFAULT  # 0 the highest
    priority: int = 0  # the highest is the best
    weight: int = 1  # of its share of flows and turns; 0: by its speed
    hold: bool = False  # nothing is sent by it
    hold_link: HoldLink = HoldLink.UP


Chosen = TypeVar("Chosen", Options, PortOptions)


def differences(before: Chosen, after: Chosen) -> Iterator[tuple[str, Any, Any]]:
    """Each option that is another: its key, what it was, what it is."""
    for each in fields(before):
        was, now = getattr(before, each.name), getattr(after, each.name)
        if was != now:
            yield each.name, was, now


def words(value: object, *, none: str = "the first port's") -> str:
    """A setting's value as a person writes it; `none`: whose it is while it is None."""
    if value is None:
        return none
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ",".join(map(words, value)) or "none"
    return str(value)


@dataclass(frozen=True, slots=True)
class LaggConfig:
    """One lagg as a user asks for it."""

    name: str
    proto: Proto = Proto.FAILOVER
    ports: tuple[str, ...] = ()
    mac: Mac | None = None  # None: the first port's
    mtu: U32 | None = None  # bytes; None: the first port's
    options: Options = field(default_factory=Options)
    port_options: Mapping[str, PortOptions] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WayIn:
    """Where the network is to send what is for a lagg."""

    ports: frozenset[U32] = frozenset()  # ifindexes of those that carry
    mac: Mac | None = None  # None: nobody was told of any yet
    home: U32 | None = None  # ifindex, where that MAC is at one of them alone


@dataclass(frozen=True, slots=True)
class Rounds:
    """What is to be said several times: how often still, and when next."""

    left: Annotated[int, range(ROUNDS_MAX + 1)] = 0
    due: Instant = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of a lagg beside its shape: by files, users and the network."""

    said: LaggConfig | None = None  # by the files, when they named it last
    waiting_for: tuple[str, ...] = ()  # ports that are not there yet
    mtu_fixed: bool = False  # by the user: it stays when ports come and go
    way_in: WayIn = WayIn()  # that was looked at last: see plan/way_in.py
    announcements: Rounds = Rounds()
    rejoins: Rounds = Rounds()


@dataclass(frozen=True, slots=True)
class LaggChange:
    """What `laggctl set` asks for; None leaves a thing as it is."""

    proto: Proto | None = None
    mac: str | None = None
    mtu: int | None = None
    active: str | None = None  # the port that is to carry; "": whichever is preferred
    # By port name: it is held from now on, for so many milliseconds.
    hold_for_ms: Mapping[str, int] = field(default_factory=dict)
    options: tuple[tuple[str, OptionValue], ...] = ()  # field of Options, new value
    # By port name: field of PortOptions, new value.
    port_options: Mapping[str, tuple[tuple[str, OptionValue], ...]] = field(
        default_factory=dict
    )

    def options_after(self, options: Options) -> Options:
        """`options` with the named fields changed and all others as they were."""
        return replace(options, **cast(dict[str, Any], dict(self.options)))

    @classmethod
    def of_port_options(
        cls, before: Mapping[str, PortOptions], after: Mapping[str, PortOptions]
    ) -> dict[str, tuple[tuple[str, OptionValue], ...]]:
        """What `port_options` leads from the first to the second."""
        default = PortOptions()
        pairs = {
            port: (before.get(port, default), after.get(port, default))
            for port in sorted({*before, *after})
        }
        return {
            port: tuple((key, value) for key, _, value in differences(was, now))
            for port, (was, now) in pairs.items()
            if was != now
        }

    def port_options_after(
        self, options: Mapping[str, PortOptions]
    ) -> dict[str, PortOptions]:
        """All ports' options with the fields of the named ports changed."""
        after = dict(options)
        for port, changed in self.port_options.items():
            before = after.get(port, PortOptions())
            after[port] = replace(before, **cast(dict[str, Any], dict(changed)))
        return after


@dataclass(frozen=True, slots=True)
class Manner:
    """How a change is to be made."""

    rehearsed: bool = False  # not at all: what it would do is answered
    confirm_ms: int | None = None  # so long on trial; None: for good


FOR_GOOD = Manner()


@dataclass(frozen=True, slots=True)
class Agreement:
    """What LACP has agreed on with the partner of one port; at first nothing."""

    active: bool = False  # attached to the active aggregator
    collecting: bool = False
    distributing: bool = False
    reason: str | None = None  # why it does not distribute, in words


@dataclass(frozen=True, slots=True)
class Counters:
    """Frames since creation: tx_in + rx_in == tx_out + rx_out + sum(drops), always."""

    tx_in: int
    tx_out: int
    rx_in: int
    rx_out: int
    drops: dict[Drop, int]


@dataclass(frozen=True, slots=True)
class Health:
    """How laggd is, in a line for its supervisor."""

    laggs: int
    ports: int
    carrying: int  # ports that frames are given to
    ailments: tuple[str, ...]  # what does not work, in words; usually none
