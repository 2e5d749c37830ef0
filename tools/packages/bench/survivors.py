# SPDX-License-Identifier: BSD-2-Clause
"""A lagg and its partner, and what befalls the processes behind the lagg.

    near: lagg0 = p0 p1  ------------  q0 q1 :far, a laggd, Open vSwitch or a bond

Owns the partners, the events, and that the partner is not touched by them.  Knows no
count, rate or table.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bench.topologies import Ends, know_each_other
from lab import Daemon, Host, Lab, Pair, ovs, ping, wait_until
from lab.bond import BOND, Bond
from lab.daemon import overload as overload_of
from lab.ovs import BRIDGE, OvsPartner
from lab.pair import LAGG
from lab.partner import Lacp, Partner
from lab.stream import Place
from lab.vm import image
from lagg.control.client import Client
from lagg.lacp.values import State
from lagg.model import Drop

CABLES = 2
ENDS = ("q0", "q1")
ADDRESS = "10.77.0.1"
READY_S = 120.0

LOOK_S = 0.1
"""From a death to the first look at what comes of it."""


_CARRIES = State.COLLECTING | State.DISTRIBUTING


class Survivor(Protocol):
    """A lagg that carries, and whom it carries to."""

    laggd: Daemon
    near: Host
    near_address: str
    far: Host  # where the other ends of the cables are
    place: Place  # where what is sent arrives
    far_address: str

    def overload(self) -> int:
        """Frames so far that were dropped because the machine was too slow."""

    def died(self) -> int:
        """Frames so far that went with a worker's process, and were counted so."""

    def generation(self) -> int:
        """The plan's; it moves when a port comes or goes, as when a partner leaves."""

    def close(self) -> None:
        """Before the lab is taken down."""


class WithLaggd:
    """Its partner is another laggd."""

    def __init__(self, lab: Lab, proto: str, *, fast: bool) -> None:
        """`fast`: under LACP both ask for a PDU each second."""
        options = ("--lacp-fast-timeout",) if fast and proto == "lacp" else ()
        self.pair = Pair(
            lab,
            cables=CABLES,
            proto=proto,
            options=options,
            log_level="warning",
        )
        if proto == "lacp":
            self.pair.wait_until_agreed(CABLES)
        a, b = self.pair.ends
        self.laggd, self.near, self.near_address = a.laggd, a.host, a.address
        self.far, self.far_address = b.host, b.address
        self.place: Place = b.host
        know_each_other(Ends(a.host, a.address, b.host, b.address), LAGG, LAGG)

    def overload(self) -> int:
        """What either end counted."""
        return sum(overload_of(end.laggd.drops()) for end in self.pair.ends)

    def died(self) -> int:
        """What either end counted."""
        return sum(_died(end.laggd) for end in self.pair.ends)

    def generation(self) -> int:
        """The lagg's."""
        return int(self.laggd.record()["generation"])

    def close(self) -> None:
        """Nothing."""


class WithPartner:
    """Its partner is none of ours, and speaks LACP."""

    def __init__(
        self, lab: Lab, make: Callable[..., Partner], aggregate: str, *, fast: bool
    ) -> None:
        """`aggregate`: the interface on the partner's side that has its address."""
        self.near = lab.host("near")
        ports = [f"p{number}" for number in range(CABLES)]
        self.partner = make(lab, self.near, ports)
        self.partner.configure(Lacp(fast=fast), CABLES)
        self.laggd = lab.daemon(self.near, log_level="warning")
        timeout = ("--lacp-fast-timeout",) if fast else ()
        words = [word for port in ports for word in ("--port", port)]
        self.laggd.ctl("create", LAGG, "--proto", "lacp", *timeout, *words)
        self.near.add_address(LAGG, f"{ADDRESS}/24")
        self.near_address, self.far_address = ADDRESS, self.partner.address
        self.far, self.place = self.partner.host, self.partner.place
        self._aggregate = aggregate
        wait_until(self._agreed, READY_S, "both ends agree")
        wait_until(self._answers, READY_S, "the partner answers")
        self._know()

    def _agreed(self) -> bool:
        """All ports of both ends carry."""
        ours = [port["flags"] for port in self.laggd.record()["ports"]]
        return all("DISTRIBUTING" in flags for flags in ours) and all(
            member.aggregated and member.actor & _CARRIES == _CARRIES
            for member in self.partner.members()
        )

    def _answers(self) -> bool:
        return ping(self.near, self.far_address, count=1, wait_s=0.5).lost == 0

    def _know(self) -> None:
        """Nothing is lost to address resolution."""
        path = f"/sys/class/net/{self._aggregate}/address"
        theirs = self.partner.run("cat", path).strip()
        ours = self.near.link(LAGG).mac
        words = ("ip", "neigh", "replace")
        end = ("nud", "permanent", "dev")
        self.near.run(*words, self.far_address, "lladdr", theirs, *end, LAGG)
        self.partner.run(*words, ADDRESS, "lladdr", ours, *end, self._aggregate)

    def overload(self) -> int:
        """What laggd counted, and what the partner's TAPs had no room for."""
        return overload_of(self.laggd.drops()) + _tap_drops(self.far)

    def died(self) -> int:
        """What laggd counted."""
        return _died(self.laggd)

    def generation(self) -> int:
        """The lagg's."""
        return int(self.laggd.record()["generation"])

    def close(self) -> None:
        """The partner's end."""
        self.partner.close()


def _died(laggd: Daemon) -> int:
    return laggd.drops().get(Drop.WORKER_DIED.value, 0)


def _tap_drops(host: Host) -> int:
    """Frames that a host's stack had for a TAP whose queue was full."""
    columns = [
        line.partition(":")[2].split()
        for line in host.proc_net("dev").splitlines()
        if line.strip().startswith(("br", "t"))
    ]
    return sum(int(each[11]) for each in columns)


# ---- events --------------------------------------------------------------------------


def nothing(_: Survivor) -> None:
    """What the machine itself costs."""


def restart(survivor: Survivor) -> None:
    """Has another laggd go on, by laggctl."""
    survivor.laggd.restart()


def kill_laggd(survivor: Survivor) -> None:
    """SIGKILL; the next is started at once, as by systemd."""
    survivor.laggd.kill()
    survivor.laggd.start()
    survivor.laggd.record()  # answered by who has adopted


def kill_forwarder(survivor: Survivor) -> None:
    """SIGKILL; returns when laggd has another one.

    Asked later, and by a connection that is there: who asks takes a CPU from laggd
    while frames wait for it, and a laggctl that starts takes 200 ms of one.
    """
    with Client(str(survivor.laggd.socket)) as asked:
        before = _forwarder(asked)
        os.kill(before, signal.SIGKILL)
        time.sleep(LOOK_S)
        wait_until(lambda: _forwarder(asked) != before, READY_S, "another forwarder")


def _forwarder(asked: Client) -> int:
    """The pid of the one that serves."""
    return int(asked.call("Status")["laggd"]["forwarder"]["pid"])


EVENTS: dict[str, Callable[[Survivor], None]] = {
    "none": nothing,
    "laggctl restart": restart,
    "SIGKILL laggd": kill_laggd,
    "SIGKILL forwarder": kill_forwarder,
}


# ---- cases ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """A row's first word: how it is made, and why it cannot be here."""

    make: Callable[[Lab, bool], Survivor]  # the flag: LACP's fast timeout
    missing: Callable[[], str | None] = lambda: None
    rate_max: int | None = None  # frames/s each way, of a partner that is emulated
    copies: int = 1  # of a frame that arrive


def _with_laggd(proto: str, copies: int = 1) -> Case:
    return Case(lambda lab, fast: WithLaggd(lab, proto, fast=fast), copies=copies)


CASES: dict[str, Case] = {
    **{proto: _with_laggd(proto) for proto in ("failover", "roundrobin")},
    "loadbalance": _with_laggd("loadbalance"),
    "broadcast": _with_laggd("broadcast", copies=CABLES),
    "lacp": _with_laggd("lacp"),
    "lacp-ovs": Case(
        lambda lab, fast: WithPartner(lab, OvsPartner, BRIDGE, fast=fast), ovs.missing
    ),
    "lacp-bond": Case(
        lambda lab, fast: WithPartner(lab, Bond, BOND, fast=fast),
        image.missing,
        rate_max=Bond.frames_per_s,
    ),
}
