# SPDX-License-Identifier: BSD-2-Clause
"""A driver that is asked for its carrier, on an integer clock."""

from dataclasses import replace

import pytest

from lagg.lacp.values import NS_OF_MS as MS
from lagg.watchers.poll import Poll
from lagg.watchers.watcher import Ends
from lagg.watches import LinkWatch, WatchKind, WatchState

ENDS = Ends("02:00:5e:00:53:01", 0)
WATCH = LinkWatch(WatchKind.POLL, interval_ms=100, missed_max=2)


def poll(state: WatchState = WatchState.DOWN) -> Poll:
    """One whose link is up since 0."""
    machine = Poll(WATCH, ENDS, state)
    machine.link(True, 0)
    return machine


def answer(machine: Poll, *answers: bool | None) -> list[WatchState]:
    """The states after these answers, one for each question, from when it is due on."""
    found = []
    for each in answers:
        now = machine.due_at()
        assert now is not None
        assert machine.tick(now) == []
        assert machine.asks
        machine.told(each, now)
        found.append(machine.state)
    return found


def test_a_port_is_up_with_the_first_carrier_and_down_after_so_many_without() -> None:
    machine = poll()
    up, down = WatchState.UP, WatchState.DOWN
    answers = (True, False, True, False, False, False, True)
    assert answer(machine, *answers) == [up, up, up, up, down, down, up]


def test_the_next_question_is_an_interval_after_the_answer() -> None:
    machine = poll()
    assert machine.due_at() == 0
    machine.tick(0)
    assert machine.due_at() is None
    machine.told(True, 250 * MS)  # a driver that takes its time is not asked twice
    assert machine.due_at() == 350 * MS


def test_a_driver_that_cannot_be_asked_says_nothing_of_the_path() -> None:
    machine = poll(WatchState.INIT)
    assert answer(machine, None, None, None) == [WatchState.INIT] * 3
    assert machine.reason == "the driver cannot be asked"


def test_why_is_said_in_words() -> None:
    machine = poll()
    answer(machine, True)
    assert machine.reason == "the driver has a carrier"
    answer(machine, False, False)
    assert machine.reason == "the driver has no carrier for 2 x 100 ms"


@pytest.mark.parametrize("state", WatchState)
def test_without_the_kernel_s_carrier_nobody_is_asked(state: WatchState) -> None:
    machine = poll(state)
    machine.tick(0)
    machine.link(False, 1)
    machine.told(True, 2)  # it was asked before
    assert (machine.state, machine.asks, machine.due_at()) == (
        WatchState.DOWN,
        False,
        None,
    )
    machine.link(True, 3)
    assert (machine.state, machine.due_at()) == (WatchState.DOWN, 3)


def test_at_another_pace_it_waits_for_no_longer_one_and_counts_on() -> None:
    machine = poll()
    answer(machine, True, False)
    machine.change(replace(WATCH, interval_ms=10, missed_max=3), 100 * MS)
    assert machine.due_at() == 110 * MS
    assert answer(machine, False, False) == [WatchState.UP, WatchState.DOWN]
