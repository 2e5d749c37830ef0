# SPDX-License-Identifier: BSD-2-Clause
"""Two BFD sessions and the path between them, on an integer clock."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lagg.lacp.lease import Lease
from lagg.watchers.bfd_packet import (
    ControlPacket,
    Diagnostic,
    Envelope,
    SessionState,
)
from lagg.watchers.bfd_session import GRID_NS, HASTE_NS, SLOW_NS, Session, Wants
from lagg.watches import WatchState
from tests.watchers.bfd_world import DELAY, MS, SECOND, World, opened, watch, whole

ADMIN_DOWN, DOWN, INIT, UP = SessionState
WITHIN = 5 * SECOND
"""Longer than two sessions need to find each other."""

PARTNER = 77
HEARD = ControlPacket(UP, Diagnostic.NONE, 3, PARTNER, 7, 100_000, 100_000)


def up_world(**asked: object) -> World:
    """Both ends up, their first Polls answered."""
    world = World().pair(**asked)  # type: ignore[arg-type]
    world.run_until(lambda: world.are(WatchState.UP), WITHIN)
    return world.run(SECOND)


def opened_last(world: World, name: str) -> ControlPacket:
    """What this end said last."""
    return world.sent[name][-1][1]


def sealed(packet: ControlPacket) -> bytes:
    return Envelope.open_vswitch(bytes(6), 1).seal(packet)


def sent_since(world: World, name: str, at: int) -> list[tuple[int, ControlPacket]]:
    return [each for each in world.sent[name] if each[0] >= at]


def cut(*senders: str):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """A path that loses what these ends send."""
    return lambda name, frame: [] if name in senders else whole(name, frame)


# ---- up ----------------------------------------------------------------------------


def test_two_ends_find_each_other_and_stay() -> None:
    world = up_world().run(60 * SECOND)
    for name in "ab":
        assert [state for _, state in world.states[name]] == [
            WatchState.DOWN,
            WatchState.UP,
        ]
        assert world.machines[name].reason == "the session is up"
        assert not world.machines[name].bad


def test_a_session_that_is_not_up_says_at_most_one_packet_a_second_unasked() -> None:
    world = World()
    world.add("a")
    world.run(60 * SECOND)
    packets = world.sent["a"]
    assert all(packet.desired_min_tx_us == 1_000_000 for _, packet in packets)
    gaps = [later - sooner for (sooner, _), (later, _) in pairwise(packets)]
    assert all(SLOW_NS * 3 // 4 <= gap <= SLOW_NS for gap in gaps)


@pytest.mark.parametrize(
    ("missed_max", "least", "most"), [(3, 75 * MS, 100 * MS), (1, 75 * MS, 90 * MS)]
)
def test_the_pace_is_75_to_100_percent_and_with_one_to_miss_to_90(
    missed_max: int, least: int, most: int
) -> None:
    world = up_world(a=watch(missed_max=missed_max), b=watch(missed_max=missed_max))
    began = world.now
    sent = sent_since(world.run(60 * SECOND), "a", began)
    gaps = {later - sooner for (sooner, _), (later, _) in pairwise(sent)}
    assert least <= min(gaps) <= max(gaps) <= most
    assert len(gaps) >= 2  # jitter, not a beat


@given(
    mine=st.integers(10, 3000),
    theirs=st.integers(10, 3000),
)
@settings(max_examples=40, deadline=None)
def test_each_sends_at_the_slower_of_its_wish_and_the_other_s_ability(
    mine: int, theirs: int
) -> None:
    world = up_world(a=watch(mine), b=watch(theirs))
    began = world.now
    pace = max(mine, theirs) * MS
    world.run(20 * pace)
    for name in "ab":
        sent = sent_since(world, name, began)
        gaps = [later - sooner for (sooner, _), (later, _) in pairwise(sent)]
        assert gaps
        assert all(pace * 3 // 4 <= gap <= pace for gap in gaps)
    assert world.are(WatchState.UP)


def test_many_sessions_are_due_at_the_same_instants() -> None:
    sessions = [Session(Wants(100 * MS, 3), number) for number in range(1, 51)]
    for number, session in enumerate(sessions):
        session.begin(0)
        heard = replace(HEARD, state=INIT, your_discriminator=number + 1)
        session.receive(heard, 0)
        session.receive(replace(heard, state=UP, final=True), 0)
    instants = set()
    for session in sessions:
        at = 0
        while at < 10 * SECOND:
            session.heard_again(at)
            session.tick(at)
            due = session.due_at()
            assert due is not None
            at = due
            instants.add(at)
    assert len(instants) <= 1.1 * (10 * SECOND // GRID_NS)


# ---- down --------------------------------------------------------------------------


@pytest.mark.parametrize("senders", ["a", "b", "ab"])
def test_a_path_that_is_cut_is_left_by_both_within_the_time(senders: str) -> None:
    world = up_world()
    world.path = cut(*senders)
    took = world.run_until(lambda: world.are(WatchState.DOWN), SECOND)
    assert took <= 300 * MS + 3 * DELAY
    heard_nothing = {"a": "b", "b": "a"}[senders[0]]
    assert "no packet of the partner for 300 ms" in (
        world.machines[heard_nothing].reason
    )
    world.run(10 * SECOND)
    assert world.are(WatchState.DOWN)
    reasons = {name: machine.reason for name, machine in world.machines.items()}
    if senders == "ab":
        assert set(reasons.values()) == {"no packet of the partner for 300 ms"}
    else:
        assert reasons[senders] == "the partner says down: it hears nothing of us"


def test_a_path_that_heals_is_used_again() -> None:
    world = up_world()
    world.path = cut("a")
    world.run_until(lambda: world.are(WatchState.DOWN), SECOND)
    world.path = whole
    world.run_until(lambda: world.are(WatchState.UP), WITHIN)


def test_nobody_is_given_up_before_the_time() -> None:
    world = up_world()
    world.path = cut("b")
    lost_at = world.now
    last = max(at for at, _ in world.sent["b"] if at < lost_at) + DELAY
    world.run_until(lambda: world.machines["a"].state is WatchState.DOWN, SECOND)
    assert world.now == last + 300 * MS


def test_two_of_three_packets_may_be_lost() -> None:
    world = up_world()
    counts = {"a": 0, "b": 0}

    def one_of_three(name: str, frame: bytes) -> list[int]:
        counts[name] += 1
        return [] if counts[name] % 3 else whole(name, frame)

    world.path = one_of_three
    assert world.run(30 * SECOND).are(WatchState.UP)
    assert all(len(states) == 2 for states in world.states.values())


def test_a_lost_carrier_is_told_at_once_and_its_return_proves_nothing() -> None:
    world = up_world()
    a = world.machines["a"]
    a.link(False, world.now)
    assert (a.state, a.reason, a.due_at()) == (WatchState.DOWN, "carrier down", None)
    world.run(SECOND)
    a.link(True, world.now)
    assert a.state is WatchState.DOWN
    world.run_until(lambda: world.are(WatchState.UP), WITHIN)


def test_a_port_that_carried_has_the_time_that_a_session_needs() -> None:
    world = World()
    a = world.add("a", state=WatchState.INIT)
    world.run(3 * SECOND - 1)
    assert (a.state, a.reason) == (WatchState.INIT, "no packet of the partner yet")
    world.run(1)
    assert a.state is WatchState.DOWN
    assert a.due_at() is not None
    world.add("b")
    world.run_until(lambda: world.are(WatchState.UP), WITHIN)


# ---- by hand (RFC 5882, 4.2) -------------------------------------------------------


def by_hand(world: World) -> World:
    """The end "b" is taken down by hand, and gone."""
    b = world.machines.pop("b")
    (frame,) = b.end(world.now)
    world.deliver("a", frame)
    return world


def test_a_partner_that_ends_by_hand_says_nothing_of_the_path() -> None:
    world = by_hand(up_world()).run(60 * SECOND)
    a = world.machines["a"]
    assert a.state is WatchState.UP
    assert a.reason == "the partner has ended its session by hand"
    assert world.sent["a"][-1][1].state is DOWN
    assert world.sent["a"][-1][1].diagnostic is Diagnostic.NEIGHBOUR_DOWN


def test_a_partner_that_returns_by_hand_has_a_while() -> None:
    world = by_hand(up_world()).run(10 * SECOND)
    world.add("b")
    world.run_until(lambda: world.are(WatchState.UP), WITHIN)
    assert [state for _, state in world.states["a"]] == [WatchState.DOWN, WatchState.UP]


def test_a_partner_that_begins_anew_and_is_not_heard_is_left() -> None:
    world = by_hand(up_world()).run(10 * SECOND)
    world.add("b")
    world.path = cut("a")
    assert world.run(4 * SECOND).machines["a"].state is WatchState.DOWN


def test_who_was_taken_down_by_hand_hears_nobody() -> None:
    world = up_world()
    a = world.machines["a"]
    (frame,) = a.end(world.now)
    packet = Envelope.open_vswitch(bytes(6), 1).open(frame)
    assert isinstance(packet, ControlPacket)
    assert (packet.state, packet.diagnostic) == (ADMIN_DOWN, Diagnostic.ADMIN_DOWN)
    assert a.due_at() is None
    world.run(SECOND)
    assert a.due_at() is None
    assert a.bad["admin-down"] > 0


# ---- Poll and Final (6.5) ----------------------------------------------------------


def test_a_poll_is_answered_at_once_and_ends_with_its_final() -> None:
    world = up_world()
    polls = {
        name: [at for at, packet in sent if packet.poll]
        for name, sent in world.sent.items()
    }
    finals = {
        name: [at for at, packet in sent if packet.final]
        for name, sent in world.sent.items()
    }
    assert polls["a"]
    assert polls["b"]
    assert finals["a"] == [at + DELAY for at in polls["b"]]
    assert finals["b"] == [at + DELAY for at in polls["a"]]
    both = [packet for packet in world.sent["a"] if packet[1].poll and packet[1].final]
    assert both == []


@pytest.mark.parametrize("to_ms", [10, 50, 300, 2000])
def test_an_interval_changes_without_a_loss_and_by_a_poll(to_ms: int) -> None:
    world = up_world()
    world.machines["a"].change(watch(to_ms, 3), world.now)
    began = world.now
    world.run(10 * SECOND)
    assert all(len(states) == 2 for states in world.states.values())
    assert any(packet.poll for _, packet in sent_since(world, "a", began))
    assert not world.sent["a"][-1][1].poll
    pace = max(to_ms, 100) * MS
    for name in "ab":
        sent = sent_since(world, name, world.now - 5 * SECOND)
        gaps = [later - sooner for (sooner, _), (later, _) in pairwise(sent)]
        assert all(pace * 3 // 4 <= gap <= pace for gap in gaps)


def test_a_slower_pace_waits_for_the_final() -> None:
    world = up_world()
    world.path = cut("b")
    world.machines["a"].change(watch(2000, 3), world.now)
    began = world.now
    world.run(290 * MS)  # no Final comes
    gaps = [b - a for (a, _), (b, _) in pairwise(sent_since(world, "a", began))]
    assert gaps
    assert all(gap <= 100 * MS for gap in gaps)


def session_up(wants: Wants) -> Session:
    """Up, its Poll answered, at 0."""
    session = Session(wants, 7)
    session.begin(0)
    session.receive(replace(HEARD, state=INIT), 0)
    session.receive(replace(HEARD, final=True), 0)
    session.tick(0)
    return session


def test_a_shorter_ear_waits_for_the_final() -> None:
    session = session_up(Wants(300 * MS, 3))
    session.change(Wants(100 * MS, 3), 0)
    session.receive(HEARD, 0)
    assert session.silence_ns == 900 * MS
    session.receive(replace(HEARD, final=True), 0)
    assert session.silence_ns == 300 * MS


def test_a_change_while_it_polls_is_polled_for_again() -> None:
    session = session_up(Wants(100 * MS, 3))
    session.change(Wants(200 * MS, 3), 0)
    session.change(Wants(400 * MS, 3), 0)
    session.receive(replace(HEARD, final=True), 0)
    packet = session.tick(HASTE_NS)
    assert packet is not None
    assert packet.poll
    session.receive(replace(HEARD, final=True), 0)
    packet = session.tick(SECOND)
    assert packet is not None
    assert not packet.poll


@pytest.mark.parametrize("silent", ["required_min_rx_us", "demand"])
def test_who_wants_no_packets_gets_none_but_an_answer(silent: str) -> None:
    session = session_up(Wants(100 * MS, 3))
    value = {"required_min_rx_us": 0, "demand": True}[silent]
    heard = replace(HEARD, **{silent: value})  # type: ignore[arg-type]
    session.receive(heard, 0)
    assert session.tick(200 * MS) is None
    answer = session.receive(replace(heard, poll=True), 200 * MS)
    assert isinstance(answer, ControlPacket)
    assert (answer.final, answer.poll) == (True, False)
    session.receive(HEARD, 250 * MS)
    assert session.tick(400 * MS) is not None


# ---- one process after the other ---------------------------------------------------


@pytest.mark.parametrize("away_ms", [0, 50, 95])
def test_a_successor_goes_on_and_the_partner_notices_nothing(away_ms: int) -> None:
    world = up_world()
    del world.machines["a"]
    world.run(away_ms * MS)
    world.add("a", state=WatchState.UP)
    world.run(10 * SECOND)
    assert [state for _, state in world.states["b"]] == [WatchState.DOWN, WatchState.UP]
    assert world.are(WatchState.UP)


def test_a_successor_that_knows_the_partner_speaks_at_once_and_waits_as_long() -> None:
    world = up_world(b=watch(1000))
    memory = world.machines.pop("a").memory
    a = world.add("a", state=WatchState.UP, memory=memory)
    assert a.due_at() == world.now
    assert len(a.tick(world.now)) == 1
    assert a.memory == memory
    del world.machines["b"]
    world.run(2900 * MS)
    assert a.state is WatchState.UP, "the partner may be silent for 3 x 1000 ms"
    world.run(200 * MS)
    assert (a.state, a.memory) == (WatchState.DOWN, "")


@given(st.binary(max_size=64))
def test_what_is_remembered_may_be_anything(memory: bytes) -> None:
    world = World()
    world.add("a", state=WatchState.UP, memory=memory.hex())
    world.run(SECOND)


def test_a_lease_keeps_the_partner_up_and_there_is_none_of_what_is_down() -> None:
    world = World().pair()
    a = world.machines["a"]
    world.run_until(lambda: world.are(WatchState.UP), WITHIN)
    world.run(SECOND)
    lease = a.lease
    assert lease is not None
    assert lease.period_ms == 100
    said = opened(lease.frame)
    assert (said.state, said.poll) == (UP, False)
    del world.machines["a"]
    for _ in range(100):
        world.deliver("b", lease.frame)
        world.run(100 * MS)
    assert world.machines["b"].state is WatchState.UP
    assert [state for _, state in world.states["b"]] == [WatchState.DOWN, WatchState.UP]
    del world.machines["b"]
    a.tick(world.now)
    assert a.state is WatchState.DOWN
    assert a.lease == Lease()


def test_a_successor_leaves_the_lease_as_it_is_until_it_speaks() -> None:
    a = World().add("a", state=WatchState.UP)
    assert a.lease is None
    a.link(False, 0)
    assert a.lease == Lease()


def test_with_a_multiplier_of_one_the_lease_is_90_percent_of_the_pace() -> None:
    world = up_world(a=watch(missed_max=1))
    lease = world.machines["a"].lease
    assert lease is not None
    assert lease.period_ms == 90


def test_a_successor_whose_partner_is_gone_says_so() -> None:
    world = up_world()
    del world.machines["a"], world.machines["b"]
    a = world.add("a", state=WatchState.UP)
    world.run(300 * MS)
    assert a.state is WatchState.DOWN
    assert a.reason == "no packet of the partner for 300 ms"


# ---- what may come -----------------------------------------------------------------


def test_a_storm_is_answered_by_none() -> None:
    world = up_world()
    began = world.now
    packet = replace(opened_last(world, "b"), poll=True)
    for number in range(1000):
        state = (DOWN, UP)[number % 2]
        world.now += MS // 10
        world.deliver("a", sealed(replace(packet, state=state)))
    world.run(100 * MS)
    sent = sent_since(world, "a", began)
    assert len([each for _, each in sent if each.final]) <= 100 * MS // HASTE_NS + 1
    assert len(sent) <= 3 * (100 * MS // HASTE_NS)


def test_a_packet_for_another_session_is_counted_and_changes_nothing() -> None:
    world = up_world()
    a = world.machines["a"]
    strange = replace(HEARD, state=DOWN, your_discriminator=12345)
    due_at = a.due_at()
    world.deliver("a", sealed(strange))
    assert (a.state, a.due_at()) == (WatchState.UP, due_at)
    assert a.bad == {"discriminator": 1}


def test_a_frame_of_anybody_s_is_for_another_watch() -> None:
    a = World().add("a")
    assert a.heard(b"\xff" * 60, 0) == []
    assert a.bad == {}


@given(seed=st.integers(0, 2**32), copies_max=st.integers(1, 3), late=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_whatever_was_lost_late_or_doubled_both_agree_in_the_end(
    seed: int, copies_max: int, late: int
) -> None:
    world = World().pair()
    rng = Random(seed)
    seconds = rng.randint(1, 20)
    world.path = lambda _, __: [
        rng.randint(0, late * 500 * MS) for _ in range(rng.randint(0, copies_max))
    ]
    world.run(seconds * SECOND)
    world.path = whole
    world.in_flight.clear()
    world.run_until(lambda: world.are(WatchState.UP), WITHIN)
    assert world.run(10 * SECOND).are(WatchState.UP)


@given(
    asked=st.tuples(st.integers(10, 2000), st.integers(1, 5)),
    theirs=st.tuples(st.integers(10, 2000), st.integers(1, 5)),
    after_ms=st.integers(0, 3000),
)
@settings(max_examples=60, deadline=None)
def test_whatever_both_want_a_cut_is_noticed_in_the_time_that_they_agreed_on(
    asked: tuple[int, int], theirs: tuple[int, int], after_ms: int
) -> None:
    world = up_world(a=watch(*asked), b=watch(*theirs)).run(after_ms * MS)
    pace = max(asked[0], theirs[0]) * MS
    world.path = cut("a", "b")
    began = world.now
    world.run_until(lambda: world.machines["a"].state is WatchState.DOWN, 60 * SECOND)
    assert (theirs[1] - 1) * pace <= world.now - began <= theirs[1] * pace + DELAY
