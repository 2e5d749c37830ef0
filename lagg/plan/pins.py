# SPDX-License-Identifier: BSD-2-Clause
"""Buckets that stay where a user wants them: pinned to a port, or moved there once.

Owns what is pinned: by the option `pin`, or for a time, which counts before that.  A
pin names its port, and waits for one that is not there.  A move has no memory: the
bucket has another home, until homes are dealt anew.  Pure; time is an argument.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from lagg.frozen import dataclass
from lagg.lacp.values import Instant
from lagg.model import Pin
from lagg.plan.buckets import Slot
from lagg.plan.shape import Shape

Spot = int | bytes
"""Which bucket is meant: by its number, or by a frame of a flow in it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A bucket, and the port that carries it now; None: nobody does."""

    bucket: int
    port: str | None


def pins(shape: Shape) -> dict[int, str]:
    """The port that each pinned bucket is to be on, by its name."""
    timed = (pin for pin, _ in shape.timed_pins)
    return {pin.bucket: pin.port for pin in (*shape.options.pin, *timed)}


def pinned(shape: Shape) -> dict[int, Slot]:
    """The slot that each pinned bucket is to be on, where its port is there."""
    if not (shape.options.pin or shape.timed_pins):
        return {}
    slots = {port.link.name: port.slot for port in shape.ports}
    found = pins(shape).items()
    return {bucket: slots[port] for bucket, port in found if port in slots}


def ends(shape: Shape) -> dict[int, Instant]:
    """When each bucket that is pinned for a time is so no more."""
    return {pin.bucket: until for pin, until in shape.timed_pins}


def settled(shape: Shape, now: Instant) -> Shape:
    """Without the pins whose time is over."""
    left = tuple((pin, until) for pin, until in shape.timed_pins if until > now)
    return shape if left == shape.timed_pins else replace(shape, timed_pins=left)


def due_at(shape: Shape) -> Instant | None:
    """When the first time is over, and settled() is due."""
    return min(ends(shape).values(), default=None)


def with_pin(shape: Shape, pin: Pin) -> Shape:
    """With this bucket on this port for good."""
    before = without_pin(shape, pin.bucket)
    return _with_lasting(before, (*before.options.pin, pin))


def with_timed_pin(shape: Shape, pin: Pin, until: Instant) -> Shape:
    """With this bucket on this port for a time; then as the option has it."""
    others = _timed_but(shape, pin.bucket)
    return replace(shape, timed_pins=(*others, (pin, until)))


def without_pin(shape: Shape, bucket: int) -> Shape:
    """With this bucket pinned to nothing."""
    shape = replace(shape, timed_pins=_timed_but(shape, bucket))
    lasting = (pin for pin in shape.options.pin if pin.bucket != bucket)
    return _with_lasting(shape, lasting)


def with_moves(shape: Shape, moves: Mapping[int, Slot]) -> Shape:
    """With another home for these buckets, until homes are dealt anew."""
    homes = (moves.get(bucket, home) for bucket, home in enumerate(shape.homes))
    return replace(shape, homes=tuple(homes))


def _timed_but(shape: Shape, bucket: int) -> tuple[tuple[Pin, Instant], ...]:
    return tuple(each for each in shape.timed_pins if each[0].bucket != bucket)


def _with_lasting(shape: Shape, pins: Iterable[Pin]) -> Shape:
    ordered = tuple(sorted(pins, key=lambda pin: pin.bucket))
    if ordered == shape.options.pin:
        return shape
    return replace(shape, options=replace(shape.options, pin=ordered))
