# SPDX-License-Identifier: BSD-2-Clause
"""When a port whose link has changed is used, or left: up_delay_ms and down_delay_ms.

Owns Linux bonding's rules of updelay and downdelay.  A port whose link differs from
what it counts as waits; a link that is back before the wait is over ends it, as if
nothing had been.  While no port carries nobody waits to be used.  Pure; time is an
argument, and never goes back.
"""

from lagg.lacp.values import NS_OF_MS, Instant
from lagg.model import Proto
from lagg.plan.shape import Port, Shape, Wait


def settled(before: Shape, after: Shape, now: Instant) -> Shape:
    """`after` with the waits of its ports at this time.

    `before` is the shape that was settled last: what a port counts as is of there.
    """
    waits = {}
    for port in after.ports:
        wait = _wait_of(port, before.find(port.link.ifindex), after, now)
        if wait is not None:
            waits[port.slot] = wait
    if not waits and all(port.wait is None for port in after.ports):
        return after
    return _without_idle_waits(after.with_waits(waits))


def due_at(shape: Shape) -> Instant | None:
    """When the first wait is over, and settled() is due; None: nobody waits."""
    waits = (port.wait for port in shape.ports)
    return min((wait.until for wait in waits if wait is not None), default=None)


def _wait_of(port: Port, old: Port | None, shape: Shape, now: Instant) -> Wait | None:
    counts_as = old is not None and old.active
    comes = port.link.active
    if comes is counts_as:
        return None
    options = shape.options
    delay_ms = options.up_delay_ms if comes else options.down_delay_ms
    until = now + delay_ms * NS_OF_MS
    if old is not None and old.wait is not None:
        until = min(until, old.wait.until)
    return Wait(counts_as, until) if until > now else None


def _without_idle_waits(shape: Shape) -> Shape:
    """While no port carries, those that wait to be used are: first who came first.

    LACP needs time to agree, so there all are used until one distributes.
    """
    waits = {port.slot: port.wait for port in shape.preferred if port.wait is not None}
    coming = [slot for slot, wait in waits.items() if not wait.active]
    for slot in sorted(coming, key=lambda slot: waits[slot].until):
        if not _is_carried(shape):
            del waits[slot]
            shape = shape.with_waits(waits)
    return shape


def _is_carried(shape: Shape) -> bool:
    if shape.proto is Proto.LACP:
        return any(port.usable and port.lacp.distributing for port in shape.ports)
    return any(port.usable for port in shape.ports)
