# SPDX-License-Identifier: BSD-2-Clause
"""What waits until a worker lets go: called then, once, and blocking nobody."""

import asyncio
from collections.abc import Awaitable, Callable

from lagg.events import Asker
from lagg.running.backlog import LOOK_S, Backlog
from lagg.tasks import asked, asker
from tests.running.world import VirtualLoop, passes


class World:
    """A backlog whose workers hold everything up while `held`."""

    def __init__(self) -> None:
        self.held = True
        self.looks = 0
        self.called: list[object] = []
        self.backlog = Backlog(self.is_held_up)

    def is_held_up(self) -> bool:
        self.looks += 1
        return self.held

    def attempt(self, what: object) -> None:
        self.called.append(what)


def run(work: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        await work(World())

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(whole())


def test_nothing_is_called_while_a_worker_holds_all_up_and_all_is_when_it_lets_go() -> (
    None
):
    async def work(world: World) -> None:
        for what in (1, 2, 1):
            world.backlog.add(world.attempt, what)
        await passes(100 * LOOK_S)
        assert world.called == []
        assert 90 < world.looks < 110
        world.held = False
        await passes(2 * LOOK_S)
        assert world.called == [1, 2]
        looks = world.looks
        await passes(10 * LOOK_S)
        assert (world.called, world.looks) == ([1, 2], looks)

    run(work)


def test_an_attempt_that_is_refused_may_be_added_again() -> None:
    async def work(world: World) -> None:
        def attempt(again: int) -> None:
            world.attempt(again)
            if again:
                world.backlog.add(attempt, again - 1)

        world.held = False
        world.backlog.add(attempt, 2)
        assert world.called == []  # never in the call that was refused
        await passes(5 * LOOK_S)
        assert world.called == [2, 1, 0]

    run(work)


def test_no_client_asked_for_what_is_tried_again() -> None:
    async def work(world: World) -> None:
        world.held = False
        with asked(Asker(0, 4711, "laggctl")):
            world.backlog.add(lambda: world.attempt(asker()))
        await passes(2 * LOOK_S)
        assert world.called == [None]

    run(work)


def test_nothing_is_called_once_it_is_closed() -> None:
    async def work(world: World) -> None:
        world.held = False
        world.backlog.add(world.attempt, 1)
        world.backlog.close()
        world.backlog.add(world.attempt, 2)
        await passes(10 * LOOK_S)
        assert (world.called, world.looks) == ([], 0)

    run(work)
