# SPDX-License-Identifier: BSD-2-Clause
"""What a change costs the traffic around it, beside Open vSwitch in the same run.

Owns the changes, the order of measurements (interleaved, so that a noisy minute is
shared by all) and the tables.  Frames are numbered; one that does not come is lost.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.publish import Bare, Times
from bench.topologies import (
    Both,
    Laggctl,
    LaggdAndSwitch,
    OvsAndSwitch,
    Topology,
    TwoLaggds,
)
from lab import Lab, Stream
from lab.ovs import OpenVswitch, missing

PROTOCOLS = ("failover", "roundrobin", "loadbalance")
"""The protocols that neither copy frames nor drop them by design."""

FLOWS = 8
WAYS = (0, 1)
"""Out and in, as in Both."""

LEAD_S = 0.1
"""A stream runs before the first change, and after the last."""

SETTLE_S = 0.05
"""At a switch: after each change, so that what is lost is not for haste."""

SETTLED_SHARE = 10
"""One change at a switch for so many of `--count`: there each one waits."""

PROGRESS_S = 5.0
PUBLISHED_PORTS = (1, 32)


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of change, on one topology."""

    topology: Topology
    change: str
    count: int  # how often in a measurement
    once: Callable[[int], None]  # changes and changes back, the n-th time
    prepare: Callable[[], None]
    settle_s: float = 0

    @property
    def key(self) -> str:
        """The name of its results."""
        return f"{self.topology.name}: {self.change}"


@dataclass(slots=True)
class Sample:
    """What became of one measurement."""

    changes: int
    seconds: float
    sent: Both
    lost: Both
    duplicated: Both
    overload: Both

    @property
    def unexplained(self) -> Both:
        """Lost, but not because the machine was too slow."""
        out, back = (self.lost[way] - self.overload[way] for way in WAYS)
        # A frame that is none of the stream's may be among the drops.
        return max(0, out), max(0, back)


@dataclass(slots=True)
class Results:
    """Everything, for --json."""

    rate: int
    losses: dict[str, list[Sample]] = field(default_factory=dict)
    latency_ms: dict[str, list[float]] = field(default_factory=dict)
    inside: dict[int, Times] = field(default_factory=dict)  # by number of ports
    load: list[tuple[float, float, float]] = field(default_factory=list)


# ---- changes -------------------------------------------------------------------------


def laggd_cases(topology: TwoLaggds, count: int) -> list[Case]:
    """A laggd whose partner takes frames from every port."""

    def partner(proto: str) -> Callable[[], None]:
        def prepare() -> None:
            topology.a.set("failover", failover_rx_all=True)
            topology.b.set(proto, failover_rx_all=True)

        return prepare

    def switch_proto(number: int) -> None:
        topology.a.set(PROTOCOLS[(number + 1) % len(PROTOCOLS)])

    def idle_port(_: int) -> None:
        topology.a.detach("p1")
        topology.a.attach("p1")

    def both_busy() -> None:
        topology.a.set("roundrobin")
        topology.b.set("roundrobin")

    def active_port(_: int) -> None:
        topology.b.set("failover")  # the partner leaves the port first, then we
        topology.b.leave()
        idle_port(0)
        topology.b.set("roundrobin")

    return [
        unchanged(topology, partner("roundrobin")),
        Case(topology, "protocol switch", count, switch_proto, partner("roundrobin")),
        Case(
            topology,
            "idle port detached, attached",
            count,
            idle_port,
            partner("failover"),
        ),
        Case(topology, "active port detached, attached", count, active_port, both_busy),
    ]


def unchanged(topology: Topology, prepare: Callable[[], None], what: str = "") -> Case:
    """A case in which nothing happens to the stream."""
    return Case(topology, f"no change{what}", 0, lambda _: None, prepare)


def at_switch(
    topology: Topology,
    bond: Laggctl | OpenVswitch,
    mode: str,
    count: int,
    prepare: Callable[[], None],
) -> Case:
    """The port that carries is taken out without a word to the switch, and put back."""

    def carrying_port(_: int) -> None:
        port = bond.carrying() or "p0"
        take_out, put_back = (
            (bond.detach, bond.attach)
            if isinstance(bond, Laggctl)
            else (bond.remove, bond.add)
        )
        take_out(port)
        time.sleep(SETTLE_S)
        put_back(port)

    what = f"{mode} at a switch: carrying port removed, added"
    return Case(topology, what, count, carrying_port, prepare, SETTLE_S)


def switch_cases(topology: LaggdAndSwitch, count: int) -> list[Case]:
    """A laggd, where Open vSwitch is in `ovs_cases`."""
    return [
        unchanged(topology, lambda: None, " at a switch"),
        at_switch(topology, topology.bond, "failover", count, lambda: None),
    ]


def ovs_cases(topology: OvsAndSwitch, count: int) -> list[Case]:
    """Open vSwitch's bond, both modes that need no LACP."""

    def mode(name: str) -> Callable[[], None]:
        return lambda: topology.bond.set_mode(name)

    def switch_mode(number: int) -> None:
        topology.bond.set_mode(("balance-slb", "active-backup")[number % 2])

    modes = ("active-backup", "balance-slb")
    return [
        unchanged(topology, mode("active-backup"), " at a switch"),
        *(
            at_switch(topology, topology.bond, each, count, mode(each))
            for each in modes
        ),
        Case(
            topology,
            "bond_mode active-backup <-> balance-slb at a switch",
            count,
            switch_mode,
            mode("active-backup"),
            SETTLE_S,
        ),
    ]


# ---- measurements --------------------------------------------------------------------


def measure(case: Case, rate: int, seconds: float) -> Sample:
    """All changes of a case under streams both ways, which run `seconds` at least."""
    case.prepare()
    ends = case.topology.ends
    before, start = case.topology.overload(), time.monotonic()
    shape = {"rate": rate, "flows": FLOWS}
    streams = (
        Stream(ends.near, ends.far, ends.far_address, **shape),
        Stream(ends.far, ends.near, ends.near_address, **shape),
    )
    time.sleep(LEAD_S)
    change(case)
    time.sleep(max(LEAD_S, start + seconds - time.monotonic()))
    for stream in streams:
        stream.stop()
    there, back = (stream.result() for stream in streams)
    after = case.topology.overload()
    return Sample(
        changes=case.count,
        seconds=there.seconds,
        sent=(there.sent, back.sent),
        lost=(there.lost, back.lost),
        duplicated=(there.duplicated, back.duplicated),
        overload=(after[0] - before[0], after[1] - before[1]),
    )


def change(case: Case) -> None:
    """Does it as often as wanted, and says how far it is."""
    told = time.monotonic()
    for number in range(case.count):
        case.once(number)
        time.sleep(case.settle_s)
        if time.monotonic() - told >= PROGRESS_S:
            told = time.monotonic()
            tell(f"  {number + 1} of {case.count}")


def tell(line: str) -> None:
    """Progress, apart from what is asked for."""
    print(line, file=sys.stderr, flush=True)


Operations = dict[str, Callable[[int], None]]


def operations(laggds: TwoLaggds, ovs: OvsAndSwitch | None) -> Operations:
    """A switch of protocol as users do it; none is a switch to what is already."""
    laggd, connection = laggds.pair.a.laggd, laggds.a
    turns = itertools.cycle(PROTOCOLS)
    found: Operations = {
        "`laggctl set --proto`, process start included": lambda _: none(
            laggd.ctl("set", "lagg0", "--proto", next(turns))
        ),
        "the same over one open connection": lambda _: connection.set(next(turns)),
    }
    if ovs is not None:
        bond, modes = ovs.bond, itertools.cycle(("balance-slb", "active-backup"))
        found["`ovs-vsctl set port bond0 bond_mode=`"] = lambda _: bond.set_mode(
            next(modes)
        )
    return found


def none(_: object) -> None:
    """Forgets a value."""


def timed_ms(operation: Callable[[int], None], count: int) -> list[float]:
    """How long each of `count` took."""
    found = []
    for number in range(count):
        start_ns = time.perf_counter_ns()
        operation(number)
        found.append((time.perf_counter_ns() - start_ns) / 1e6)
    return found


class Reconfigure:
    """All topologies, up and ready, and what was measured so far."""

    def __init__(self, lab: Lab, parts: ExitStack, count: int, rate: int) -> None:
        """`count` changes in a measurement, `rate` frames a second each way."""
        settled = max(1, count // SETTLED_SHARE)
        laggds = parts.enter_context(closing(TwoLaggds(lab)))
        at = parts.enter_context(closing(LaggdAndSwitch(lab)))
        ovs = None if missing() else parts.enter_context(closing(OvsAndSwitch(lab)))
        self.bare = parts.enter_context(closing(Bare(lab)))
        self.cases = laggd_cases(laggds, count) + switch_cases(at, settled)
        self.cases += ovs_cases(ovs, settled) if ovs else []
        self.operations = operations(laggds, ovs)
        self.count = count
        self.results = Results(rate)

    def round(self, seconds: float, share: int) -> None:
        """Every measurement once; of a user's operations, `share` samples each."""
        results = self.results
        results.load.append(os.getloadavg())
        for case in self.cases:
            tell(case.key)
            sample = measure(case, results.rate, seconds)
            results.losses.setdefault(case.key, []).append(sample)
        for name, operation in self.operations.items():
            tell(name)
            results.latency_ms.setdefault(name, []).extend(timed_ms(operation, share))
        with self.bare.streaming(results.rate):
            for ports in PUBLISHED_PORTS:
                tell(f"publish, {ports} ports")
                times = self.bare.measure(ports, self.count)
                kept = results.inside.setdefault(ports, Times())
                kept.publish += times.publish
                kept.grace += times.grace


# ---- tables --------------------------------------------------------------------------


def losses_table(results: Results) -> str:
    """Markdown: median [min-max] of the rounds; what overload lost is counted apart."""
    lines = [
        "| | changes | lost out | lost in | a change | duplicated | overload out, in |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, samples in results.losses.items():
        changes = f"{len(samples)} x {samples[0].changes}"
        lost = " | ".join(
            _spread([s.unexplained[way] for s in samples]) for way in WAYS
        )
        doubled = _spread([sum(sample.duplicated) for sample in samples])
        overload = ", ".join(
            _spread([s.overload[way] for s in samples]) for way in WAYS
        )
        cells = (key, changes, lost, _a_change(samples), doubled, overload)
        lines.append(f"| {' | '.join(cells)} |")
    absent = missing()
    lines += [f"| Open vSwitch: {absent} | | | | | | |"] if absent else []
    return "\n".join(lines)


def _a_change(samples: list[Sample]) -> str:
    if not samples[0].changes:
        return ""
    both = (
        statistics.median(s.unexplained[way] / s.changes for s in samples)
        for way in WAYS
    )
    return ", ".join(f"{each:.3g}" for each in both)


def _spread(values: list[int]) -> str:
    middle = f"{statistics.median(values):g}"
    if min(values) == max(values):
        return middle
    return f"{middle} [{min(values)}-{max(values)}]"


def times_table(results: Results) -> str:
    """Markdown: of operations in milliseconds, inside the daemon in microseconds."""
    lines = ["| | samples | median | p99 | min-max |", "|---|---|---|---|---|"]
    for name, values in results.latency_ms.items():
        lines.append(_times_row(name, values, "ms"))
    for ports, times in results.inside.items():
        named = f"{ports} port{'s' if ports > 1 else ''}"
        lines.append(_times_row(f"publish, {named}", times.publish, "us"))
        lines.append(_times_row(f"grace period, {named}", times.grace, "us"))
    return "\n".join(lines)


def _times_row(name: str, values: list[float], unit: str) -> str:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    span = f"{ordered[0]:.1f}-{ordered[-1]:.1f} {unit}"
    middle = f"{statistics.median(ordered):.1f} {unit}"
    return f"| {name} | {len(ordered)} | {middle} | {p99:.1f} {unit} | {span} |"


def notes(results: Results) -> str:
    """Under what conditions."""
    loads = [load[0] for load in results.load]
    return (
        f"{results.rate} frames a second each way, {FLOWS} flows; median [min-max] of"
        f" {len(loads)} rounds; {os.cpu_count()} CPUs, load average at the start of a"
        f" round {min(loads):.1f}-{max(loads):.1f}."
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="tools/bench reconfigure", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=200, help="changes a measurement")
    parser.add_argument("--rate", type=int, default=20_000, help="frames/s, each way")
    parser.add_argument(
        "--seconds", type=float, default=2, help="a measurement at least"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all rounds")
    found = parser.parse_args()
    with Lab("reconfigure") as lab, ExitStack() as parts:
        bench = Reconfigure(lab, parts, found.count, found.rate)
        for number in range(found.rounds):
            tell(f"round {number + 1} of {found.rounds}")
            bench.round(found.seconds, max(1, found.count // found.rounds))
    results = bench.results
    print(f"\n{losses_table(results)}\n\n{times_table(results)}\n\n{notes(results)}")
    if found.json:
        found.json.write_text(json.dumps(asdict(results), indent=1))


if __name__ == "__main__":
    main()
