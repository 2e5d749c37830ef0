# SPDX-License-Identifier: BSD-2-Clause
"""How a load is shared by the ports, and what would move for it, once.

Owns what is to be seen of that.  Pure; the policy is balance.py's.
"""

from lagg.frozen import dataclass
from lagg.plan.balance import FlowLoad, moves
from lagg.plan.shape import Port, Shape

HEAVIEST_MAX = 3
"""Buckets that are named of each port."""


@dataclass(frozen=True, slots=True)
class BucketLoad:
    """A bucket that moves, or is one of the heaviest of its port."""

    bucket: int
    bytes: int
    port: str  # that has it, or to which it moves


@dataclass(frozen=True, slots=True)
class PortLoad:
    """One port's part of a load."""

    port: str
    speed_mbps: int  # 0: unknown
    weight: int  # as it is set; 0: by its speed
    share: float  # of all bytes, that is its own
    bytes: int
    bytes_after: int  # with the moves
    buckets: int
    buckets_after: int
    heaviest: tuple[BucketLoad, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A load, and what comes of the moves."""

    ms: int  # in which it was measured
    ports: tuple[PortLoad, ...]
    moves: tuple[BucketLoad, ...]
    peak: float  # what the busiest port carries, in shares of its own
    peak_after: float


def report(shape: Shape, load: FlowLoad, ms: int) -> Report:
    """What is to be seen of a load of this shape, measured in so many milliseconds."""
    found = moves(load)
    after = load.after(found)
    return Report(
        ms=ms,
        ports=tuple(
            _port_load(shape, port, load, after)
            for port in shape.ports
            if port.slot in load.capacities
        ),
        moves=tuple(
            BucketLoad(bucket, load.sizes[bucket], shape.at(slot).link.name)
            for bucket, slot in found.items()
        ),
        peak=max(load.levels.values()),
        peak_after=max(after.levels.values()),
    )


def _port_load(shape: Shape, port: Port, load: FlowLoad, after: FlowLoad) -> PortLoad:
    name, slot = port.link.name, port.slot
    there = [bucket for bucket, carrier in enumerate(load.deal) if carrier == slot]
    sent = [BucketLoad(b, load.sizes[b], name) for b in there if load.sizes[b]]
    return PortLoad(
        port=name,
        speed_mbps=port.speed_mbps,
        weight=shape.options_of(name).weight,
        share=load.capacities[slot] / sum(load.capacities.values()),
        bytes=load.sent[slot],
        bytes_after=after.sent[slot],
        buckets=len(there),
        buckets_after=[*after.deal].count(slot),
        heaviest=tuple(sorted(sent, key=lambda each: -each.bytes)[:HEAVIEST_MAX]),
    )
