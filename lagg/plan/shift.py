# SPDX-License-Identifier: BSD-2-Clause
"""What a change moves: each port's part of what a lagg sends, before and after it.

Owns when a flow has moved: its entry of the table is another port's.  Where the entries
mean other flows than before, by another hash or spread, no count says which moved, and
that is said.  Pure; knows no load: all buckets count alike.
"""

from collections import Counter
from collections.abc import Iterable

from lagg.frozen import dataclass
from lagg.model import Proto, Spread
from lagg.plan.flow_moves import policy
from lagg.plan.plan import Plan
from lagg.plan.shape import Shape


@dataclass(frozen=True, slots=True)
class Carriage:
    """A lagg's ports and what of its frames each carries, by names."""

    spread: Spread
    rule: tuple[object, ...]  # equal where an entry means the same frames
    ports: tuple[str, ...]
    carriers: tuple[str, ...]  # of each entry; one in all, if the first carries all
    unagreed: tuple[str, ...] = ()  # ports whose partner has not agreed (yet)

    @classmethod
    def of(cls, shape: Shape, plan: Plan) -> "Carriage":
        """A plan that was made of this shape, with its names."""
        names = {port.slot: port.link.name for port in shape.ports}
        first, flow = plan.spread is Spread.FIRST, plan.spread is Spread.FLOW
        lacp = shape.proto is Proto.LACP
        return cls(
            plan.spread,
            policy(plan) if flow else (plan.spread,),
            tuple(names.values()),
            tuple(names[slot] for slot in plan.tx_slots[: 1 if first else None]),
            tuple(
                port.link.name
                for port in shape.ports
                if lacp and port.usable and not port.lacp.distributing
            ),
        )

    def share(self, port: str) -> float:
        """Its part of all flows and turns, 0 to 1; of what each carries, all."""
        if self.spread is Spread.ALL:
            return float(port in self.carriers)
        return self.carriers.count(port) / len(self.carriers) if self.carriers else 0.0

    def buckets(self, port: str) -> int:
        """The entries of the flow table that are its; 0 without a flow table."""
        return self.carriers.count(port) if self.spread is Spread.FLOW else 0


@dataclass(frozen=True, slots=True)
class PortShift:
    """A port's part, before and after."""

    port: str
    share: float
    share_after: float
    buckets: int  # entries of the table that are its; 0 without a flow table
    buckets_after: int


@dataclass(frozen=True, slots=True)
class Move:
    """Flows that go from a port to another."""

    source: str
    target: str
    buckets: int
    share: float  # of all flows


@dataclass(frozen=True, slots=True)
class Shift:
    """A lagg's ports and flows, before and after a change."""

    lagg: str
    ports: tuple[PortShift, ...]
    moves: tuple[Move, ...] = ()
    anew: bool = False  # all is spread by another rule; no move is counted
    unagreed: tuple[str, ...] = ()  # ports that carry only once their partner agrees


def shift(lagg: str, before: Carriage | None, after: Carriage | None) -> Shift:
    """What moves; None: there is no such lagg before, or after."""
    anew = before is not None and after is not None and before.rule != after.rule
    return Shift(
        lagg,
        ports=tuple(_ports(before, after)),
        moves=() if anew else _moves(before, after),
        anew=anew,
        unagreed=() if after is None else after.unagreed,
    )


def _ports(before: Carriage | None, after: Carriage | None) -> Iterable[PortShift]:
    there = [each for each in (before, after) if each is not None]
    for port in dict.fromkeys(name for each in there for name in each.ports):
        yield PortShift(
            port,
            share=0.0 if before is None else before.share(port),
            share_after=0.0 if after is None else after.share(port),
            buckets=0 if before is None else before.buckets(port),
            buckets_after=0 if after is None else after.buckets(port),
        )


def _moves(before: Carriage | None, after: Carriage | None) -> tuple[Move, ...]:
    """Who moves; frames that take turns, or all ports, do not."""
    if before is None or after is None:
        return ()
    if before.spread not in (Spread.FIRST, Spread.FLOW):
        return ()
    pairs = Counter(zip(before.carriers, after.carriers, strict=False))
    entries = len(before.carriers)
    flow = before.spread is Spread.FLOW
    return tuple(
        Move(source, target, count if flow else 0, count / entries)
        for (source, target), count in sorted(pairs.items())
        if source != target
    )
