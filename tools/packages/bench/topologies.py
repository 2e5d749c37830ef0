# SPDX-License-Identifier: BSD-2-Clause
"""What is changed under a stream: two laggds; a laggd or Open vSwitch at a switch.

Owns the topologies, their addresses, and which drops are overload.  Knows no count,
rate or table.
"""

import time
from dataclasses import dataclass
from typing import Any, Protocol

from lab.daemon import Daemon
from lab.host import Host
from lab.lab import Lab
from lab.ovs import BRIDGE, OpenVswitch
from lab.pair import LAGG, Pair
from lab.waiting import wait_until
from lagg.control.client import Client

SWITCH = "sw0"
PORTS = ("p0", "p1")
MAC = "02:00:5e:00:53:01"
"""The bond's MAC at a switch: its own, so that it does not go with a port."""

READY_SECONDS = 60.0
CABLE_S = 0.005
"""How long a frame may take from one end's worker to the other's ring."""

OVERLOAD_TX = ("tap-overrun", "tx-full")
OVERLOAD_RX = ("ring-overrun", "tap-full")
"""Reasons of a machine that is too slow, as a frame goes out and as one comes in."""

Both = tuple[int, int]
"""From the measured host to its partner, and back."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The measured host, its partner, and how each calls itself."""

    near: Host
    near_address: str
    far: Host
    far_address: str


class Topology(Protocol):
    """One way of aggregating two ports, between two ends."""

    name: str
    ends: Ends

    def overload(self) -> Both:
        """Frames that were dropped because the machine was too slow, so far."""


class Laggctl:
    """One connection to a laggd, for its lagg0."""

    def __init__(self, laggd: Daemon) -> None:
        """Connects; `close` ends it."""
        self._client = Client(str(laggd.socket))

    def close(self) -> None:
        """Ends the connection."""
        self._client.__exit__(None, None, None)

    def set(self, proto: str, **options: object) -> None:
        """The protocol, and options."""
        self._client.call("Set", name=LAGG, proto=proto, options=options or None)

    def detach(self, port: str) -> None:
        """Takes a port out."""
        self._client.call("Detach", name=LAGG, ports=[port])

    def attach(self, port: str) -> None:
        """Puts it back."""
        self._client.call("Attach", name=LAGG, ports=[port])

    def record(self) -> dict[str, Any]:
        """The lagg's record."""
        found: dict[str, Any] = self._client.call("List", name=LAGG)["laggs"][0]
        return found

    def carrying(self) -> str | None:
        """The first port that distributes; None: there is none."""
        ports = self.record()["ports"]
        return next((port["name"] for port in ports if not port["reason"]), None)

    def leave(self) -> None:
        """Waits until no worker is under an older plan, and its last frames are over.

        A change returns before that: a burst may still be under way as it was planned.
        """
        wait_until(self._all_see_the_plan, READY_SECONDS, "the workers see the plan")
        time.sleep(CABLE_S)

    def _all_see_the_plan(self) -> bool:
        return int(self.record()["limbo"]["snapshots"]) == 0

    def overload(self) -> Both:
        """Frames dropped on their way out, and on their way in."""
        drops = self.record()["counters"]["drops"]
        return _sum(drops, OVERLOAD_TX), _sum(drops, OVERLOAD_RX)


def _sum(drops: dict[str, int], reasons: tuple[str, ...]) -> int:
    return sum(drops.get(reason, 0) for reason in reasons)


class TwoLaggds:
    """A laggd whose static partner is another laggd."""

    name = "laggd"

    def __init__(self, lab: Lab) -> None:
        """Two cables; neither end loses a frame to address resolution."""
        self.pair = Pair(lab, cables=len(PORTS), log_level="warning")
        a, b = self.pair.ends
        self.a, self.b = Laggctl(a.laggd), Laggctl(b.laggd)
        self.ends = Ends(a.host, a.address, b.host, b.address)
        know_each_other(self.ends, LAGG, LAGG)

    def close(self) -> None:
        """Ends the connections."""
        self.a.close()
        self.b.close()

    def overload(self) -> Both:
        """What either end counted."""
        (a_out, a_in), (b_out, b_in) = self.a.overload(), self.b.overload()
        return a_out + b_in, b_out + a_in


class LaggdAndSwitch:
    """A laggd at a switch that learns where a MAC is and knows of no aggregation."""

    name = "laggd"

    def __init__(self, lab: Lab) -> None:
        """Runs failover."""
        near, far = lab.host("lagg"), lab.host("lagg-switch")
        switch(lab, near, far)
        laggd = lab.daemon(near, log_level="warning")
        ports = [word for port in PORTS for word in ("--port", port)]
        laggd.ctl("create", LAGG, "--mac", MAC, *ports)
        self.ends = Ends(near, "10.79.0.1", far, "10.79.0.2")
        self.bond = Laggctl(laggd)
        address(self.ends, LAGG, SWITCH)
        wait_until(self.bond.carrying, READY_SECONDS, "a port carries")

    def close(self) -> None:
        """Ends the connection."""
        self.bond.close()

    def overload(self) -> Both:
        """What the laggd counted."""
        return self.bond.overload()


class OvsAndSwitch:
    """A switch, and Open vSwitch in laggd's place."""

    name = "Open vSwitch"

    def __init__(self, lab: Lab) -> None:
        """Runs active-backup."""
        near, far = lab.host("ovs"), lab.host("ovs-switch")
        switch(lab, near, far)
        self.bond = OpenVswitch(near, PORTS, MAC)
        self.ends = Ends(near, "10.80.0.1", far, "10.80.0.2")
        address(self.ends, BRIDGE, SWITCH)

    def close(self) -> None:
        """Nothing: the host ends its processes."""

    def overload(self) -> Both:
        """What its TAP had no room for; of what comes in it counts nothing for us."""
        for line in self.ends.near.proc_net("dev").splitlines():
            name, _, columns = line.partition(":")
            if name.strip() == BRIDGE:
                return int(columns.split()[11]), 0
        raise LookupError(BRIDGE)


def switch(lab: Lab, near: Host, far: Host) -> None:
    """A bridge in `far`, cabled to `near`'s ports; forwards once this returns.

    Checksums are in its frames: Open vSwitch passes on what a veth left out.  `near`
    has no IPv6, so that nothing but the stream tells the switch where a MAC is.
    """
    near.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    far.run("ip", "link", "add", SWITCH, "type", "bridge", "stp_state", "0")
    for number, port in enumerate(PORTS):
        plug = f"q{number}"
        lab.cable(near, port, far, plug)
        far.run("ip", "link", "set", plug, "master", SWITCH)
        near.complete(port)
        far.complete(plug)
    far.complete(SWITCH)
    far.set_link(SWITCH, state="up")


def address(ends: Ends, near: str, far: str) -> None:
    """Gives both ends their addresses, and each the other's."""
    ends.near.set_link(near, state="up")
    ends.near.add_address(near, f"{ends.near_address}/24")
    ends.far.add_address(far, f"{ends.far_address}/24")
    know_each_other(ends, near, far)


def know_each_other(ends: Ends, near: str, far: str) -> None:
    """Makes each end's MAC known to the other for good."""
    near_mac, far_mac = ends.near.link(near).mac, ends.far.link(far).mac
    for host, there, mac, name in (
        (ends.near, ends.far_address, far_mac, near),
        (ends.far, ends.near_address, near_mac, far),
    ):
        words = ("ip", "neigh", "replace", there, "lladdr", mac)
        host.run(*words, "dev", name, "nud", "permanent")
