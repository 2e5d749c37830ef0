# SPDX-License-Identifier: BSD-2-Clause
"""Who carries a frame: each protocol compiled to the two tables that C knows.

Owns lagg(4)'s protocol rules, asked once per change and never per frame.  Pure: values
in, values out; knows no device, kernel or clock.
"""

from collections.abc import Callable, Collection, Sequence

from lagg.frozen import dataclass
from lagg.lacp.values import Mac
from lagg.model import (
    Drop,
    HashKind,
    HashLayer,
    LinkLocal,
    PortFlag,
    Proto,
    Spread,
)
from lagg.plan.buckets import table, turns
from lagg.plan.election import (
    by_preference,
    elected,
    group,
    link_active,
    members,
)
from lagg.plan.pins import pinned
from lagg.plan.shape import Port, Shape
from lagg.plan.stations import PortMacs, stations

ETHER_MTU = 1500
"""In bytes, of every Ethernet."""

_ETHER_BYTES = 14
_TAG_BYTES = 4

PLANNED_DROPS = (
    Drop.NO_PORT,
    Drop.NO_ACTIVE_PORT,
    Drop.PROTO_NONE,
    Drop.NOT_ACCEPTED,
)
"""All that a plan's tx_drop and rx_drop may be; other reasons come up on the way."""

REFUSALS = (Drop.OWN_SOURCE, Drop.LINK_LOCAL)
"""Why a frame may not come in for what its MACs are, by whichever port."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What native/lagg.h calls struct lagg_plan."""

    spread: Spread
    tx_slots: tuple[int, ...]  # by index; may repeat a slot; () when none distributes
    tx_drop: Drop  # counted while tx_slots is ()
    rx_drop: Drop  # counted where rx_accept says no
    rx_accept: frozenset[int]  # slots
    ports: frozenset[int]  # slots that are read from
    stride: int  # frames a turn; 0: each by an entry drawn by chance
    hash_kind: HashKind
    hash_layers: tuple[HashLayer, ...]
    hash_seed: int
    hash_symmetric: bool = False  # both directions of a flow have one hash
    held: frozenset[int] = frozenset()  # indices whose frames wait; FLOW only
    mtu: int = ETHER_MTU  # the lagg's, in bytes
    stations: PortMacs | None = None  # None: frames keep their sources; FLOW only
    own: frozenset[Mac] = frozenset()  # sources of what must not come back
    dedup: bool = False  # of copies that come by several of them one is accepted
    passes_local: bool = False  # frames to 01-80-C2-00-00-0x go up

    @property
    def distributing(self) -> tuple[int, ...]:
        """The slots that carry frames while all is well, each once, in table order."""
        if self.spread is Spread.FIRST:
            return self.tx_slots[:1]
        return tuple(dict.fromkeys(self.tx_slots))

    @property
    def way_in(self) -> frozenset[int]:
        """The slots by which the network is to reach the lagg."""
        if self.stations is not None:
            return frozenset({self.stations.home, *self.stations.lessons})
        return frozenset(self.distributing)

    def slot_of(self, bucket: int) -> int | None:
        """Who carries a bucket of the flow table; None: nobody, or there is no such."""
        by_bucket = self.spread is Spread.FLOW and self.hash_kind is HashKind.CRC32C
        return self.tx_slots[bucket] if by_bucket and self.tx_slots else None

    @property
    def rx_bytes_max(self) -> int:
        """The longest frame that may come in, with its Ethernet header.

        Two VLAN tags have room, as in NICs, whether they are there or not.  A frame
        that any Ethernet carries is taken, however small the MTU.
        """
        return max(self.mtu, ETHER_MTU) + _ETHER_BYTES + 2 * _TAG_BYTES


Table = tuple[Spread, tuple[int, ...]]


def plan(shape: Shape) -> Plan:
    """The plan of a shape; total, zero ports and no active port included."""
    options = shape.options
    of_ports = stations(shape)
    spread, tx_slots = _TABLES[shape.proto](shape)
    return Plan(
        spread=spread,
        tx_slots=tx_slots,
        tx_drop=_tx_drop(shape),
        rx_drop=_rx_drop(shape.proto),
        rx_accept=shape.closing.union(_rx_accept(shape), _draining(shape)),
        ports=shape.closing.union(port.slot for port in shape.ports),
        stride=options.rr_limit,
        hash_kind=options.hash,
        hash_layers=options.lagghash,
        hash_seed=options.hash_seed or 0,
        hash_symmetric=options.hash_symmetric,
        stations=of_ports,
        own=shape.own_macs if of_ports is None else of_ports.all,
        dedup=shape.proto is Proto.BROADCAST and options.dedup,
        passes_local=options.link_local is LinkLocal.PASS,
    )


def _flags(shape: Shape, port: Port, carrying: Collection[int]) -> tuple[PortFlag, ...]:
    """A port's flags as lagg_port2req() sets them."""
    if shape.proto is Proto.LACP:
        return _lacp_flags(port)
    said = {
        PortFlag.MASTER: shape.proto.elects and port.slot == shape.primary,
        PortFlag.ACTIVE: port.slot in carrying,
    }
    return tuple(flag for flag, holds in said.items() if holds)


def _lacp_flags(port: Port) -> tuple[PortFlag, ...]:
    said = {
        PortFlag.ACTIVE: port.lacp.active,
        PortFlag.COLLECTING: port.lacp.collecting,
        PortFlag.DISTRIBUTING: port.usable and port.lacp.distributing,
    }
    return tuple(flag for flag, holds in said.items() if holds)


def _failover(shape: Shape) -> Table:
    # The first entry carries all; the rest stand in when it dies under a burst.
    first = elected(shape)
    others = [port.slot for port in by_preference(shape)]
    slots = [] if first is None else [first, *others]
    return Spread.FIRST, tuple(dict.fromkeys(slots))


def _roundrobin(shape: Shape) -> Table:
    # lagg(4) gives a dead port's turns to its successor; ours share them by weight.
    carrying = group(shape)
    return Spread.TURN, turns(shape.weights(carrying)) if carrying else ()


def dealt_among(shape: Shape) -> list[Port]:
    """The ports that have a share of the buckets now."""
    if shape.proto is Proto.LACP:
        return [port for port in shape.preferred if _distributes(port)]
    if shape.proto.by_stations:
        usable = [port for port in shape.preferred if port.usable]
        return [] if elected(shape) is None else usable
    return list(group(shape))


def _loadbalance(shape: Shape) -> Table:
    active = dealt_among(shape)
    if active and shape.options.hash is HashKind.FNV1:
        ports = members(shape)
        found = [link_active(ports, port.slot) for port in ports]
        return Spread.FLOW, tuple(slot for slot in found if slot is not None)
    return Spread.FLOW, _deal(shape, active)


def _deal(shape: Shape, carrying: Sequence[Port]) -> tuple[int, ...]:
    return table(shape.homes, shape.weights(carrying), pinned(shape))


def _port_map(shape: Shape) -> Table:
    """lagg(4)'s of LACP: what distributes, and no stand-in of any other kind."""
    ports = dealt_among(shape)
    if shape.options.hash is HashKind.FNV1:
        return Spread.FLOW, tuple(port.slot for port in ports)
    return Spread.FLOW, _deal(shape, ports)


def _distributes(port: Port) -> bool:
    # Its link may be gone before LACP has looked.
    return port.usable and port.lacp.active and port.lacp.distributing


def _broadcast(shape: Shape) -> Table:
    return Spread.ALL, tuple(port.slot for port in group(shape))


def _none(_: Shape) -> Table:
    return Spread.FIRST, ()


_TABLES: dict[Proto, Callable[[Shape], Table]] = {
    Proto.FAILOVER: _failover,
    Proto.ROUNDROBIN: _roundrobin,
    Proto.LOADBALANCE: _loadbalance,
    Proto.LACP: _port_map,
    Proto.BROADCAST: _broadcast,
    Proto.TLB: _port_map,
    Proto.ALB: _port_map,
    Proto.NONE: _none,
}


def _tx_drop(shape: Shape) -> Drop:
    # In this order: lagg(4) looks for ports before it asks the protocol.
    if not shape.ports:
        return Drop.NO_PORT
    if shape.proto is Proto.NONE:
        return Drop.PROTO_NONE
    return Drop.NO_ACTIVE_PORT


def _rx_drop(proto: Proto) -> Drop:
    return Drop.PROTO_NONE if proto is Proto.NONE else Drop.NOT_ACCEPTED


def _rx_accept(shape: Shape) -> set[int]:
    """lagg_*_input(): the static ones but failover take frames from every port.

    By stations that are not the home come copies of what a switch floods, and with alb
    what is for their own MAC, which C takes.
    With groups, from every port of the one that carries: by the others come copies.
    """
    every = {port.slot for port in shape.ports}
    match shape.proto:
        case Proto.NONE:
            return set()
        case Proto.LACP:
            return _collecting(shape.ports)
        case Proto.TLB | Proto.ALB:
            home = elected(shape)
            return every if home is None else {home}
        case _ if shape.options.failover_rx_all:
            return every
        case Proto.FAILOVER:
            carrying = elected(shape)
            if carrying is None:
                return every  # lagg_fail_input(): "weird but process it"
            return {carrying} | (every & {shape.primary})
        case _:
            return {port.slot for port in members(shape)}


def _draining(shape: Shape) -> set[int]:
    """Held ports: a partner sends until it learns another way.  LACP tells it."""
    if shape.proto in (Proto.NONE, Proto.LACP):
        return set()
    return {port.slot for port in shape.ports if port.held}


def _collecting(ports: Sequence[Port]) -> set[int]:
    """The collecting ports of the active aggregator; without one, all that collect.

    The partner may send from the moment it hears that a port collects, which is before
    any aggregator carries; lagg(4) drops what comes then.
    """
    chosen = any(port.lacp.active for port in ports)
    return {
        port.slot
        for port in ports
        if port.lacp.collecting and (port.lacp.active or not chosen)
    }


def reason(shape: Shape, slot: int, carrying: Collection[int]) -> str | None:
    """Why a port carries nothing, in words; None when it is among those `carrying`."""
    port = shape.at(slot)
    if slot in carrying:
        return None
    if port.held and port.lowered:
        return "held, its link set down"
    if not port.link.up:
        return "administratively down"
    if not port.link.active:
        return "carrier down"
    if not port.active:
        return "waits for up_delay_ms"
    if port.held:
        return "held"
    if port.damped:
        return "kept out until it is steady: it was lost too often"
    if not port.watched.alive:
        return port.watched.reason
    if port.looped:
        return "kept out by loop_guard: the lagg's own frames come back by it"
    return _protocol_reason(shape, port) or _standby_reason(shape, carrying)


def _protocol_reason(shape: Shape, port: Port) -> str | None:
    """Why the protocol alone has a port that is usable carry nothing."""
    if shape.proto is Proto.NONE:
        return "laggproto none"
    return port.lacp.reason if shape.proto is Proto.LACP else None


def _standby_reason(shape: Shape, carrying: Collection[int]) -> str:
    few = f"min_links {shape.options.min_links} not met"
    return "standby" if carrying else few


@dataclass(frozen=True, slots=True)
class Standing:
    """What a port is to its lagg."""

    flags: tuple[PortFlag, ...]  # as ifconfig(8) prints them
    reason: str | None  # why it carries nothing, in words; None when it does


def standings(shape: Shape) -> dict[int, Standing]:
    """How each port stands, by slot; all at once, for each needs the whole plan."""
    carrying = plan(shape).distributing
    return {
        port.slot: Standing(
            _flags(shape, port, carrying), reason(shape, port.slot, carrying)
        )
        for port in shape.ports
    }
