# SPDX-License-Identifier: BSD-2-Clause
"""Which port a frame takes, why, and which it would take were a port to go down.

Owns the words of the reason, and what is said of a bucket, an entry of the flow table.
Pure: reads the very plan that the workers have and the frame's flow hash as C computes
it; what a dead port changes is a plan made anew.
"""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from lagg.errors import LaggError
from lagg.frozen import dataclass
from lagg.lacp.values import Mac
from lagg.model import Drop, HashKind, HashLayer, Proto, Spread
from lagg.plan import damping, loop_guard
from lagg.plan.election import GROUPED, link_active, members, why
from lagg.plan.pins import pins
from lagg.plan.plan import Plan, plan
from lagg.plan.shape import Port, Shape
from lagg.watches import Verdict, Watched, WatchState

Ends = Mapping[HashLayer, tuple[str, str]]
"""Source and destination of a frame by layer, as they are hashed."""


@dataclass(frozen=True, slots=True)
class Hashed:
    """The flow hash of a frame, and what it was made of."""

    hash: int
    tunnels: tuple[str, ...] = ()  # whose inside counts, the outermost first
    ends: Ends = field(default_factory=dict)
    source: Mac = ""  # of the frame as it is
    target: Mac = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who carries a frame, or why nobody does."""

    ports: tuple[str, ...]  # several take turns, or carry a copy each
    drop: Drop | None  # what the frame is counted under without any


@dataclass(frozen=True, slots=True)
class DeadPath:
    """A port with a link, whose path its watches call dead."""

    port: str
    verdicts: tuple[Verdict, ...]  # of its watches, those that found it alive aside
    alive: Choice  # who would carry the frame had the path not died


@dataclass(frozen=True, slots=True)
class Explanation:
    """A frame's way out of a lagg, under one snapshot."""

    lagg: str
    proto: Proto
    generation: int
    hash: int | None  # None where the protocol does not ask for it
    tunnels: tuple[str, ...]  # whose inside counted, the outermost first
    counted: tuple[str, ...]  # each layer that did, with both ends
    bucket: int | None
    buckets: int  # entries of the table; 0 when nobody carries
    choice: Choice
    why: str
    without: tuple[tuple[str, Choice], ...]  # each port, and the choice were it down
    dead: tuple[DeadPath, ...]
    accepts: tuple[str, ...]  # ports whose frames go up
    rx_drop: Drop  # what those of the others are counted under
    rx_refusal: Drop | None  # what such a frame is by the ports that are accepted from


@dataclass(frozen=True, slots=True)
class Bucket:
    """An entry of the flow table, and the frames that went out by it so far."""

    index: int
    port: str | None  # None: the table has it no more
    frames: int


def buckets(
    name: str, shape: Shape, running: Plan, frames: Sequence[int]
) -> tuple[Bucket, ...]:
    """Every bucket of the table, and what earlier, longer tables sent by others.

    `running` is the plan of `shape`; `frames` by index.  LaggError (EOPNOTSUPP) when
    the protocol has no flow table.
    """
    if running.spread is not Spread.FLOW:
        cause = f"laggproto {shape.proto.value} has no flow table"
        remedy = "loadbalance, lacp, tlb and alb have one"
        raise LaggError(name, f"{cause}; {remedy}", errno.EOPNOTSUPP)
    ports = [shape.at(slot).link.name for slot in running.tx_slots]
    return tuple(
        Bucket(index, ports[index] if index < len(ports) else None, count)
        for index, count in enumerate(frames)
        if index < len(ports) or count
    )


def explain(
    name: str, shape: Shape, running: Plan, generation: int, hashed: Hashed
) -> Explanation:
    """The way of a frame with this hash; `running` is the plan of `shape`."""
    for_port = _is_link_local(running, hashed.target)
    flow_hash, by_flow = hashed.hash, running.spread is Spread.FLOW
    index = flow_hash % len(running.tx_slots) if _by_flow(running) else None
    return Explanation(
        lagg=name,
        proto=shape.proto,
        generation=generation,
        hash=flow_hash if by_flow else None,
        tunnels=hashed.tunnels if by_flow else (),
        counted=_counted_layers(running, hashed) if by_flow else (),
        bucket=index,
        buckets=len(running.tx_slots) if index is not None else 0,
        choice=_choice(shape, running, flow_hash),
        why=_why(shape, running, flow_hash),
        without=tuple(
            (port.link.name, _choice_without(shape, port, flow_hash))
            for port in shape.ports
        ),
        dead=tuple(
            _dead_path(shape, port, flow_hash)
            for port in shape.ports
            if port.has_dead_path
        ),
        accepts=tuple(
            port.link.name
            for port in shape.ports
            if port.slot in running.rx_accept and not for_port
        ),
        rx_drop=Drop.LINK_LOCAL if for_port else running.rx_drop,
        rx_refusal=Drop.OWN_SOURCE if hashed.source in running.own else None,
    )


def _is_link_local(running: Plan, target: Mac) -> bool:
    """As native/receive.c has it: what no bridge forwards, but for slow protocols."""
    group, _, last = target.rpartition(":")
    if group != "01:80:c2:00:00" or int(last, 16) > _LOCAL_LAST:
        return False
    return last == _PAUSE or (last != _SLOW and not running.passes_local)


_PAUSE, _SLOW, _LOCAL_LAST = "01", "02", 0x0F


def _counted_layers(running: Plan, hashed: Hashed) -> tuple[str, ...]:
    ends = hashed.ends.items()
    return tuple(
        f"{layer.value} {one} {other}"
        for layer, (one, other) in ends
        if layer in running.hash_layers
    )


def _by_flow(running: Plan) -> bool:
    return running.spread is Spread.FLOW and bool(running.tx_slots)


def _choice(shape: Shape, running: Plan, flow_hash: int) -> Choice:
    slots = running.tx_slots
    if not slots:
        return Choice((), running.tx_drop)
    match running.spread:
        case Spread.FIRST:
            slots = slots[:1]
        case Spread.FLOW:
            slots = (slots[flow_hash % len(slots)],)
        case _:
            slots = tuple(dict.fromkeys(slots))
    return Choice(tuple(shape.at(slot).link.name for slot in slots), None)


def _choice_without(shape: Shape, port: Port, flow_hash: int) -> Choice:
    dead = replace(port.link, lower_up=False, operstate="DOWN")
    waits = {p.slot: p.wait for p in shape.ports if p.wait is not None and p != port}
    after = shape.with_link(dead, port.modes).with_waits(waits)
    after = damping.with_the_needed(loop_guard.with_the_needed(after))
    return _choice(after, plan(after), flow_hash)


def _dead_path(shape: Shape, port: Port, flow_hash: int) -> DeadPath:
    verdicts = port.watched.verdicts
    told = tuple(each for each in verdicts if each.state is not WatchState.UP)
    alive = _choice_were_alive(shape, port, flow_hash)
    return DeadPath(port.link.name, told, alive)


def _choice_were_alive(shape: Shape, port: Port, flow_hash: int) -> Choice:
    """As if it had never died: who carries since then has no claim by that."""
    ports = (replace(p, watched=Watched()) if p == port else p for p in shape.ports)
    before = replace(
        shape, ports=tuple(ports), incumbent=None, carriers=frozenset[int]()
    )
    return _choice(before, plan(before), flow_hash)


def _why(shape: Shape, running: Plan, flow_hash: int) -> str:
    if not running.tx_slots:
        return _NOBODY[running.tx_drop]
    match running.spread:
        case Spread.FIRST:
            return why(shape)
        case Spread.TURN:
            return f"{_turns(running)}{_grouped(shape)}"
        case Spread.FLOW:
            hashed = _hashed(running, flow_hash)
            moved = _moved(shape, running, flow_hash)
            return f"{hashed}{moved}{_grouped(shape)}{_stations(shape, running)}"
        case Spread.ALL:
            return f"every port that is up carries a copy{_grouped(shape)}"


def _grouped(shape: Shape) -> str:
    """Says which group carries, where there are several."""
    carrying = members(shape)
    if shape.proto not in GROUPED or len(carrying) == len(shape.ports):
        return ""
    names = ", ".join(port.link.name for port in carrying)
    return f"; of the groups by priority that of {names} carries"


_NOBODY = {
    Drop.NO_PORT: "the lagg has no port",
    Drop.NO_ACTIVE_PORT: "no port can carry: all are down, or not in use",
    Drop.PROTO_NONE: "laggproto none carries nothing",
}


def _hashed(running: Plan, flow_hash: int) -> str:
    layers = ",".join(layer.value for layer in running.hash_layers)
    if running.hash_symmetric:
        layers += ", alike both ways,"
    count = len(running.tx_slots)
    return (
        f"{running.hash_kind.value} of {layers} with seed {running.hash_seed:#x} is"
        f" {flow_hash:#010x}, modulo {count} is {flow_hash % count}"
    )


def _moved(shape: Shape, running: Plan, flow_hash: int) -> str:
    """Says where a user pinned the flow, or whose it is that cannot carry it."""
    pin = _pin_words(shape, running, flow_hash)
    if pin or not _has_homes(shape):
        return pin
    if running.hash_kind is HashKind.FNV1:
        ports = members(shape)
        home = ports[flow_hash % len(ports)].slot
        answers = link_active(ports, home) != home
    else:
        home = shape.homes[flow_hash % len(shape.homes)]
        answers = home != running.tx_slots[flow_hash % len(running.tx_slots)]
    if not answers:
        return ""
    port = shape.at(home)
    state = port.unused_words
    return f"; its port, {port.link.name}, is {state}, and this one stands in"


def _has_homes(shape: Shape) -> bool:
    """Whether a port that carries nothing is stood in for, bucket by bucket."""
    deals = shape.options.hash is HashKind.CRC32C
    return shape.proto is Proto.LOADBALANCE or (shape.proto.by_stations and deals)


def _stations(shape: Shape, running: Plan) -> str:
    """Says what leaves by one port alone, where each is a station of its own."""
    if running.stations is None:
        return ""
    home = shape.at(running.stations.home).link.name
    return f"; all but IP from the lagg's own MAC to one host leaves by {home}"


def _turns(running: Plan) -> str:
    if running.stride == 0:
        return "each frame takes one of the ports by chance"
    return f"the ports take turns of {_counted(running.stride, 'frame')}"


def _pin_words(shape: Shape, running: Plan, flow_hash: int) -> str:
    bucket = flow_hash % len(running.tx_slots)
    port = pins(shape).get(bucket)
    if port is None or running.hash_kind is HashKind.FNV1:
        return ""
    carries = shape.at(running.tx_slots[bucket]).link.name == port
    state = "" if carries else ", which carries nothing, and this one stands in"
    return f"; the bucket is pinned to {port}{state}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
