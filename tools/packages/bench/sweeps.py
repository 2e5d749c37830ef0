# SPDX-License-Identifier: BSD-2-Clause
"""What a frame costs as ports, flows and workers become more.

Owns the points of each sweep; the first of one is what its others are compared with.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass

from bench.measurements import Found, Meter
from bench.systems import Lagg, System
from lab.lab import Lab

PROTO = "loadbalance"
PORTS = (1, 2, 8, 32)
PORT_FLOWS = 64
"""Flows of the sweep over ports: one UDP socket each, whose bursts stay together."""

FLOWS = (1, 1_000, 1_000_000)
"""One frame each in turn: the host's cache sees them all before one comes again."""

WORKERS = (1, 2, 4)
SWEEPS = ("ports", "flows", "workers")


@dataclass(frozen=True, slots=True)
class Point:
    """One row."""

    section: str
    row: str
    system: System
    measure: Callable[[Meter, System], Found]


def points(lab: Lab, wanted: Container[str]) -> list[Point]:
    """The points of the wanted sweeps, ready to be measured."""
    found: list[Point] = []
    if "ports" in wanted or "flows" in wanted:
        many = Lagg(lab, "ports", ports=PORTS[-1])
        every = [_ports(many, count) for count in PORTS]
        every += [_flows(many, flows, 1) for flows in FLOWS]
        every.append(_flows(many, FLOWS[1], PORTS[-1]))
        found += [point for point in every if point.section in wanted]
    if "workers" in wanted:
        found += [_workers(lab, count) for count in WORKERS]
    return found


def _workers(lab: Lab, count: int) -> Point:
    lagg = Lagg(lab, f"workers-{count}", options=("--workers", str(count)))
    return Point("workers", _many(count, "worker"), lagg.system(PROTO), Meter.frames)


def _ports(lagg: Lagg, count: int) -> Point:
    return Point("ports", _many(count, "port"), lagg.system(PROTO, count), _bursts)


def _flows(lagg: Lagg, flows: int, ports: int) -> Point:
    def measure(meter: Meter, system: System) -> Found:
        return meter.out(system, flows=flows, kind="queue").metrics("tx")

    row = f"{_many(flows, 'flow')} over {_many(ports, 'port')}"
    return Point("flows", row, lagg.system(PROTO, ports), measure)


def _bursts(meter: Meter, system: System) -> Found:
    out = meter.out(system, flows=PORT_FLOWS).metrics("tx")
    return out | meter.into(system, flows=PORT_FLOWS).metrics("rx")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
