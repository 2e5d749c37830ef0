# SPDX-License-Identifier: BSD-2-Clause
"""Changes on trial: begun, confirmed, and reverted when nobody confirmed them in time.

Owns which there are, their timer and their file.  What is to be put back is written
before a change begins, so a laggd that is killed at any moment leaves its successor all
that it needs to revert; a lagg that somebody deletes meanwhile is made anew.  Nothing
of a trial is left when laggd puts all back.  Meanwhile its laggs take no other change:
what a revert means would be anybody's guess (ADR 27).

The rules are handover/trial.py's.  Runs in the turns of commands.py.
"""

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from lagg.config.diff import way_back
from lagg.errors import LaggError, logged
from lagg.events import EventKind
from lagg.handover.trial import (
    Before,
    Trial,
    due,
    next_due,
    put_back,
    text,
    trials_of,
)
from lagg.handover.trial_file import TrialFile
from lagg.lacp.values import NS, NS_OF_MS, Instant
from lagg.life import time_of_day
from lagg.model import LaggConfig
from lagg.operations.changes import Changes
from lagg.operations.hotplug import HotPlug
from lagg.operations.laggs import Laggs
from lagg.records import TrialRecord
from lagg.running.bundle import Bundle
from lagg.tasks import Alarm, Tasks

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_NS = 10 * NS
"""From one look at the clock to the next: a machine that slept is late by no more."""

Whole = Callable[[Callable[[], Coroutine[Any, Any, None]]], Awaitable[None]]


def boot_ns() -> Instant:
    """The clock of trials: nanoseconds since the machine started, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Trials:
    """For the event loop's thread alone."""

    def __init__(
        self,
        laggs: Laggs,
        changes: Changes,
        hotplug: HotPlug,
        whole: Whole,
        clock: Callable[[], Instant] = boot_ns,
    ) -> None:
        """`whole` runs an operation in its turn.  None is there before resume()."""
        self._laggs = laggs
        self._changes = changes
        self._hotplug = hotplug
        self._whole = whole
        self._clock = clock
        self._file: TrialFile | None = None
        self._trials: tuple[Trial, ...] = ()
        self._alarm = Alarm(self._ring)
        self._tasks = Tasks()

    async def resume(self, file: TrialFile, *, adopted: bool) -> None:
        """Goes on with what a laggd left in its file, if its laggs were `adopted`.

        Without them nothing is left to revert: the files were applied anew.
        """
        self._file = file
        with logged(log.warning):
            if adopted:  # nothing is written: a disk that is full keeps none from it
                self._trials = self._left(file)
            else:
                await self._keep(())
        self._arm()
        for trial in self._trials:
            seconds = trial.left_ms(self._clock()) / 1000
            log.info("%s: on trial for %.0f s still", _words(trial.names), seconds)

    def _left(self, file: TrialFile) -> tuple[Trial, ...]:
        saved = file.read()
        try:
            return trials_of(saved, self._clock()) if saved else ()
        except ValueError as error:
            aside = file.set_aside()
            log.error("%s: %s: kept as %s", file.name, error, aside)
            return ()

    async def close(self) -> None:
        """Nothing reverts any more: every lagg is gone."""
        self._alarm.set(None)
        await self._tasks.close()
        with logged(log.warning):
            await self._keep(())

    def of(self, name: str) -> Trial | None:
        """The trial that a lagg of this name, or alternative name, is in."""
        bundle, ifindex = self._laggs.named(name), None
        if bundle is not None:
            name, ifindex = bundle.name, bundle.link.ifindex
        found = (each for each in self._trials if each.concerns(name, ifindex))
        return next(found, None)

    def require_none(self, names: Iterable[str]) -> None:
        """LaggError (EBUSY) names the first of these laggs that is on trial."""
        for name in names:
            trial = self.of(name)
            if trial is not None:
                cause = (
                    "a change of it waits to be confirmed, and reverts in"
                    f" {trial.left_ms(self._clock()) / 1000:.0f} s; laggctl confirm"
                    f" {name} keeps it, with --revert takes it back now"
                )
                raise LaggError(name, cause, errno.EBUSY)

    def record(self, trial: Trial) -> TrialRecord:
        """What is to be seen of it."""
        left_ms = trial.left_ms(self._clock())
        until = time.time_ns() + left_ms * NS_OF_MS
        return {
            "laggs": [*trial.names],
            "until": time_of_day(until),
            "left_ms": left_ms,
        }

    def records(self) -> tuple[TrialRecord, ...]:
        """All of them."""
        return tuple(map(self.record, self._trials))

    async def begin(
        self,
        names: Sequence[str],
        operation: Callable[[], Awaitable[T]],
        confirm_ms: int,
    ) -> tuple[T, Trial | None]:
        """Changes the laggs of these names on trial; None: nothing has changed.

        LaggError when the operation raised it, or its way back cannot be kept; nothing
        has changed then.
        """
        trial = self._trial(names, self._clock() + confirm_ms * NS_OF_MS)
        await self._keep((*self._trials, trial))
        try:
            result = await operation()
        finally:  # a lagg may be gone although its end was not as it should be
            begun = await self._begun(trial)
        return result, begun

    async def _begun(self, trial: Trial) -> Trial | None:
        if self._is_as_before(trial):
            await self._forget(trial)
            return None
        made = tuple(bundle.link.ifindex for bundle in self._made(trial))
        begun = replace(trial, made=made)
        if made:
            with logged(log.warning):  # a successor knows them by name alone
                await self._keep((*self._without(trial), begun))
        for bundle in self._there(begun):
            seconds = begun.left_ms(self._clock()) / 1000
            bundle.emit(EventKind.TRIAL, f"reverts in {seconds:.0f} s unless confirmed")
        return begun

    def _trial(self, names: Sequence[str], due_at: Instant) -> Trial:
        there = [each for each in map(self._laggs.named, names) if each is not None]
        return Trial(
            due_at,
            before=tuple(map(before_of, there)),
            created=tuple(name for name in names if self._laggs.named(name) is None),
        )

    def _is_as_before(self, trial: Trial) -> bool:
        """Whether nothing is otherwise than it was."""
        if any(self._laggs.named(name) is not None for name in trial.created):
            return False
        pairs = [(self._laggs.of_tap(each.ifindex), each) for each in trial.before]
        return all(
            bundle is not None and before_of(bundle).is_as(each)
            for bundle, each in pairs
        )

    async def confirm(self, name: str | None) -> tuple[Trial, ...]:
        """Ends the trial that a lagg is in, or all: what was changed stays.

        LaggError (ENOENT): there is none (any more).  Another: a successor would not
        know that it is confirmed, so it is not.
        """
        found = self._chosen(name)
        for trial in found:
            await self._keep(self._without(trial))
            for bundle in self._there(trial):
                bundle.emit(EventKind.CONFIRMED, "the change stays")
        return found

    async def revert(self, name: str | None) -> tuple[Trial, ...]:
        """Ends it, or all, by putting back what was before.  LaggError (ENOENT)."""
        found = self._chosen(name)
        for trial in reversed(found):
            await self._revert(trial, "laggctl confirm --revert")
        return found

    def _chosen(self, name: str | None) -> tuple[Trial, ...]:
        if name is None:
            found = self._trials
        else:
            trial = self.of(name)
            found = () if trial is None else (trial,)
        if not found:
            cause = "no change waits to be confirmed: none is on trial, or it reverted"
            raise LaggError(name or "laggd", cause, errno.ENOENT)
        return found

    def _there(self, trial: Trial) -> list[Bundle]:
        found = (self._laggs.of_tap(each.ifindex) for each in trial.before)
        return [*(bundle for bundle in found if bundle), *self._made(trial)]

    def _made(self, trial: Trial) -> list[Bundle]:
        by_name = (self._laggs.named(name) for name in trial.created)
        by_index = (self._laggs.of_tap(each) for each in trial.made)
        return [each for each in (by_index if trial.made else by_name) if each]

    async def _revert(self, trial: Trial, why: str) -> None:
        """Puts back what was before, as far as it can, and says what it cannot.

        It is forgotten last: who is killed in the middle leaves it to be done again.
        """
        now = {bundle.name: bundle.config for bundle in self._there(trial)}
        wanted = [self._wanted(each) for each in trial.before]
        before = {config.name: config for config in wanted}
        back = way_back(now, before, [each.name for each in self._made(trial)])
        try:
            refused = await self._changes.restore(back)
            for each in trial.before:
                self._put_back(each, why)
            for error in refused:
                self._tell_refused(error)
            await self._changes.destroy_all([each.name for each in back.destroy])
        finally:  # whatever went wrong would go wrong again
            await self._forget(trial)

    def _wanted(self, before: Before) -> LaggConfig:
        """A lagg's configuration of before, by the name that it has now."""
        bundle = self._laggs.of_tap(before.ifindex)
        if bundle is None:
            return before.lasting
        return replace(before.config, name=bundle.name)

    def _put_back(self, before: Before, why: str) -> None:
        """What is wanted, and the state beside the settings, are as they were."""
        bundle = self._laggs.of_tap(before.ifindex)
        bundle = bundle or self._laggs.named(before.config.name)
        if bundle is None:
            log.warning("%s: not reverted: it is gone", before.config.name)
            return
        with logged(log.warning):
            bundle.adopt(put_back(bundle.shape, before.shape))
        self._hotplug.wait_for(bundle, before.said, before.config.ports)
        for port in bundle.wanted.waiting_for:
            if before.shape.named(port) is not None:
                said = "is not there, and waited for"
                bundle.emit(EventKind.NOT_REVERTED, said, port)
        bundle.emit(EventKind.REVERTED, "the change was taken back", cause=why)

    def _tell_refused(self, error: LaggError) -> None:
        log.error("not reverted: %s", error)
        name, _, port = error.thing.partition(": port ")
        bundle = self._laggs.named(name)
        if bundle is not None:
            bundle.emit(EventKind.NOT_REVERTED, error.cause, port or None)

    # ---- the timer and the file ------------------------------------------------------

    def _without(self, trial: Trial) -> tuple[Trial, ...]:
        return tuple(each for each in self._trials if each is not trial)

    async def _forget(self, trial: Trial) -> None:
        """A trial has ended; what a full disk keeps of it, a successor does again."""
        self._trials = self._without(trial)
        with logged(log.warning):
            await self._keep(self._trials)

    async def _keep(self, trials: tuple[Trial, ...]) -> None:
        """These are all.  LaggError: they are not on the disk, and as they were here.

        In a thread: a slow disk must not hold up a failover.
        """
        assert self._file is not None, "resume() comes first"
        data = text(trials) if trials else b""
        await asyncio.to_thread(self._file.write, data)
        self._trials = trials
        self._arm()

    def _arm(self) -> None:
        first = next_due(self._trials)
        left = None if first is None else max(first - self._clock(), 0)
        self._alarm.set(None if left is None else min(left, LOOK_NS))

    def _ring(self) -> None:
        if due(self._trials, self._clock()):
            self._tasks.begin(self._revert_due)
        else:
            self._arm()

    async def _revert_due(self) -> None:
        try:
            await self._whole(self._revert_all_due)
        finally:
            self._arm()

    async def _revert_all_due(self) -> None:
        for trial in due(self._trials, self._clock()):
            log.warning("%s: nobody confirmed the change", _words(trial.names))
            await self._revert(trial, "nobody confirmed it in time")


def before_of(bundle: Bundle) -> Before:
    """A lagg as it is now."""
    said = bundle.wanted.said
    return Before(bundle.link.ifindex, bundle.config, said, bundle.shape)


def _words(names: Iterable[str]) -> str:
    return ", ".join(names)
