# SPDX-License-Identifier: BSD-2-Clause
"""Which flows wait for a marker when a table changes."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lagg.model import Drop, HashKind, HashLayer, Spread
from lagg.plan.flow_moves import Moves, moves
from lagg.plan.plan import Plan

SLOTS = range(4)


def table(*slots: int, ports: frozenset[int] = frozenset(SLOTS)) -> Plan:
    return Plan(
        spread=Spread.FLOW,
        tx_slots=slots,
        tx_drop=Drop.NO_ACTIVE_PORT,
        rx_drop=Drop.NOT_ACCEPTED,
        rx_accept=ports,
        ports=ports,
        stride=1,
        hash_kind=HashKind.CRC32C,
        hash_layers=(HashLayer.L2,),
        hash_seed=1,
    )


tables = st.lists(st.sampled_from(SLOTS), min_size=8, max_size=8).map(
    lambda slots: table(*slots)
)


def test_only_flows_that_move_between_marked_ports_wait() -> None:
    found = moves(Moves(), table(0, 0, 1, 1), table(0, 2, 1, 2), marked={0, 1})
    assert found == Moves({1: 0, 3: 1})
    assert found.hold(table(0, 2, 1, 2)).held == {1, 3}


def test_a_port_whose_partner_answers_no_marker_holds_nothing_up() -> None:
    found = moves(Moves(), table(0, 0, 1, 1), table(2, 2, 2, 2), marked={1})
    assert found == Moves({2: 1, 3: 1})


def test_a_port_that_is_gone_holds_nothing_up() -> None:
    rest = table(1, 1, 1, 1, ports=frozenset({1, 2, 3}))
    assert moves(Moves(), table(0, 0, 1, 1), rest, marked=SLOTS) == Moves()


def test_a_flow_that_waits_already_waits_for_the_port_it_was_sent_by() -> None:
    first = moves(Moves(), table(0, 0), table(0, 1), marked=SLOTS)
    assert moves(first, table(0, 1), table(0, 2), marked=SLOTS) == Moves({1: 0})
    assert moves(first, table(0, 1), table(0, 0), marked=SLOTS) == Moves()


def test_flows_move_at_once_with_another_hash_or_without_a_port() -> None:
    was = table(0, 1)
    for fresh in (
        replace(table(1, 0), hash_seed=2),
        replace(table(1, 0), hash_layers=(HashLayer.L3,)),
        replace(table(1, 0), hash_symmetric=True),
        replace(table(1, 0), spread=Spread.TURN),
        table(),
        table(1, 0, 1),
    ):
        assert moves(Moves({0: 1}), was, fresh, marked=SLOTS) == Moves()


def test_what_a_port_answered_for_waits_no_more() -> None:
    assert Moves({1: 0, 2: 1, 3: 0}).without({0}) == Moves({2: 1})


@given(st.lists(tables, min_size=2, max_size=6), st.sets(st.sampled_from(SLOTS)))
def test_no_flow_leaves_a_marked_port_without_its_answer(
    plans: list[Plan], marked: set[int]
) -> None:
    """However often the table changes: what was sent last decides."""
    waiting, sent_by = Moves(), list(plans[0].tx_slots)
    for was, fresh in pairwise(plans):
        waiting = moves(waiting, was, fresh, marked)
        for index, slot in enumerate(fresh.tx_slots):
            if index in waiting.origins:
                assert waiting.origins[index] == sent_by[index] != slot
            else:
                assert slot == sent_by[index] or sent_by[index] not in marked
                sent_by[index] = slot
