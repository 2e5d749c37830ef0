# SPDX-License-Identifier: BSD-2-Clause
"""What a lagg has been through, step by step."""

from dataclasses import replace

import pytest

from lagg.model import Agreement, Proto
from lagg.plan.history import (
    FAILURES,
    Cause,
    Departure,
    Failover,
    LaggPast,
    PortPast,
)
from lagg.plan.loop import Loop
from lagg.plan.penalty import Penalty
from lagg.plan.shape import Shape
from lagg.watches import LinkWatch, Verdict, Watched, WatchKind, WatchState
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
    once = PortPast(10, 2, ((Cause.CARRIER, 1),), Departure(Cause.CARRIER, 2))
    life.lose(0)
    assert life.history.of_port(10) == once
    life.mend(0)
    assert life.history.of_port(10) == replace(once, since_ns=3)
    life.lose(1)
    assert life.history.of_port(10) == replace(once, since_ns=3)


def becomes(cause: Cause, shape: Shape) -> Shape:
    """With the second port left for that."""
    port = shape.at(1)
    dead = Watched((Verdict(LinkWatch(WatchKind.BFD), WatchState.DOWN, "silent"),))
    down = replace(port.link, lower_up=False, operstate="DOWN")
    agreed = replace(port.lacp, distributing=False)
    left = {
        Cause.CARRIER: replace(port, link=down),
        Cause.ADMIN: replace(port, link=replace(down, up=False)),
        Cause.WATCH: replace(port, watched=dead),
        Cause.AGREEMENT: replace(port, lacp=agreed),
        Cause.DAMPING: replace(port, penalty=Penalty(3000, 1, suppresses=True)),
        Cause.LOOP: replace(port, loop=Loop(1)),
        Cause.HOLD: replace(port, held=True),
    }[cause]
    ports = (shape.at(0), left, shape.at(2))
    return replace(shape, ports=ports)


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_of_leaving_a_port_is_counted_by_itself(cause: Cause) -> None:
    agreed = {slot: Agreement(True, True, True) for slot in range(3)}
    life = Life(shape_of(Proto.LACP).with_agreements(agreed))
    before = life.shape
    for _ in range(2):
        life.become(becomes(cause, before))
        life.become(before)
    past = life.history.of_port(11)
    assert past is not None
    assert past.counts == ((cause, 2),)
    assert past.last == Departure(cause, 4)
    assert past.failures == 2 * (cause in FAILURES)
    assert (past.since_ns == 1) is (cause is Cause.AGREEMENT)


def test_of_a_port_that_is_lost_once_too_often_both_are_told() -> None:
    life = Life(shape_of())
    lost, out = (becomes(c, life.shape).at(1) for c in (Cause.CARRIER, Cause.DAMPING))
    both = replace(lost, penalty=out.penalty)
    life.become(replace(life.shape, ports=(life.shape.at(0), both, life.shape.at(2))))
    past = life.history.of_port(11)
    assert past is not None
    assert dict(past.counts) == {Cause.CARRIER: 1, Cause.DAMPING: 1}
    assert past.last == Departure(Cause.CARRIER, 2)


def test_who_is_set_down_for_being_held_has_not_failed() -> None:
    life = Life(shape_of())
    down = becomes(Cause.ADMIN, life.shape).at(1)
    lowered = replace(down, held=True, lowered=True)
    life.become(replace(life.shape, ports=(life.shape.at(0), lowered)))
    past = life.history.of_port(11)
    assert past is not None
    assert past.counts == ((Cause.HOLD, 1),)


def test_the_lagg_s_own_carrier_is_counted_when_it_goes() -> None:
    past = LaggPast(carrier_since_ns=1)
    steps = [(False, False), (False, True), (True, False), (False, True), (True, True)]
    for at, (was, now) in enumerate(steps, 1):
        past = past.with_carrier(was, now, at)
    assert (past.carrier_losses, past.carrier_since_ns) == (1, 4)


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
