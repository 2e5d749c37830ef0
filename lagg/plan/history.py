# SPDX-License-Identifier: BSD-2-Clause
"""What a lagg has been through: who failed how often, and who took over from whom.

Owns what counts as a failure (a port that was used and is left: its link is gone, and
down_delay_ms is over), and as a failover.  Pure; the time of day is an argument, in
nanoseconds since 1970.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from lagg.lacp.values import Count
from lagg.link import Ifindex
from lagg.model import Proto
from lagg.options import PORTS_MAX
from lagg.plan.changes import cause
from lagg.plan.election import GROUPED
from lagg.plan.shape import Port, Shape

Carrier = tuple[Ifindex, str]
"""A port that carries, and what it was called."""


@dataclass(frozen=True, slots=True)
class PortPast:
    """What a port has been through since it was attached."""

    ifindex: Ifindex
    since_ns: Count  # it is usable, or is not, from then on
    failures: Count = 0


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

    def of_port(self, ifindex: int) -> PortPast | None:
        """What is known of a port."""
        return next((past for past in self.ports if past.ifindex == ifindex), None)

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
    lost = old.active and not port.active and not port.lowered
    failures = past.failures + lost
    if old.usable is port.usable:
        return replace(past, failures=failures)
    return replace(past, since_ns=at_ns, failures=failures)


def _carriers(shape: Shape) -> Iterator[Carrier]:
    for port in shape.ports:
        by_group = shape.proto in GROUPED and port.slot in shape.carriers
        by_itself = shape.proto is Proto.FAILOVER and port.slot == shape.incumbent
        if by_group or by_itself:
            yield port.link.ifindex, port.link.name


def _names(carriers: tuple[Carrier, ...]) -> str:
    return ",".join(name for _, name in carriers)
