# SPDX-License-Identifier: BSD-2-Clause
"""What the entry of each state, and each setting, does to a port: all, and no more."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields, replace
from typing import Any

import pytest

from lagg.lacp import mux
from lagg.lacp.churn import ACTOR_ENTRIES, PARTNER_ENTRIES
from lagg.lacp.engine import Engine
from lagg.lacp.key import key_of
from lagg.lacp.machine import Entry
from lagg.lacp.pdu import Lacpdu
from lagg.lacp.periodic import ENTRIES as PERIODIC_ENTRIES
from lagg.lacp.port import NOBODY, Counts, Port
from lagg.lacp.receive import ENTRIES as RECEIVE_ENTRIES
from lagg.lacp.values import (
    AdSelect,
    Churn,
    Medium,
    Mux,
    Party,
    Periodic,
    PortId,
    Receive,
    Selected,
    State,
)
from tests.lacp.world import LINK, SECOND, settings, system

NOW = 1000 * SECOND
SAID = State.ACTIVITY | State.AGGREGATION | State.SYNC | State.COLLECTING
PARTNER = Party(system("B"), 7, PortId(0x8000, 3), SAID)
PDU = Lacpdu(PARTNER, NOBODY)

BUSY: Mapping[str, Any] = {
    "pdu": PDU,
    "deferred": (PDU, 1),
    "partner": PARTNER,
    "partner_since": 2,
    "partner_was_active": True,
    "defaulted": False,
    "expired": True,
    "port_moved": True,
    "current_while": 3,
    "selected": Selected.SELECTED,
    "ready": True,
    "loop_while": 4,
    "wait_while": 5,
    "sync": True,
    "collecting": True,
    "distributing": True,
    "periodic_timer": 6,
    "actor_churn_timer": 7,
    "partner_churn_timer": 8,
}
"""A port of which every variable has a value that an entry can be seen to take away."""

COUNTED = Counts(lacpdu_late=10, flaps=20, actor_churns=30, partner_churns=40)


def busy_port(**words: object) -> Port:
    made = Port(1, "02:00:5e:00:01:0a", 0x8000, LINK, settings("A"), key=1)
    for name, value in {**BUSY, "counts": deepcopy(COUNTED), **words}.items():
        setattr(made, name, value)
    return made


def values(port: Port) -> dict[str, Any]:
    names = [each.name for each in fields(Port) if each.name not in ("inbox", "sent")]
    return {name: deepcopy(getattr(port, name)) for name in names}


def changed(entry: Entry, port: Port) -> dict[str, Any]:
    before = values(port)
    entry(port, NOW)
    return {name: is_ for name, is_ in values(port).items() if is_ != before[name]}


def counted(**more: int) -> Counts:
    return replace(
        deepcopy(COUNTED),
        **{name: getattr(COUNTED, name) + by for name, by in more.items()},
    )


TOLD = {"need_to_transmit": True, "news": True}
NOT_HELD = {"partner": NOBODY, "partner_since": NOW, "defaulted": True}
EXPIRED_PARTNER = replace(PARTNER, state=SAID & ~State.SYNC | State.TIMEOUT)

MUX: Mapping[Mux, Mapping[str, Any]] = {
    Mux.DETACHED: {
        **TOLD,
        "sync": False,
        "collecting": False,
        "distributing": False,
        "ready": False,
        "wait_while": None,
        "counts": counted(flaps=1),
    },
    Mux.WAITING: {"wait_while": NOW + 2 * SECOND},
    Mux.ATTACHED: {
        **TOLD,
        "wait_while": None,
        "collecting": False,
        "distributing": False,
        "counts": counted(flaps=1),
    },
    Mux.COLLECTING: {**TOLD, "distributing": False, "counts": counted(flaps=1)},
    Mux.DISTRIBUTING: {"need_to_transmit": True},
    Mux.COLLECTING_DISTRIBUTING: TOLD,
}

IDLE_MUX: Mapping[Mux, Mapping[str, Any]] = {
    Mux.DETACHED: TOLD,
    Mux.WAITING: {"wait_while": NOW + 2 * SECOND},
    Mux.ATTACHED: {**TOLD, "sync": True},
    Mux.COLLECTING: {**TOLD, "collecting": True},
    Mux.DISTRIBUTING: {"need_to_transmit": True, "distributing": True},
    Mux.COLLECTING_DISTRIBUTING: {**TOLD, "collecting": True, "distributing": True},
}

RECEIVED: Mapping[Receive, Mapping[str, Any]] = {
    Receive.INITIALIZE: {
        **NOT_HELD,
        "selected": Selected.UNSELECTED,
        "expired": False,
        "port_moved": False,
    },
    Receive.PORT_DISABLED: {
        "partner": replace(PARTNER, state=SAID & ~State.SYNC),
        "pdu": None,
        "deferred": None,
        "current_while": None,
        "loop_while": None,
        "partner_was_active": False,
    },
    Receive.EXPIRED: {
        **TOLD,
        "partner": EXPIRED_PARTNER,
        "current_while": NOW + 3 * SECOND,
        "counts": counted(lacpdu_late=1),
    },
    Receive.LACP_DISABLED: {
        **NOT_HELD,
        "selected": Selected.UNSELECTED,
        "expired": False,
        "pdu": None,
        "current_while": None,
    },
    Receive.DEFAULTED: {
        **NOT_HELD,
        "selected": Selected.UNSELECTED,
        "expired": False,
        "current_while": None,
    },
}


@pytest.mark.parametrize("state", MUX)
def test_a_mux_state_takes_and_gives_what_the_standard_says(state: Mux) -> None:
    assert changed(mux.ENTRIES[state], busy_port()) == MUX[state]
    idle = busy_port(
        sync=False, collecting=False, distributing=False, ready=False, wait_while=None
    )
    assert changed(mux.ENTRIES[state], idle) == IDLE_MUX[state]


@pytest.mark.parametrize("state", RECEIVED)
def test_a_receive_state_keeps_and_forgets_what_the_standard_says(
    state: Receive,
) -> None:
    assert changed(RECEIVE_ENTRIES[state], busy_port()) == RECEIVED[state]


@pytest.mark.parametrize("state", [Receive.INITIALIZE, Receive.LACP_DISABLED])
def test_a_port_that_carried_without_a_partner_is_selected_no_longer(
    state: Receive,
) -> None:
    """The partner that a fallback port was given is nobody, too: that changes none."""
    it = busy_port(partner=NOBODY)
    RECEIVE_ENTRIES[state](it, NOW)
    assert it.selected is Selected.UNSELECTED


def test_a_port_that_expires_without_having_heard_anyone_is_not_late() -> None:
    it = busy_port(current_while=None, expired=False)
    assert changed(RECEIVE_ENTRIES[Receive.EXPIRED], it) == {
        **TOLD,
        "partner": EXPIRED_PARTNER,
        "current_while": NOW + 3 * SECOND,
        "expired": True,
    }


def test_a_pdu_of_the_same_partner_is_recorded_and_used_up() -> None:
    said = replace(PARTNER, state=SAID | State.DISTRIBUTING)
    it = busy_port(pdu_at=NOW - SECOND)
    it.pdu = Lacpdu(said, it.actor())
    assert changed(RECEIVE_ENTRIES[Receive.CURRENT], it) == {
        "pdu": None,
        "partner": said,
        "current_while": NOW + 2 * SECOND,
        "expired": False,
        # It says that we are expired and need not tell it: not among NTT's bits.
    }


PERIODIC: Mapping[Periodic, Mapping[str, Any]] = {
    Periodic.NO_PERIODIC: {"periodic_timer": None},
    Periodic.FAST_PERIODIC: {"periodic_timer": NOW + SECOND},
    Periodic.SLOW_PERIODIC: {"periodic_timer": NOW + 30 * SECOND},
    Periodic.PERIODIC_TX: {"need_to_transmit": True},
}


@pytest.mark.parametrize("state", PERIODIC)
def test_a_periodic_state_sets_its_timer_and_no_other(state: Periodic) -> None:
    assert changed(PERIODIC_ENTRIES[state], busy_port()) == PERIODIC[state]


CHURN = {
    Churn.MONITOR: NOW + 60 * SECOND,
    Churn.NO_CHURN: None,
    Churn.CHURN: None,
}


@pytest.mark.parametrize("state", CHURN)
def test_churn_is_counted_each_time_and_for_its_own_end(state: Churn) -> None:
    ends = (("actor", ACTOR_ENTRIES), ("partner", PARTNER_ENTRIES))
    for end, entries in ends:
        found: dict[str, Any] = {f"{end}_churn_timer": CHURN[state]}
        if state is Churn.CHURN:
            found["counts"] = counted(**{f"{end}_churns": 1})
        assert changed(entries[state], busy_port()) == found


def test_without_a_link_no_churn_is_timed() -> None:
    down = Medium(up=False, speed_mbps=10_000)
    for end, entries in (("actor", ACTOR_ENTRIES), ("partner", PARTNER_ENTRIES)):
        it = busy_port(medium=down)
        assert changed(entries[Churn.MONITOR], it) == {f"{end}_churn_timer": None}


@pytest.mark.parametrize("state", Mux)
def test_a_live_change_of_the_mux_s_control_says_the_same_state_in_its_words(
    state: Mux,
) -> None:
    """And flaps nothing: whoever collected goes on, and distributes when coupled."""
    joined = {Mux.COLLECTING, Mux.DISTRIBUTING}
    it = busy_port(mux=state, distributing=False)
    coupled = mux.same_in(True, it)
    assert coupled is (Mux.COLLECTING_DISTRIBUTING if state in joined else state)
    assert it.distributing is (state in joined)

    it = busy_port(mux=state)
    apart = state is Mux.COLLECTING_DISTRIBUTING
    assert mux.same_in(False, it) is (Mux.DISTRIBUTING if apart else state)
    assert it.distributing


@pytest.mark.parametrize("state", Mux)
def test_who_leaves_stops_to_distribute_and_collects_on_without_a_flap(
    state: Mux,
) -> None:
    it = busy_port(mux=state)
    before = values(it)
    mux.leave(it)
    after = {name: is_ for name, is_ in values(it).items() if is_ != before[name]}
    expected = {"leaving": True, "goodbye": True, "distributing": False}
    if state in {Mux.DISTRIBUTING, Mux.COLLECTING_DISTRIBUTING}:
        expected["mux"] = Mux.COLLECTING  # type: ignore[assignment]
    assert after == expected


# ---- what a setting does to a port -------------------------------------------------

UNSELECTED = {"selected": Selected.UNSELECTED}
NO_ONE = {**NOT_HELD, **UNSELECTED}
AGREES = State.SYNC | State.COLLECTING | State.DISTRIBUTING | State.AGGREGATION
ANYONE = {**NO_ONE, "partner": replace(NOBODY, state=AGREES)}
SLOW, LOOSE, COUPLED = {"fast": False}, {"strict": False}, {"coupled": True}
SILENT = {"receive": Receive.DEFAULTED}
COLLECTS, DISTRIBUTES = {"mux": Mux.COLLECTING}, {"mux": Mux.DISTRIBUTING}
BOTH_AT_ONCE = {"mux": Mux.COLLECTING_DISTRIBUTING}

Values = Mapping[str, Any]

SETTINGS: list[tuple[Values, Values, Values, Values]] = [
    # before, set, the port, and what changes of it
    ({}, {"system": system("C")}, {}, {**TOLD, **UNSELECTED}),
    ({}, {"key": 9}, {}, {**TOLD, **UNSELECTED, "key": 9}),
    ({}, {"active": False}, {}, TOLD),
    ({}, SLOW, {}, {**TOLD, "current_while": NOW + 90 * SECOND}),
    ({}, SLOW, {"receive": Receive.EXPIRED}, TOLD),
    (SLOW, {"fast": True}, {}, TOLD),
    ({}, LOOSE, {}, {}),
    ({}, LOOSE, SILENT, ANYONE),
    (LOOSE, {"strict": True}, SILENT, NO_ONE),
    ({}, COUPLED, DISTRIBUTES, BOTH_AT_ONCE),
    ({}, COUPLED, {**COLLECTS, "leaving": True}, {}),
    (COUPLED, {"coupled": False}, BOTH_AT_ONCE, DISTRIBUTES),
    (COUPLED, {"min_links": 2}, COLLECTS, {}),
    ({}, {"min_links": 2}, {}, {}),
    ({}, {"min_links": 2}, SILENT, {}),
    ({}, {"max_ports": 1}, {}, {}),
    ({}, {"fallback_ns": SECOND}, SILENT, {}),
    ({}, {"ad_select": AdSelect.COUNT}, {}, {}),
    ({}, {"txtest": True, "rxtest": True}, {}, {}),
]


@pytest.mark.parametrize(("before", "words", "port", "changes"), SETTINGS, ids=str)
def test_a_setting_changes_what_it_is_about_and_nothing_else(
    before: Values, words: Values, port: Values, changes: Values
) -> None:
    was = settings("A", **before)
    engine = Engine(replace(was, **words), NOW)
    key = key_of(was, LINK.speed_mbps, 0)
    it = busy_port(**{"receive": Receive.CURRENT, "key": key, **port})
    it.settings = engine.settings
    assert changed(lambda port, now: engine._apply(port, was, now), it) == changes
