# SPDX-License-Identifier: BSD-2-Clause
"""What goes on beside something else: background tasks, and steps taken together.

Owns their end, and who asked for what goes on.  A background task has an owner: what
must live and ends is begun anew, and is an ailment until it lives again; what fails is
logged; nothing runs on once the owner has closed.  No client asked for it, whoever was
asking when it began.  Of steps all are taken to their end, whichever fails.  Knows no
lagg and no kernel.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, Generic, ParamSpec, TypeVar

from lagg.errors import LaggError, Log, logged
from lagg.events import Asker

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

PAUSE_S_MIN = 0.1
PAUSE_S_MAX = 5.0
"""Before a task is begun anew: twice as long each time, between these."""

SOUND_S = 3.0
"""A task that was begun anew ails no more when it has lived so long.  Less than a
supervisor's usual patience: a laggd that is well again is not to be ended."""

_ASKER: ContextVar[Asker | None] = ContextVar("asker", default=None)


def asker() -> Asker | None:
    """Who asked for what goes on now; None: no client did."""
    return _ASKER.get()


@contextmanager
def asked(by: Asker | None) -> Iterator[None]:
    """What goes on inside is asked for by this client, or by none."""
    token = _ASKER.set(by)
    try:
        yield
    finally:
        _ASKER.reset(token)


_REHEARSED: ContextVar[bool] = ContextVar("rehearsed", default=False)


def rehearsed() -> bool:
    """Whether what goes on now is only played through, and so is nothing to log."""
    return _REHEARSED.get()


@contextmanager
def rehearsing() -> Iterator[None]:
    """What goes on inside is not so."""
    token = _REHEARSED.set(True)
    try:
        yield
    finally:
        _REHEARSED.reset(token)


def unasked() -> Context:
    """The context for what is to go on later, for which no client asks."""
    context = copy_context()
    context.run(_ASKER.set, None)
    return context


class Listings(Generic[T]):
    """What takes long to list, once for all who ask before it is begun; in a thread.

    Whoever asks gets a listing that was begun after that.  Event loop's thread only.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        """`make`: lists it, in any thread."""
        self._make = make
        self._turn = asyncio.Lock()
        self._asked = 0  # how often somebody has
        self._waiting = 0  # how many of them still do
        self._last: tuple[int, T] | None = None  # for the first so many who asked

    async def next(self) -> T:
        """A listing.  Raises what make() raises; each other one who asks tries anew."""
        self._asked += 1
        self._waiting += 1
        number = self._asked
        try:
            async with self._turn:
                return await self._for(number)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._last = None

    async def _for(self, number: int) -> T:
        if self._last is None or self._last[0] < number:
            self._last = self._asked, await asyncio.to_thread(self._make)
        return self._last[1]


class Alarm:
    """One timer of its owner's, for whatever is due first; of the event loop's thread.

    No client asked for what it calls.
    """

    def __init__(self, ring: Callable[[], object]) -> None:
        """`ring` is called when it is due; until set() it never is."""
        self._ring = ring
        self._handle: asyncio.Handle | None = None

    def set(self, wait_ns: int | None) -> None:
        """Due in so many nanoseconds, and not when it was before; None: never."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if wait_ns is None:
            return
        loop, context = asyncio.get_running_loop(), unasked()
        if wait_ns > 0:
            self._handle = loop.call_later(wait_ns / 1e9, self._ring, context=context)
        else:
            self._handle = loop.call_soon(self._ring, context=context)


class Tasks:
    """The background tasks of one owner.  For the event loop's thread alone."""

    def __init__(self) -> None:
        """An owner without tasks."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ailing: dict[str, str] = {}  # what must live, and how it ended
        self._closed = False

    @property
    def ailments(self) -> tuple[str, ...]:
        """Kept tasks that do not run at the moment, in words; usually none."""
        return tuple(f"{what} ended: {how}" for what, how in self._ailing.items())

    def begin(
        self,
        work: Callable[P, Coroutine[Any, Any, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> "asyncio.Task[T] | None":
        """Runs `work` with these arguments; when it fails, that is logged.

        None when the owner has closed: nothing is begun then.
        """
        if self._closed:
            return None
        loop = asyncio.get_running_loop()
        task = loop.create_task(work(*args, **kwargs), context=unasked())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def keep(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs `work`, which must never end; `what` is how an ailment calls it."""
        self.begin(self._keep, what, work)

    async def close(self) -> None:
        """Cancels what runs, and waits until it has ended."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LaggError):
            log.warning("%s", error)
        elif error is not None:
            log.error("a background task failed", exc_info=error)

    async def _keep(
        self, what: str, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        pause_s = PAUSE_S_MIN
        while True:
            error = await self._life(what, work)
            if what not in self._ailing:  # it was sound before it ended
                pause_s = PAUSE_S_MIN
            self._ailing[what] = str(error) or type(error).__name__
            log.error("%s ended and is begun anew", what, exc_info=error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    async def _life(
        self, what: str, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> Exception:
        """Runs `work` to its end; what ended it."""
        loop = asyncio.get_running_loop()
        sound = loop.call_later(SOUND_S, self._ailing.pop, what, None)
        try:
            await work()
        except asyncio.CancelledError:
            if self._closed:
                raise
            return RuntimeError("cancelled")
        except Exception as error:  # noqa: BLE001  whatever it was: it is begun anew
            return error
        finally:
            sound.cancel()
        return RuntimeError("returned")


async def together(steps: Iterable[Awaitable[T]]) -> list[T]:
    """Takes all steps beside each other, each to its end, and answers their results.

    Raises the failure of the first that failed, when all are over; logs the others.
    """
    found = await asyncio.gather(*steps, return_exceptions=True)
    _raise_first([each for each in found if isinstance(each, BaseException)])
    return [each for each in found if not isinstance(each, BaseException)]


async def in_turn(*steps: Callable[[], Awaitable[object]]) -> None:
    """Takes all steps in their order, each one also when those before it failed.

    Raises and logs as together().
    """
    failures: list[BaseException] = []
    for step in steps:
        try:
            await step()
        except Exception as error:  # noqa: BLE001  it is raised when all are over
            failures.append(error)
    _raise_first(failures)


async def quietly(
    log: Log, step: Callable[P, Awaitable[object]], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Takes a step that may fail, and nothing else with it: see logged()."""
    with logged(log):
        await step(*args, **kwargs)


def _raise_first(failures: list[BaseException]) -> None:
    for error in () if rehearsed() else failures[1:]:
        log.error("%s", error, exc_info=error)
    if failures:
        raise failures[0]
