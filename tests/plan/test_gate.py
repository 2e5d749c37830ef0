# SPDX-License-Identifier: BSD-2-Clause
"""A held port: nothing is given to it, what comes in is taken, and its link stays."""

from dataclasses import replace

import pytest

from lagg.events import EventKind
from lagg.lacp.values import NS_OF_MS
from lagg.model import Agreement, HoldLink, PortOptions, Proto
from lagg.plan import delays, election, gate
from lagg.plan.changes import news
from lagg.plan.gate import due_at, held_for, misplaced, with_lowered, without_end
from lagg.plan.plan import plan, standings
from lagg.plan.shape import Shape
from tests.plan.test_election import SPREADS, shape_of


def settled(before: Shape, after: Shape, now: int = 0) -> Shape:
    waiting = delays.settled(before, gate.settled(after, now), now)
    return election.settled(before, waiting)


def hold(shape: Shape, *names: str) -> Shape:
    chosen = {name: PortOptions(hold=True) for name in names}
    return settled(shape, replace(shape, port_options=chosen))


@pytest.mark.parametrize("proto", [Proto.FAILOVER, *SPREADS])
def test_nothing_is_given_to_a_held_port_and_what_comes_in_is_taken(
    proto: Proto,
) -> None:
    found = plan(hold(shape_of(proto), "eth0"))
    assert {1, 2} >= {*found.tx_slots} > set()
    assert 0 in found.rx_accept


def test_a_held_port_has_its_link_and_says_why_it_carries_nothing() -> None:
    shape = hold(shape_of(), "eth0")
    assert shape.at(0).link.active
    assert standings(shape)[0].reason == "held"


def test_lacp_s_frames_come_in_as_long_as_it_collects() -> None:
    shape = shape_of(Proto.LACP)
    agreed = {slot: Agreement(True, True, True) for slot in range(3)}
    held = hold(shape.with_agreements(agreed), "eth0")
    assert {*plan(held).tx_slots} == {1, 2}
    assert plan(held).rx_accept == {0, 1, 2}
    quiet = {**agreed, 0: Agreement(True, False, False)}
    assert plan(held.with_agreements(quiet)).rx_accept == {1, 2}


def test_the_last_port_is_held_as_well_and_that_is_warned_of() -> None:
    shape = shape_of(ports=1)
    held = hold(shape, "eth0")
    assert plan(held).tx_slots == ()
    (told,) = news(shape, held)
    assert (told.event, told.warns) == (EventKind.PORT_HOLD, True)
    assert "the lagg carries nothing" in told.details


def test_a_hold_ends_by_itself_or_when_its_end_is_taken_back() -> None:
    shape = shape_of()
    held = settled(shape, held_for(shape, {"eth0": 250}, 5))
    end = 5 + 250 * NS_OF_MS
    assert (held.at(0).held, due_at(held)) == (True, end)
    assert settled(held, held, end - 1).at(0).held
    over = settled(held, held, end)
    assert (over.at(0).held, due_at(over), election.elected(over)) == (False, None, 0)
    assert not settled(held, without_end(held, ["eth0"]), 6).at(0).held


def test_a_user_s_choice_and_the_delay_of_another_do_not_keep_a_held_port_in() -> None:
    shape = settled(shape_of(), shape_of().with_pick("eth2"))
    assert election.elected(hold(shape, "eth2")) == 0


@pytest.mark.parametrize("proto", Proto)
def test_only_of_a_static_protocol_a_held_port_s_link_is_to_be_down(
    proto: Proto,
) -> None:
    chosen = {"eth1": PortOptions(hold=True, hold_link=HoldLink.DOWN)}
    shape = replace(shape_of(proto), port_options=chosen)
    assert misplaced(shape) == ()
    held = settled(shape, shape)
    static = proto not in (Proto.LACP, Proto.NONE)
    assert [port.slot for port in misplaced(held)] == [1] * static
    lowered = with_lowered(held, 1, lowered=True)
    assert (misplaced(lowered) == ()) is static
    assert standings(lowered)[1].reason == "held, its link set down"
    free = settled(lowered, replace(lowered, port_options={}))
    assert [port.slot for port in misplaced(free)] == [1]
