# SPDX-License-Identifier: BSD-2-Clause
"""What a lagg has been through: who was left how often and why, and who took over.

Owns for what causes a port is left, which of them are failures (its link or its path is
gone), and what is a failover.  Pure; the time of day is an argument, in nanoseconds
since 1970.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import Enum
from typing import Annotated

from lagg.frozen import dataclass
from lagg.lacp.values import Count
from lagg.link import Ifindex
from lagg.options import PORTS_MAX
from lagg.plan.changes import cause
from lagg.plan.election import GROUPED
from lagg.plan.shape import Port, Shape

Carrier = tuple[Ifindex, str]
"""A port that carries, and what it was called."""


class Cause(Enum):
    """Why a port that was used is left."""

    CARRIER = "carrier"  # its link is gone, and down_delay_ms is over
    ADMIN = "admin"  # somebody set it down
    WATCH = "watch"  # its path is dead
    AGREEMENT = "agreement"  # LACP distributes by it no more, though it is usable
    DAMPING = "damping"  # it was lost too often
    LOOP = "loop"  # the lagg's own frames came back by it
    HOLD = "hold"


FAILURES = (Cause.CARRIER, Cause.ADMIN, Cause.WATCH)
"""What bonding counts as failures of a link; the others are decisions, or agreed on."""


@dataclass(frozen=True, slots=True)
class Departure:
    """A time that a port was left."""

    cause: Cause
    at_ns: Count


@dataclass(frozen=True, slots=True)
class PortPast:
    """What a port has been through since it was attached."""

    ifindex: Ifindex
    since_ns: Count  # it is usable, or is not, from then on
    counts: tuple[tuple[Cause, Count], ...] = ()  # times that it was left
    last: Departure | None = None

    def times(self, cause: Cause) -> int:
        """How often it was left for that."""
        return dict(self.counts).get(cause, 0)

    @property
    def failures(self) -> int:
        """How often its link or path was lost."""
        return sum(map(self.times, FAILURES))

    def left(self, causes: Iterable[Cause], at_ns: int) -> "PortPast":
        """With these once more; of several at a time the last is the first of them."""
        found = [*causes]
        if not found:
            return self
        counts = dict(self.counts) | {each: self.times(each) + 1 for each in found}
        last = Departure(found[0], at_ns)
        return replace(self, counts=tuple(counts.items()), last=last)


@dataclass(frozen=True, slots=True)
class Failover:
    """Who took over from whom; names of ports, with commas where a group carries."""

    of: str
    to: str
    cause: str | None  # in words
    at_ns: Count


@dataclass(frozen=True, slots=True)
class LaggPast:
    """What a lagg has been through since it was made."""

    ports: Annotated[tuple[PortPast, ...], range(PORTS_MAX + 1)] = ()
    # By failover or a static spread, also while none does.
    carried: Annotated[tuple[Carrier, ...], range(PORTS_MAX + 1)] = ()
    failovers: Count = 0
    last_failover: Failover | None = None
    carrier_since_ns: Count = 0  # the lagg's own is there, or is not, from then on
    carrier_losses: Count = 0
    balanced: Count = 0  # buckets that moved for their load

    def of_port(self, ifindex: int) -> PortPast | None:
        """What is known of a port."""
        return next((past for past in self.ports if past.ifindex == ifindex), None)

    def with_carrier(self, before: bool, after: bool, at_ns: int) -> "LaggPast":
        """With what the lagg's own carrier was and is."""
        if before is after:
            return self
        losses = self.carrier_losses + (before and not after)
        return replace(self, carrier_since_ns=at_ns, carrier_losses=losses)

    def then(self, before: Shape, after: Shape, at_ns: int) -> "LaggPast":
        """With what comes of the step from one settled shape to the next."""
        ports = tuple(
            _past(self.of_port(port.link.ifindex), before, port, at_ns)
            for port in after.ports
        )
        return replace(self, ports=ports)._then_carried(before, after, at_ns)

    def _then_carried(self, before: Shape, after: Shape, at_ns: int) -> "LaggPast":
        carrying = tuple(_carriers(after))
        if after.proto is not before.proto:
            return replace(self, carried=carrying)
        if not carrying:
            return self
        known = {ifindex for ifindex, _ in self.carried}
        stay = any(ifindex in known for ifindex, _ in carrying)
        if stay or not self.carried:
            return replace(self, carried=carrying)
        failover = Failover(
            _names(self.carried), _names(carrying), cause(before, after), at_ns
        )
        return replace(
            self,
            carried=carrying,
            failovers=self.failovers + 1,
            last_failover=failover,
        )


def _past(past: PortPast | None, before: Shape, port: Port, at_ns: int) -> PortPast:
    old = before.find(port.link.ifindex)
    if past is None or old is None:
        return PortPast(port.link.ifindex, at_ns)
    past = past.left(_causes(old, port), at_ns)
    return past if old.usable is port.usable else replace(past, since_ns=at_ns)


def _causes(old: Port, port: Port) -> Iterator[Cause]:
    """Why a port is left in this step, if it is."""
    if old.active and not port.active and not port.lowered:
        yield Cause.CARRIER if port.link.up else Cause.ADMIN
    if port.active and old.watched.alive and not port.watched.alive:
        yield Cause.WATCH
    if port.usable and old.lacp.distributing and not port.lacp.distributing:
        yield Cause.AGREEMENT
    if port.damped and not old.damped:
        yield Cause.DAMPING
    if port.looped and not old.looped:
        yield Cause.LOOP
    if port.held and not old.held:
        yield Cause.HOLD


def _carriers(shape: Shape) -> Iterator[Carrier]:
    for port in shape.ports:
        by_group = shape.proto in GROUPED and port.slot in shape.carriers
        by_itself = shape.proto.elects and port.slot == shape.incumbent
        if by_group or by_itself:
            yield port.link.ifindex, port.link.name


def _names(carriers: tuple[Carrier, ...]) -> str:
    return ",".join(name for _, name in carriers)
