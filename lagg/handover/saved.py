# SPDX-License-Identifier: BSD-2-Clause
"""One lagg as a value: all that the next laggd needs of it, and no kernel tells.

Owns the form, its version, and what must hold of it beyond its types: it comes from
memory that a less trusted process holds.  What needs not be saved, and why, stands in
docs/ARCHITECTURE.md, "What a successor needs".  Pure; knows no lagg at work.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Annotated

from lagg.codec import dumps, loads
from lagg.frozen import dataclass
from lagg.lacp.key import IDENTITIES
from lagg.lacp.saved import SavedEngine
from lagg.lacp.values import NS_OF_MS, U32, Count, Instant, PortNumber
from lagg.link import Ifindex, Link, RxFilter
from lagg.model import ALL_LAYERS, BUCKETS, Drop, Options, PortOptions, Proto, Wanted
from lagg.option_row import Option, Whole
from lagg.options import ANNOUNCE_MS_MAX, OPTIONS, PORTS_MAX
from lagg.plan.buckets import Slot
from lagg.plan.flow_moves import Moves
from lagg.plan.history import LaggPast
from lagg.plan.shape import LaggMac, Shape
from lagg.port_options import PORT_OPTIONS

VERSION = 1
"""Raised when a predecessor's state cannot be read any more; a new field is no reason,
if it has a default."""

_HEAD = f"laggd-state {VERSION}\n"
_HEAD_CHARS_MAX = 40

Index = Annotated[int, range(BUCKETS)]


@dataclass(frozen=True, slots=True)
class SavedHostDrops:
    """What the kernel has dropped of the host's frames, and what we made of it."""

    seen: Count = 0  # that the kernel told last
    dropped: tuple[tuple[Drop, Count], ...] = ()


@dataclass(frozen=True, slots=True)
class SavedLacpPort:
    """What is known of a port of the engine's outside of it."""

    number: PortNumber
    leaving: bool = False
    carrying: bool = False
    overruns: Count = 0


@dataclass(frozen=True, slots=True)
class SavedLacp:
    """The LACP of a lagg whose last step is done: nothing of it is yet to be sent."""

    engine: SavedEngine
    mac: LaggMac  # that it speaks with
    ports: Annotated[tuple[SavedLacpPort, ...], range(PORTS_MAX + 1)]  # the engine's
    answering: frozenset[PortNumber] = frozenset()  # whose partner answers markers
    asked: tuple[tuple[Slot, U32], ...] = ()  # which marker flows wait for, by origin


@dataclass(frozen=True, slots=True)
class SavedHold:
    """How a port is held: what its sockets do, which nobody can ask them."""

    ifindex: Ifindex
    rx: RxFilter = field(default_factory=RxFilter)
    chains: Annotated[tuple[str, ...], range(3)] = ()  # of its table in nftables


@dataclass(frozen=True, slots=True)
class SavedLagg:
    """A lagg, of whose snapshots the last is that of this shape, MTU and moves."""

    link: Link  # its own, as it was known: what differs by now is somebody's doing
    identity: Annotated[int, range(IDENTITIES)]
    shape: Shape
    moves: tuple[tuple[Index, Slot], ...] = ()
    wanted: Wanted = field(default_factory=Wanted)
    shares_mac: bool = False
    host_drops: SavedHostDrops = SavedHostDrops()
    # Why ports are promiscuous, in words.
    openings: tuple[tuple[Ifindex, str], ...] = ()
    holds: Annotated[tuple[SavedHold, ...], range(PORTS_MAX + 1)] = ()
    lacp: SavedLacp | None = None
    history: LaggPast = field(default_factory=LaggPast)

    @property
    def flow_moves(self) -> Moves:
        """The flows that wait."""
        return Moves(dict(self.moves))

    def text(self) -> bytes:
        """As it is kept."""
        return f"{_HEAD}{dumps(self)}".encode()

    @classmethod
    def of(cls, text: bytes, now: Instant) -> "SavedLagg":
        """What text() made at a time before `now`.

        ValueError says what is wrong: another version, or the place of what no lagg of
        ours can be.
        """
        head, _, body = text.partition(b"\n")
        if head + b"\n" != _HEAD.encode():
            said = head[:_HEAD_CHARS_MAX].decode(errors="replace")
            raise ValueError(f"the state begins with {said!r}, not {_HEAD.strip()!r}")
        saved = loads(cls, body)
        _check_shape(saved.shape)
        _check_past(saved.shape, now)
        _check_beside(saved)
        _check_rounds(saved.wanted, now)
        if saved.lacp is not None:
            _check_lacp(saved.lacp, saved.shape, now)
        return saved


def _check_shape(shape: Shape) -> None:
    slots = [port.slot for port in shape.ports]
    ifindexes = [port.link.ifindex for port in shape.ports]
    _hold(ifindexes == sorted({*ifindexes}), "shape.ports: not by ifindex, each once")
    _hold(len({*slots}) == len(slots) <= PORTS_MAX, "shape.ports: a slot twice")
    primary = shape.primary in slots if slots else shape.primary is None
    _hold(primary, "shape.primary: not in the slot of a port")
    or_none = {*slots, None}
    _hold({shape.picked, shape.incumbent} <= or_none, "shape.picked: no port's slot")
    _hold(shape.carriers <= {*slots}, "shape.carriers: no port's slot")
    _hold(not shape.closing & {*slots}, "shape.closing: a port that is there")
    wanted = BUCKETS if slots else 0
    _hold(len(shape.homes) == wanted, f"shape.homes: not {wanted}")
    _hold({*shape.homes} <= {*slots}, "shape.homes: not in the slot of a port")
    _check_options(shape.options, shape.port_options)
    timed = [pin.bucket for pin, _ in shape.timed_pins]
    _hold(len({*timed}) == len(timed), "shape.timed_pins: a bucket twice")


def _check_past(shape: Shape, now: Instant) -> None:
    penalties = (port.penalty for port in shape.ports)
    lost = [each.lost_at for each in penalties if each is not None]
    _hold(max(lost, default=now) <= now, "shape.ports: one is lost later on")
    loops = (port.loop for port in shape.ports)
    seen = [each.seen_at for each in loops if each is not None]
    _hold(max(seen, default=now) <= now, "shape.ports: a loop is seen later on")


def _check_options(options: Options, of_ports: Mapping[str, PortOptions]) -> None:
    seed = options.hash_seed
    _hold(seed is not None, "shape.options.hash_seed: not drawn")
    counted = not set(ALL_LAYERS).isdisjoint(options.lagghash)
    _hold(counted, "shape.options.lagghash: none of l2, l3, l4")
    buckets = [pin.bucket for pin in options.pin]
    _hold(len({*buckets}) == len(buckets), "shape.options.pin: a bucket twice")
    _check_ranges(options, OPTIONS, "shape.options")
    for name, chosen in of_ports.items():
        _check_ranges(chosen, PORT_OPTIONS, f"shape.port_options.{name}")


def _check_ranges(
    options: Options | PortOptions, rows: Iterable[Option], place: str
) -> None:
    for row in rows:
        if isinstance(row.value, Whole):
            value = getattr(options, row.key)
            least, most = row.value.least, row.value.most
            _hold(least <= value <= most, f"{place}.{row.key}: not {least} ... {most}")


def _check_beside(saved: SavedLagg) -> None:
    shape = saved.shape
    past = [each.ifindex for each in saved.history.ports]
    _hold(len({*past}) == len(past), "history.ports: a port twice")
    for each in saved.history.ports:
        once = len(dict(each.counts)) == len(each.counts)
        _hold(once, "history.ports.counts: a cause twice")
    known = shape.closing.union(port.slot for port in shape.ports)
    origins = dict(saved.moves)
    _hold(len(origins) == len(saved.moves), "moves: an index twice")
    _hold({*origins.values()} <= known, "moves: from the slot of no port")
    holds = [each.ifindex for each in saved.holds]
    _hold(len({*holds}) == len(holds), "holds: a port twice")
    ports = {port.link.ifindex for port in shape.ports}
    _hold(ports <= {*holds}, "holds: a port is missing")
    _hold(len(dict(saved.openings)) == len(saved.openings), "openings: a port twice")
    dropped = saved.host_drops.dropped
    _hold(len(dict(dropped)) == len(dropped), "host_drops.dropped: a reason twice")
    lacks = shape.proto is Proto.LACP and saved.lacp is None
    _hold(not lacks, "lacp: missing, and laggproto is lacp")


def _check_rounds(wanted: Wanted, now: Instant) -> None:
    latest = now + ANNOUNCE_MS_MAX * NS_OF_MS
    for key in ("announcements", "rejoins"):
        due = getattr(wanted, key).due
        _hold(due <= latest, f"wanted.{key}.due: later than any can be")


def _check_lacp(lacp: SavedLacp, shape: Shape, now: Instant) -> None:
    try:
        lacp.engine.check(now)
    except ValueError as error:
        raise ValueError(f"lacp.engine.{error}") from error
    numbers = [each.number for each in lacp.ports]
    of_engine = [each.number for each in lacp.engine.ports]
    _hold(numbers == of_engine, "lacp.ports: not those of the engine")
    _hold({*numbers} <= {p.number for p in shape.ports}, "lacp.ports: of no port")
    _hold(lacp.answering <= {*numbers}, "lacp.answering: no port")
    _hold(len(dict(lacp.asked)) == len(lacp.asked), "lacp.asked: a slot twice")


def _hold(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
