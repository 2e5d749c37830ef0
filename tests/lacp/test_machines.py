# SPDX-License-Identifier: BSD-2-Clause
"""The machines' tables: complete, settling, and safe in every situation of a port."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from lagg.lacp.churn import ACTOR_CHURN, PARTNER_CHURN
from lagg.lacp.machine import Guard, Machine, always
from lagg.lacp.mux import COUPLED, INDEPENDENT
from lagg.lacp.periodic import PERIODIC
from lagg.lacp.port import NOBODY, Port
from lagg.lacp.receive import RECEIVE
from lagg.lacp.values import (
    Churn,
    Mux,
    Periodic,
    Receive,
    Selected,
    State,
)
from tests.lacp.world import LINK, SECOND, settings

STATES: list[tuple[Machine[Any], set[Any]]] = [
    (RECEIVE, set(Receive)),
    (PERIODIC, set(Periodic)),
    (INDEPENDENT, set(Mux) - {Mux.COLLECTING_DISTRIBUTING}),
    (COUPLED, set(Mux) - {Mux.COLLECTING, Mux.DISTRIBUTING}),
    (ACTOR_CHURN, set(Churn)),
    (PARTNER_CHURN, set(Churn)),
]


def port(**words: object) -> Port:
    its = settings("A", coupled=words.pop("coupled", False))
    made = Port(1, "02:00:5e:00:01:0a", 0x8000, LINK, its, key=1)
    for name, value in words.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("machine", "states"), STATES, ids=[machine.figure for machine, _ in STATES]
)
def test_a_table_has_every_state_with_rows_and_an_entry(
    machine: Machine[Any], states: set[Any]
) -> None:
    assert set(machine.rows) == set(machine.entries) == states
    assert machine.start in states
    targets = [to for rows in machine.rows.values() for _, to in rows]
    targets += [to for _, to in machine.always]
    assert set(targets) | {machine.start} == states, "a state that is never entered"
    assert all(guard.__name__ != "<lambda>" for guard in guards(machine))


def guards(machine: Machine[Any]) -> list[Guard]:
    rows = [row for rows in machine.rows.values() for row in rows]
    return [guard for guard, _ in (*rows, *machine.always) if guard is not always]


SITUATIONS = list(
    product(
        (False, True),  # coupled
        Selected,
        (False, True),  # ready
        (State(0), State.SYNC, State.COLLECTING, State.SYNC | State.COLLECTING),
    )
)


@pytest.mark.parametrize(("coupled", "selected", "ready", "heard"), SITUATIONS)
def test_the_mux_settles_and_never_distributes_to_a_partner_that_does_not_collect(
    coupled: bool, selected: Selected, ready: bool, heard: State
) -> None:
    machine = COUPLED if coupled else INDEPENDENT
    for start in machine.rows:
        it = port(
            coupled=coupled,
            selected=selected,
            ready=ready,
            partner=replace(NOBODY, state=heard),
            distributing=start in {Mux.DISTRIBUTING, Mux.COLLECTING_DISTRIBUTING},
            collecting=start.value.startswith(("coll", "dist")),
        )
        end = machine.settle(start, it, now=0)
        may = selected is Selected.SELECTED and State.SYNC in heard
        assert not it.distributing or (may and (coupled or State.COLLECTING in heard))
        assert not it.collecting or may
        assert machine.settle(end, it, now=0) is end


def test_a_port_goes_the_standard_s_way_through_the_mux() -> None:
    it = port(selected=Selected.SELECTED)
    assert INDEPENDENT.settle(Mux.DETACHED, it, now=0) is Mux.WAITING
    assert it.wait_while == 2 * SECOND
    it.ready = True
    assert INDEPENDENT.settle(Mux.WAITING, it, now=0) is Mux.ATTACHED
    assert (it.sync, it.collecting, it.need_to_transmit) == (True, False, True)
    it.partner = replace(NOBODY, state=State.SYNC)
    assert INDEPENDENT.settle(Mux.ATTACHED, it, now=0) is Mux.COLLECTING
    assert (it.collecting, it.distributing) == (True, False)
    it.partner = replace(NOBODY, state=State.SYNC | State.COLLECTING)
    assert INDEPENDENT.settle(Mux.COLLECTING, it, now=0) is Mux.DISTRIBUTING
    it.partner = replace(NOBODY, state=State.COLLECTING)
    assert INDEPENDENT.settle(Mux.DISTRIBUTING, it, now=0) is Mux.ATTACHED
    assert (it.sync, it.collecting, it.distributing) == (True, False, False)


def test_a_link_that_comes_and_goes_is_no_churn() -> None:
    it = port()
    state = ACTOR_CHURN.begin(it, 0)
    it.medium = replace(LINK, up=False)
    assert ACTOR_CHURN.settle(state, it, 59 * SECOND) is Churn.MONITOR
    assert it.actor_churn_timer is None
    it.medium = LINK
    assert ACTOR_CHURN.settle(state, it, 100 * SECOND) is Churn.MONITOR
    assert ACTOR_CHURN.settle(state, it, 159 * SECOND) is Churn.MONITOR
    assert ACTOR_CHURN.settle(state, it, 160 * SECOND) is Churn.CHURN
    assert it.counts.actor_churns == 1
