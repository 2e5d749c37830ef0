# SPDX-License-Identifier: BSD-2-Clause
"""Ports by which the lagg's own frames come back, on an integer clock."""

from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.events import EventKind
from lagg.lacp.values import NS
from lagg.model import Drop, LinkLocal, MacPolicy, Proto
from lagg.plan import damping, delays, election, gate, loop_guard
from lagg.plan.changes import cause, news
from lagg.plan.explain import Hashed, explain
from lagg.plan.history import Cause, LaggPast
from lagg.plan.loop import QUIET_NS, QUIET_NS_MAX, Loop
from lagg.plan.plan import plan, standings
from lagg.plan.shape import LaggMac, Shape
from tests.plan.test_delays import with_carrier
from tests.plan.test_election import SPREADS, shape_of

GUARDED = [Proto.FAILOVER, *SPREADS]
MAC = "02:00:5e:00:53:01"


def settled(before: Shape, after: Shape, now: int) -> Shape:
    waiting = delays.settled(before, gate.settled(after, now), now)
    guarded = loop_guard.settled(waiting, now)
    return election.settled(before, damping.settled(before, guarded, now))


def seen(shape: Shape, slots: Collection[int], now: int) -> Shape:
    return settled(shape, loop_guard.seen(shape, slots, now), now)


def carrying(shape: Shape) -> set[int]:
    return {*plan(shape).distributing}


@pytest.mark.parametrize("proto", GUARDED)
def test_a_port_is_kept_out_until_own_frames_have_not_come_for_a_while(
    proto: Proto,
) -> None:
    shape = shape_of(proto, loop_guard=True)
    kept = seen(seen(shape, [0], NS), [0], 2 * NS)
    assert 0 not in carrying(kept)
    assert loop_guard.due_at(kept) == 2 * NS + QUIET_NS
    still = settled(kept, kept, 2 * NS + QUIET_NS - 1)
    assert still == kept
    again = settled(kept, kept, 2 * NS + QUIET_NS)
    assert (carrying(again), loop_guard.due_at(again)) == (carrying(shape), None)


@pytest.mark.parametrize("proto", [Proto.LACP, Proto.TLB, Proto.NONE])
def test_where_nothing_is_to_be_guarded_nobody_is_kept_out(proto: Proto) -> None:
    shape = shape_of(proto, loop_guard=True)
    assert seen(shape, [0], NS) == shape


def test_it_is_off_unless_asked_for_and_ends_at_once_when_it_is_switched_off() -> None:
    assert seen(shape_of(), [0], NS) == shape_of()
    kept = seen(shape_of(loop_guard=True), [0], NS)
    off = settled(kept, replace(kept, options=shape_of().options), NS)
    assert (off.at(0).loop, off.at(0).usable) == (None, True)


@pytest.mark.parametrize("proto", GUARDED)
def test_the_last_that_could_carry_is_never_kept_out(proto: Proto) -> None:
    shape = shape_of(proto, loop_guard=True)
    every = seen(shape, [0, 1, 2], NS)
    assert len([port for port in every.ports if port.usable]) == 1
    kept = seen(shape, [0, 1], NS)
    assert carrying(kept) == {2}
    said = explain("lagg0", kept, plan(kept), 1, Hashed(0))
    assert dict(said.without)["eth2"].ports == ("eth0",)
    alone = settled(kept, with_carrier(kept, 2, up=False), 2 * NS)
    assert carrying(alone) == {0}


def test_who_is_kept_out_says_so_and_it_is_news_and_counted() -> None:
    shape = shape_of(loop_guard=True)
    kept = seen(shape, [0], NS)
    why = "kept out by loop_guard: the lagg's own frames come back by it"
    assert standings(kept)[0].reason == why
    (told,) = news(shape, kept)
    assert (told.event, told.details, told.port) == (EventKind.PORT_LOOP, why, "eth0")
    assert told.warns
    assert cause(shape, kept) == "eth0: own frames come back"
    past = LaggPast().then(shape, shape, 0).then(shape, kept, 1)
    of_port = past.of_port(kept.at(0).link.ifindex)
    assert of_port is not None
    assert (of_port.times(Cause.LOOP), of_port.failures) == (1, 0)
    again = settled(kept, kept, 2 * NS + QUIET_NS)
    (told,) = news(kept, again)
    assert (told.details, told.warns) == ("let in again by loop_guard", False)
    assert cause(kept, again) == "eth0: own frames come no more"


# ---- how long ------------------------------------------------------------------------


def test_a_loop_that_is_there_again_is_left_alone_ever_longer_and_then_no_longer() -> (
    None
):
    loop, waits = Loop(0), []
    for _ in range(9):
        waits.append(loop.quiet_ns // NS)
        loop = loop.at(loop.over_at).seen(loop.over_at + NS)
    assert waits == [5, 10, 20, 40, 80, 160, 320, 320, 320]
    let_in = loop.at(loop.over_at)
    assert let_in.seen(loop.over_at + loop.quiet_ns).quiet_ns == QUIET_NS


@given(st.lists(st.integers(1, 1000 * NS), max_size=40))
def test_it_lets_go_when_all_was_quiet_and_not_before(gaps: list[int]) -> None:
    loop, now = Loop(0), 0
    for gap in gaps:
        now += gap
        assert loop.at(now).holds is (now < loop.over_at)
        loop = loop.at(now).seen(now)
        assert QUIET_NS <= loop.quiet_ns <= QUIET_NS_MAX
        assert loop.seen_at == now


# ---- whose frames they are -----------------------------------------------------------


@pytest.mark.parametrize("policy", MacPolicy)
def test_own_sources_are_the_lagg_s_mac_and_those_that_ports_keep(
    policy: MacPolicy,
) -> None:
    shape = replace(shape_of(mac_policy=policy), mac=LaggMac(MAC))
    homes = {port.home_mac for port in shape.ports}
    wanted = {MAC} | (homes if policy.keeps_own else set())
    assert plan(shape).own == wanted


@pytest.mark.parametrize("way", LinkLocal)
def test_what_is_for_one_cable_is_explained(way: LinkLocal) -> None:
    shape = shape_of(Proto.LOADBALANCE, link_local=way)
    for last in range(17):
        hashed = Hashed(0, target=f"01:80:c2:00:00:{last:02x}")
        found = explain("lagg0", shape, plan(shape), 1, hashed)
        stays = last < 16 and last != 2 and (way is LinkLocal.STAY or last == 1)
        if stays:
            assert (found.accepts, found.rx_drop) == ((), Drop.LINK_LOCAL)
        else:
            assert (len(found.accepts), found.rx_drop) == (3, Drop.NOT_ACCEPTED)


def test_what_such_a_frame_is_dropped_for_is_explained() -> None:
    shape = replace(shape_of(), mac=LaggMac(MAC))
    for source, wanted in ((MAC, Drop.OWN_SOURCE), ("02:00:5e:00:53:02", None)):
        hashed = Hashed(0, source=source)
        found = explain("lagg0", shape, plan(shape), 1, hashed)
        assert found.rx_refusal is wanted
