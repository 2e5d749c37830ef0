# SPDX-License-Identifier: BSD-2-Clause
"""Background tasks: begun anew, an ailment meanwhile, logged, and ended by close()."""

import asyncio
import errno
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator

import pytest

from lagg import tasks
from lagg.errors import LaggError
from lagg.events import Asker
from lagg.tasks import Listings, Tasks, asked, asker, in_turn, together


class World:
    """One owner of tasks, and a task that fails when it is told to."""

    def __init__(self) -> None:
        self.tasks = Tasks()
        self.lives = 0
        self.failure: asyncio.Future[None] = asyncio.Future()

    async def live(self) -> None:
        """Until the test says how it ends."""
        self.lives += 1
        self.failure = asyncio.get_running_loop().create_future()
        await self.failure

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0)

    async def failed(self, error: BaseException | None) -> None:
        """The task that must live ends so, and has been begun anew."""
        lives = self.lives
        if error is None:
            self.failure.set_result(None)
        elif isinstance(error, asyncio.CancelledError):
            self.failure.cancel()
        else:
            self.failure.set_exception(error)
        await self.until(lambda: self.lives > lives)


Run = Callable[[Callable[[World], Coroutine[None, None, None]]], None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a test with a world, in which pauses are short."""
    monkeypatch.setattr(tasks, "PAUSE_S_MIN", 0.001)
    monkeypatch.setattr(tasks, "PAUSE_S_MAX", 0.004)

    async def in_world(test: Callable[[World], Coroutine[None, None, None]]) -> None:
        world = World()
        await test(world)
        await world.tasks.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner() as runner:
        yield lambda test: runner.run(in_world(test))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        ValueError("4 is not a valid AddrGenMode"),
        None,
        asyncio.CancelledError(),
    ],
    ids=["OSError", "ValueError", "it returns", "what it awaits is cancelled"],
)
def test_what_must_live_is_begun_anew_however_it_ends(
    run: Run, error: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(world: World) -> None:
        world.tasks.keep("the watch", world.live)
        await world.until(lambda: world.lives == 1)
        for _ in range(5):
            await world.failed(error)
        assert len(world.tasks.ailments) == 1
        assert world.tasks.ailments[0].startswith("the watch ended: ")

    run(test)
    assert caplog.messages == ["the watch ended and is begun anew"] * 5


def test_it_is_an_ailment_until_it_has_lived_for_a_while(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "SOUND_S", 0.02)

    async def test(world: World) -> None:
        world.tasks.keep("the watch", world.live)
        await world.until(lambda: world.lives == 1)
        assert not world.tasks.ailments
        await world.failed(OSError(errno.EMFILE, "Too many open files"))
        assert [*world.tasks.ailments] == [
            "the watch ended: [Errno 24] Too many open files"
        ]
        await world.until(lambda: world.tasks.ailments == ())
        assert world.lives == 2

    run(test)


def test_its_pauses_grow_to_a_bound_and_are_short_again_when_it_was_sound(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", noted)

    async def test(world: World) -> None:
        world.tasks.keep("the watch", world.live)
        await world.until(lambda: world.lives == 1)
        for _ in range(4):
            await world.failed(OSError())
        monkeypatch.setattr(tasks, "SOUND_S", 0.02)  # the next is soon sound
        await world.failed(OSError())
        await world.until(lambda: world.tasks.ailments == ())
        await world.failed(OSError())

    run(test)
    assert pauses == [0.001, 0.002, 0.004, 0.004, 0.004, 0.001]


def test_what_fails_once_is_logged_and_done_with(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def test(world: World) -> None:
        world.tasks.begin(fail, LaggError("eth1", "no such interface", errno.ENODEV))
        world.tasks.begin(fail, KeyError(7))
        await world.until(lambda: len(caplog.records) == 2)
        assert world.tasks.ailments == ()

    run(test)
    refused, bug = caplog.records
    assert refused.levelno == logging.WARNING
    assert refused.message == "eth1: no such interface (ENODEV)"
    assert bug.levelno == logging.ERROR
    assert bug.exc_info is not None


def test_close_ends_all_and_nothing_begins_after_it(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def test(world: World) -> None:
        world.tasks.begin(work, "once")
        world.tasks.keep("for ever", lambda: work("for ever"))
        await world.until(lambda: len(asyncio.all_tasks()) == 3)
        await asyncio.sleep(0)
        await world.tasks.close()
        assert sorted(ended) == ["for ever", "once"]
        assert world.tasks.begin(work, "late") is None

    run(test)
    assert sorted(ended) == ["for ever", "once"]
    assert caplog.records == []


def test_what_an_owner_begins_while_it_closes_is_not_begun(run: Run) -> None:
    async def test(world: World) -> None:
        async def again() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                assert world.tasks.begin(again) is None

        world.tasks.begin(again)
        await asyncio.sleep(0)

    run(test)


# ---- steps -------------------------------------------------------------------------


class Steps:
    """Three steps, of which some fail; what has been taken to its end."""

    def __init__(self, *failing: int) -> None:
        self.failing = failing
        self.taken: list[int] = []

    async def take(self, number: int) -> int:
        if number in self.failing:
            raise LaggError(f"step {number}", "for a test", errno.EIO)
        await asyncio.sleep(0)
        self.taken.append(number)
        return number

    async def together(self) -> list[int]:
        return await together(self.take(number) for number in range(3))

    async def in_turn(self) -> None:
        await in_turn(*[lambda n=number: self.take(n) for number in range(3)])


@pytest.mark.parametrize("way", ["together", "in_turn"])
@pytest.mark.parametrize("failing", [(), (0,), (1, 2)])
def test_every_step_is_taken_and_the_first_failure_raised(
    way: str, failing: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    steps, raised = Steps(*failing), ""
    try:
        asyncio.run(getattr(steps, way)())
    except LaggError as error:
        raised = error.thing
    assert steps.taken == [number for number in range(3) if number not in failing]
    assert raised == (f"step {failing[0]}" if failing else "")
    assert len(caplog.records) == max(len(failing) - 1, 0)


def test_results_of_steps_together_come_in_their_order() -> None:
    assert asyncio.run(Steps().together()) == [0, 1, 2]


# ---- who asked ---------------------------------------------------------------------

ASKER = Asker(1000, 4711, "laggctl")


def test_who_asked_is_known_inside_and_nobody_asked_for_a_background_task() -> None:
    async def test() -> None:
        owner = Tasks()
        found: list[Asker | None] = []

        async def look() -> None:
            found.append(asker())

        with asked(ASKER):
            await look()
            background = owner.begin(look)
            await together([look(), look()])
            with asked(None):
                await look()
        await look()
        assert background is not None
        await background
        assert found.count(ASKER) == 3
        assert found.count(None) == 3

    asyncio.run(test())


@pytest.mark.parametrize("fails", [False, True])
def test_a_listing_is_made_once_for_all_who_ask_before_it_is_begun(
    fails: bool,
) -> None:
    """Who asks while one is made gets the next; none is kept for who asks later."""
    made, may_end = list[int](), threading.Event()

    def make() -> int:
        made.append(len(made))
        may_end.wait(10)
        if fails and made[-1] == 0:
            raise OSError(errno.ENOBUFS, "for a test")
        return made[-1]

    async def ask() -> list[int | BaseException]:
        shared = Listings(make)
        first = asyncio.ensure_future(shared.next())
        async with asyncio.timeout(10):
            while not made:
                await asyncio.sleep(0)
        others = [asyncio.ensure_future(shared.next()) for _ in range(3)]
        await asyncio.sleep(0)  # each waits now
        may_end.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        return [*found, await shared.next()]

    first, *found = asyncio.run(ask())
    assert isinstance(first, OSError) if fails else first == 0
    assert found == [1, 1, 1, 2]
    assert made == [0, 1, 2]
