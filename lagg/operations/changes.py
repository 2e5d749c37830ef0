# SPDX-License-Identifier: BSD-2-Clause
"""What each operation that changes laggs is made of, in its order.

Owns the steps.  An operation is done whole or undone: each step registers its way back
before the next is tried.  Knows not whose turn it is, nor who asked: commands.py does.

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

import errno
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import cast

from lagg.config.diff import Diff, LaggDiff, diff, report_lines
from lagg.errors import LaggError
from lagg.events import EventKind
from lagg.model import LaggChange, LaggConfig, Pin, senseless
from lagg.operations import propagate
from lagg.operations.altname import rename
from lagg.operations.apply import Applier, tell_attached
from lagg.operations.attach import attach, attached, detach
from lagg.operations.hotplug import HotPlug
from lagg.operations.laggs import Laggs
from lagg.operations.lifetime import destroy, keep_mac, make, with_seed
from lagg.operations.protocol_change import change_protocol
from lagg.plan.gate import held_for, settled, without_end
from lagg.plan.plan import reason
from lagg.plan.shape import Shape
from lagg.running.bundle import Bundle
from lagg.tasks import quietly, together

log = logging.getLogger(__name__)


class Changes:
    """The operations on these laggs; each method is one, to be run in its turn.

    Every one may raise LaggError, and has changed nothing then.
    """

    def __init__(self, laggs: Laggs, hotplug: HotPlug) -> None:
        """`hotplug`: who waits for ports of these laggs."""
        self._laggs = laggs
        self._hotplug = hotplug
        self._applier = Applier(laggs, self._change)

    def difference(self, wanted: Sequence[LaggConfig]) -> Diff:
        """What a reload is to do, where files say what is wanted."""
        bundles = self._laggs.bundles.values()
        running = {bundle.name: bundle.config for bundle in bundles}
        said = {each.name: each.wanted.said for each in bundles if each.wanted.said}
        return diff(running, said, wanted)

    async def reload(self, wanted: Sequence[LaggConfig]) -> tuple[str, ...]:
        """Makes what runs be what the files say; a line for each change."""
        found = self.difference(wanted)
        await self._apply(found)
        try:
            await self.destroy_all([doomed.name for doomed in found.destroy])
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

    async def restore(self, back: Diff) -> tuple[LaggError, ...]:
        """Makes laggs be what they were, as far as they can; answers what refused.

        All at once; if that is refused, a part after the other, each whole or not.
        """
        try:
            await self._apply(back)
        except LaggError as error:
            log.warning("not at once: %s", error)
            return await self._restore_in_parts(back)
        return ()

    async def _apply(self, found: Diff) -> None:
        changing = [self._laggs.find(each.name) for each in found.change]
        async with _undoing(*changing) as undo:
            await self._applier.apply(found, undo)
            for config in found.create:
                await keep_mac(self._laggs, self._laggs.find(config.name))
        self._tell(found)

    async def _restore_in_parts(self, back: Diff) -> tuple[LaggError, ...]:
        """Ports that are to leave, settings, ports that are to come, new laggs."""
        refused: list[LaggError] = []
        for each in back.change:
            for port in each.leaving:
                await self._part(each.name, partial(_without, port), refused)
            await self._part(each.name, partial(_set_as, each.after), refused)
        for each in back.change:
            for port in each.coming:
                await self._part(each.name, partial(_with, port), refused)
        for config in back.create:
            await self._try(Diff(create=(config,)), refused)
        return tuple(refused)

    async def _part(
        self,
        name: str,
        step: Callable[[LaggConfig], LaggConfig],
        refused: list[LaggError],
    ) -> None:
        now = self._laggs.find(name).config
        await self._try(Diff(change=(LaggDiff(now, step(now)),)), refused)

    async def _try(self, part: Diff, refused: list[LaggError]) -> None:
        try:
            await self._apply(part)
        except LaggError as error:
            refused.append(error)

    async def create(self, config: LaggConfig) -> None:
        """Makes a lagg with its ports."""
        async with _undoing() as undo:
            bundle = await make(self._laggs, config, undo)
            await keep_mac(self._laggs, bundle)
        bundle.emit(EventKind.CREATED, f"laggproto {config.proto.value}")
        tell_attached(bundle, config.ports)

    async def destroy_every(self) -> None:
        """By the names of now: the last operation may have taken one away."""
        await self.destroy_all(tuple(self._laggs.bundles))

    async def destroy_all(self, names: Sequence[str]) -> None:
        """Destroys all at a time, for most of the time is the kernel's."""
        await together(destroy(self._laggs, name) for name in names)

    async def set(self, name: str, change: LaggChange) -> None:
        """Sets what is named, live."""
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

    async def attach(self, name: str, ports: Sequence[str]) -> None:
        """Attaches interfaces, all or none."""
        bundle = self._laggs.find(name)
        new = [port for port in ports if bundle.shape.named(port) is None]
        async with _undoing() as undo:
            for port in new:
                await attach(self._laggs, bundle, port, undo)
        tell_attached(bundle, new)

    async def detach(self, name: str, ports: Sequence[str]) -> None:
        """Takes ports out, all or none, and waits for none of them any more."""
        bundle = self._laggs.find(name)
        waiting = [port for port in ports if port in bundle.wanted.waiting_for]
        there = [port for port in ports if port not in waiting]
        if there:
            async with _undoing() as undo:
                await detach(self._laggs, bundle, there, undo)
        self._hotplug.give_up(bundle, waiting)

    async def release(self, name: str, ports: Sequence[str]) -> None:
        """Ends LACP's hold of ports whose partner changed too often."""
        bundle = self._laggs.find(name)
        numbers = [attached(bundle, port).number for port in ports]
        if bundle.lacp is None:
            cause = f"laggproto {bundle.shape.proto.value} holds no port off"
            raise bundle.refuse(cause, errno.EINVAL)
        bundle.lacp.release(numbers)


def _without(port: str, config: LaggConfig) -> LaggConfig:
    return replace(config, ports=tuple(each for each in config.ports if each != port))


def _with(port: str, config: LaggConfig) -> LaggConfig:
    return replace(config, ports=(*config.ports, port))


def _set_as(wanted: LaggConfig, config: LaggConfig) -> LaggConfig:
    return replace(wanted, ports=config.ports)


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
        which = "failover, tlb and alb have one"
        cause = f"laggproto {proto.value} has no active port; {which}"
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
