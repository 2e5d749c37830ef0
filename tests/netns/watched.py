# SPDX-License-Identifier: BSD-2-Clause
"""A lagg whose two ways to a host may be cut where no carrier tells of it.

                 p0 - q0  near0  u0 - v0
    a: lagg0                              core - eth0 :host
                 p1 - q1  near1  u1 - v1

near0, near1 and core are bridges in `switch`; stranger is a host at near0, or at near1.
Owns the cuts behind the first switch, and the frames that a stranger sends there.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab import Lab, conserved, wait_until
from lagg.watchers.address import probe_mac
from tests.netns.bare import silence
from tests.netns.steer import DEADLINE_S, LAGG, Steer

PORTS = ("p0", "p1")
HOST, HOST6 = "10.77.0.2", "fd77::2"
OURS, OURS6 = "10.77.0.1", "fd77::1"
FAST = "interval_ms=100"
ARP = f"arp,target={HOST},{FAST}"
NS = f"ns,target={HOST6},{FAST}"


class WatchedLagg:
    """The lagg and its surroundings; no host speaks by itself."""

    def __init__(self, lab: Lab) -> None:
        self.a, self.switch = lab.host("a"), lab.host("switch")
        self.host, self.stranger = lab.host("host"), lab.host("stranger")
        for each in (self.a, self.switch, self.stranger):
            silence(each)
        self.cables = [
            lab.cable(self.a, port, self.switch, f"q{number}")
            for number, port in enumerate(PORTS)
        ]
        homes = [self.a.link(port).mac for port in PORTS]
        self.probe_macs = [probe_mac(home, slot) for slot, home in enumerate(homes)]
        lab.cable(self.host, "eth0", self.switch, "core0")
        lab.cable(self.stranger, "eth0", self.switch, "guest")
        for bridge in ("core", "near0", "near1"):
            self.switch.run("ip", "link", "add", bridge, "type", "bridge")
            self.switch.set_link(bridge, state="up")
        for number in range(len(PORTS)):
            self.switch.veth(f"u{number}", f"v{number}")
            self._join(f"q{number}", f"near{number}")
            self._join(f"u{number}", f"near{number}")
            self._join(f"v{number}", "core")
        self._join("core0", "core")
        self.host.sysctl("net.ipv6.conf.eth0.accept_dad", 0)
        self.host.add_address("eth0", f"{HOST}/24")
        self.host.add_address("eth0", f"{HOST6}/64")
        self.laggd = lab.daemon(self.a, log_level="info")
        words = [word for port in PORTS for word in ("--port", port)]
        self.laggd.ctl("create", LAGG, *words)
        self.a.add_address(LAGG, f"{OURS}/24")
        self.steer = Steer(self.laggd)

    def close(self) -> None:
        self.steer.close()

    def _join(self, name: str, bridge: str) -> None:
        self.switch.set_link(name, master=self.switch.ifindex(bridge), state="up")

    # ---- paths ---------------------------------------------------------------------

    def cut(self, number: int) -> None:
        """Cuts the way of a port behind its switch: all carriers stay."""
        self.switch.set_link(f"u{number}", master=0)

    def heal(self, number: int) -> None:
        self._join(f"u{number}", f"near{number}")

    def put_back(self) -> None:
        """Without watches and cuts."""
        self.steer.set(proto="failover", watch=[], watch_policy="all")
        for number in range(len(PORTS)):
            self.heal(number)
        self.switch.set_link("guest", master=0)

    def visit(self, number: int) -> None:
        """Plugs the stranger into the switch next to a port."""
        self._join("guest", f"near{number}")

    @contextmanager
    def misled(self, mac: str, *ways: str) -> Iterator[None]:
        """Bridges believe, whatever they see, that a MAC is behind these."""
        for way in ways:
            entry = (mac, "dev", way, "master", "static", "sticky")
            self.switch.run("bridge", "fdb", "replace", *entry)
        try:
            yield
        finally:
            for way in ways:
                self.switch.run("bridge", "fdb", "del", mac, "dev", way, "master")

    # ---- what can be seen ----------------------------------------------------------

    def watch(self, *watches: str, proto: str = "failover", **options: object) -> None:
        """Sets the watches, and waits until both ports are found alive."""
        self.steer.set(proto=proto, watch=[*watches], **options)
        self.wait_states("up", "up")

    def port(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.steer.record()["ports"][number]
        return found

    def states(self) -> list[list[str]]:
        ports = self.steer.record()["ports"]
        return [[each["state"] for each in port["watch"]] for port in ports]

    def wait_states(self, *states: str) -> None:
        """Until each watch of each port has the port's state."""
        self.wait(
            lambda: [{*each} for each in self.states()] == [{each} for each in states],
            f"the watches say {states}",
        )

    def wait(self, holds: Callable[[], object], what: str) -> None:
        wait_until(holds, DEADLINE_S, what)

    def carrying(self) -> list[str]:
        ports = self.steer.record()["ports"]
        return [port["name"] for port in ports if port["reason"] is None]

    def conserved(self) -> None:
        conserved(self.steer.record())
