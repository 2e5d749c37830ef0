# SPDX-License-Identifier: BSD-2-Clause
"""The imperative shell: every operation a user may ask for.

Owns whose turn it is, and what each is made of.  An operation is done whole or
undone: each step registers its way back before the next is tried.  One runs at a time,
and to its end even when the client that asked has gone.

How an operation is undone: it has one AsyncExitStack, `undo`, which is handed to the
functions of this room.  A step that is whole or nothing by itself pushes its way back
when it is done; any other step does so before it begins, and its way back does no harm
where nothing was done.  When the operation has succeeded, the stack is emptied and
nothing of it runs.  Otherwise it runs, last first, and all of it, also when a part of
it fails.

So what can be refused comes first in an operation, and what cannot be undone last: a
lagg is destroyed, or a port put back, only when all else has succeeded.  Only then,
too, is anybody told of what has come.
"""

import asyncio
import errno
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from lagg.config.diff import Diff, diff, report_lines
from lagg.errors import LaggError
from lagg.events import Asker, Event, EventKind
from lagg.forwarder.datapath import ForwarderDatapath
from lagg.forwarder.keeper import Keeper
from lagg.kernel.native import MARK, Device
from lagg.kernel.netlink import DeafPorts, Netlink
from lagg.life import Succession
from lagg.model import (
    USUAL_TUNING,
    Health,
    LaggChange,
    LaggConfig,
    Pin,
    Tuning,
    senseless,
)
from lagg.operations import distribution, propagate
from lagg.operations.active_mac import ActiveMac
from lagg.operations.adopt import Left, give_back_rest, go_on, put_right
from lagg.operations.altname import rename
from lagg.operations.announce import Announcer
from lagg.operations.apply import Applier, tell_attached
from lagg.operations.attach import attach, attached, detach
from lagg.operations.claim import Apart, Claim, require_none_left
from lagg.operations.held_links import HeldLinks
from lagg.operations.hotplug import HotPlug
from lagg.operations.keeping import Keeping
from lagg.operations.kernel_events import KernelEvents
from lagg.operations.laggs import Laggs
from lagg.operations.lifetime import destroy, keep_mac, make, with_seed
from lagg.operations.protocol_change import change_protocol
from lagg.operations.succession import HandingOver
from lagg.plan.balance_report import Report
from lagg.plan.explain import Bucket, Explanation
from lagg.plan.gate import held_for, settled, without_end
from lagg.plan.pins import Placed, Spot
from lagg.plan.plan import reason
from lagg.plan.shape import Shape
from lagg.ports.originals import StateFile
from lagg.ports.takeover import Takeover
from lagg.records import LaggRecord
from lagg.running import flows
from lagg.running.bundle import Bundle
from lagg.tasks import Tasks, asked, asker, in_turn, quietly, together

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
        self._applier = Applier(laggs, self._change)

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
        self._parts = parts.pop_all()

    async def _put_right(self, left: Left) -> None:
        """What happened while nobody was there, and what was cut off."""
        for each in left.laggs:
            await put_right(self._laggs.find(each.saved.link.name), each)
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
        await in_turn(partial(self.whole, self._destroy_every), self._parts.aclose)
        self._laggs.takeover.require_all_put_back()

    def subscribe(self, sink: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `sink` with each event from now on; returns what ends it."""
        return self._laggs.subscribe(sink)

    async def records(self, name: str | None) -> tuple[LaggRecord, ...]:
        """The record of one lagg or of all.  LaggError (ENOENT) when there is none."""
        bundles = self._laggs.bundles
        chosen = bundles.values() if name is None else [self._laggs.find(name)]
        return tuple(bundle.record() for bundle in chosen)

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
        return await self.whole(order)

    async def unpin(self, name: str, spot: Spot) -> Placed:
        """Has a bucket stay nowhere."""
        return await self.whole(partial(distribution.unpin, self._laggs, name, spot))

    async def move(self, name: str, spot: Spot, port: str) -> Placed:
        """Moves a bucket once."""
        return await self.whole(
            partial(distribution.move, self._laggs, name, spot, port)
        )

    async def create(self, config: LaggConfig) -> None:
        """Creates a lagg with its ports, and sets it up."""
        await self.whole(partial(self._create, config))

    async def destroy(self, name: str) -> None:
        """Puts every port back and takes the interface away."""
        await self.whole(partial(destroy, self._laggs, name))

    async def set(self, name: str, change: LaggChange) -> None:
        """Changes protocol, options, MAC or MTU, live."""
        await self.whole(partial(self._set, name, change))

    async def attach(self, name: str, ports: Sequence[str]) -> None:
        """Attaches interfaces, live."""
        await self.whole(partial(self._attach, name, ports))

    async def detach(self, name: str, ports: Sequence[str]) -> None:
        """Detaches ports, live, and puts them back as they were found."""
        await self.whole(partial(self._detach, name, ports))

    async def release(self, name: str, ports: Sequence[str]) -> None:
        """Ends LACP's hold of ports whose partner changed too often."""
        await self.whole(partial(self._release, name, ports))

    async def reload(self, wanted: Sequence[LaggConfig]) -> tuple[str, ...]:
        """Makes what runs be what the files say; answers a line for each change."""
        return await self.whole(partial(self._reload, wanted))

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

    async def _reload(self, wanted: Sequence[LaggConfig]) -> tuple[str, ...]:
        bundles = self._laggs.bundles
        running = {bundle.name: bundle.config for bundle in bundles.values()}
        said = {
            each.name: each.wanted.said for each in bundles.values() if each.wanted.said
        }
        found = diff(running, said, wanted)
        changing = [self._laggs.find(each.name) for each in found.change]
        async with _undoing(*changing) as undo:
            await self._applier.apply(found, undo)
            for config in found.create:
                await keep_mac(self._laggs, self._laggs.find(config.name))
        self._tell(found)
        try:
            await self._destroy_all([doomed.name for doomed in found.destroy])
        finally:
            for config in wanted:
                self._hotplug.expect(self._laggs.find(config.name), config)
        return report_lines(found, self._hotplug.waiting)

    def _tell(self, done: Diff) -> None:
        for config in done.create:
            bundle = self._laggs.find(config.name)
            bundle.emit(EventKind.CREATED, f"laggproto {config.proto.value}")
            tell_attached(bundle, config.ports)
        for each in done.change:
            bundle = self._laggs.find(each.name)
            if each.before.mtu != each.after.mtu:
                bundle.emit(EventKind.MTU, str(bundle.link.mtu))
            tell_attached(bundle, each.coming)

    async def _create(self, config: LaggConfig) -> None:
        async with _undoing() as undo:
            bundle = await make(self._laggs, config, undo)
            await keep_mac(self._laggs, bundle)
        bundle.emit(EventKind.CREATED, f"laggproto {config.proto.value}")
        tell_attached(bundle, config.ports)

    async def _destroy_every(self) -> None:
        """By the names of now: the last operation may have taken one away."""
        await self._destroy_all(tuple(self._laggs.bundles))

    async def _destroy_all(self, names: Sequence[str]) -> None:
        """Destroys all at a time, for most of the time is the kernel's."""
        await together(destroy(self._laggs, name) for name in names)

    async def _set(self, name: str, change: LaggChange) -> None:
        bundle = self._laggs.find(name)
        primary = dict(change.options).get("primary")
        named = {*change.port_options, *([] if primary is None else [str(primary)])}
        of_pins = cast(tuple[Pin, ...], dict(change.options).get("pin", ()))
        _refuse_strangers(bundle, named.union(pin.port for pin in of_pins))
        for held in change.hold_for_ms:
            attached(bundle, held)
        _refuse_pick(bundle, change)
        mtu = bundle.link.mtu
        async with _undoing(bundle) as undo:
            await self._change(bundle, change, undo)
        if bundle.link.mtu != mtu:
            bundle.emit(EventKind.MTU, str(bundle.link.mtu))

    async def _change(
        self, bundle: Bundle, change: LaggChange, undo: AsyncExitStack
    ) -> None:
        proto = change.proto or bundle.shape.proto
        netlink = self._laggs.netlink
        _refuse_senseless(bundle, _changed(bundle.shape, change))
        await propagate.set_wanted(self._laggs, bundle, change.mac, change.mtu, undo)
        if "altname" in dict(change.options):
            ours = bundle.shape.options.altname
            wanted = change.options_after(bundle.shape.options).altname
            await rename(netlink, bundle, ours, wanted, undo)
        changed = partial(_changed, change=change)
        before, after = bundle.shape, changed(bundle.shape)
        await propagate.rule(self._laggs, bundle, after, undo)
        await change_protocol(self._laggs, bundle, proto, changed, undo)
        await propagate.follow(self._laggs, bundle)
        if any(map(_lets_in_more, (before, after))):
            await quietly(log.warning, self._laggs.rx_wanted.update, bundle)
        await self._laggs.show_speed(bundle)

    async def _attach(self, name: str, ports: Sequence[str]) -> None:
        bundle = self._laggs.find(name)
        new = [port for port in ports if bundle.shape.named(port) is None]
        async with _undoing() as undo:
            for port in new:
                await attach(self._laggs, bundle, port, undo)
        tell_attached(bundle, new)

    async def _detach(self, name: str, ports: Sequence[str]) -> None:
        bundle = self._laggs.find(name)
        waiting = [port for port in ports if port in bundle.wanted.waiting_for]
        there = [port for port in ports if port not in waiting]
        if there:
            async with _undoing() as undo:
                await detach(self._laggs, bundle, there, undo)
        self._hotplug.give_up(bundle, waiting)

    async def _release(self, name: str, ports: Sequence[str]) -> None:
        bundle = self._laggs.find(name)
        numbers = [attached(bundle, port).number for port in ports]
        if bundle.lacp is None:
            cause = f"laggproto {bundle.shape.proto.value} holds no port off"
            raise bundle.refuse(cause, errno.EINVAL)
        bundle.lacp.release(numbers)


@asynccontextmanager
async def _undoing(*changing: Bundle) -> AsyncIterator[AsyncExitStack]:
    """What is pushed here runs, last first, unless the block ends well.

    For each of the laggs that this changes it is one change.
    """
    with ExitStack() as changes:
        for bundle in changing:
            changes.enter_context(bundle.one_change())
        async with AsyncExitStack() as undo:
            yield undo
            undo.pop_all()


def _refuse_strangers(bundle: Bundle, named: Iterable[str]) -> None:
    """Refuses settings for what is no port: no port and no file would have them."""
    ports = [port.link.name for port in bundle.shape.ports]
    for name in named:
        if name not in (*ports, *bundle.wanted.waiting_for):
            thing = f"{bundle.name}: port {name}"
            raise LaggError(thing, "no port of it", errno.ENOENT)


def _refuse_pick(bundle: Bundle, change: LaggChange) -> None:
    """Refuses a choice of a port that cannot carry, or where no single one does."""
    if not change.active:
        return
    proto = change.proto or bundle.shape.proto
    if not proto.elects:
        cause = f"laggproto {proto.value} has no active port; failover and tlb have one"
        raise bundle.refuse(cause, errno.EINVAL)
    slot = attached(bundle, change.active).slot
    after = settled(_changed(bundle.shape, change), time.monotonic_ns())
    if not after.at(slot).usable:
        why = reason(after, slot, ())
        thing = f"{bundle.name}: port {change.active}"
        raise LaggError(thing, f"cannot carry: {why}", errno.ENETDOWN)


def _refuse_senseless(bundle: Bundle, after: Shape) -> None:
    cause = senseless(after.proto, after.options)
    if cause is not None:
        thing = f"{bundle.name}: mac_policy {after.options.mac_policy.value}"
        raise LaggError(thing, cause, errno.EINVAL)


def _changed(shape: Shape, change: LaggChange) -> Shape:
    shape = replace(
        shape,
        proto=change.proto or shape.proto,
        port_options=change.port_options_after(shape.port_options),
    )
    shape = shape.with_options(with_seed(change.options_after(shape.options)))
    said = {port for port, keys in change.port_options.items() if "hold" in dict(keys)}
    shape = held_for(without_end(shape, said), change.hold_for_ms, time.monotonic_ns())
    return shape if change.active is None else shape.with_pick(change.active)


def _lets_in_more(shape: Shape) -> bool:
    """Whether ports let in what they would not by the lagg's MAC alone."""
    return shape.keeps_own or bool(shape.asked_in_vlans)
