# SPDX-License-Identifier: BSD-2-Clause
"""How long a publication takes, and the grace period after it, under traffic.

Owns a device of its own, without a laggd: plans go straight to lagg.kernel.native.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from lab.host import Host
from lab.lab import Lab
from lab.stream import Stream
from lab.waiting import wait_until
from lagg.kernel.native import Device
from lagg.model import ALL_LAYERS, BUCKETS, Drop, HashKind, Spread
from lagg.options import PORTS_MAX
from lagg.plan.plan import Plan

TAP = "lagg0"
MAC = "02:00:00:77:00:02"
ADDRESSES = ("10.78.0.1", "10.78.0.2")
FLOWS = 8
DEADLINE_S = 60.0
PAUSE_S = 0.001
"""Between two publications: a control loop does other things, too."""

EMPTY = Plan(
    spread=Spread.FLOW,
    tx_slots=(),
    tx_drop=Drop.NO_PORT,
    rx_drop=Drop.NOT_ACCEPTED,
    rx_accept=frozenset(),
    ports=frozenset(),
    stride=1,
    hash_kind=HashKind.CRC32C,
    hash_layers=ALL_LAYERS,
    hash_seed=0,
)
"""Carries nothing; who publishes a plan replaces what it is about."""


@dataclass(slots=True)
class Times:
    """Microseconds, a number for each publication."""

    publish: list[float] = field(default_factory=list)
    grace: list[float] = field(default_factory=list)  # from publish's return on


class Bare:
    """A device with PORTS_MAX ports, and a partner that takes frames on any of them."""

    def __init__(self, lab: Lab) -> None:
        """Everything up; no frame flows yet."""
        self.host, self.partner = lab.host("bare"), lab.host("bare-partner")
        for number in range(PORTS_MAX):
            lab.cable(self.host, f"p{number}", self.partner, f"q{number}")
            self.partner.set_link(f"q{number}", address=MAC)
        self.device = self.host.inside(Device, TAP)
        for slot in range(PORTS_MAX):
            ifindex = self.host.ifindex(f"p{slot}")
            sockets = self.host.inside(self.device.open_sockets, ifindex)
            self.device.add_port(slot, sockets)
        self.device.set_carrier(True)
        self._address(self.host, TAP, self.partner, "q0", ADDRESSES)
        self._address(self.partner, "q0", self.host, TAP, ADDRESSES[::-1])

    @staticmethod
    def _address(
        host: Host, name: str, other: Host, far: str, addresses: tuple[str, ...]
    ) -> None:
        here, there = addresses
        host.set_link(name, state="up")
        host.add_address(name, f"{here}/24")
        lladdr = other.link(far).mac
        host.run("ip", "neigh", "replace", there, "lladdr", lladdr, "dev", name)

    def close(self) -> None:
        """Ends the device; the lab removes the rest."""
        self.host.inside(self.device.close)

    @contextmanager
    def streaming(self, rate: int) -> Iterator[None]:
        """Frames flow both ways while the block runs."""
        self.device.publish(plan_of(PORTS_MAX, 0))
        near, far = ADDRESSES
        streams = [
            Stream(self.host, self.partner, far, rate=rate, flows=FLOWS),
            Stream(self.partner, self.host, near, rate=rate, flows=FLOWS),
        ]
        before = self.device.frames
        wait_until(
            lambda: self.device.frames > before + rate // 10, DEADLINE_S, "frames flow"
        )
        yield
        for stream in streams:
            stream.stop()
        for stream in streams:
            stream.result()

    def measure(self, ports: int, count: int) -> Times:
        """`count` publications of plans with so many ports, each other than the last.

        For the grace period the ticket is asked again and again, without a pause.
        """
        times = Times()
        for number in range(count):
            fresh = plan_of(ports, number)
            start_ns = time.perf_counter_ns()
            ticket = self.device.publish(fresh)
            done_ns = time.perf_counter_ns()
            while self.device.held_by(ticket) is not None:
                pass
            passed_ns = time.perf_counter_ns()
            self.device.reclaim()
            times.publish.append((done_ns - start_ns) / 1000)
            times.grace.append((passed_ns - done_ns) / 1000)
            time.sleep(PAUSE_S)
        return times


def plan_of(ports: int, number: int) -> Plan:
    """Flows over slots 0 ... `ports` - 1; the seed tells one from the next."""
    slots = frozenset(range(ports))
    return replace(
        EMPTY, tx_slots=_table(ports), ports=slots, rx_accept=slots, hash_seed=number
    )


def _table(ports: int) -> tuple[int, ...]:
    return tuple(bucket % ports for bucket in range(BUCKETS))
