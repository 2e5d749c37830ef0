# SPDX-License-Identifier: BSD-2-Clause
"""Markers for flows that wait to move: asked for, answered, given up, refused."""

import asyncio
import errno
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any

from lagg.errors import LaggError
from lagg.plan.flow_moves import Moves
from lagg.running.markers import Markers


class Flows:
    """A lagg whose flows wait; the ports answer when the test says so."""

    def __init__(self, origins: dict[int, int]) -> None:
        self.moves = Moves(origins)
        self.released: list[set[int]] = []
        self.refusals = 0
        self.stuck = False
        self.held_up: list[Callable[[], None]] = []  # what is due when they let go
        self.transactions: list[int] = []  # the port number of each
        self.may_send = True

    def release(self, slots: Collection[int]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise LaggError("lagg0", "publish a snapshot", errno.EAGAIN)
        self.released.append(set(slots))
        self.moves = self.moves.without(slots)

    def when_free(
        self, attempt: Callable[[tuple[int, ...]], None], slots: tuple[int, ...]
    ) -> None:
        self.held_up.append(partial(attempt, slots))

    async def grace(self) -> None:
        if self.stuck:
            raise LaggError("lagg0", "worker 0 did not leave", errno.ETIMEDOUT)

    def mark(self, number: int) -> int | None:
        if not self.may_send:
            return None
        self.transactions.append(number)
        return len(self.transactions)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def asked(flows: Flows, markers: Markers) -> None:
    """Once the plan has changed: every marker that is to be sent has been."""
    markers.mark_waiting()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others)


def test_a_marker_goes_by_each_port_that_flows_wait_for_and_its_answer_frees_them() -> (
    None
):
    async def test() -> None:
        flows = Flows({1: 0, 2: 0, 3: 4})
        markers = Markers(flows, flows.mark)
        await asked(flows, markers)
        assert sorted(flows.transactions) == [1, 5]
        of_slot_4 = flows.transactions.index(5) + 1
        markers.answered(5, of_slot_4)
        assert flows.moves == Moves({1: 0, 2: 0})
        assert flows.released == [{4}]
        assert markers.marked == {5}

    run(test())


def test_no_answer_frees_the_flows_too_and_the_partner_is_not_waited_for_again() -> (
    None
):
    async def test() -> None:
        flows = Flows({1: 0})
        markers = Markers(flows, flows.mark)
        markers.answered(1, 99)  # to a probe
        assert markers.marked == {1}
        await asked(flows, markers)
        markers.unanswered(1, 1)
        assert flows.moves == Moves()
        assert markers.marked == frozenset()

    run(test())


def test_only_the_last_marker_of_a_port_counts() -> None:
    async def test() -> None:
        flows = Flows({1: 0})
        markers = Markers(flows, flows.mark)
        await asked(flows, markers)
        flows.moves = Moves({1: 0, 2: 0})
        await asked(flows, markers)
        assert flows.transactions == [1, 1]
        markers.answered(1, 1)
        assert flows.released == []
        markers.answered(2, 2)  # another port's number
        assert flows.released == []
        markers.answered(1, 2)
        assert flows.moves == Moves()

    run(test())


def test_the_same_flows_are_asked_for_once() -> None:
    async def test() -> None:
        flows = Flows({1: 0})
        markers = Markers(flows, flows.mark)
        await asked(flows, markers)
        await asked(flows, markers)
        assert flows.transactions == [1]

    run(test())


def test_without_a_marker_or_a_grace_period_the_flows_go_on_at_once() -> None:
    async def test() -> None:
        for fault in ("may_send", "stuck"):
            flows = Flows({1: 0, 2: 3})
            setattr(flows, fault, fault == "stuck")
            markers = Markers(flows, flows.mark)
            await asked(flows, markers)
            assert flows.moves == Moves()
            assert flows.transactions == []

    run(test())


def test_a_refused_release_is_tried_again() -> None:
    async def test() -> None:
        flows = Flows({1: 0})
        flows.refusals = 2
        markers = Markers(flows, flows.mark)
        await asked(flows, markers)
        markers.answered(1, 1)
        for _ in range(2):
            assert flows.moves == Moves({1: 0})
            flows.held_up.pop()()
        assert flows.released == [{0}]
        assert flows.held_up == []

    run(test())


def test_what_was_learnt_of_a_partner_that_is_gone_is_forgotten() -> None:
    flows = Flows({})
    markers = Markers(flows, flows.mark)
    markers.answered(1, 1)
    markers.answered(2, 2)
    markers.keep([2, 3])
    assert markers.marked == {2}
