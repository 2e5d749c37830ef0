# SPDX-License-Identifier: BSD-2-Clause
"""The heaviest flows of a lagg, by samples of what leaves it.

Owns when the lagg is looked at, how few frames are copied then, and what the samples
say of all.  A packet socket on the lagg itself costs its senders some per cent of a
frame, and its ports nothing, for laggd takes no notice of it.  So it is there for a
twentieth of the time, in windows at random moments that no period of the traffic
meets, and in a window the kernel draws by chance which frames it copies, some fifty.
What all flows sent together, the lagg's own counters say; the samples say each one's
part of it.
"""

from __future__ import annotations

import math
import random
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from lagg.cli.capture_socket import Sniffer
from lagg.cli.flow import words_of
from lagg.cli.heaviest import Heaviest

if TYPE_CHECKING:
    from collections.abc import Callable

    from lagg.cli.heaviest import Heavy

PERIOD_S, WINDOW_S = 0.2, 0.01
"""A window in each period, on average: a twentieth of the time."""

SAMPLES = 50
"""In a window, on average; a copy costs us some 10 us."""

SAMPLES_MAX = 1000
"""In a window whatever comes."""

PLACES = 512
"""Flows in the sketch: no weight is wrong by more than 1 in so many of all."""

SHOWN = 10
HEAD_BYTES = 256
"""The part of a frame that is copied: all its headers."""

SIGMAS = 1.96
"""For an interval that is right 19 times of 20."""

_LD, _JEQ, _JGE, _RET = 0x20, 0x15, 0x35, 0x06  # linux/filter.h: BPF_LD | BPF_W ...
_PKTTYPE, _RANDOM = 0xFFFFF004, 0xFFFFF038  # SKF_AD_OFF + SKF_AD_PKTTYPE, _RANDOM
_OUTGOING = 4  # PACKET_OUTGOING
_INSTRUCTION = struct.Struct("=HBBI")


class Flow(NamedTuple):
    """A flow that was found among the heaviest."""

    words: str  # as `explain` and `pin` take it
    frame: bytes  # the head of one of its frames
    part: float  # of all bytes, 0 to 1
    error: float  # by which the part may be wrong, 19 times of 20


class Samples:
    """What was sampled so far."""

    def __init__(self) -> None:
        self.count = 0
        self._heaviest: Heaviest[str] = Heaviest(PLACES)
        self._heads: dict[str, bytes] = {}
        self._longest = 0

    def add(self, frame: bytes, size: int) -> None:
        """Counts a frame of `size` bytes that begins with `frame`."""
        words = words_of(frame)
        self.count += 1
        self._longest = max(self._longest, size)
        self._heaviest.add(words, size)
        self._heads[words] = frame
        if len(self._heads) > 2 * PLACES:
            kept = (each.key for each in self._heaviest.top(PLACES))
            self._heads = {key: self._heads[key] for key in kept}

    def flows(self) -> list[Flow]:
        """The heaviest, at most SHOWN."""
        return [self._flow(each) for each in self._heaviest.top(SHOWN)]

    def _flow(self, found: Heavy[str]) -> Flow:
        total = self._heaviest.total
        part = found.weight / total
        # Of frames drawn by chance, were all as long as the longest: never too small.
        spread = math.sqrt(self._longest * part * (1 - part) / total)
        error = SIGMAS * spread + found.error / total
        return Flow(found.key, self._heads[found.key], part, min(error, 1.0))


def one_in(frames_per_s: float) -> int:
    """One frame in so many is to be copied."""
    return max(1, round(frames_per_s * WINDOW_S / SAMPLES))


def program(one_of: int) -> bytes:
    """A filter of packet(7) for heads of one of so many frames that leave."""
    rows = (
        (_LD, 0, 0, _PKTTYPE),
        (_JEQ, 0, 3, _OUTGOING),
        (_LD, 0, 0, _RANDOM),
        (_JGE, 1, 0, min(2**32 // one_of, 2**32 - 1)),
        (_RET, 0, 0, HEAD_BYTES),
        (_RET, 0, 0, 0),
    )
    return b"".join(_INSTRUCTION.pack(*row) for row in rows)


def sample(
    name: str,
    seconds: float,
    one_of: int,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Samples:
    """Looks at an interface for so long.  LaggError where that is refused."""
    samples = Samples()
    until = clock() + seconds
    while True:
        _window(name, one_of, samples, sleep)
        rest = until - clock()
        if rest <= 0:
            return samples
        sleep(min(rest, random.uniform(0.5, 1.5) * PERIOD_S))


def _window(
    name: str, one_of: int, samples: Samples, sleep: Callable[[float], None]
) -> None:
    watch = Sniffer(name, program=program(one_of), most=HEAD_BYTES)
    try:
        sleep(WINDOW_S)
        for _ in range(SAMPLES_MAX):
            seen = watch.read()
            if seen is None:
                return
            samples.add(seen.frame, seen.wire_bytes)
    finally:
        watch.close()
