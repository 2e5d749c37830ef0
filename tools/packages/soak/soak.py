# SPDX-License-Identifier: BSD-2-Clause
"""A laggd under everything at once: clients, kernel, traffic; for a minute or a night.

Owns the world of the stress, its length, and that at its end all is as before.  The
same --seed replays every actor's sequence.
"""

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lab.daemon import Daemon
from lab.host import Host
from lab.lab import Lab
from lab.program import build
from lab.waiting import wait_until
from lagg.control.client import Client
from soak.actors import (
    LEAVING,
    MAIN,
    OTHER,
    RESIDENT,
    Actor,
    Admin,
    Bridger,
    ControlClient,
    Flapper,
    Members,
    Stop,
)
from soak.invariants import Invariants
from soak.report import Report, idle, outcomes
from soak.sanitized import SANITIZERS, SanitizedDaemon
from soak.traces import (
    RSS_GROWTH_KB_MAX,
    RSS_GROWTH_KB_MAX_SANITIZED,
    SETTLE_S,
    Footprint,
    check_ports,
    complaints,
    near_mac,
    settled_footprint,
)

CLIENTS = 4
WIRES = 7  # p0 ... p6 to q0 ... q6
PATIENCE_S = 60.0
"""What a busy machine may have more, until every action has succeeded once."""
POLL_S = 0.2


class Soak:
    """The world: one laggd with seven wires, its far ends bare."""

    def __init__(
        self,
        lab: Lab,
        seed: int,
        *,
        rate: int = 20_000,
        sanitizer: str | None = None,
        log_level: str = "warning",
    ) -> None:
        """`rate` in frames a second, of all floods together; of SANITIZERS, one."""
        self.seed = seed
        self._rate = rate
        self._rss_growth_kb_max = (
            RSS_GROWTH_KB_MAX_SANITIZED if sanitizer else RSS_GROWTH_KB_MAX
        )
        self.host, self.far = lab.host("a"), lab.host("b")
        for number in range(WIRES):
            self.lay(number)
        for host in (self.host, self.far):
            _give_default_route(host)
        self.laggd = (
            SanitizedDaemon(self.host, SANITIZERS[sanitizer], log_level)
            if sanitizer
            else Daemon(self.host, log_level=log_level)
        )
        lab.take(self.laggd)
        self.host.run("ip", "link", "add", "br0", "type", "bridge")
        self.host.set_link("br0", state="up")

    # ---- wires ---------------------------------------------------------------------

    def lay(self, number: int) -> None:
        """A wire whose near end is complete at once: a client may take it at once."""
        near, far = f"p{number}", f"q{number}"
        self.host.run(
            *("ip", "link", "add", near, "up", "address", near_mac(number)),
            *("type", "veth", "peer", "name", far, "netns", self.far.netns),
        )
        self.far.set_link(far, state="up")
        self.far.add_address(far, f"10.{80 + number}.0.2/24")

    def renew(self) -> None:
        """Another interface in the place of the one that leaves."""
        self.host.delete_link(LEAVING)
        self.lay(int(LEAVING[1:]))

    # ---- the run -------------------------------------------------------------------

    def run(self, seconds: float) -> Report:
        """Everything at once, and then the look at what is left.  ^C ends it early."""
        report = Report(self.seed)
        self._warm_up()
        before = settled_footprint(self.laggd)
        self._create_main()
        stop = Stop()
        actors = self._actors(stop)
        with self._flooding(report):
            _play(actors, stop, seconds)
        self._count(report, actors)
        report.faults += stop.faults
        self._end(report, before)
        return report

    def _warm_up(self) -> None:
        """What is loaded and allocated once, is so before anything is measured."""
        ports = [f"p{number}" for number in range(WIRES)]
        for _ in range(3):
            with Client(str(self.laggd.socket)) as client:
                client.call("Create", name=OTHER, proto="loadbalance", ports=ports)
                client.call("Detach", name=OTHER, ports=ports[:2])
                client.call("List")
                client.call("Destroy", name=OTHER)

    def _create_main(self) -> None:
        with Client(str(self.laggd.socket)) as client:
            client.call("Create", name=MAIN, ports=[RESIDENT, "p0", "p1"])
        self.host.add_address(MAIN, "10.77.0.1/24")

    def _actors(self, stop: Stop) -> list[Actor]:
        ends = tuple(f"q{number}" for number in range(WIRES))
        return [
            *(
                ControlClient(f"client{number}", self.seed, stop, self.laggd)
                for number in range(CLIENTS)
            ),
            Flapper(self.seed, stop, self.far, ends),
            Admin(self.seed, stop, self.host),
            Members(self.seed, stop, self.host, self.renew),
            Bridger(self.seed, stop, self.host, "br0"),
        ]

    @contextmanager
    def _flooding(self, report: Report) -> Iterator[None]:
        """Out of both laggs and into all wires, by broadcast: no ARP stands between."""
        rates = {"77": self._rate // 4, "78": self._rate // 8}
        out = [_flood(self.host, net, rate) for net, rate in rates.items()]
        each = self._rate * 5 // 8 // WIRES
        into = [_flood(self.far, str(80 + n), each) for n in range(WIRES)]
        try:
            yield
        finally:
            for flood in (*out, *into):
                flood.terminate()
            for name, floods in (("sent out", out), ("sent in", into)):
                report.numbers[f"frames {name}"] = sum(map(_sent, floods))

    def _count(self, report: Report, actors: Sequence[Actor]) -> None:
        report.outcomes = outcomes(actors)
        for actor in actors:
            report.refusals.update(actor.refusals)
        readers = [a.invariants for a in actors if isinstance(a, ControlClient)]
        report.readings = sum(reader.readings for reader in readers)
        report.numbers["readings looked at"] = report.readings
        for name in (MAIN, OTHER):
            counts = [reader.frames(name) for reader in readers]
            report.frames[name] = max(counts, key=lambda count: count["tx_in"])
            report.numbers[f"frames of {name}"] = report.frames[name]
            report.numbers[f"laggs called {name}"] = max(
                reader.laggs(name) for reader in readers
            )

    # ---- the end -------------------------------------------------------------------

    def _end(self, report: Report, before: Footprint) -> None:
        """Everything destroyed; what is not as it was is a fault."""
        try:
            self._destroy_all()
            for number in range(WIRES):
                self.far.set_link(f"q{number}", state="up")
            check_ports(self.host, WIRES)
            self._check_hearing()
            after = settled_footprint(self.laggd, before)
            report.numbers["footprint"] = f"{before} -> {after}"
            grown_kb = after.rss_kb - before.rss_kb
            assert grown_kb <= self._rss_growth_kb_max, f"RSS +{grown_kb} kB"
            assert self.laggd.stop() == 0, "laggd did not end well"
        except Exception as error:  # noqa: BLE001  told with all other faults
            report.faults.append(f"at the end: {type(error).__name__}: {error}")
        report.faults += complaints(self.laggd)

    def _destroy_all(self) -> None:
        with Client(str(self.laggd.socket)) as client:
            laggs = client.call("List")["laggs"]
            Invariants().check(laggs)
            for each in laggs:
                client.call("Destroy", name=each["name"])
            assert client.call("List")["laggs"] == []
        left = [name for name in self.host.links() if name.startswith("lagg")]
        assert left == [], "interfaces are left"

    def _check_hearing(self) -> None:
        """A deaf port would not answer ARP."""
        names = [name for name in self.host.links() if re.fullmatch(r"[pr]\d", name)]
        for name in names:
            self.host.add_address(name, f"10.{80 + int(name[1:])}.0.1/24")
        for name in names:
            self._wait_heard(name)

    def _wait_heard(self, name: str) -> None:
        ping = ("ping", "-c1", "-W1", "-q", f"10.{80 + int(name[1:])}.0.1")

        def heard() -> bool:
            return self.far.run(*ping, check=False).returncode == 0

        wait_until(heard, SETTLE_S, f"{name} hears")


def _give_default_route(host: Host) -> None:
    """Gives a route by which a flood goes on while its interface is gone."""
    host.run("ip", "link", "add", "d0", "type", "bridge")
    host.set_link("d0", state="up")
    host.add_address("d0", "10.79.0.1/24")
    host.run("ip", "route", "add", "default", "dev", "d0")


def _flood(host: Host, net: str, rate: int) -> "subprocess.Popen[str]":
    words = ("--to", f"10.{net}.0.255", "--rate", str(rate), "--seconds", "0")
    shape = ("--port", "9", "--flows", "8", "--id", "1", "--bytes", "64")
    return host.popen(build("stream"), "send", *words, *shape)


def _sent(flood: "subprocess.Popen[str]") -> int:
    printed, complaint = flood.communicate()
    assert flood.returncode == 0, complaint
    found = json.loads(printed)
    return int(sum(found["sent"]) - found["errors"])


def _play(actors: Sequence[Actor], stop: Stop, seconds: float) -> None:
    start = time.monotonic()
    threads = [threading.Thread(target=actor.run) for actor in actors]
    for thread in threads:
        thread.start()
    try:
        stop.wait(seconds)
        while not stop.wait(POLL_S) and idle(outcomes(actors)):
            if time.monotonic() > start + seconds + PATIENCE_S:
                break
    except KeyboardInterrupt:
        print("ending early", flush=True)
    finally:
        stop.end()
        for thread in threads:
            thread.join()
