# SPDX-License-Identifier: BSD-2-Clause
"""When the way in to a lagg is news, and how often and when that is said."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lagg.lacp.values import NS_OF_MS
from lagg.model import Options, PortOptions, Proto, Rounds, Wanted, WayIn
from lagg.plan import election, gate
from lagg.plan.plan import plan
from lagg.plan.shape import LaggMac, Shape
from lagg.plan.way_in import (
    REJOIN_INTERVAL_NS,
    due_at,
    is_due,
    looked_at,
    said,
    to_announce,
    way_in,
)
from tests.plan.test_election import SPREADS, shape_of

MAC, OTHER = "02:00:5e:00:53:01", "02:00:5e:00:53:02"
ONCE = Options()


def way(*ports: int, mac: str = MAC) -> WayIn:
    return WayIn(frozenset(ports), mac)


def looked(before: WayIn, after: WayIn, now: int = 5) -> tuple[int, int]:
    """How often it is announced then, and how often groups are joined again."""
    wanted = looked_at(Wanted(way_in=before), after, ONCE, now)
    assert wanted.way_in == after
    assert {each.due for each in rounds_of(wanted) if each.left} <= {now}
    return wanted.announcements.left, wanted.rejoins.left


def rounds_of(wanted: Wanted) -> tuple[Rounds, Rounds]:
    return wanted.announcements, wanted.rejoins


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (WayIn(), way(1), (1, 1)),
        (way(), way(1, 2), (1, 1)),
        (way(1), way(2), (1, 1)),
        (way(1, 2), way(2), (1, 1)),
        (way(1, 2), way(3, 4), (1, 1)),
        (way(1), way(1, 2), (0, 0)),  # a port more: who sends by the first may go on
        (way(1), way(1), (0, 0)),
        (way(1), way(1, mac=OTHER), (1, 0)),
        (way(1), way(2, mac=OTHER), (1, 1)),
        (way(1, 2), way(), (0, 0)),
        (way(1), way(mac=OTHER), (0, 0)),  # by no port: it is told when one comes
    ],
)
def test_a_way_that_is_no_longer_the_one_is_news(
    before: WayIn, after: WayIn, told: tuple[int, int]
) -> None:
    assert looked(before, after) == told


def test_what_cannot_be_said_any_more_is_not_said_later() -> None:
    wanted = looked_at(Wanted(way_in=way(1)), way(2), Options(announce_count=9), 0)
    assert rounds_of(looked_at(wanted, way(), ONCE, 1)) == (Rounds(), Rounds())


@pytest.mark.parametrize("proto", [Proto.FAILOVER, *SPREADS])
def test_a_port_that_is_held_is_no_way_in(proto: Proto) -> None:
    shape = replace(shape_of(proto), mac=LaggMac(MAC))
    held = replace(shape, port_options={"eth0": PortOptions(hold=True)})
    after = election.settled(shape, gate.settled(held, 0))
    first, second = seen(shape), seen(after)
    assert 10 in first.ports
    assert 10 not in second.ports
    assert looked(first, second) == (1, 1)


def test_that_the_lagg_s_mac_is_at_another_of_the_same_ports_is_news() -> None:
    shape = replace(shape_of(Proto.ALB), mac=LaggMac(MAC))
    after = election.settled(shape, shape.with_pick("eth1"))
    first, second = seen(shape), seen(after)
    assert first.ports == second.ports
    assert looked(first, second) == (1, 1)
    assert looked(replace(first, ports=first.ports - {11}), second) == (1, 1)
    assert looked(second, seen(after)) == (0, 0)


def seen(shape: Shape) -> WayIn:
    return way_in(shape, plan(shape))


@pytest.mark.parametrize("count", [1, 10, 20, 30, 255])
@pytest.mark.parametrize("interval_ms", [0, 1, 200, 300_000])
def test_it_is_said_so_often_and_so_far_apart(count: int, interval_ms: int) -> None:
    options = Options(
        announce_count=count, announce_interval_ms=interval_ms, rejoin_count=0
    )
    wanted = to_announce(Wanted(), options, 7)
    begun = [7 + n * interval_ms * NS_OF_MS for n in range(count)]
    assert [*spoken(wanted, options)] == begun


def spoken(wanted: Wanted, options: Options) -> Iterator[int]:
    """When each round is said, by who does so as soon as it is due."""
    while (at := due_at(wanted)) is not None:
        yield at
        wanted = said(wanted, wanted, options, at)


def test_groups_are_joined_at_their_own_pace() -> None:
    options = Options(announce_count=2, announce_interval_ms=300, rejoin_count=3)
    wanted = looked_at(Wanted(), way(1), options, 0)
    assert [at // NS_OF_MS for at in spoken(wanted, options)] == [0, 200, 300, 400]
    assert REJOIN_INTERVAL_NS == 200 * NS_OF_MS


def test_who_is_late_does_not_say_all_at_once() -> None:
    options = Options(announce_count=30, announce_interval_ms=100)
    late = 60_000 * NS_OF_MS
    wanted = to_announce(Wanted(), options, 0)
    after = said(wanted, wanted, options, late)
    assert after.announcements == Rounds(29, late + 100 * NS_OF_MS)


def test_news_while_a_round_is_said_restarts_them() -> None:
    options = Options(announce_count=3)
    begun = to_announce(Wanted(), options, 0)
    newer = to_announce(begun, options, 1)
    assert said(newer, begun, options, 0).announcements == Rounds(3, 1)


def test_only_what_was_due_counts_as_said() -> None:
    options = Options(announce_count=2, announce_interval_ms=1000)
    wanted = replace(to_announce(Wanted(), options, 0), rejoins=Rounds(1, 9))
    after = said(wanted, wanted, options, 5)
    assert after.rejoins == Rounds(1, 9)
    assert not is_due(after.rejoins, 8)
    assert is_due(after.rejoins, 9)


def test_with_a_count_of_0_nothing_is_said() -> None:
    silent = Options(announce_count=0, rejoin_count=0)
    assert due_at(looked_at(Wanted(), way(1), silent, 0)) is None
    joins = Options(announce_count=0)
    assert rounds_of(looked_at(Wanted(), way(1), joins, 0)) == (Rounds(0), Rounds(1))
