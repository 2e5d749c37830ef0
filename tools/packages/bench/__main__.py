# SPDX-License-Identifier: BSD-2-Clause
"""How fast frames pass a lagg, beside a bare veth pair, an eBPF redirect, and peers.

Owns the command line and the order of measurements: interleaved, so that a noisy
minute is shared by all.  docs/BENCH.md says how each is made.  Peers are measured where
they are installed: Debian's openvswitch-switch and dpdk-dev (which takes huge pages
where there are some: sysctl vm.nr_hugepages=300).
"""

import argparse
import sys
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from bench import cpu, instructions, machine, peers
from bench.measurements import MEASUREMENTS, Found, Meter, build_programs
from bench.metrics import Results
from bench.sweeps import SWEEPS, Point, points
from bench.systems import Lagg, System, redirect, veth
from bench.table import SYSTEMS, markdown
from lab.host import CommandError
from lab.lab import Lab

PROTOCOLS = ("loadbalance", "failover", "roundrobin", "broadcast")
QUICK_PROTOCOLS = ("loadbalance",)
ROUNDS, SECONDS = 5, 1.0
QUICK_ROUNDS = 1
DURATION_MIN, DURATION_MAX = 0.05, 30.0  # some ticks of a clock; less than run() waits
ALL = (*MEASUREMENTS, *SWEEPS, "instructions")


def systems(
    lab: Lab, found: argparse.Namespace, absent: dict[str, str]
) -> list[System]:
    """The rows of the first tables."""
    laggs = [Lagg(lab, "lagg")]
    if found.beside:
        laggs.append(Lagg(lab, "beside", options=(found.beside,)))
    return [
        veth(lab),
        redirect(lab),
        *(lagg.system(proto) for proto in found.proto for lagg in laggs),
        *(_peers(lab, absent) if found.peers else ()),
    ]


def _peers(lab: Lab, absent: dict[str, str]) -> Iterator[System]:
    """The systems that are here and come up; of others `absent` gets the reason."""
    absent |= peers.absent()
    for name, make in peers.PEERS.items():
        if name in absent:
            continue
        try:
            yield peers.attempt(make, lab)
        except peers.Failed as error:
            absent[name] = str(error)
        tell(f"{name}: {absent.get(name, 'ready')}")


def tell(line: str) -> None:
    """Progress, apart from what is asked for."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def told_if_failed(results: Results, what: str) -> Iterator[None]:
    """What fails is told, in the tables too; the others go on."""
    try:
        yield
    except (CommandError, TimeoutError) as error:
        why = " ".join(str(error).split())
        tell(f"  {what} failed: {why}")
        results.absent[f"{what}, a round"] = why


def measure_system(
    meter: Meter, system: System, wanted: Container[str], results: Results
) -> None:
    """Every wanted measurement, once."""
    for name, measurement in MEASUREMENTS.items():
        if name in wanted:
            with told_if_failed(results, f"{system.name}: {name}"):
                found = measurement(meter, system)
                tell(f"  {system.name}: {_shown(found)}")
                results.add(SYSTEMS, system.name, found)


def measure_point(meter: Meter, point: Point, results: Results) -> None:
    """One point of a sweep, once."""
    found = point.measure(meter, point.system)
    tell(f"  {point.row}: {_shown(found)}")
    results.add(point.section, point.row, found)


def _shown(found: Found) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in found.items()) or "-"


def run(found: argparse.Namespace, results: Results) -> None:
    """All rounds; the file is written after each, so that none is lost."""
    with Lab("bench") as lab, ExitStack() as parts:
        meter = parts.enter_context(closing(Meter(found.seconds)))
        build_programs()
        rows = systems(lab, found, results.absent)
        swept = points(lab, found.only)
        if "instructions" in found.only:
            count_instructions(lab, results)
        for number in range(found.rounds):
            results.others.append(cpu.busy_percent(found.seconds))
            others = f"others take {results.others[-1]:.0f} %"
            tell(f"round {number + 1} of {found.rounds}; {others} of the machine")
            for system in rows:
                with told_if_failed(results, system.name), system.use():
                    measure_system(meter, system, found.only, results)
            for point in swept:
                with told_if_failed(results, point.row), point.system.use():
                    measure_point(meter, point, results)
            if found.json:
                found.json.write_text(results.to_json())


def count_instructions(lab: Lab, results: Results) -> None:
    """Once: they do not vary."""
    if why := instructions.lacking():
        results.absent["Instructions"] = why
        return
    results.instructions = instructions.count(lab)
    tell(f"  instructions a frame: {_shown(results.instructions)}")


def _count(word: str) -> int:
    if (number := int(word)) < 1:
        raise argparse.ArgumentTypeError(f"{word}: at least 1")
    return number


def _duration(word: str) -> float:
    if not DURATION_MIN <= (seconds := float(word)) <= DURATION_MAX:
        raise argparse.ArgumentTypeError(f"{word}: {DURATION_MIN} to {DURATION_MAX}")
    return seconds


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("--rounds", type=_count, help=f"default {ROUNDS}")
    parser.add_argument(
        "--seconds",
        type=_duration,
        default=SECONDS,
        help=f"a measurement, default {SECONDS:g}",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round, one protocol: a look in less than three minutes",
    )
    parser.add_argument("--proto", action="append", choices=PROTOCOLS)
    parser.add_argument(
        "--beside", metavar="OPTION", help="of a second laggd, as --beside=--no-xdp"
    )
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--only", action="append", choices=ALL, help="may be repeated")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="all rounds, for later"
    )
    parser.add_argument(
        "--add", action="store_true", help="these rounds to those in --json's FILE"
    )
    found = parser.parse_args(words)
    found.rounds = found.rounds or (QUICK_ROUNDS if found.quick else ROUNDS)
    found.proto = found.proto or (QUICK_PROTOCOLS if found.quick else PROTOCOLS)
    found.only = found.only or ALL
    if found.add and not found.json:
        parser.error("--add needs --json FILE")
    return found


def results_for(found: argparse.Namespace, about: dict[str, Any]) -> Results:
    """Where rounds are put: those that are there already, or none; exits when mixed."""
    if not (found.add and found.json.exists()):
        return Results(about=about)
    results = Results.from_json(found.json.read_text())
    if mixed := machine.difference(results.about, about):
        sys.exit(f"tools/bench: {found.json}: {mixed} do not mix: take another file")
    return results


def main(words: Sequence[str]) -> None:
    """The command."""
    found = parse(words)
    results = results_for(found, machine.about(words, found.seconds))
    run(found, results)
    print(markdown(results))


if __name__ == "__main__":
    main(sys.argv[1:])
