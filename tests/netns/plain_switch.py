# SPDX-License-Identifier: BSD-2-Clause
"""A lagg on a switch that knows no aggregation: a bridge, and three hosts behind it.

    near: lagg0 = p0 p1 p2  ---  s0 s1 s2 = br0 = t1 t2 t3  ---  e: h1, e: h2, e: h3

Owns what the bridge learns, and when it changes its mind.
"""

import re
from dataclasses import dataclass

from lab import Cable, Daemon, Host, Lab, Stream, wait_until
from lab.daemon import overload

PORTS = ("p0", "p1", "p2")
HOSTS = ("h1", "h2", "h3")
NEAR, NEAR6 = "10.81.0.1", "fd81::1"
DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Office:
    """All of it, with addresses, and frames that got through to every host."""

    lab: Lab
    near: Host
    switch: Host
    hosts: dict[str, Host]
    laggd: Daemon
    cables: list[Cable]

    @classmethod
    def built(cls, lab: Lab, proto: str, *options: str) -> "Office":
        """`options` of `laggctl create`."""
        near, switch = lab.host("near"), lab.host("switch")
        switch.netlink("link", "add", ifname="br0", kind="bridge")
        switch.set_link("br0", state="up")
        cables = [
            lab.cable(near, name, switch, f"s{number}")
            for number, name in enumerate(PORTS)
        ]
        hosts = {name: lab.host(name) for name in HOSTS}
        for number, host in enumerate(hosts.values(), start=1):
            lab.cable(host, "e", switch, f"t{number}")
        for name in switch.links():
            if name[0] in "st":
                switch.sysctl(f"net.ipv6.conf.{name}.disable_ipv6", 1)
                switch.set_link(name, master=switch.ifindex("br0"))
        laggd = lab.daemon(near)
        laggd.ctl("create", "lagg0", *PORTS_OF, "--proto", proto, *options)
        office = cls(lab, near, switch, hosts, laggd, cables)
        office._address()
        return office

    def _address(self) -> None:
        ends = [(self.near, "lagg0", 1)]
        ends += [(host, "e", n) for n, host in enumerate(self.hosts.values(), start=2)]
        for host, name, number in ends:
            host.sysctl(f"net.ipv6.conf.{name}.accept_dad", 0)
            host.add_address(name, f"10.81.0.{number}/24")
            host.add_address(name, f"fd81::{number}/64")
        for number in range(2, 2 + len(HOSTS)):
            for address in (f"10.81.0.{number}", f"fd81::{number}"):
                wait_until(lambda a=address: self.reaches(a), DEADLINE_S, address)  # type: ignore[misc]

    def reaches(self, address: str) -> bool:
        """Whether a host answers the lagg's."""
        return answers(self.near, address)

    @property
    def macs(self) -> dict[str, str]:
        """The MAC of each port and of the lagg."""
        return {name: self.near.link(name).mac for name in (*PORTS, "lagg0")}

    def learned(self) -> dict[str, set[str]]:
        """Where the switch looks for each MAC that it has learned, by MAC."""
        found: dict[str, set[str]] = {}
        said = self.switch.run("bridge", "fdb", "show", "br", "br0").stdout
        for line in said.splitlines():
            mac, _, port = line.split()[:3]
            if "permanent" not in line:
                found.setdefault(mac, set()).add(port)
        return found

    def sent(self) -> dict[str, int]:
        """Bytes by each port of the lagg."""
        ports = self.laggd.record("lagg0")["ports"]
        return {port["name"]: port["tx_bytes"] for port in ports}

    def overload(self) -> int:
        """Frames that the lagg has dropped because this machine is too slow."""
        return overload(self.laggd.record("lagg0")["counters"]["drops"])

    def received(self) -> dict[str, int]:
        """Bytes by each port of the lagg."""
        ports = self.laggd.record("lagg0")["ports"]
        return {port["name"]: port["rx_bytes"] for port in ports}

    def streams(self, *, there: bool, rate: int, flows: int) -> list[Stream]:
        """One to each host, or from each."""
        found = []
        for number, host in enumerate(self.hosts.values(), start=2):
            one, other = (self.near, host) if there else (host, self.near)
            to = f"10.81.0.{number if there else 1}"
            found.append(Stream(one, other, to, rate=rate, flows=flows, port=number))
        return found


PORTS_OF = [word for name in PORTS for word in ("--port", name)]


def answers(host: Host, address: str) -> bool:
    """Whether it is answered, once, within a second."""
    done = host.run("ping", "-c1", "-W1", "-i0.1", address, check=False)
    return done.returncode == 0


class Learning:
    """What the switch says of its table, from now on."""

    def __init__(self, office: Office) -> None:
        command = "stdbuf", "-oL", "bridge", "monitor", "fdb"
        self._process = office.switch.popen(*command)

    def stop(self) -> list[tuple[str, str]]:
        """MAC and port of each entry that came or moved, in order."""
        self._process.terminate()
        said, _ = self._process.communicate()
        return re.findall(r"^([0-9a-f:]{17}) dev (\w+) master", said, re.MULTILINE)
