# SPDX-License-Identifier: BSD-2-Clause
"""What is measured on a system, each the same way whoever carries the frames.

Owns generators and clients, and where they run.  Knows no system's inside but its
processes, whose CPU it counts and whom it puts on a CPU for latency.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench import cpu
from bench.bpf import Sink
from bench.cpu import ANY_CPU, CLIENT_CPU, OTHER_CPU
from bench.search import largest
from bench.systems import FAR_ADDRESS, NEAR_ADDRESS, System
from lab.host import CommandError, Host
from lab.program import build
from lab.waiting import wait_until

FLOWS = 8
SUPER_BYTES = 48000  # flood.c's superframe, without headers
HEADER_BYTES = 42
DRAIN_S = 20.0  # far longer than it takes
STILL_LOOKS = 10  # some ms each: what carries frames may wait for a CPU as long
SETTLE_S = 2.0  # for so long after a change laggd asks often for its ports' carrier
TCP_SECONDS_MIN = 1  # iperf3 takes whole seconds, and none for no end
SEARCH_STEPS, SEARCH_ATTEMPTS = 6, 2
TRIAL_SHARE = 0.5  # of a measurement, each trial of a search
HEADROOM = 1.05  # a search begins above what a flood delivered

Found = dict[str, float]


@dataclass(frozen=True, slots=True)
class Flood:
    """What came of one."""

    sent: int
    frames: int  # that arrived
    octets: int
    seconds: float
    busy_ns: int  # the machine
    path_ns: int | None  # the datapath; None: it is the kernel's

    @property
    def mpps(self) -> float:
        """What arrived."""
        return self.frames / self.seconds / 1e6

    @property
    def offered_mpps(self) -> float:
        """What was sent."""
        return self.sent / self.seconds / 1e6

    def metrics(self, way: str) -> Found:
        """The numbers by their names in metrics.py."""
        frames = max(self.frames, 1)
        found = {f"{way}_offered": self.offered_mpps, way: self.mpps}
        found[f"{way}_busy"] = self.busy_ns / frames
        if self.path_ns is not None:
            found[f"{way}_path"] = self.path_ns / frames
        return found


class Meter:
    """Measures for `seconds` each."""

    def __init__(self, seconds: float) -> None:
        """`close` ends it."""
        self.seconds = seconds
        self._sink = Sink()

    def close(self) -> None:
        """Takes the sink away."""
        self._sink.close()

    # ---- floods ----------------------------------------------------------------------

    def out(
        self, system: System, *, rate: float = 0, flows: int = FLOWS, kind: str = "host"
    ) -> Flood:
        """From the measured host; `kind` as flood.c's."""
        mac = system.far.link(system.far_names[0]).mac
        words = (kind, FAR_ADDRESS, system.near_name, mac, str(flows))
        sink = (system.far, system.far_names)
        return self._flood(system, system.near, words, sink, rate)

    def into(self, system: System, *, rate: float = 0, flows: int = FLOWS) -> Flood:
        """From the partner's ends in turn, to where the host's stack begins."""
        mac = system.near.link(system.near_name).mac
        words = ("wire", NEAR_ADDRESS, ",".join(system.far_names), mac, str(flows))
        return self._flood(
            system, system.far, words, (system.near, (system.near_name,)), rate
        )

    def _flood(
        self,
        system: System,
        source: Host,
        words: tuple[str, ...],
        sink: tuple[Host, tuple[str, ...]],
        rate: float,
    ) -> Flood:
        seconds = self.seconds * (TRIAL_SHARE if rate else 1)
        tail = (str(CLIENT_CPU), str(seconds), str(rate))
        with self._sink.at(*sink):
            before = self._sink.read()
            busy_ns, path_ns = cpu.busy_ns(), cpu.taken_ns(system.pids)
            printed = source.run(build("flood"), *words, *tail).stdout.split()
            self._drain()
            busy_ns = cpu.busy_ns() - busy_ns
            path_ns = cpu.taken_ns(system.pids) - path_ns
            after = self._sink.read()
        return Flood(
            sent=int(printed[0]),
            frames=after[0] - before[0],
            octets=after[1] - before[1],
            seconds=float(printed[1]),
            busy_ns=busy_ns,
            path_ns=path_ns if system.pids else None,
        )

    def _drain(self) -> None:
        """Until no more arrives of what is in queues, however often one looks."""
        seen = [-1]

        def still() -> bool:
            seen.append(self._sink.read()[0])
            return len({*seen[-STILL_LOOKS:]}) == 1

        wait_until(still, DRAIN_S, "what was sent has arrived")

    def frames(self, system: System) -> Found:
        """As fast as one CPU sends, out and in."""
        return self.out(system).metrics("tx") | self.into(system).metrics("rx")

    def lossless(self, system: System) -> Found:
        """The largest rates of which nothing is lost."""
        return {
            "tx_lossless": self._largest(lambda rate: self.out(system, rate=rate)),
            "rx_lossless": self._largest(lambda rate: self.into(system, rate=rate)),
        }

    def _largest(self, flood: Callable[[float], Flood]) -> float:
        def trial(mpps: float) -> float | None:
            done = flood(mpps * 1e6)
            return done.offered_mpps if done.frames >= done.sent else None

        highest = flood(0).mpps * HEADROOM
        return largest(trial, highest, steps=SEARCH_STEPS, attempts=SEARCH_ATTEMPTS)

    def gso(self, system: System) -> Found:
        """Superframes by UDP_SEGMENT; on their way, whoever cannot carry them cuts."""
        done = self.out(system, kind="gso")
        payload = done.octets - HEADER_BYTES * done.frames
        return {"gso": payload / SUPER_BYTES / done.seconds / 1e3}

    # ---- clients and servers ---------------------------------------------------------

    def tcp(self, system: System) -> Found:
        """One stream and four, from the measured host and to it."""
        with serving(system.far, "iperf3", "-s"):
            return {
                f"tcp{streams}_{way}": self._iperf(system, streams, words)
                for way, words in (("out", ()), ("in", ("-R",)))
                for streams in (1, 4)
            }

    def _iperf(self, system: System, streams: int, words: tuple[str, ...]) -> float:
        seconds = max(TCP_SECONDS_MIN, round(self.seconds))
        shape = ("-C", "cubic", "-J", "-t", str(seconds), "-P", str(streams))
        command = ("iperf3", "-c", FAR_ADDRESS, *shape, *words)
        told = json.loads(system.near.run(*command).stdout)
        if "sum_received" not in told["end"]:
            raise CommandError(command, 0, told.get("error", "no word of the end"))
        return float(told["end"]["sum_received"]["bits_per_second"]) / 1e9

    def latency(self, system: System) -> Found:
        """All on one CPU; the datapath (a kernel's: the server) on another; unplaced.

        Not on one CPU when a datapath polls: it would be a matter of time slices.
        """
        server_cpu = CLIENT_CPU if system.pids else OTHER_CPU
        found = self._pong(system, "other", (CLIENT_CPU, OTHER_CPU, server_cpu))
        if not system.polls:
            found |= self._pong(system, "same", (CLIENT_CPU,) * 3)
        return found | self._pong(system, "any", (ANY_CPU,) * 3)

    def _pong(self, system: System, place: str, cpus: tuple[int, int, int]) -> Found:
        """`cpus` are for client, datapath and server."""
        client, path, server = cpus
        pong = str(build("pong"))
        words = (pong, "ask", FAR_ADDRESS, str(client), str(self.seconds))
        with (
            cpu.pinned(system.pids, path),
            serving(system.far, pong, "answer", FAR_ADDRESS, str(server)),
        ):
            printed = system.near.run(*words).stdout.split()
        p50_ns, p99_ns = map(int, printed[2:])
        return {f"{place}_p50": p50_ns / 1e3, f"{place}_p99": p99_ns / 1e3}

    def idle(self, system: System) -> Found:
        """The datapath while nothing happens, and nothing has for a while."""
        if not system.pids:
            return {}
        time.sleep(SETTLE_S)
        before, start_ns = cpu.taken_ns(system.pids), time.monotonic_ns()
        time.sleep(self.seconds)
        taken = cpu.taken_ns(system.pids) - before
        return {"idle": 100 * taken / (time.monotonic_ns() - start_ns)}


MEASUREMENTS: dict[str, Callable[[Meter, System], Found]] = {
    "frames": Meter.frames,
    "lossless": Meter.lossless,
    "tcp": Meter.tcp,
    "gso": Meter.gso,
    "latency": Meter.latency,
    "idle": Meter.idle,
}
"""What is measured on every system, by the name users have for it."""


def build_programs() -> None:
    """Compiles what measures, so that none of it is measured."""
    for name in ("flood", "pong"):
        build(name)


@contextmanager
def serving(host: Host, *words: str) -> Iterator[None]:
    """A server in a host while the block runs; it listens."""
    process = host.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: _listens(host), DRAIN_S, f"{words[0]} listens")
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _listens(host: Host) -> bool:
    """Any port of a host that has no other server."""
    tables = (host.proc_net(name).splitlines()[1:] for name in ("tcp", "tcp6", "udp"))
    states = {line.split()[3] for table in tables for line in table}
    return bool(states & {"0A", "07"})
