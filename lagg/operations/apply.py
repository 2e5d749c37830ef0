# SPDX-License-Identifier: BSD-2-Clause
"""A Diff made true: laggs made, changed and destroyed, all of it or nothing.

Owns the order, in which what can be refused comes before what cannot be undone: ports
are freed, laggs changed and made, ports attached, and only then is any lagg destroyed.
Runs inside one operation of commands.py.
"""

import errno
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import fields, replace

from lagg.config.diff import Diff, LaggDiff
from lagg.errors import LaggError, logged
from lagg.events import EventKind
from lagg.model import LaggChange, LaggConfig, Options, PortOptions
from lagg.operations import propagate
from lagg.operations.altname import rename
from lagg.operations.attach import attach, detach
from lagg.operations.laggs import Laggs
from lagg.operations.lifetime import make
from lagg.plan.shape import LaggMac, Port, Shape
from lagg.running.bundle import Bundle
from lagg.tasks import together

log = logging.getLogger(__name__)

Change = Callable[[Bundle, LaggChange, AsyncExitStack], Awaitable[None]]


class Applier:
    """Applies a Diff to the laggs."""

    def __init__(self, laggs: Laggs, change: Change) -> None:
        """`change` sets a lagg, with its undo."""
        self._laggs = laggs
        self._change = change

    async def apply(self, diff: Diff, undo: AsyncExitStack) -> None:
        """All but the laggs to destroy; `undo` then has the way back.  LaggError."""
        await self._free_ports(diff, undo)
        await self._free_names(diff, undo)
        for each in diff.change:
            await self._set(each, undo)
        await self._make_all(diff.create, undo)
        for each in diff.change:
            await self._attach(self._laggs.find(each.name), each.coming, undo)

    async def _make_all(
        self, configs: Sequence[LaggConfig], undo: AsyncExitStack
    ) -> None:
        """Makes all at a time, for most of the time is the kernel's."""
        await together(self._make_one(config, undo) for config in configs)

    async def _make_one(self, config: LaggConfig, undo: AsyncExitStack) -> None:
        its_undo = await undo.enter_async_context(AsyncExitStack())
        bundle = await make(self._laggs, replace(config, ports=()), its_undo)
        bundle.adopt(bundle.shape.in_order(config.ports))
        await self._attach(bundle, config.ports, its_undo)

    async def _free_ports(self, diff: Diff, undo: AsyncExitStack) -> None:
        for each in diff.change:
            await self._detach(each.name, each.leaving, undo)
        for doomed in diff.destroy:
            moving = [port for port in doomed.ports if port in diff.moving]
            await self._detach(doomed.name, moving, undo)

    async def _free_names(self, diff: Diff, undo: AsyncExitStack) -> None:
        """Takes names away that a lagg is not to have, for another may have them."""
        kept = {each.name: each.after.options.altname for each in diff.change}
        for config in (*(each.before for each in diff.change), *diff.destroy):
            bundle, ours = self._laggs.find(config.name), config.options.altname
            wanted = set(ours).intersection(kept.get(config.name, ()))
            await rename(self._laggs.netlink, bundle, ours, wanted, undo)

    async def _detach(
        self, name: str, ports: Sequence[str], undo: AsyncExitStack
    ) -> None:
        bundle = self._laggs.find(name)
        there = [port for port in bundle.shape.ports if port.link.name in ports]
        if there:
            undo.push_async_callback(self._reattach, bundle, bundle.shape, there)
            names = [port.link.name for port in there]
            await detach(self._laggs, bundle, names, undo)

    async def _reattach(
        self, bundle: Bundle, before: Shape, ports: Sequence[Port]
    ) -> None:
        """The way back of a detach; a port that will not come back is logged."""
        # The lowest slot first, for that is what attach gives.
        for port in sorted(ports, key=lambda port: port.slot):
            with logged(log.warning, "not undone: %s"):
                async with AsyncExitStack() as undo:
                    await attach(self._laggs, bundle, port.link.name, undo)
                    undo.pop_all()
        if _slots(bundle.shape) == _slots(before):  # then flows are as they were, too
            primary, homes = before.primary, before.homes
            bundle.adopt(replace(bundle.shape, primary=primary, homes=homes))
        tell_attached(bundle, [port.link.name for port in ports])

    async def _set(self, each: LaggDiff, undo: AsyncExitStack) -> None:
        bundle = self._laggs.find(each.name)
        await self._release(bundle, each.released, undo)
        await self._order(bundle, each.after.ports, undo)
        if each.change is None:
            return
        undo.push_async_callback(self._set_back, bundle, _as_it_is(bundle))
        await self._change(bundle, each.change, undo)

    async def _set_back(self, bundle: Bundle, change: LaggChange) -> None:
        with logged(log.warning, "not undone: %s"):
            await self._change(bundle, change, AsyncExitStack())

    async def _order(
        self, bundle: Bundle, order: Sequence[str], undo: AsyncExitStack
    ) -> None:
        """The ports' order is that of the files, and so is whose MAC the lagg has."""
        before = bundle.shape
        undo.callback(self._order_back, bundle, before)
        bundle.adopt(before.in_order(order))
        await propagate.rule(self._laggs, bundle, bundle.shape, undo)

    def _order_back(self, bundle: Bundle, before: Shape) -> None:
        with logged(log.warning, "not undone: %s"):
            bundle.adopt(
                replace(bundle.shape, order=before.order, primary=before.primary)
            )

    async def _release(
        self, bundle: Bundle, keys: Sequence[str], undo: AsyncExitStack
    ) -> None:
        """MAC or MTU are the primary's again, as if nobody had set them.

        Without a port they stay until the first that comes gives its own.
        """
        primary, netlink = bundle.shape.primary_port, self._laggs.netlink
        everyone = propagate.members(bundle)
        if "mtu" in keys:
            propagate.fix_mtu(bundle, False, undo)
            if primary is not None:
                mtu = self._laggs.takeover.mtu_found(primary.link.ifindex)
                await propagate.set_mtu(netlink, bundle, everyone, mtu, undo)
        if "mac" in keys:
            nobodys = LaggMac(bundle.shape.mac.address)
            mac = nobodys if primary is None else primary.lends
            wanted = replace(bundle.shape, mac=mac)
            await propagate.rule(self._laggs, bundle, wanted, undo)

    async def _attach(
        self, bundle: Bundle, ports: Sequence[str], undo: AsyncExitStack
    ) -> None:
        for port in ports:
            if await self._present(port):
                await attach(self._laggs, bundle, port, undo)

    async def _present(self, name: str) -> bool:
        try:
            await self._laggs.netlink.by_name(name)
        except LaggError as error:
            if error.code != errno.ENODEV:
                raise
            return False
        return True


def tell_attached(
    bundle: Bundle, ports: Sequence[str], cause: str | None = None
) -> None:
    """Says of each port that it is one now; when all is done, and not on the way."""
    for name in ports:
        port = bundle.shape.named(name)
        if port is not None:
            bundle.emit(EventKind.PORT_ATTACHED, "", name, cause=cause)


def _slots(shape: Shape) -> dict[int, int]:
    return {port.link.ifindex: port.slot for port in shape.ports}


def _as_it_is(bundle: Bundle) -> LaggChange:
    """What sets protocol and options as they are now."""
    options = bundle.shape.options
    return LaggChange(
        proto=bundle.shape.proto,
        options=tuple(
            (field.name, getattr(options, field.name)) for field in fields(Options)
        ),
        port_options={
            port: tuple(
                (field.name, getattr(chosen, field.name))
                for field in fields(PortOptions)
            )
            for port, chosen in bundle.shape.port_options.items()
        },
    )
