# SPDX-License-Identifier: BSD-2-Clause
"""How fast frames pass a lagg, as a ratio to a bare veth pair in the same run.

Owns the topology, the order of measurements (interleaved, so that a noisy minute is
shared by all) and the table.  One laggd with one port; its partner is a bare veth end.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import Daemon, Host, Lab
from lab.program import build
from lagg.netlink import DeafPorts

PROTOCOLS = ("loadbalance", "failover", "roundrobin", "broadcast")
FLOWS = 8
GENERATOR_CPU = 1
SETTLE_S = 2.0  # for so long after a change laggd asks often for its ports' carrier

Results = dict[str, dict[str, list[float]]]  # configuration -> quantity -> rounds


@dataclass(frozen=True, slots=True)
class Road:
    """One way from the measured host to its partner."""

    name: str  # "veth", or the protocol of a lagg
    near: str  # interface of the measured host
    far: str  # interface of the partner
    near_address: str
    far_address: str


class Bench:
    """The measured host, its partner, and both roads."""

    def __init__(self, lab: Lab, seconds: float) -> None:
        """`seconds` a measurement."""
        self.seconds = seconds
        self.host, self.partner = lab.host("a"), lab.host("b")
        lab.cable(self.host, "r0", self.partner, "s0")
        lab.cable(self.host, "p0", self.partner, "q0")
        self.laggd: Daemon = lab.daemon(self.host, log_level="warning")
        self.laggd.ctl("create", "lagg0", "--port", "p0")
        self.partner.popen("iperf3", "-s", stdout=subprocess.DEVNULL)
        self.veth = Road("veth", "r0", "s0", "10.78.0.1", "10.78.0.2")
        self._address(self.veth)
        self._address(self.lagg("lagg0"))

    def lagg(self, proto: str) -> Road:
        """The road through the lagg."""
        return Road(proto, "lagg0", "q0", "10.77.0.1", "10.77.0.2")

    def _address(self, road: Road) -> None:
        for host, name, here, other, there in (
            (self.host, road.near, road.near_address, self.partner, road.far_address),
            (self.partner, road.far, road.far_address, self.host, road.near_address),
        ):
            host.set_link(name, state="up")
            host.add_address(name, f"{here}/24")
            far = road.far if other is self.partner else road.near
            lladdr = other.link(far).mac
            host.run("ip", "neigh", "replace", there, "lladdr", lladdr, "dev", name)

    def use(self, road: Road) -> None:
        """Makes the lagg ready for a road."""
        if road is not self.veth:
            self.laggd.ctl("set", "lagg0", "--proto", road.name)

    def tx_mpps(self, road: Road) -> float:
        """UDP from the measured host's stack, counted at the partner."""
        words = ("host", road.far_address)
        return self._flood(self.host, words, self.partner, road.far)

    def rx_mpps(self, road: Road) -> float:
        """Raw frames from the partner, counted where the host's stack gets them."""
        words = ("wire", road.far, self.host.link(road.near).mac)
        return self._flood(self.partner, words, self.host, road.near)

    def _flood(
        self, source: Host, words: tuple[str, ...], sink: Host, interface: str
    ) -> float:
        tail = (str(self.seconds), str(FLOWS), str(GENERATOR_CPU))
        with _deaf(sink, interface):
            before = _rx_packets(sink, interface)
            source.run(str(build("flood")), *words, *tail)
            frames = _rx_packets(sink, interface) - before
        return frames / self.seconds / 1e6

    def tcp_gbps(self, road: Road, streams: int, *, reverse: bool = False) -> float:
        """iperf3 from the measured host to its partner, or back."""
        words = ["iperf3", "-C", "cubic", "-J", "-c", road.far_address]
        words += ["-t", str(self.seconds), "-P", str(streams)]
        words += ["-R"] if reverse else []
        ended = json.loads(self.host.run(*words).stdout)["end"]
        return float(ended["sum_received"]["bits_per_second"]) / 1e9

    def idle_percent(self) -> float:
        """CPU of laggd while nothing happens, and nothing has for a while."""
        time.sleep(SETTLE_S)
        before, start = self._cpu_s(), time.monotonic()
        time.sleep(self.seconds)
        return 100 * (self._cpu_s() - before) / (time.monotonic() - start)

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self.laggd.pid}/stat").read_text().rsplit(")", 1)[1]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _deaf(host: Host, interface: str) -> Iterator[None]:
    """What arrives is counted and dropped before the stack: the sink costs least."""
    ifindex = host.ifindex(interface)
    deaf = DeafPorts()
    # In the host's own thread: the netlink socket is of the namespace that opens it.
    host.inside(lambda: asyncio.run(deaf.deafen(ifindex, interface)))
    try:
        yield
    finally:
        deaf.close()


def _rx_packets(host: Host, interface: str) -> int:
    for line in host.proc_net("dev").splitlines():
        name, _, columns = line.partition(":")
        if name.strip() == interface:
            return int(columns.split()[1])
    raise LookupError(interface)


def quantities(bench: Bench) -> dict[str, Callable[[Road], float]]:
    """What is measured on each road, in the order of the table."""
    frames: dict[str, Callable[[Road], float]] = {
        "TX 64 B, Mpps": bench.tx_mpps,
        "RX 64 B, Mpps": bench.rx_mpps,
    }
    if bench.seconds < 1:
        return frames  # to iperf3, less than a second is no end
    return frames | {
        "TCP 1 stream out, Gbit/s": lambda road: bench.tcp_gbps(road, 1),
        "TCP 1 stream in, Gbit/s": lambda road: bench.tcp_gbps(road, 1, reverse=True),
        "TCP 4 streams out, Gbit/s": lambda road: bench.tcp_gbps(road, 4),
        "TCP 4 streams in, Gbit/s": lambda road: bench.tcp_gbps(road, 4, reverse=True),
    }


def measure(bench: Bench, protocols: tuple[str, ...], rounds: int) -> Results:
    """All quantities on all roads, `rounds` times, one after the other."""
    roads = [bench.veth, *(bench.lagg(proto) for proto in protocols)]
    names = quantities(bench)
    results: Results = {road.name: {name: [] for name in names} for road in roads}
    for number in range(rounds):
        for road in roads:
            bench.use(road)
            print(f"round {number + 1} of {rounds}: {road.name}", flush=True)
            for name, quantity in names.items():
                results[road.name][name].append(quantity(road))
    return results


def table(results: Results) -> str:
    """Markdown: median [min-max], and the ratio of the median to the veth pair's."""
    quantity_names = list(results["veth"])
    lines = ["| | " + " | ".join(quantity_names) + " |"]
    lines.append("|---" * (len(quantity_names) + 1) + "|")
    for road, values in results.items():
        cells = [_cell(values[name], results["veth"][name]) for name in quantity_names]
        lines.append(f"| {road} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float], base: list[float]) -> str:
    middle = statistics.median(values)
    text = f"{middle:.2f} [{min(values):.2f}-{max(values):.2f}]"
    if values is not base:
        text += f" **{middle / statistics.median(base):.2f}**"
    return text


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="a measurement")
    parser.add_argument("--proto", action="append", choices=PROTOCOLS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="all rounds")
    found = parser.parse_args()
    protocols = tuple(found.proto or PROTOCOLS)
    with Lab("bench") as lab:
        bench = Bench(lab, found.seconds)
        results = measure(bench, protocols, found.rounds)
        idle = bench.idle_percent()
    print(f"\n{table(results)}\n\nlaggd idle: {idle:.2f} % of one CPU")
    if found.json:
        found.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
