# SPDX-License-Identifier: BSD-2-Clause
"""A port that is lost again and again is kept out until it is steady: flap damping.

Owns what counts as a loss (a port that counted as up, and has lost its link or path;
not one that somebody set down), and that a lagg is never without a port for it: while
nothing is carried, who is kept out is let in, the steadiest first.  The numbers are in
penalty.py.  Pure; time is an argument, and never goes back.

Who is kept out is in no plan, and so its link may come and go without a publication.
It may do so three times before, and twice each time that it is let in again.
"""

from collections.abc import Mapping
from dataclasses import replace

from lagg.lacp.values import Instant
from lagg.plan.election import is_carried
from lagg.plan.penalty import Penalty
from lagg.plan.shape import Port, Shape


def settled(before: Shape, after: Shape, now: Instant) -> Shape:
    """`after` with the penalties of its ports at this time.

    `before` is the shape that was settled last.
    """
    if not after.options.damping:
        return _with_penalties(after, {port.slot: None for port in after.ports})
    found = {
        port.slot: _penalty_of(port, before.find(port.link.ifindex), now)
        for port in after.ports
    }
    return with_the_needed(_with_penalties(after, found))


def due_at(shape: Shape) -> Instant | None:
    """When the first port is let in again, and settled() is due; None: none is out."""
    penalties = (port.penalty for port in shape.ports if port.damped)
    return min((p.reuse_at for p in penalties if p is not None), default=None)


def with_the_needed(shape: Shape) -> Shape:
    """With ports let in without which the lagg would carry nothing."""
    out = [port for port in shape.ports if port.damped]
    for port in sorted(out, key=_place):
        if is_carried(shape):
            break
        assert port.penalty is not None
        shape = _with_penalties(shape, {port.slot: port.penalty.released()})
    return shape


def _place(port: Port) -> tuple[bool, Instant]:
    """Who is let in first: of those that would carry whose penalty is the lowest."""
    assert port.penalty is not None
    return not (port.active and port.watched.alive), port.penalty.reuse_at


def _penalty_of(port: Port, old: Port | None, now: Instant) -> Penalty | None:
    known = None if port.penalty is None else port.penalty.at(now)
    was_there = old is not None and old.active and old.watched.alive
    is_there = port.active and port.watched.alive
    if was_there and not is_there and port.link.up:
        return (known or Penalty()).after_loss(now)
    return known


def _with_penalties(shape: Shape, said: Mapping[int, Penalty | None]) -> Shape:
    """With these by slot; a port whose slot is not named has what it had."""
    ports = tuple(
        port
        if said.get(port.slot, port.penalty) == port.penalty
        else replace(port, penalty=said[port.slot])
        for port in shape.ports
    )
    return shape if ports == shape.ports else replace(shape, ports=ports)
