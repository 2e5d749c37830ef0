# SPDX-License-Identifier: BSD-2-Clause
"""A port whose gate a user has closed: its partner hears of it, and moves away."""

from lagg.lacp.values import Mux, Selected, State
from tests.lacp.world import (
    GOOD,
    MILLISECOND,
    SECOND,
    World,
    against_peer,
    settings,
)

SAID = State.AGGREGATION | State.SYNC | State.COLLECTING | State.DISTRIBUTING


def joined() -> World:
    world = World.pair(2)
    world.run(5 * SECOND)
    assert world.distributing() == {"A": [1, 2], "B": [1, 2]}
    return world


def close(world: World, *, closed: bool = True) -> None:
    world.engines["A"].set_gate(1, closed, world.now)
    world.carry()


def test_it_says_so_at_once_and_nothing_of_the_other_port_changes() -> None:
    world = joined()
    flaps = world.engines["A"].view().flapping
    close(world)
    assert world.pdus("A", 1)[-1].actor.state & SAID == State.AGGREGATION
    assert world.times("A", 1)[-1] == world.now
    assert world.distributing()["A"] == [2]
    assert world.status("A", 1).reason == "held"
    assert world.engines["A"].view().flapping == flaps  # planned


def test_it_collects_until_the_partner_has_moved_away() -> None:
    world = joined()
    close(world)
    status = world.status("A", 1)
    assert (status.active, status.collecting) == (True, True)
    world.run(10 * MILLISECOND)
    assert world.distributing() == {"A": [2], "B": [2]}
    status = world.status("A", 1)
    assert (status.mux, status.selected) == (Mux.DETACHED, Selected.UNSELECTED)


def test_it_stays_out_for_as_long_as_it_is_closed_and_comes_back_then() -> None:
    world = joined()
    close(world)
    world.run(200 * SECOND)
    assert world.distributing() == {"A": [2], "B": [2]}
    close(world, closed=False)
    world.run(4 * SECOND)
    assert world.distributing() == {"A": [1, 2], "B": [1, 2]}


def test_one_that_is_opened_before_the_partner_has_heard_comes_back() -> None:
    world = joined()
    close(world)
    close(world, closed=False)
    world.run(6 * SECOND)
    assert world.distributing() == {"A": [1, 2], "B": [1, 2]}


def test_a_partner_that_goes_on_to_send_is_heard_as_long_as_its_link_is_there() -> None:
    world, peer = against_peer(ports=2)
    peer.keep_up(1, 2, seconds=4)
    close(world)
    peer.keep_up(1, 2, seconds=20)
    assert world.status("A", 1).collecting
    peer.say(1, peer.pdu(1, state=GOOD | State.SYNC))
    assert not world.status("A", 1).collecting


def test_a_port_that_comes_while_it_is_held_is_in_no_aggregator() -> None:
    world = World.pair(2)
    close(world)
    world.run(10 * SECOND)
    assert world.distributing() == {"A": [2], "B": [2]}


def test_without_a_partner_a_held_port_is_no_fallback() -> None:
    world = World()
    world.add("A", 1, settings("A", fallback_ns=SECOND))
    close(world)
    world.run(10 * SECOND)
    assert world.distributing() == {"A": []}


def test_with_coupled_control_it_goes_and_comes_back_as_well() -> None:
    world = World.pair(2, settings("A", coupled=True))
    world.run(5 * SECOND)
    close(world)
    world.set("A", coupled=False)
    world.set("A", coupled=True)
    world.run(10 * SECOND)
    assert world.distributing() == {"A": [2], "B": [2]}
    close(world, closed=False)
    world.run(4 * SECOND)
    assert world.distributing() == {"A": [1, 2], "B": [1, 2]}
