# SPDX-License-Identifier: BSD-2-Clause
"""Ill-mannered partners: what they send, what we do, and what we never do.

Their codes, H-10 to H-25 and L-I-1 to L-I-12, are in docs/GLOSSARY.md.
"""

from dataclasses import replace
from itertools import pairwise

import pytest

from lagg.lacp.pdu import Marker, decode, encode_lacpdu, encode_marker
from lagg.lacp.values import (
    Bad,
    Churn,
    MarkerUnanswered,
    Mux,
    Party,
    Periodic,
    PortId,
    Receive,
    Selected,
    State,
    System,
)
from tests.lacp.world import (
    GOOD,
    JOINED,
    LINK,
    MILLISECOND,
    SECOND,
    Peer,
    World,
    against_peer,
    port_mac,
    settings,
    system,
)


def bad(world: World, number: int = 1) -> dict[Bad, int]:
    counts = world.status("A", number).counts.bad
    return {reason: count for reason, count in counts if count}


def in_any_second(times: list[int]) -> int:
    """The most that fall into one second."""
    return max((sum(at <= t < at + SECOND for t in times) for at in times), default=0)


def events(world: World) -> list[str]:
    return [notice.event.value for notice in world.notices["A"]]


def flood(peer: Peer, count: int, every: int) -> None:
    """PDUs whose key is another one each time."""
    for _ in range(count):
        key = peer.world.now // MILLISECOND % 0xFFFF + 1
        actor = Party(system("Z"), key, PortId(0x8000, 1), JOINED)
        peer.say(1, peer.pdu(1, actor=actor))
        peer.world.run(every)


# ---- who speaks --------------------------------------------------------------------


def test_h9_our_own_mac_as_source_is_a_loop_and_counted() -> None:
    world, peer = against_peer()
    peer.give(1, encode_lacpdu(peer.pdu(1), port_mac("A", 1)))
    assert bad(world) == {Bad.OWN_SOURCE: 1}
    assert world.status("A", 1).reason == "loops back to this system"
    assert events(world) == ["loop-back"]


@pytest.mark.parametrize("number", [1, 2], ids=["H-10", "H-11"])
@pytest.mark.parametrize("strict", [True, False])
def test_h10_h11_a_port_that_hears_this_system_never_carries(
    number: int, strict: bool
) -> None:
    """H-10, H-11: two of our ports patched together, or a looped cable."""
    world = World()
    world.add("A", 2, settings("A", strict=strict, fallback_ns=5 * SECOND))
    world.join(("A", 1), ("A", 2))
    for _ in range(30):
        world.run(SECOND)
        assert world.distributing() == {"A": []}
        assert world.status("A", number).mux is Mux.DETACHED
    assert world.status("A", number).reason == "loops back to this system"
    assert "loop-back" in events(world)
    assert bad(world, number).keys() == {Bad.OWN_SYSTEM}


def test_a_loop_that_is_gone_is_forgotten_when_a_partner_speaks() -> None:
    world, peer = against_peer()
    peer.give(1, encode_lacpdu(peer.pdu(1), port_mac("A", 1)))
    peer.keep_up(1, seconds=4)
    assert world.distributing() == {"A": [1]}


def test_h12_of_two_ports_that_hear_one_partner_port_the_first_stays() -> None:
    world, peer = against_peer(ports=2)
    for _ in range(5):
        heard = peer.pdu(1)
        peer.say(1, heard)
        peer.say(2, heard)
        world.run(SECOND)
    assert world.distributing() == {"A": [1]}
    status = world.status("A", 2)
    assert status.selected is Selected.UNSELECTED
    assert status.reason == "duplicate partner port, as on port 1"
    assert "duplicate" in events(world)


def test_a_partner_that_was_moved_to_another_port_is_no_duplicate() -> None:
    """port_moved: the port that had it is down, and forgets it."""
    world, peer = against_peer(ports=2)
    peer.keep_up(1, seconds=4)
    engine = world.engines["A"]
    engine.set_medium(1, replace(LINK, up=False), world.now)
    for _ in range(4):
        peer.say(2, peer.pdu(1, partner=world.status("A", 2).actor))
        world.run(SECOND)
    assert world.distributing() == {"A": [2]}
    assert world.status("A", 1).partner.system.mac == "00:00:00:00:00:00"


@pytest.mark.parametrize(
    "actor",
    [
        Party(System(0x8000, "00:00:00:00:00:00"), 1, PortId(1, 1), JOINED),
        Party(system("Z"), 1, PortId(1, 0), JOINED),
    ],
    ids=["system 0", "port 0"],
)
def test_h13_an_actor_that_cannot_be_is_counted_and_never_joins(actor: Party) -> None:
    world, peer = against_peer()
    for _ in range(5):
        peer.say(1, peer.pdu(1, actor=actor))
        world.run(SECOND)
    assert world.distributing() == {"A": []}
    assert bad(world) == {Bad.PARTY: 5}


def test_h13_a_partner_with_key_0_is_alone_on_each_port() -> None:
    world, peer = against_peer(ports=2)
    for _ in range(5):
        for number in (1, 2):
            actor = Party(system("Z"), 0, PortId(0x8000, number), JOINED)
            peer.say(number, peer.pdu(number, actor=actor))
        world.run(SECOND)
    assert world.distributing() == {"A": [1]}
    assert [world.status("A", n).aggregator for n in (1, 2)] == [1, 2]


# ---- how much ----------------------------------------------------------------------


@pytest.mark.parametrize("every", [10 * MILLISECOND, 200 * MILLISECOND, SECOND])
def test_h14_a_partner_that_is_another_each_time_is_held_and_disturbs_nobody(
    every: int,
) -> None:
    world, peer = against_peer(ports=2)
    peer.keep_up(2, seconds=4)
    for _ in range(10):
        flood(peer, SECOND // every, every)
        peer.say(2, peer.pdu(2))
    assert world.distributing() == {"A": [2]}
    assert world.status("A", 2).counts.flaps == 0
    assert in_any_second(world.times("A", 1)) <= 3
    assert world.status("A", 1).reason == "held: the partner changes too often"
    assert world.status("A", 1).mux is Mux.DETACHED
    assert len([n for n in world.notices["A"] if n.number == 1]) <= 4 * 12


def test_h15_a_partner_that_never_means_us_never_joins_and_churn_is_told() -> None:
    world, peer = against_peer()
    stranger = Party(System(9, "02:00:5e:00:53:99"), 9, PortId(9, 9), JOINED)
    for _ in range(70):
        peer.say(1, peer.pdu(1, partner=stranger))
        world.run(SECOND)
        assert world.distributing() == {"A": []}
    assert in_any_second(world.times("A", 1)) <= 3
    assert world.status("A", 1).partner_churn is Churn.CHURN
    assert events(world).count("partner-churn") == 1
    assert world.status("A", 1).reason == "partner not in sync"


def test_h16_of_a_storm_of_pdus_the_newest_is_looked_at_within_300_ms() -> None:
    world, peer = against_peer(ports=2)
    peer.keep_up(1, 2, seconds=4)
    joined = peer.pdu(1)
    for _ in range(1000):
        peer.say(1, joined)
    peer.say(1, peer.pdu(1, GOOD))
    world.run(300 * MILLISECOND)
    assert world.distributing() == {"A": [2]}
    assert bad(world)[Bad.RATE] > 900
    assert in_any_second(world.times("A", 1)) <= 3


def test_h75_a_pdu_that_had_to_wait_is_not_fresh_after_a_suspend() -> None:
    """The simulation found it: the timeout counts from when the PDU came."""
    world, peer = against_peer()
    peer.keep_up(1, seconds=4)
    for _ in range(10):
        peer.say(1, peer.pdu(1))
    world.now += 600 * SECOND
    world.step()
    assert world.distributing() == {"A": []}
    assert world.status("A", 1).reason == "partner silent"


def test_h17_two_that_answer_each_pdu_make_no_storm() -> None:
    """H-17: the partner answers whatever it hears, at once and with another word."""
    world, peer = against_peer()
    for n in range(300):
        stale = replace(world.status("A", 1).actor, key=n)
        if len(world.sent["A", 1]) > n // 10:
            peer.say(1, peer.pdu(1, partner=stale))
        world.run(10 * MILLISECOND)
    assert in_any_second(world.times("A", 1)) <= 3


# ---- markers -----------------------------------------------------------------------

QUESTION = Marker(7, "02:00:5e:00:53:5a", 42)


def test_a_marker_is_answered_with_its_own_words_from_the_port_s_mac() -> None:
    world, peer = against_peer()
    peer.give(1, encode_marker(QUESTION, port_mac("Z", 1)))
    answer = world.sent["A", 1][-1][1]
    assert decode(answer) == replace(QUESTION, response=True)
    counts = world.status("A", 1).counts
    assert (counts.marker_rx, counts.marker_response_tx) == (1, 1)


def test_h18_a_flood_of_markers_is_answered_five_times_a_second() -> None:
    world, peer = against_peer()
    for _ in range(1000):
        peer.give(1, encode_marker(QUESTION, port_mac("Z", 1)))
        world.run(2 * MILLISECOND)
    answers = [at for at, frame in world.sent["A", 1] if decode(frame) == ANSWER]
    assert in_any_second(answers) == 5
    assert bad(world) == {Bad.RATE: 1000 - len(answers)}


ANSWER = replace(QUESTION, response=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"transaction": 99},
        {"system": "02:00:5e:00:53:99"},
        {"port": 2},
    ],
    ids=str,
)
def test_h19_a_response_that_answers_no_marker_of_ours_is_counted_and_not_answered(
    wrong: dict[str, object],
) -> None:
    world, peer = against_peer()
    transaction = world.engines["A"].send_marker(1, world.now)
    assert transaction is not None
    right = Marker(1, system("A").mac, transaction, response=True)
    sent = len(world.sent["A", 1])
    response = replace(right, **wrong)  # type: ignore[arg-type]
    peer.give(1, encode_marker(response, port_mac("Z", 1)))
    assert bad(world) == {Bad.MARKER: 1}
    assert world.answers == []
    assert len(world.sent["A", 1]) == sent + 1, "the marker, and no answer"


def test_h19_a_marker_is_answered_once_and_on_its_own_port() -> None:
    world, peer = against_peer(ports=2)
    transaction = world.engines["A"].send_marker(1, world.now)
    assert transaction is not None
    response = Marker(1, system("A").mac, transaction, response=True)
    for number in (2, 1, 1):
        peer.give(number, encode_marker(response, port_mac("Z", number)))
    assert [(a.number, a.transaction) for a in world.answers] == [(1, transaction)]
    assert bad(world, 1) == bad(world, 2) == {Bad.MARKER: 1}


def test_h21_a_marker_that_nobody_answers_is_given_up_after_a_second() -> None:
    world, _ = against_peer()
    transaction = world.engines["A"].send_marker(1, world.now)
    assert transaction is not None
    world.run(SECOND - 1)
    assert world.status("A", 1).counts.marker_unanswered == 0
    assert world.answers == []
    world.run(1)
    assert world.status("A", 1).counts.marker_unanswered == 1
    assert world.answers == [MarkerUnanswered(1, transaction)]


def test_no_more_markers_are_sent_than_two_a_second() -> None:
    world, _ = against_peer()
    asked = [world.engines["A"].send_marker(1, world.now) for _ in range(4)]
    assert [each is None for each in asked] == [False, False, True, True]
    world.run(SECOND)
    assert world.status("A", 1).counts.marker_unanswered == 2
    assert world.engines["A"].send_marker(1, world.now) is not None


# ---- when --------------------------------------------------------------------------


@pytest.mark.parametrize(("fast", "seconds"), [(True, 3), (False, 90)])
def test_h22_a_silent_partner_is_out_after_3_or_90_s_and_given_up_3_s_later(
    fast: bool, seconds: int
) -> None:
    world, peer = against_peer(fast=fast)
    peer.keep_up(1, seconds=4)
    peer.say(1, peer.pdu(1))
    world.run(seconds * SECOND - 1)
    assert world.distributing() == {"A": [1]}
    world.run(1)
    assert world.distributing() == {"A": []}
    assert world.status("A", 1).receive is Receive.EXPIRED
    assert world.status("A", 1).reason == "partner silent"
    assert world.status("A", 1).counts.lacpdu_late == 1
    world.run(3 * SECOND)
    assert world.status("A", 1).receive is Receive.DEFAULTED
    assert world.status("A", 1).reason == "no partner heard"


def test_a_partner_that_asks_for_more_retries_is_waited_for_so_long() -> None:
    """L-I-9: SONiC's way to survive the restart of a control plane."""
    world, peer = against_peer(fast=False)
    peer.keep_up(1, seconds=4)
    frame = bytearray(encode_lacpdu(peer.pdu(1), port_mac("Z", 1)))
    frame[15], frame[72:75] = 0xF1, bytes((0x80, 4, 5))
    peer.give(1, bytes(frame))
    world.run(150 * SECOND - 1)
    assert world.distributing() == {"A": [1]}
    world.run(1)
    assert world.distributing() == {"A": []}


@pytest.mark.parametrize(
    ("ours_fast", "partner_short", "pace"),
    [(True, True, 1), (True, False, 30), (False, True, 1), (False, False, 30)],
)
def test_h23_we_send_at_the_partner_s_pace_and_time_out_at_ours(
    ours_fast: bool, partner_short: bool, pace: int
) -> None:
    """H-23, L-I-1, L-I-2: within 10 %, and on the nanosecond here."""
    world, peer = against_peer(fast=ours_fast)
    state = JOINED if partner_short else JOINED & ~State.TIMEOUT
    for _ in range(100):
        peer.say(1, peer.pdu(1, state))
        world.run(SECOND)
    times = world.times("A", 1)[-3:]
    assert [b - a for a, b in pairwise(times)] == [pace * SECOND] * 2
    paces = {1: Periodic.FAST_PERIODIC, 30: Periodic.SLOW_PERIODIC}
    assert world.status("A", 1).periodic is paces[pace]


def test_a_partner_whose_timeout_becomes_long_hears_us_at_once() -> None:
    """Open vSwitch restarts its timer by a PDU alone: one 30 s later is too late."""
    world, peer = against_peer()
    for _ in range(5):
        peer.say(1, peer.pdu(1, JOINED))
        world.run(SECOND)
    before = len(world.times("A", 1))
    peer.say(1, peer.pdu(1, JOINED & ~State.TIMEOUT))
    world.run(SECOND)
    assert len(world.times("A", 1)) == before + 1
    assert world.status("A", 1).periodic is Periodic.SLOW_PERIODIC


def test_h24_a_pdu_before_the_carrier_is_ignored() -> None:
    world, peer = against_peer()
    engine = world.engines["A"]
    engine.set_medium(1, replace(LINK, up=False), world.now)
    peer.say(1, peer.pdu(1))
    assert bad(world) == {Bad.PORT_DOWN: 1}
    assert world.status("A", 1).receive is Receive.PORT_DISABLED
    peer.give(99, encode_lacpdu(peer.pdu(1), port_mac("Z", 1)))


@pytest.mark.parametrize("missing", [State.SYNC, State.COLLECTING])
def test_h25_a_partner_that_stops_collecting_is_sent_nothing_more(
    missing: State,
) -> None:
    world, peer = against_peer()
    peer.keep_up(1, seconds=4)
    peer.say(1, peer.pdu(1, JOINED & ~missing))
    status = world.status("A", 1)
    assert (status.distributing, status.collecting) == (False, missing != State.SYNC)
    assert status.counts.flaps == 1
    peer.say(1, peer.pdu(1))
    assert world.distributing() == {"A": [1]}


def test_l_i_7_a_partner_that_never_collects_needs_the_coupled_mux() -> None:
    for coupled, expected in ((False, []), (True, [1])):
        world, peer = against_peer(coupled=coupled)
        for _ in range(5):
            peer.say(1, peer.pdu(1, GOOD | State.SYNC))
            world.run(SECOND)
        assert world.distributing() == {"A": expected}


def test_h75_after_a_suspend_timers_run_out_once_and_nothing_is_made_up_for() -> None:
    world, peer = against_peer(ports=4)
    peer.keep_up(1, 2, 3, 4, seconds=4)
    world.carry()
    before = len(world.times("A", 1))
    world.now += 600 * SECOND
    world.step()
    assert len(world.times("A", 1)) - before <= 1
    world.run(SECOND)
    for number in (1, 2, 3, 4):
        assert in_any_second(world.times("A", number)) <= 3
        assert world.status("A", number).counts.lacpdu_late == 1


def test_passive_speaks_only_when_spoken_to() -> None:
    world, peer = against_peer(active=False)
    world.run(100 * SECOND)
    assert world.times("A", 1) == []
    peer.keep_up(1, seconds=4)
    assert world.distributing() == {"A": [1]}
    assert not world.pdus("A", 1)[-1].actor.state & State.ACTIVITY


def test_passive_goes_on_speaking_to_an_active_partner_that_was_lost() -> None:
    """Until the link goes down; else the partner's own 30 s would bring it back."""
    world, peer = against_peer(active=False)
    peer.keep_up(1, seconds=4)
    world.run(60 * SECOND)
    assert world.status("A", 1).receive is Receive.DEFAULTED
    assert world.now - world.times("A", 1)[-1] <= SECOND // 2
    engine = world.engines["A"]
    engine.set_medium(1, replace(LINK, up=False), world.now)
    engine.set_medium(1, LINK, world.now)
    sent = len(world.times("A", 1))
    world.run(60 * SECOND)
    assert len(world.times("A", 1)) == sent


def test_two_passive_ends_stay_silent() -> None:
    world = World.pair(1, settings("A", active=False), settings("B", active=False))
    world.run(100 * SECOND)
    assert world.sent == {}


def test_while_nobody_is_there_a_pdu_leaves_every_half_second() -> None:
    """Both of two ends that gave up are fast here, where the standard allows 30 s."""
    world, _ = against_peer()
    world.run(20 * SECOND)
    times = world.times("A", 1)[-3:]
    assert [b - a for a, b in pairwise(times)] == [SECOND // 2] * 2


def test_h7_h8_a_frame_that_is_no_lacpdu_is_counted_and_changes_nothing() -> None:
    world, peer = against_peer()
    before = world.status("A", 1)
    peer.give(1, b"\x02" * 60)
    peer.give(1, b"")
    after = world.status("A", 1)
    assert replace(after, counts=before.counts) == before
    assert bad(world) == {Bad.RUNT: 1, Bad.ETHERTYPE: 1}
