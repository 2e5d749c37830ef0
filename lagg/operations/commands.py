# SPDX-License-Identifier: BSD-2-Clause
"""The imperative shell: every operation a user may ask for.

Owns whose turn it is, and what of this room lives how long.  One operation runs at a
time, and to its end even when the client that asked has gone.  What each is made of
says changes.py.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from lagg.errors import LaggError
from lagg.events import Asker, Event
from lagg.forwarder.datapath import ForwarderDatapath
from lagg.forwarder.keeper import Keeper
from lagg.handover.trial_file import TrialFile
from lagg.kernel.native import MARK, Device
from lagg.kernel.netlink import DeafPorts, Netlink
from lagg.life import Succession
from lagg.model import (
    FOR_GOOD,
    USUAL_TUNING,
    Health,
    LaggChange,
    LaggConfig,
    Manner,
    Tuning,
)
from lagg.operations import distribution, propagate
from lagg.operations.active_mac import ActiveMac
from lagg.operations.adopt import Left, give_back_rest, go_on, put_right
from lagg.operations.announce import Announcer
from lagg.operations.changes import Changes
from lagg.operations.claim import Apart, Claim, require_none_left
from lagg.operations.held_links import HeldLinks
from lagg.operations.hotplug import HotPlug
from lagg.operations.keeping import Keeping
from lagg.operations.kernel_events import KernelEvents
from lagg.operations.laggs import Laggs
from lagg.operations.lifetime import destroy
from lagg.operations.rehearsal import Order, rehearse
from lagg.operations.succession import HandingOver
from lagg.operations.teaching import Teacher
from lagg.operations.trials import Trials
from lagg.plan.balance_report import Report
from lagg.plan.explain import Bucket, Explanation
from lagg.plan.outcome import Outcome
from lagg.plan.pins import Placed, Spot
from lagg.ports.originals import StateFile
from lagg.ports.takeover import Takeover
from lagg.records import LaggRecord, TrialRecord
from lagg.running import flows
from lagg.running.bundle import Bundle
from lagg.tasks import Tasks, asked, asker, in_turn, quietly

log = logging.getLogger(__name__)

T = TypeVar("T")


class Commands:
    """All laggs of this network namespace.  For the event loop's thread alone."""

    def __init__(self, laggs: Laggs) -> None:
        """Without a kernel's events yet; see open()."""
        self._laggs = laggs
        self._parts = AsyncExitStack()  # closes what this and the laggs are made of
        self._turn = asyncio.Lock()
        self.adopted = 0  # laggs of another laggd
        self.succession = Succession()
        self._handing_over: HandingOver | None = None
        self._keeper: Keeper | None = None  # None: workers are of this process
        self._operations = Tasks()
        self._hotplug = HotPlug(laggs, self.whole)
        self._kernel_events = KernelEvents(laggs, self.whole, self._hotplug)
        self._changes = Changes(laggs, self._hotplug)
        self._trials = Trials(laggs, self._changes, self._hotplug, self.whole)

    @classmethod
    async def open(
        cls,
        state_dir: Path,
        make_device: Callable[[str, Tuning], Device] = Device,
        tuning: Tuning = USUAL_TUNING,
        *,
        apart: Apart | None = None,
    ) -> Self:
        """The commands on the real kernel.

        With a dead predecessor's ports put back.  With `apart`, a forwarder runs the
        workers, and a predecessor's laggs that one has are ours.  LaggError when they
        cannot be, or are there and we would carry frames ourselves; nothing has
        happened to them.
        """
        if apart is not None:
            return await cls._open_apart(state_dir, tuning, apart)
        async with AsyncExitStack() as parts:
            netlink = parts.enter_context(closing(Netlink()))
            deaf = parts.enter_context(closing(DeafPorts(MARK)))
            file = StateFile(state_dir)
            parts.callback(file.close)
            require_none_left(state_dir)
            takeover = await Takeover.after_the_dead(netlink, deaf, file)
            laggs = Laggs(netlink, takeover, lambda name, _: make_device(name, tuning))
            parts.push_async_callback(laggs.close)
            commands = cls(laggs)
            await commands._begin(parts)
        await commands._trials.resume(TrialFile(state_dir), adopted=False)
        return commands

    @classmethod
    async def _open_apart(cls, state_dir: Path, tuning: Tuning, apart: Apart) -> Self:
        """With all that workers need kept by a forwarder; if one has it, from there.

        Until the forwarder is ours nothing is written that whoever has it would see.
        """
        async with AsyncExitStack() as parts:
            netlink = parts.enter_context(closing(Netlink()))
            deaf = parts.enter_context(closing(DeafPorts(MARK)))
            file = StateFile(state_dir, locked=False)
            parts.callback(file.close)
            claim = Claim.of(state_dir, file, apart)
            keeper = claim.keeper
            parts.callback(keeper.close)
            left = claim.look()
            takeover = await claim.take_over(left, netlink, deaf)

            fresh = ForwarderDatapath.fresh

            def make_device(name: str, alert: int) -> Device:
                return Device(name, tuning, fresh(keeper, alert, tuning.busy_poll_us))

            laggs = Laggs(netlink, takeover, make_device, left.alert)
            parts.push_async_callback(laggs.close)
            keeping = Keeping(laggs, keeper, deaf.fileno)
            parts.callback(keeping.close)
            commands = cls(laggs)
            commands._keeper = keeper
            adopted = [claim.adopt(laggs, each, tuning) for each in left.laggs]
            for bundle, each in zip(adopted, left.laggs, strict=True):
                keeping.resume(bundle, each.state)
            claim.complete()
            laggs.watch_ports()
            for bundle, each in zip(adopted, left.laggs, strict=True):
                await go_on(bundle, each)
            commands._handing_over = HandingOver(
                keeper, keeping, commands._turn, file.close
            )
            parts.push_async_callback(commands._handing_over.close)
            commands._handing_over.begin()
            await commands._begin(parts)
        commands.adopted = len(left.laggs)
        if left.laggs:
            await commands.whole(partial(commands._put_right, left))
        resume = commands._trials.resume
        await resume(TrialFile(state_dir), adopted=bool(left.laggs))
        keeping.begin()  # until now what the one before has saved says enough
        commands.succession = claim.succession(len(left.laggs))
        return commands

    async def _begin(self, parts: AsyncExitStack) -> None:
        """Follows the kernel from now on; `parts` are ours."""
        parts.push_async_callback(self._operations.close)
        await parts.enter_async_context(self._hotplug)
        await parts.enter_async_context(self._kernel_events)
        await parts.enter_async_context(Announcer(self._laggs))
        await parts.enter_async_context(HeldLinks(self._laggs, self.whole))
        await parts.enter_async_context(ActiveMac(self._laggs, self.whole))
        await parts.enter_async_context(Teacher(self._laggs, self.whole))
        parts.push_async_callback(self._trials.close)
        self._parts = parts.pop_all()

    async def _put_right(self, left: Left) -> None:
        """What happened while nobody was there, and what was cut off."""
        for each in left.laggs:
            bundle = self._laggs.find(each.saved.link.name)
            await put_right(bundle, each)
            hear = partial(propagate.hear_local, self._laggs, bundle, bundle.shape)
            await quietly(log.warning, hear, AsyncExitStack())
        await give_back_rest(self._laggs)
        self._kernel_events.look_at_all()

    async def leave(self) -> None:
        """Ends this process and leaves every lagg as it is, for the next laggd.

        LaggError (EOPNOTSUPP): its frames are carried here, and would end as well.
        """
        if self._handing_over is None:
            cause = "cannot leave its laggs: it carries their frames itself"
            raise LaggError("laggd", cause, errno.EOPNOTSUPP)
        await self._handing_over.leave()

    async def close(self) -> None:
        """Destroys every lagg: all ports are put back.

        LaggError (EIO) names those that could not be; all others are.
        """
        await in_turn(
            partial(self.whole, self._changes.destroy_every), self._parts.aclose
        )
        self._laggs.takeover.require_all_put_back()

    def subscribe(self, sink: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `sink` with each event from now on; returns what ends it."""
        return self._laggs.subscribe(sink)

    async def records(self, name: str | None) -> tuple[LaggRecord, ...]:
        """The record of one lagg or of all.  LaggError (ENOENT) when there is none."""
        bundles = self._laggs.bundles
        chosen = bundles.values() if name is None else [self._laggs.find(name)]
        return tuple(map(self._record, chosen))

    def _record(self, bundle: Bundle) -> LaggRecord:
        trial = self._trials.of(bundle.name)
        record = bundle.record()
        record["trial"] = None if trial is None else self._trials.record(trial)
        return record

    def health(self) -> Health:
        """How laggs and workers are; cheap."""
        bundles = self._laggs.bundles.values()
        return Health(
            laggs=len(bundles),
            ports=sum(len(bundle.shape.ports) for bundle in bundles),
            carrying=sum(len(bundle.plan.distributing) for bundle in bundles),
            ailments=(
                *self._kernel_events.ailments,
                *(() if self._keeper is None else self._keeper.ailments()),
                *(ailment for each in bundles for ailment in each.ailments()),
            ),
        )

    async def explain(self, name: str, frame: bytes) -> Explanation:
        """Which port carries this frame now.  LaggError (ENOENT)."""
        return flows.explain(self._laggs.find(name), frame)

    async def buckets(self, name: str) -> tuple[Bucket, ...]:
        """Frames sent by each bucket so far.  LaggError (ENOENT, EOPNOTSUPP)."""
        return flows.buckets(self._laggs.find(name))

    async def balance(self, name: str, look_ms: int) -> Report:
        """How a lagg's load is shared, and what would move for it."""
        return await distribution.balance(self._laggs, name, look_ms)

    async def pin(self, name: str, spot: Spot, port: str, for_ms: int | None) -> Placed:
        """Has a bucket stay on a port, for good or for a time."""
        order = partial(distribution.pin, self._laggs, name, spot, port, for_ms)
        return await self._whole_of(name, order)

    async def unpin(self, name: str, spot: Spot) -> Placed:
        """Has a bucket stay nowhere."""
        order = partial(distribution.unpin, self._laggs, name, spot)
        return await self._whole_of(name, order)

    async def move(self, name: str, spot: Spot, port: str) -> Placed:
        """Moves a bucket once."""
        order = partial(distribution.move, self._laggs, name, spot, port)
        return await self._whole_of(name, order)

    async def create(self, config: LaggConfig, manner: Manner = FOR_GOOD) -> Outcome:
        """Creates a lagg with its ports, and sets it up."""
        return await self._ordered(
            manner, lambda: [config.name], lambda changes: changes.create(config)
        )

    async def destroy(self, name: str) -> None:
        """Puts every port back and takes the interface away."""
        await self._whole_of(name, partial(destroy, self._laggs, name))

    async def set(
        self, name: str, change: LaggChange, manner: Manner = FOR_GOOD
    ) -> Outcome:
        """Changes protocol, options, MAC or MTU, live."""
        return await self._ordered(
            manner, lambda: [name], lambda changes: changes.set(name, change)
        )

    async def attach(
        self, name: str, ports: Sequence[str], manner: Manner = FOR_GOOD
    ) -> Outcome:
        """Attaches interfaces, live."""
        return await self._ordered(
            manner, lambda: [name], lambda changes: changes.attach(name, ports)
        )

    async def detach(
        self, name: str, ports: Sequence[str], manner: Manner = FOR_GOOD
    ) -> Outcome:
        """Detaches ports, live, and puts them back as they were found."""
        return await self._ordered(
            manner, lambda: [name], lambda changes: changes.detach(name, ports)
        )

    async def release(self, name: str, ports: Sequence[str]) -> None:
        """Ends LACP's hold of ports whose partner changed too often."""
        await self._whole_of(name, partial(self._changes.release, name, ports))

    async def reload(
        self, wanted: Sequence[LaggConfig], manner: Manner = FOR_GOOD
    ) -> Outcome:
        """Makes what runs be what the files say; a line for each change."""
        return await self._ordered(
            manner,
            lambda: self._changes.difference(wanted).names,
            lambda changes: changes.reload(wanted),
        )

    async def confirm(self, name: str | None, *, revert: bool) -> tuple[str, ...]:
        """Ends the trial of a lagg, or all, for good or by a revert; whose it was.

        LaggError (ENOENT): none waits to be confirmed.
        """
        end = self._trials.revert if revert else self._trials.confirm
        ended = await self.whole(partial(end, name))
        return tuple(name for trial in ended for name in trial.names)

    def trials(self) -> tuple[TrialRecord, ...]:
        """The changes that wait to be confirmed."""
        return self._trials.records()

    async def _ordered(
        self, manner: Manner, names: Callable[[], Sequence[str]], order: Order
    ) -> Outcome:
        """What comes of a change of the laggs of these names, made in this manner."""
        return await self.whole(partial(self._do, manner, names, order))

    async def _do(
        self, manner: Manner, names: Callable[[], Sequence[str]], order: Order
    ) -> Outcome:
        concerned = names()
        self._trials.require_none(concerned)
        if manner.rehearsed:
            return await rehearse(self._laggs, order)
        work, trial = partial(order, self._changes), None
        if manner.confirm_ms is None or not concerned:
            lines = await work()
        else:
            lines, trial = await self._trials.begin(concerned, work, manner.confirm_ms)
        return Outcome(
            lines or (), None if trial is None else self._trials.record(trial)
        )

    async def _whole_of(
        self, name: str, operation: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """As whole(), of a lagg that is not on trial: LaggError (EBUSY)."""

        async def guarded() -> T:
            self._trials.require_none([name])
            return await operation()

        return await self.whole(guarded)

    async def running(self) -> tuple[LaggConfig, ...]:
        """What would make all that runs anew, MACs included whose port has left."""
        return tuple(bundle.lasting_config for bundle in self._laggs.bundles.values())

    async def whole(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs one operation when it is its turn, and to its end.

        A failure that nobody waits for any more is logged.  LaggError (ESHUTDOWN).
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        task = self._operations.begin(self._run, operation, answer, asker())
        if task is None:
            raise LaggError("laggd", "is stopping", errno.ESHUTDOWN)
        task.add_done_callback(lambda _: answer.cancel())
        return await answer

    async def _run(
        self,
        operation: Callable[[], Coroutine[Any, Any, T]],
        answer: "asyncio.Future[T]",
        by: Asker | None,
    ) -> None:
        async with self._turn:
            try:
                with asked(by):
                    result = await operation()
                await self._laggs.learn_new_egress()
            except Exception as error:
                if answer.cancelled():
                    raise
                answer.set_exception(error)
            else:
                if not answer.cancelled():
                    answer.set_result(result)
            finally:
                self._laggs.settled()
