# SPDX-License-Identifier: BSD-2-Clause
"""What a user sets, live: what need not flap does not, and the rest renegotiates."""

from dataclasses import replace

import pytest

from lagg.lacp.values import AdSelect, Mux, State, System
from tests.lacp.world import LINK, SECOND, World, against_peer, settings

BOTH = {"A": [1, 2], "B": [1, 2]}


def joined(**words: object) -> World:
    """Two ports at work between A and B."""
    world = World.pair(2, settings("A", **words))
    world.run(5 * SECOND)
    assert world.distributing() == BOTH
    return world


HARMLESS: list[dict[str, object]] = [
    {"fast": False},
    {"active": False},
    {"coupled": True},
    {"strict": False},
    {"ad_select": AdSelect.BANDWIDTH},
    {"max_ports": 2},
    {"min_links": 2},
    {"fallback_ns": SECOND},
]


@pytest.mark.parametrize("change", HARMLESS, ids=str)
def test_a_change_that_need_not_flap_does_not(change: dict[str, object]) -> None:
    world = joined()
    before = {name: getattr(settings("A"), name) for name in change}
    for words in (change, before):
        world.set("A", **words)
        for _ in range(100):
            world.run(SECOND)
            assert world.distributing() == BOTH
    assert [world.engines[name].view().flapping for name in "AB"] == [0, 0]


def test_the_timeout_bit_and_the_partner_s_pace_follow_a_live_change() -> None:
    world = joined()
    for fast, pace in ((False, 30), (True, 1)):
        world.set("A", fast=fast)
        assert (State.TIMEOUT in world.pdus("A", 1)[-1].actor.state) is fast
        world.run(70 * SECOND)
        last, previous = world.times("B", 1)[-1], world.times("B", 1)[-2]
        assert last - previous == pace * SECOND


def test_going_fast_does_not_flap_when_the_pdus_that_tell_it_are_lost() -> None:
    world = World.pair(2, settings("A", fast=False), settings("B", fast=False))
    world.run(5 * SECOND)
    world.silence(1, "A")
    world.set("A", fast=True)
    world.run(60 * SECOND)
    world.repair(1)
    world.run(100 * SECOND)
    assert world.distributing() == BOTH
    assert [world.engines[name].view().flapping for name in "AB"] == [0, 0]


def test_txtest_and_rxtest_cost_nothing_within_the_timeout() -> None:
    """As debugging in lagg(4): PDUs are dropped, the rest goes on."""
    world = joined()
    for name in ("txtest", "rxtest"):
        world.set("A", **{name: True})
        world.run(SECOND + SECOND // 2)
        world.set("A", **{name: False})
        world.run(2 * SECOND)
    assert [world.engines[name].view().flapping for name in "AB"] == [0, 0]


def test_with_txtest_the_partner_gives_up_and_with_rxtest_we_do() -> None:
    world = joined()
    world.set("A", txtest=True)
    sent = len(world.sent["A", 1])
    world.run(10 * SECOND)
    assert world.distributing() == {"A": [], "B": []}
    assert len(world.sent["A", 1]) == sent
    world = joined()
    world.set("A", rxtest=True)
    world.run(10 * SECOND)
    assert world.distributing() == {"A": [], "B": []}
    assert world.status("A", 1).reason == "no partner heard: lacp_rxtest ignores it"


@pytest.mark.parametrize(
    "change",
    [
        {"key": 77},
        {"system": System(1, "02:00:5e:00:53:41")},
        {"system": System(0x8000, "02:00:5e:00:53:77")},
        {"port_offset": 32},
    ],
    ids=str,
)
def test_a_new_identity_renegotiates_and_is_seen_by_the_partner(
    change: dict[str, object],
) -> None:
    world = joined()
    world.set("A", **change)
    assert world.distributing()["A"] == []
    world.run(4 * SECOND)
    assert world.distributing() == BOTH
    actor = world.status("A", 1).actor
    assert world.status("B", 1).partner.key == actor.key
    assert world.status("B", 1).partner.system == actor.system
    assert world.status("B", 1).partner.port == actor.port


def test_a_new_port_priority_renegotiates_that_port_alone() -> None:
    world = joined()
    world.engines["A"].set_priority(2, 7, world.now)
    world.run(4 * SECOND)
    assert world.distributing() == BOTH
    assert world.status("B", 2).partner.port.priority == 7
    assert world.status("A", 1).counts.flaps == 0


def test_setting_what_is_set_already_sends_nothing() -> None:
    world = joined()
    world.run(SECOND // 4)
    sent = {end: len(frames) for end, frames in world.sent.items()}
    world.set("A")
    world.engines["A"].set_priority(1, 0x8000, world.now)
    world.engines["A"].set_medium(1, LINK, world.now)
    world.carry()
    assert {end: len(frames) for end, frames in world.sent.items()} == sent


def test_the_key_tells_speeds_and_laggs_apart_and_forgets_no_known_speed() -> None:
    """H-63: unknown speeds share a key; carrier loss, which hides it, changes none."""
    world, _ = against_peer(ports=3)
    engine = world.engines["A"]
    engine.set_medium(1, replace(LINK, speed_mbps=1000), world.now)
    engine.set_medium(2, replace(LINK, up=False, speed_mbps=0), world.now)
    keys = [port.actor.key for port in engine.view().ports]
    assert keys[1] == keys[2] != keys[0]
    assert 0 not in keys
    world.set("A", key=9)
    assert {port.actor.key for port in engine.view().ports} == {9}


def test_half_duplex_runs_no_lacp_and_says_so() -> None:
    """As lagg(4): LACP needs a point-to-point link."""
    world, _ = against_peer()
    world.engines["A"].set_medium(1, replace(LINK, full_duplex=False), world.now)
    assert world.status("A", 1).reason == "half duplex: LACP does not run"
    world.engines["A"].set_medium(1, LINK, world.now)
    assert world.status("A", 1).reason == "no partner heard"


# ---- leaving -----------------------------------------------------------------------


def test_who_leaves_tells_it_at_once_and_collects_until_it_is_removed() -> None:
    world = joined()
    engine = world.engines["A"]
    engine.leave([2], world.now)
    world.carry()
    said = world.pdus("A", 2)[-1].actor.state
    gone = State.SYNC | State.COLLECTING | State.DISTRIBUTING | State.AGGREGATION
    assert said & gone == State(0)
    status = world.status("A", 2)
    assert (status.active, status.collecting, status.distributing) == (
        True,
        True,
        False,
    )
    assert status.reason == "leaving"
    world.run(SECOND // 10)
    assert world.distributing() == {"A": [1], "B": [1]}
    sent = len(world.sent["A", 2])
    engine.remove_port(2, world.now)
    world.carry()
    assert len(world.sent["A", 2]) == sent, "it has been told"
    assert world.status("A", 1).counts.flaps == engine.view().flapping == 0


def test_who_leaves_distributes_no_more_whatever_is_set_meanwhile() -> None:
    world = joined()
    world.engines["A"].leave([2], world.now)
    for change in ({"coupled": True}, {"coupled": False}, {"fast": False}):
        world.set("A", **change)
        assert not world.status("A", 2).distributing
        assert State.DISTRIBUTING not in world.status("A", 2).actor.state
        assert world.status("A", 2).mux is Mux.COLLECTING


def test_the_last_port_that_leaves_still_collects_for_the_lagg() -> None:
    world = joined()
    world.engines["A"].leave([1, 2], world.now)
    view = world.engines["A"].view()
    assert view.aggregator is None
    assert [(port.active, port.collecting) for port in view.ports] == [(True, True)] * 2


def test_a_port_that_is_removed_says_goodbye_first() -> None:
    world = joined()
    world.engines["A"].remove_port(2, world.now)
    world.carry()
    assert State.SYNC not in world.pdus("A", 2)[-1].actor.state
    world.run(SECOND // 10)
    assert world.distributing() == {"A": [1], "B": [1]}


def test_a_goodbye_finds_its_place_whatever_the_partner_asks_for() -> None:
    """Routine PDUs leave one place in any second for our own news."""
    world, peer = against_peer()
    peer.keep_up(1, seconds=4)
    for n in range(20):
        stale = replace(world.status("A", 1).actor, state=State(n % 4))
        peer.say(1, peer.pdu(1, partner=stale))
        world.run(SECOND // 10)
    sent = len(world.sent["A", 1])
    world.engines["A"].leave([1], world.now)
    world.carry()
    assert len(world.sent["A", 1]) == sent + 1


# ---- without a partner -------------------------------------------------------------


def test_strict_carries_nothing_without_a_partner() -> None:
    world, _ = against_peer(ports=2)
    world.run(200 * SECOND)
    assert world.distributing() == {"A": []}
    assert world.engines["A"].view().aggregator is None


def test_optimistic_ports_carry_together_without_a_partner() -> None:
    world, _ = against_peer(ports=3, strict=False)
    world.run(6 * SECOND)
    assert world.distributing() == {"A": [1, 2, 3]}
    world.set("A", strict=True)
    assert world.distributing() == {"A": []}


def test_without_a_partner_for_so_long_one_port_carries_the_lowest_by_priority() -> (
    None
):
    """L-I-13; exempt from min_links, which asks for a partner's links."""
    world, peer = against_peer(ports=3, fallback_ns=10 * SECOND, min_links=2)
    world.engines["A"].set_priority(3, 1, world.now)
    world.run(10 * SECOND - 1)
    assert world.distributing() == {"A": []}
    world.run(1)
    assert world.distributing() == {"A": [3]}
    world.engines["A"].set_medium(3, replace(LINK, up=False), world.now)
    assert world.distributing() == {"A": [1]}
    peer.keep_up(2, seconds=1)
    assert world.distributing() == {"A": []}, "there is a partner"
    peer.keep_up(1, 2, seconds=4)
    assert world.distributing() == {"A": [1, 2]}


def test_the_fallback_counts_from_when_the_last_partner_was_given_up() -> None:
    world, peer = against_peer(fallback_ns=10 * SECOND)
    peer.keep_up(1, seconds=4)
    peer.say(1, peer.pdu(1))
    world.run(16 * SECOND - 1)  # 3 s and 3 s to give up
    assert world.distributing() == {"A": []}
    world.run(1)
    assert world.distributing() == {"A": [1]}


def test_neither_who_leaves_nor_who_hears_himself_carries_without_a_partner() -> None:
    """Ports 3 and 4, the best, are patched together; 2 leaves."""
    world, _ = against_peer(ports=4, fallback_ns=10 * SECOND)
    for number in (2, 3, 4):
        world.engines["A"].set_priority(number, 5 - number, world.now)
    world.join(("A", 3), ("A", 4))
    world.engines["A"].leave([2], world.now)
    world.run(11 * SECOND)
    assert world.distributing() == {"A": [1]}
    world.silence(3, "A")
    world.silence(4, "A")
    world.run(91 * SECOND)
    assert world.distributing() == {"A": [4]}, "it does when the loop is over"
