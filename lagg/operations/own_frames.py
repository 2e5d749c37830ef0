# SPDX-License-Identifier: BSD-2-Clause
"""Frames that a lagg sent and that came back: who is told, and which port is kept out.

Owns what was counted when it was looked last, and how often it is told: a loop brings
thousands of frames a second.  The workers drop and count each by itself; what is kept
out, and how long, says plan/loop_guard.py.
"""

import logging
import time
from collections.abc import Callable

from lagg.errors import LaggError
from lagg.events import EventKind
from lagg.lacp.values import NS, Instant
from lagg.model import Drop
from lagg.operations.laggs import Laggs
from lagg.plan.loop_guard import seen
from lagg.plan.shape import Port
from lagg.running.bundle import Bundle

log = logging.getLogger(__name__)

SILENT_NS = 60 * NS
"""A port is told of when none came by it for so long before."""


class OwnFrames:
    """Looks at every lagg's ports.  For the event loop's thread alone."""

    def __init__(
        self, laggs: Laggs, clock: Callable[[], Instant] = time.monotonic_ns
    ) -> None:
        """`clock`: that of the laggs' shapes."""
        self._laggs = laggs
        self._clock = clock
        self._frames: dict[str, int] = {}  # of each lagg, both ways
        self._counted: dict[int, int] = {}  # by the ifindex of a port
        self._came_at: dict[int, Instant] = {}

    def begin(self) -> None:
        """What was counted by now is no news: another laggd has told of it."""
        for bundle in self._laggs.bundles.values():
            for port, count in _counts(bundle):
                self._counted[port.link.ifindex] = count

    def look(self) -> None:
        """Finds what came back since, in laggs that carried anything."""
        frames = {
            name: bundle.device.frames for name, bundle in self._laggs.bundles.items()
        }
        for name, bundle in self._laggs.bundles.items():
            if frames[name] != self._frames.get(name):
                self._look_at(bundle)
        self._frames = frames
        self._forget_gone()

    def _forget_gone(self) -> None:
        bundles = self._laggs.bundles.values()
        there = {port.link.ifindex for each in bundles for port in each.shape.ports}
        for gone in self._counted.keys() - there:
            del self._counted[gone]
            self._came_at.pop(gone, None)

    def _look_at(self, bundle: Bundle) -> None:
        fresh = []
        for port, count in _counts(bundle):
            before = self._counted.get(port.link.ifindex, 0)
            self._counted[port.link.ifindex] = count
            if count > before or 0 < count < before:  # of one that came anew
                fresh.append((port, count - before if count > before else count))
        for port, frames in fresh:
            self._tell(bundle, port, frames)
        if fresh:
            _keep_out(bundle, [port.slot for port, _ in fresh], self._clock())

    def _tell(self, bundle: Bundle, port: Port, frames: int) -> None:
        if bundle.shape.proto.by_stations:
            return  # that is how its switch is
        now, ifindex = self._clock(), port.link.ifindex
        before, self._came_at[ifindex] = self._came_at.get(ifindex), now
        if before is None or now - before >= SILENT_NS:
            plural = "s" * (frames != 1)
            words = f"{frames} frame{plural} that the lagg sent came back by it"
            bundle.emit(EventKind.OWN_SOURCE, words, port.link.name, _CAUSE, warns=True)


_CAUSE = "a loop in the network, or ports on a switch that knows no aggregation"


def _counts(bundle: Bundle) -> list[tuple[Port, int]]:
    """What each port brought back so far, since it was attached."""
    counters = bundle.device.read().ports
    return [
        (port, counters[port.slot].drops[Drop.OWN_SOURCE])
        for port in bundle.shape.ports
    ]


def _keep_out(bundle: Bundle, slots: list[int], now: Instant) -> None:
    guarded = seen(bundle.shape, slots, now)
    if guarded is bundle.shape:
        return  # nobody asked for that, or by this protocol it is no loop
    try:
        bundle.adopt(guarded)
    except LaggError as error:  # if more come, it is tried again
        log.warning("%s", error)
