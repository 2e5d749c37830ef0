# SPDX-License-Identifier: BSD-2-Clause
"""What it costs when laggd is replaced or killed, or its forwarder is, under traffic.

Run as `tools/bench restart`.  Frames are numbered, at one end of the cables and at the
other.  Each row is of one kind of event, so many times, each with streams of its own;
"none" is what the machine does by itself in the same time.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench.survivors import CASES, ENDS, EVENTS, Case, Survivor
from lab import CommandError, Lab, Stream, StreamResult
from lab.ear import Ears, Heard
from lab.stream import Place

FLOWS = 16
RATE, EVENTS_COUNT = 10_000, 5
LEAD_S, TAIL_S = 0.5, 0.8
"""A stream runs before its event, and after it: longer than an ARP entry could hide."""

QUIET_S = 1.5
"""What an event takes that is none."""

WAYS = ("out", "in")

HEAD = (
    *("", "event", "sent out, in", "lost out, in", "for want of CPU"),
    *("worker-died", "twice"),
    *("reordered", "longest gap out, in, ms", "event, ms", "LACPDUs apart at most, s"),
    *("partner sees", "generations", "load"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One event, with the streams around it."""

    took_s: float
    streams: tuple[
        StreamResult | None, ...
    ]  # in the order of WAYS; None: none that way
    overload: int  # frames that were dropped for want of CPU
    died: int  # frames that a worker had in hand when its process was killed
    moved: int  # generations
    load: float


@dataclass(frozen=True, slots=True)
class Row:
    """All of one kind of event."""

    name: str
    event: str
    samples: tuple[Sample, ...]
    heard: Heard
    copies: int

    def cells(self) -> tuple[str, ...]:
        """Totals of counts; of times the median, and the longest."""
        pauses = self.heard.pause_s_max
        return (
            self.name,
            self.event,
            self._each(lambda found: sum(one.sent for one in found)),
            self._each(lambda found: sum(one.lost for one in found)),
            str(sum(sample.overload for sample in self.samples)),
            str(sum(sample.died for sample in self.samples)),
            self._each(self._twice),
            self._each(lambda found: sum(one.reordered for one in found)),
            self._each(lambda found: _spread([one.gap_ms_max for one in found])),
            _spread([1000 * sample.took_s for sample in self.samples]),
            "" if pauses is None else f"{pauses:.2f}",
            self._seen(),
            str(sum(sample.moved for sample in self.samples)),
            _spread([sample.load for sample in self.samples]),
        )

    def _each(self, of: Callable[[list[StreamResult]], object]) -> str:
        """Both ways, or the one that has a stream."""
        ways = zip(*(sample.streams for sample in self.samples), strict=True)
        found = ([one for one in way if one is not None] for way in ways)
        return ", ".join(str(of(each)) for each in found if each)

    def _twice(self, found: list[StreamResult]) -> int:
        """More often than it is to come."""
        extra = self.copies - 1
        return sum(max(0, one.duplicated - extra * one.received) for one in found)

    def _seen(self) -> str:
        """How many actors, and in which states."""
        if not self.heard.actors:
            return ""
        who = {(each.system, each.key) for each in self.heard.actors}
        states = " ".join(f"{state:02x}" for state in sorted(self.heard.states))
        return f"{len(who)} actor{'s' if len(who) > 1 else ''}: {states}"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({max(values):.1f})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def tell(line: str) -> None:
    """Progress, apart from what is asked for."""
    print(line, file=sys.stderr, flush=True)


# ---- measurements --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shape:
    """What flows."""

    rate: int
    ways: tuple[str, ...]

    def start(self, survivor: Survivor) -> tuple[Stream | None, ...]:
        """A stream for each of WAYS that is wanted."""
        near, far = survivor.near, survivor.place
        ends: dict[str, tuple[Place, Place, str]] = {
            "out": (near, far, survivor.far_address),
            "in": (far, near, survivor.near_address),
        }
        return tuple(
            Stream(*ends[way], rate=self.rate, flows=FLOWS)
            if way in self.ways
            else None
            for way in WAYS
        )


def measure(survivor: Survivor, event: str, shape: Shape) -> Sample:
    """One event under streams that begin before it and end after it."""
    overload, died = survivor.overload(), survivor.died()
    generation = survivor.generation()
    load = os.getloadavg()[0]
    streams = shape.start(survivor)
    time.sleep(LEAD_S)
    began_s = time.monotonic()
    EVENTS[event](survivor)
    took_s = time.monotonic() - began_s
    time.sleep(TAIL_S if EVENTS[event] is not EVENTS["none"] else QUIET_S)
    for stream in streams:
        if stream is not None:
            stream.stop()
    return Sample(
        took_s=took_s,
        streams=tuple(s.result() if s is not None else None for s in streams),
        overload=survivor.overload() - overload,
        died=survivor.died() - died,
        moved=survivor.generation() - generation,
        load=load,
    )


def row(
    survivor: Survivor, name: str, case: Case, event: str, count: int, shape: Shape
) -> Row:
    """Measures `count` events, one after the other."""
    with Ears(survivor.far, ENDS) as ears:
        samples = [measure(survivor, event, shape) for _ in range(count)]
        heard = ears.heard()
    return Row(name, event, tuple(samples), heard, case.copies)


def run(found: argparse.Namespace) -> None:
    """Prints each row as it is there."""
    print(_line(HEAD))
    print(_line(["---"] * len(HEAD)), flush=True)
    for name in found.case:
        case = CASES[name]
        if why := case.missing():
            tell(f"{name}: {why}")
            continue
        rate = min(found.rate, case.rate_max or found.rate)
        shape = Shape(rate, (found.one_way,) if found.one_way else WAYS)
        label = name if rate == found.rate else f"{name}, {rate} frames/s"
        with Lab("restart") as lab, ExitStack() as parts:
            tell(f"{name}: is made")
            survivor = case.make(lab, found.fast)
            parts.callback(survivor.close)
            for event in found.event:
                tell(f"{name}: {event}")
                made = row(survivor, label, case, event, found.count, shape)
                print(_line(made.cells()), flush=True)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tools/bench restart", description=__doc__)
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--event", action="append", choices=EVENTS)
    parser.add_argument(
        "--count", type=int, default=EVENTS_COUNT, help=f"default {EVENTS_COUNT}"
    )
    parser.add_argument(
        "--rate", type=int, default=RATE, help=f"frames/s each way, default {RATE}"
    )
    parser.add_argument("--one-way", choices=WAYS)
    parser.add_argument(
        "--slow",
        dest="fast",
        action="store_false",
        help="LACP's slow timeout: a PDU every 30 s",
    )
    found = parser.parse_args(words)
    found.case = found.case or list(CASES)
    found.event = found.event or list(EVENTS)
    return found


def main(words: Sequence[str] | None = None) -> None:
    """The command."""
    found = parse(words)
    try:
        run(found)
    except CommandError as error:
        sys.exit(f"tools/bench: {error}")
    each = f"one way ({found.one_way})" if found.one_way else "each way"
    timeout = "fast" if found.fast else "slow"
    print(
        f"\n{found.rate} frames a second {each}, {FLOWS} flows, {found.count} events a"
        f" row; times are median (longest); LACP with the {timeout} timeout;"
        f" {os.cpu_count()} CPUs."
    )


if __name__ == "__main__":
    main()
