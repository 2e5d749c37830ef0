# SPDX-License-Identifier: BSD-2-Clause
"""The gate of a port: while it is held nothing is given to it.

Owns when it is: as long as its option says, or for a time; and whether its link is to
be down meanwhile, for that is all that the partner of a static lagg learns by.  Pure;
time is an argument.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from lagg.lacp.values import NS_OF_MS, Instant
from lagg.model import HoldLink, Proto
from lagg.plan.shape import Port, Shape


def settled(shape: Shape, now: Instant) -> Shape:
    """With each port held, or not, at this time."""
    ports = tuple(_settled(shape, port, now) for port in shape.ports)
    return shape if ports == shape.ports else replace(shape, ports=ports)


def _settled(shape: Shape, port: Port, now: Instant) -> Port:
    until = port.held_until
    until = None if until is None or until <= now else until
    held = until is not None or shape.options_of(port.link.name).hold
    if (held, until) == (port.held, port.held_until):
        return port
    return replace(port, held=held, held_until=until)


def due_at(shape: Shape) -> Instant | None:
    """When the first hold that has an end is over, and settled() is due."""
    ends = (port.held_until for port in shape.ports)
    return min((end for end in ends if end is not None), default=None)


def misplaced(shape: Shape) -> tuple[Port, ...]:
    """The ports that are to be set down for being held, or not to be down for it."""
    return tuple(
        port for port in shape.ports if _is_to_be_lowered(shape, port) != port.lowered
    )


def _is_to_be_lowered(shape: Shape, port: Port) -> bool:
    """A partner that speaks LACP is told; any other looks at its link alone."""
    down = shape.options_of(port.link.name).hold_link is HoldLink.DOWN
    return port.held and down and shape.proto not in (Proto.LACP, Proto.NONE)


def with_lowered(shape: Shape, slot: int, *, lowered: bool) -> Shape:
    """With a port that was set down for being held, or is not any more."""
    ports = tuple(
        replace(port, lowered=lowered) if port.slot == slot else port
        for port in shape.ports
    )
    return replace(shape, ports=ports)


def held_for(shape: Shape, times_ms: Mapping[str, int], now: Instant) -> Shape:
    """With these ports, by name, held for so many milliseconds."""
    ports = tuple(
        replace(port, held_until=now + times_ms[port.link.name] * NS_OF_MS)
        if port.link.name in times_ms
        else port
        for port in shape.ports
    )
    return replace(shape, ports=ports)


def without_end(shape: Shape, names: Collection[str]) -> Shape:
    """With no time set for these ports: their option alone says whether it is."""
    ports = tuple(
        replace(port, held_until=None) if port.link.name in names else port
        for port in shape.ports
    )
    return replace(shape, ports=ports)
