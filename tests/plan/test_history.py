# SPDX-License-Identifier: BSD-2-Clause
"""What a lagg has been through, step by step."""

from dataclasses import replace

import pytest

from lagg.model import Proto
from lagg.plan.history import Failover, LaggPast, PortPast
from lagg.plan.shape import Shape
from tests.plan.test_election import FOUR, after, shape_of


class Life:
    """A lagg and its history; a step a second."""

    def __init__(self, shape: Shape) -> None:
        empty = replace(shape, ports=(), primary=None, homes=())
        self.now = 1
        self.shape = shape
        self.history = LaggPast().then(empty, shape, self.now)

    def become(self, shape: Shape) -> None:
        self.now += 1
        self.history = self.history.then(self.shape, shape, self.now)
        self.shape = shape

    def lose(self, *slots: int) -> None:
        self.become(after(self.shape, *slots))

    def mend(self, slot: int) -> None:
        self.become(after(self.shape, back=slot))

    def failovers(self) -> tuple[int, Failover | None]:
        return self.history.failovers, self.history.last_failover


def test_a_port_counts_its_failures_and_since_when_it_is_as_it_is() -> None:
    life = Life(shape_of())
    assert life.history.of_port(10) == PortPast(10, since_ns=1)
    life.lose(0)
    assert life.history.of_port(10) == PortPast(10, since_ns=2, failures=1)
    life.mend(0)
    assert life.history.of_port(10) == PortPast(10, since_ns=3, failures=1)
    life.lose(1)
    assert life.history.of_port(10) == PortPast(10, since_ns=3, failures=1)


def test_a_failover_tells_from_whom_to_whom_why_and_when() -> None:
    life = Life(shape_of())
    assert life.failovers() == (0, None)
    life.lose(0)
    assert life.failovers() == (1, Failover("eth0", "eth1", "eth0 down", 2))
    life.mend(0)
    assert life.failovers() == (2, Failover("eth1", "eth0", "eth0 up", 3))
    life.lose(2)
    assert life.history.failovers == 2


def test_who_carried_before_all_were_down_is_who_another_takes_over_from() -> None:
    life = Life(shape_of())
    life.lose(1, 2)
    life.lose(0)
    assert life.failovers() == (0, None)
    life.mend(2)
    assert life.failovers() == (1, Failover("eth0", "eth2", "eth2 up", 4))


def test_a_group_takes_over_from_a_group() -> None:
    life = Life(shape_of(Proto.LOADBALANCE, FOUR, 4, min_links=2))
    life.lose(0)
    assert life.failovers() == (1, Failover("eth0,eth1", "eth2,eth3", "eth0 down", 2))


@pytest.mark.parametrize("proto", [Proto.ROUNDROBIN, Proto.LACP, Proto.NONE])
def test_another_protocol_is_no_failover(proto: Proto) -> None:
    life = Life(shape_of())
    life.become(replace(life.shape, proto=proto, carriers=frozenset({1})))
    life.become(replace(life.shape, proto=Proto.FAILOVER))
    assert life.failovers() == (0, None)
