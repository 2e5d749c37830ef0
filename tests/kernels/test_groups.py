# SPDX-License-Identifier: BSD-2-Clause
"""What lagg0 is to hear from now on, its NICs are to let in: groups, new addresses.

Before 6.14 no event says that an interface has joined a group.  That laggd looks at the
word of the address, and not by and by, is shown without a clock in
tests/netns/test_hearing.py; here its times are printed, and with --long asserted: a
machine that also runs other tests takes as long as it takes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from tests.kernels.world import PEER, Machine

PROBLEM_S = 3.0
"""An interface that looks for itself found groups after 4 to 15 s under this load."""

RESOLVED_S = 1.0
"""From the kernel's word of an address to its word that a neighbour knows it.  By
virtio: QEMU's e1000 takes a second more, and hears nothing after a new filter."""

TRIES, TRIES_LONG = 1, 3

ADDRESSES, NEIGHBOURS = "/run/addresses", "/run/neighbours"
"""What two kernels say, each line with its time: to start a program inside takes so
long that a script would tell that instead."""

ASKS_OFTEN = "net.ipv6.neigh.agg.retrans_time_ms=100"
"""A neighbour asks again after 1 s, and so would see no difference below it."""


@contextmanager
def busy(machine: Machine) -> Iterator[None]:
    """laggd has frames to carry, as many as there can be."""
    pid = machine.run(f"ping -f -q {PEER} >/dev/null 2>&1 & echo $!")
    try:
        yield
    finally:
        machine.run(f"kill {pid}")


def told(seconds: float) -> float:
    print(f"after {seconds:.2f} s")
    return seconds


@contextmanager
def asked_for(machine: Machine, address: str) -> Iterator[str]:
    """The peer asks for it all the time; a script that succeeds once it is answered."""
    ping = f"ip netns exec peer ping -6 -n -i 0.1 {address}"
    pid = machine.run(f"{ping} >/dev/null 2>&1 & echo $!")
    try:
        yield f"ip -n peer -6 neigh show to {address} nud reachable | grep ."
    finally:
        machine.run(f"kill {pid}")


@contextmanager
def dated(machine: Machine) -> Iterator[None]:
    """The kernels' words are written down meanwhile."""
    pids = machine.run(f"""
        stdbuf -oL ip -ts monitor address >{ADDRESSES} 2>&1 & echo $!
        stdbuf -oL ip -n peer -ts monitor neigh >{NEIGHBOURS} 2>&1 & echo $!
    """)
    try:
        yield
    finally:
        machine.run(f"kill {' '.join(pids.split())}")


def said_at(machine: Machine, file: str, words: str) -> datetime:
    """When it first said this."""
    line = machine.run(f"grep -m 1 '{words}' {file}")
    return datetime.fromisoformat(line[line.index("[") + 1 : line.index("]")])


@pytest.fixture
def tries(long_run: bool) -> int:
    """The times of several are what --long measures."""
    return TRIES_LONG if long_run else TRIES


def test_a_new_ipv6_address_is_resolved_by_its_neighbours(
    machine: Machine, long_run: bool, tries: int
) -> None:
    machine.lagg(machine.nics("virtio"), proto="failover")
    machine.run(f"ip netns exec peer sysctl -qw {ASKS_OFTEN}")
    with busy(machine), dated(machine):
        for number in range(1, tries + 1):
            new = f"fd09::{number}:1"
            act = f"ip addr add {new}/64 dev lagg0 nodad"
            with asked_for(machine, new) as answered:
                machine.until(answered, after=act)
            came_at = said_at(machine, ADDRESSES, f"inet6 {new}/64")
            known_at = said_at(machine, NEIGHBOURS, f"{new} .* REACHABLE")
            took_s = told((known_at - came_at).total_seconds())
            assert took_s < (RESOLVED_S if long_run else math.inf)


def test_a_group_that_is_joined_reaches_the_ports(
    machine: Machine, long_run: bool, tries: int
) -> None:
    most_s = PROBLEM_S if long_run else math.inf
    one, other = machine.nics("e1000")
    machine.lagg((one, other), proto="failover")
    with busy(machine):
        for number in range(1, tries + 1):
            heard = f"grep -q 'n{one} .*01005e0909{number:02x}' /proc/net/dev_mcast"
            act = f"ip addr add 239.9.9.{number}/32 dev lagg0 autojoin"
            assert told(machine.until(heard, after=act)) < most_s
