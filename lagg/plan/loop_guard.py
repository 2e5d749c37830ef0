# SPDX-License-Identifier: BSD-2-Clause
"""Ports by which the lagg's own frames come back carry nothing: loop_guard.

Owns when a port is kept out for that, and that a lagg is never without a port for it:
while nothing is carried, who is kept out is let in, the quietest first.  How long is in
loop.py.  Counts for the static protocols alone: LACP knows a loop by its own PDUs, to
tlb a switch is to bring back what its other ports sent, and a port by which nothing is
accepted is out already.  Pure; time is an argument.

Two ports on one switch that knows of no aggregation are a loop as well: it floods by
one what came in by the other.  One of them carries then.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from lagg.lacp.values import Instant
from lagg.model import Proto
from lagg.plan.buckets import Slot
from lagg.plan.election import GROUPED, is_carried
from lagg.plan.loop import Loop
from lagg.plan.shape import Port, Shape


def seen(shape: Shape, slots: Collection[Slot], now: Instant) -> Shape:
    """With own frames that have just come back by these slots; to be settled."""
    found = {
        port.slot: Loop(now) if port.loop is None else port.loop.seen(now)
        for port in shape.ports
        if port.slot in slots
    }
    return _with_loops(shape, found) if _guards(shape) else shape


def settled(shape: Shape, now: Instant) -> Shape:
    """With each port kept out, or not, at this time."""
    if not _guards(shape):
        return _with_loops(shape, {port.slot: None for port in shape.ports})
    found = {port.slot: port.loop and port.loop.at(now) for port in shape.ports}
    return with_the_needed(_with_loops(shape, found))


def due_at(shape: Shape) -> Instant | None:
    """When the first port is let in again, and settled() is due; None: none is out."""
    loops = (port.loop for port in shape.ports if port.looped)
    return min((loop.over_at for loop in loops if loop is not None), default=None)


def with_the_needed(shape: Shape) -> Shape:
    """With ports let in without which the lagg would carry nothing."""
    out = [port for port in shape.ports if port.looped]
    for port in sorted(out, key=_place):
        if is_carried(shape):
            break
        assert port.loop is not None
        shape = _with_loops(shape, {port.slot: port.loop.released()})
    return shape


def _place(port: Port) -> tuple[bool, Instant]:
    """Who is let in first: of those that would carry who was quiet for longest."""
    assert port.loop is not None
    return not (port.active and port.watched.alive), port.loop.seen_at


def _guards(shape: Shape) -> bool:
    guarded = shape.proto is Proto.FAILOVER or shape.proto in GROUPED
    return shape.options.loop_guard and guarded


def _with_loops(shape: Shape, said: Mapping[Slot, Loop | None]) -> Shape:
    """With these by slot; a port whose slot is not named has what it had."""
    ports = tuple(
        port
        if said.get(port.slot, port.loop) == port.loop
        else replace(port, loop=said[port.slot])
        for port in shape.ports
    )
    return shape if ports == shape.ports else replace(shape, ports=ports)
