# SPDX-License-Identifier: BSD-2-Clause
"""How many probes in a row may stay unanswered, on a clock that waits for nobody."""

from dataclasses import replace

import pytest

from lagg.lacp.values import NS_OF_MS
from lagg.watchers.asking import Asking
from lagg.watches import LinkWatch, WatchKind, WatchState

PROBE, ANSWER, NOISE = b"probe", b"answer", b"noise"
INTERVAL = 100
INIT, UP, DOWN = WatchState.INIT, WatchState.UP, WatchState.DOWN


def watch(missed_max: int = 3, init_wait_ms: int = 0) -> LinkWatch:
    return LinkWatch(
        WatchKind.ARP,
        targets=("192.0.2.1",),
        interval_ms=INTERVAL,
        missed_max=missed_max,
        init_wait_ms=init_wait_ms,
    )


class Path:
    """A machine and the path it looks at, which answers at once, later or never."""

    def __init__(self, state: WatchState, asked: LinkWatch | None = None) -> None:
        self.machine = Asking(asked or watch(), state, [PROBE], ANSWER.__eq__)
        self.now = 7_000 * NS_OF_MS
        self.sent_at: list[int] = []
        self.machine.link(up=True, now=self.now)
        self.begun = self.now

    def passes(self, ms: int, *, answered: bool, after_ms: int = 1) -> None:
        """Lets time pass; the machine is asked when it is due and never before."""
        end = self.now + ms * NS_OF_MS
        while (due := self.machine.due_at()) is not None and due <= end:
            self.now = max(self.now, due)
            if self.machine.tick(self.now):
                self.sent_at.append((self.now - self.begun) // NS_OF_MS)
                if answered:
                    self.machine.heard(ANSWER, self.now + after_ms * NS_OF_MS)
        self.now = end

    def until(self, state: WatchState) -> int:
        """Milliseconds until it has this state, nothing being answered."""
        begun = self.now
        while self.machine.state is not state:
            due = self.machine.due_at()
            assert due is not None
            self.now = max(self.now, due)
            self.machine.tick(self.now)
        return (self.now - begun) // NS_OF_MS


def test_it_asks_at_each_interval_and_is_up_by_the_first_answer() -> None:
    path = Path(DOWN)
    path.passes(350, answered=True)
    assert path.sent_at == [0, 100, 200, 300]
    assert (path.machine.state, path.machine.reason) == (UP, "replies")


@pytest.mark.parametrize("missed_max", [1, 2, 3, 255])
@pytest.mark.parametrize("cut_ms", [0, 2, 50, 99])
def test_a_path_is_dead_missed_max_intervals_after_the_next_probe(
    missed_max: int, cut_ms: int
) -> None:
    """So after a cut in less than (missed_max + 1) intervals, whenever it was cut."""
    path = Path(DOWN, watch(missed_max))
    path.passes(500 + cut_ms, answered=True)
    took = path.until(DOWN)
    assert took == (missed_max + 1) * INTERVAL - cut_ms
    assert path.machine.reason == f"no reply for {missed_max} x 100 ms"


def test_all_but_missed_max_lost_probes_are_borne() -> None:
    path = Path(DOWN)
    path.passes(50, answered=True)
    for _ in range(20):
        path.passes(200, answered=False)
        assert path.machine.state is UP
        path.passes(100, answered=True)


def test_it_is_alive_again_by_the_first_answer() -> None:
    path = Path(UP)
    path.until(DOWN)
    path.passes(1000, answered=False)
    path.passes(100, answered=True)
    assert path.machine.state is UP


def test_an_answer_that_takes_longer_than_an_interval_counts() -> None:
    path = Path(UP)
    for _ in range(20):
        path.passes(100, answered=False)
        path.machine.heard(ANSWER, path.now - 50 * NS_OF_MS)
        assert path.machine.state is UP


def test_what_comes_unasked_or_twice_or_is_no_answer_says_nothing() -> None:
    asked_later = watch(init_wait_ms=500)
    path = Path(DOWN, asked_later)
    path.machine.heard(ANSWER, path.now)
    assert path.machine.state is DOWN
    path.passes(501, answered=True)
    path.machine.heard(ANSWER, path.now)
    path.passes(99, answered=False)
    path.machine.heard(NOISE, path.now)
    assert path.until(DOWN) == 300


def test_one_that_is_not_known_yet_counts_as_alive_until_it_has_missed_enough() -> None:
    path = Path(INIT)
    path.passes(299, answered=False)
    assert path.machine.state is INIT
    assert path.until(DOWN) == 1


def test_it_waits_before_the_first_probe() -> None:
    path = Path(DOWN, watch(init_wait_ms=250))
    path.passes(500, answered=False)
    assert path.sent_at == [250, 350, 450]


def test_without_carrier_it_is_down_and_silent_and_begins_anew() -> None:
    path = Path(UP)
    path.passes(250, answered=False)
    path.machine.link(up=False, now=path.now)
    assert (path.machine.state, path.machine.reason) == (DOWN, "no carrier")
    assert path.machine.due_at() is None
    path.machine.heard(ANSWER, path.now)
    assert path.machine.tick(path.now) == []
    path.machine.link(up=True, now=path.now)
    assert (path.machine.state, path.machine.reason) == (DOWN, "no reply yet")
    path.passes(0, answered=True)
    assert path.machine.state is UP
    assert path.until(DOWN) == 400, "what was missed before counts no more"


def test_who_was_kept_from_looking_has_missed_one_probe_and_sends_one() -> None:
    path = Path(UP)
    path.passes(50, answered=True)
    path.machine.tick(path.now + 50 * NS_OF_MS)
    path.now += 3600 * 1000 * NS_OF_MS
    assert path.machine.tick(path.now) == [PROBE]
    assert path.machine.state is UP
    assert path.machine.tick(path.now) == []
    due = path.machine.due_at()
    assert due is not None
    assert 0 < due - path.now <= INTERVAL * NS_OF_MS


def test_at_another_pace_it_waits_for_no_longer_one_and_counts_on() -> None:
    path = Path(DOWN)
    path.passes(150, answered=True)
    path.passes(200, answered=False)
    path.machine.change(replace(watch(), interval_ms=10, missed_max=2), path.now)
    assert path.machine.state is UP
    assert path.until(DOWN) == 10
    path.machine.change(replace(watch(), interval_ms=50), path.now)
    path.passes(200, answered=True)
    assert path.machine.state is UP
    assert path.sent_at[-2:] == [470, 520]


def test_another_pace_does_not_shorten_the_wait_before_the_first() -> None:
    path = Path(DOWN, watch(init_wait_ms=500))
    path.machine.change(replace(watch(), interval_ms=10), path.now)
    assert path.machine.due_at() == path.begun + 500 * NS_OF_MS
