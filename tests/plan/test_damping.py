# SPDX-License-Identifier: BSD-2-Clause
"""A port that flaps, on an integer clock: what it may do, and when it is back."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.events import EventKind
from lagg.lacp.values import NS, NS_OF_MS
from lagg.model import Agreement, Proto
from lagg.plan import damping, delays, election, gate
from lagg.plan.changes import cause, news
from lagg.plan.damping import due_at
from lagg.plan.explain import Hashed, explain
from lagg.plan.penalty import HALF_LIFE_NS, PENALTY_MAX, REUSE, SUPPRESS, Penalty
from lagg.plan.plan import Plan, plan, standings
from lagg.plan.shape import Shape
from lagg.watches import LinkWatch, Verdict, Watched, WatchKind, WatchState
from tests.plan.test_delays import with_carrier
from tests.plan.test_election import SPREADS, shape_of

Change = tuple[int, int, bool]
"""At so many milliseconds the link of this port comes, or goes."""

DAMPED = [Proto.FAILOVER, *SPREADS]


def settled(before: Shape, after: Shape, now: int) -> Shape:
    waiting = delays.settled(before, gate.settled(after, now), now)
    return election.settled(before, damping.settled(before, waiting, now))


def steps(shape: Shape, changes: Iterable[Change]) -> list[tuple[int, Shape]]:
    """Every settled shape with its time in nanoseconds, what is due by itself too."""
    found = [(0, shape)]
    for at_ms, slot, up in changes:
        now = at_ms * NS_OF_MS
        found += _due(found[-1][1], now)
        before = found[-1][1]
        found.append((now, settled(before, with_carrier(before, slot, up=up), now)))
    return found + _due(found[-1][1], None)


def _due(shape: Shape, until: int | None) -> list[tuple[int, Shape]]:
    found = []
    while (due := due_at(shape)) is not None and (until is None or due <= until):
        shape = settled(shape, shape, due)
        found.append((due, shape))
    return found


def publications(found: Sequence[tuple[int, Shape]]) -> list[int]:
    """When the plan was another."""
    plans: list[tuple[int, Plan]] = [(at, plan(shape)) for at, shape in found]
    return [at for (_, was), (at, now) in pairwise(plans) if was != now]


def flaps(slot: int, times: int, *, every_ms: int, since_ms: int = 0) -> list[Change]:
    """A link that goes and comes, each for half of the time."""
    return [
        (since_ms + half * every_ms // 2, slot, half % 2 == 1)
        for half in range(2 * times)
    ]


@pytest.mark.parametrize("proto", DAMPED)
def test_a_port_that_flaps_is_used_no_more_from_its_third_loss_on(proto: Proto) -> None:
    found = steps(shape_of(proto, damping=True), flaps(0, 1000, every_ms=10))
    quiet_ms, last_ms = 19_995, 9990
    expected = [0, 5, 10, 15, 20, last_ms + quiet_ms]
    assert [at // NS_OF_MS for at in publications(found)] == expected


def test_what_is_lost_more_rarely_is_not_kept_out() -> None:
    found = steps(shape_of(damping=True), flaps(0, 50, every_ms=5000))
    assert not any(shape.at(0).damped for _, shape in found)


def test_it_is_off_unless_asked_for_and_ends_at_once_when_it_is_switched_off() -> None:
    changes = flaps(0, 5, every_ms=10)
    assert len(publications(steps(shape_of(), changes))) == len(changes)
    kept = _kept_out(shape_of(damping=True))
    off = settled(kept, replace(kept, options=shape_of().options), 50 * NS_OF_MS)
    assert (off.at(0).penalty, off.at(0).usable) == (None, True)


def _kept_out(shape: Shape, slot: int = 0) -> Shape:
    found = steps(shape, flaps(slot, 3, every_ms=10))
    at, kept = next((at, each) for at, each in found[::-1] if each.at(slot).damped)
    assert (at, kept.at(slot).link.active) == (25 * NS_OF_MS, True)
    return kept


def test_who_is_kept_out_says_so() -> None:
    kept = _kept_out(shape_of(damping=True))
    why = "kept out until it is steady: it was lost too often"
    assert standings(kept)[0].reason == why
    assert election.why(kept) == "the primary, eth0, is not in use; this port stands in"
    lost = with_carrier(kept, 0, up=False)
    assert [*news(kept, lost)] == []
    due = due_at(kept)
    assert due is not None
    again = settled(lost, lost, due)
    (told,) = news(lost, again)
    assert told.event is EventKind.PORT_DAMPING
    assert told.details == "let in again, and its link is down"
    assert cause(lost, again) == "eth0 let in again"


def test_what_somebody_sets_down_is_not_lost() -> None:
    shape, changes = shape_of(damping=True), flaps(0, 10, every_ms=10)
    for at_ms, slot, up in changes:
        after = with_carrier(shape, slot, up=up)
        link = replace(after.at(slot).link, up=up)
        after = after.with_link(link, after.at(slot).modes)
        shape = settled(shape, after, at_ms * NS_OF_MS)
    assert shape.at(0).penalty is None


def test_a_link_that_is_back_before_it_is_left_was_not_lost() -> None:
    shape = shape_of(damping=True, down_delay_ms=50)
    found = steps(shape, flaps(0, 100, every_ms=20))
    assert publications(found) == []
    assert found[-1][1].at(0).penalty is None


# ---- the last one --------------------------------------------------------------------


@pytest.mark.parametrize("proto", DAMPED)
def test_the_last_that_could_carry_is_never_kept_out(proto: Proto) -> None:
    found = steps(shape_of(proto, ports=1, damping=True), flaps(0, 100, every_ms=10))
    assert not any(shape.at(0).damped for _, shape in found)
    assert found[-1][1].at(0).penalty == Penalty(PENALTY_MAX, 990 * NS_OF_MS)


@pytest.mark.parametrize("proto", DAMPED)
def test_who_is_kept_out_carries_when_the_others_are_lost(proto: Proto) -> None:
    kept = _kept_out(shape_of(proto, ports=2, damping=True))
    assert {*plan(kept).tx_slots} == {1}
    said = explain("lagg0", kept, plan(kept), 1, Hashed(0))
    assert dict(said.without)["eth1"].ports == ("eth0",)
    alone = settled(kept, with_carrier(kept, 1, up=False), 30 * NS_OF_MS)
    assert {*plan(alone).tx_slots} == {0}
    again = settled(alone, with_carrier(alone, 1, up=True), 40 * NS_OF_MS)
    assert 0 in {port.slot for port in again.ports if port.usable}


def test_of_two_that_are_kept_out_the_steadier_one_is_let_in() -> None:
    shape = _kept_out(shape_of(damping=True))
    changes = flaps(1, 4, every_ms=10, since_ms=100)
    shape = next(s for at, s in steps(shape, changes)[::-1] if at == 135 * NS_OF_MS)
    assert [port.damped for port in shape.ports] == [True, True, False]
    last = settled(shape, with_carrier(shape, 2, up=False), 200 * NS_OF_MS)
    assert [port.damped for port in last.ports] == [False, True, False]


def test_min_links_count_as_what_is_needed() -> None:
    shape = shape_of(Proto.LOADBALANCE, min_links=3, damping=True)
    found = steps(shape, flaps(0, 10, every_ms=10))
    assert not any(each.at(0).damped for _, each in found)


def test_with_lacp_it_is_the_last_that_distributes() -> None:
    agreed = {slot: Agreement(True, True, True) for slot in range(3)}
    kept = _kept_out(shape_of(Proto.LACP, damping=True).with_agreements(agreed))
    assert {*plan(kept).tx_slots} == {1, 2}
    gone = kept.with_agreements({0: Agreement(True, True, False)})
    assert not settled(kept, gone, 30 * NS_OF_MS).at(0).damped


# ---- the numbers ---------------------------------------------------------------------

TIMES = st.lists(st.integers(1, 60 * NS), min_size=1, max_size=40)


@given(TIMES)
def test_a_penalty_is_the_same_however_often_it_is_looked_at(gaps: list[int]) -> None:
    penalty, now = Penalty(), 0
    for gap in gaps:
        seen = [penalty.now(now + gap * part // 4) for part in range(5)]
        assert seen == sorted(seen, reverse=True)
        now += gap
        penalty = penalty.at(now).after_loss(now)
        assert 1000 <= penalty.at_loss <= PENALTY_MAX


@given(st.integers(SUPPRESS, PENALTY_MAX), st.integers(0, 10**18))
def test_it_lets_go_when_it_is_down_at_reuse_and_not_before(at: int, lost: int) -> None:
    penalty = Penalty(at, lost, suppresses=True)
    end = penalty.reuse_at
    assert penalty.now(end) <= REUSE < penalty.now(end - 1)
    assert penalty.at(end - 1).suppresses
    assert not penalty.at(end).suppresses
    assert end - lost <= 4 * HALF_LIFE_NS


def test_it_halves_in_a_half_life_and_is_near_the_curve_between() -> None:
    penalty = Penalty(PENALTY_MAX)
    for tenths in range(80):
        now = tenths * HALF_LIFE_NS // 10
        curve = PENALTY_MAX * 0.5 ** (tenths / 10)
        assert curve - 1 <= penalty.now(now) <= curve * 1.062 + 1


@given(
    st.lists(
        st.tuples(st.integers(0, 5000), st.integers(0, 3), st.booleans()), max_size=60
    )
)
def test_one_port_makes_a_few_publications_in_any_five_seconds(
    made: list[tuple[int, int, bool]],
) -> None:
    """Whatever its link does: three losses, and what follows each."""
    changes, now_ms = [], 0
    for gap_ms, _, up in made:
        now_ms += gap_ms
        changes.append((now_ms, 0, up))
    found = publications(steps(shape_of(damping=True), changes))
    for first in found:
        assert sum(first <= at < first + 5 * NS for at in found) <= 6


def test_a_path_that_a_watch_finds_dead_is_a_loss_as_well() -> None:
    shape = shape_of(damping=True)
    watch = LinkWatch(WatchKind.ARP, ("192.0.2.1",))
    for at in range(6):
        state = WatchState.UP if at % 2 else WatchState.DOWN
        said = Watched((Verdict(watch, state, "no reply"),))
        first = replace(shape.at(0), watched=said)
        after = replace(shape, ports=(first, *shape.ports[1:]))
        shape = settled(shape, after, at * NS_OF_MS)
    assert shape.at(0).damped
    assert election.elected(shape) == 1
