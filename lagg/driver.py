# SPDX-License-Identifier: BSD-2-Clause
"""The imperative shell: every operation a user may ask for.

Owns the life of all laggs of this network namespace.  An operation is done whole or
undone: each step registers its way back before the next is tried.  One runs at a time,
and to its end even when the client that asked has gone.
"""

import asyncio
import errno
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from lagg import propagate
from lagg.announce import Announcer
from lagg.attach import attach, detach
from lagg.bundle import Bundle
from lagg.custody import Custody
from lagg.eligible import valid_name
from lagg.errors import LaggError
from lagg.fleet import Fleet
from lagg.follow import Follower
from lagg.model import Event, LaggChange, LaggConfig, LaggRecord, Options
from lagg.native import Device
from lagg.netlink import DeafPorts, Netlink
from lagg.shape import Port, Shape

QUEUE_FRAMES = 4096
"""A lagg's txqueuelen: 40 ms at 100 kpps; a busy CPU keeps a worker off so long."""


class Driver:
    """All laggs of this network namespace.  For the event loop's thread alone."""

    def __init__(self, fleet: Fleet, parts: AsyncExitStack) -> None:
        """`parts` closes what the fleet was made with; see `open`."""
        self._fleet = fleet
        self._parts = parts
        self._turn = asyncio.Lock()

    @classmethod
    async def open(
        cls, state_dir: Path, make_device: Callable[[str], Device] = Device
    ) -> Self:
        """A driver on the real kernel, with a dead predecessor's ports put back."""
        async with AsyncExitStack() as parts:
            netlink = await parts.enter_async_context(Netlink())
            deaf = await parts.enter_async_context(DeafPorts())
            custody = await Custody.open(netlink, deaf, state_dir)
            parts.callback(custody.close)
            driver = cls(Fleet(netlink, custody, make_device), parts.pop_all())
        follower = Follower(driver._fleet, driver.whole, driver._destroy)
        await driver._parts.enter_async_context(follower)
        await driver._parts.enter_async_context(Announcer(driver._fleet))
        return driver

    async def close(self) -> None:
        """Destroys every lagg: all ports are put back."""
        for name in tuple(self._fleet.bundles):
            await self.destroy(name)
        await self._parts.aclose()

    def subscribe(self, sink: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `sink` with each event from now on; returns what ends it."""
        return self._fleet.subscribe(sink)

    async def records(self, name: str | None) -> tuple[LaggRecord, ...]:
        """The record of one lagg or of all.  LaggError (ENOENT) when there is none."""
        bundles = self._fleet.bundles
        chosen = bundles.values() if name is None else [self._fleet.find(name)]
        return tuple(bundle.record() for bundle in chosen)

    async def create(self, config: LaggConfig) -> None:
        """Creates a lagg with its ports, and sets it up."""
        await self.whole(self._create(config))

    async def destroy(self, name: str) -> None:
        """Puts every port back and takes the interface away."""
        await self.whole(self._destroy(name))

    async def set(self, name: str, change: LaggChange) -> None:
        """Changes protocol, options, MAC or MTU, live."""
        await self.whole(self._set(name, change))

    async def attach(self, name: str, ports: Sequence[str]) -> None:
        """Attaches interfaces, live."""
        await self.whole(self._attach(name, ports))

    async def detach(self, name: str, ports: Sequence[str]) -> None:
        """Detaches ports, live, and puts them back as they were found."""
        await self.whole(self._detach(name, ports))

    async def whole(self, operation: Coroutine[None, None, None]) -> None:
        """Runs one operation when it is its turn, and to its end."""

        async def in_turn() -> None:
            async with self._turn:
                await operation

        await asyncio.shield(asyncio.ensure_future(in_turn()))

    async def _create(self, config: LaggConfig) -> None:
        name = valid_name(config.name)
        if name in self._fleet.bundles:
            raise LaggError(name, "already exists", errno.EEXIST)
        async with _undoing() as undo:
            bundle = await self._make_bundle(config, undo)
            await self._apply(bundle, config.mac, config.mtu, undo)
            for port in config.ports:
                await attach(self._fleet, bundle, port, undo)
        bundle.emit("created", f"laggproto {config.proto.value}")
        _tell_attached(bundle, ())

    async def _make_bundle(self, config: LaggConfig, undo: AsyncExitStack) -> Bundle:
        netlink = self._fleet.netlink
        try:
            device = self._fleet.make_device(config.name)
        except OSError as error:
            raise LaggError.of_os(config.name, "create the TAP", error) from error
        undo.callback(device.close)
        ifindex = (await netlink.by_name(config.name)).ifindex
        await netlink.set_queue(ifindex, QUEUE_FRAMES)
        await netlink.set_up(ifindex, True)
        shape = Shape(config.proto, _with_seed(config.options))
        link = await netlink.link(ifindex)
        bundle = Bundle(link, device, shape, emit=self._fleet.emit)
        self._fleet.bundles[config.name] = bundle
        undo.callback(self._fleet.bundles.pop, config.name)
        return bundle

    async def _destroy(self, name: str) -> None:
        bundle = self._fleet.find(name)
        ports = bundle.shape.ports
        del self._fleet.bundles[name]
        await asyncio.to_thread(bundle.device.close)
        for port in ports:
            await self._fleet.custody.give_back(port.link.ifindex)
        self._fleet.watch_ports()
        bundle.emit("destroyed", f"{len(ports)} ports put back")

    async def _set(self, name: str, change: LaggChange) -> None:
        bundle = self._fleet.find(name)
        options = _with_seed(change.options_after(bundle.shape.options))
        proto = change.proto or bundle.shape.proto
        async with _undoing() as undo:
            await self._apply(bundle, change.mac, change.mtu, undo)
            bundle.adopt(replace(bundle.shape, proto=proto, options=options))
        await self._fleet.follow_speed(bundle)

    async def _apply(
        self, bundle: Bundle, mac: str | None, mtu: int | None, undo: AsyncExitStack
    ) -> None:
        """The MAC and MTU a user asked for: they stay when ports come and go."""
        netlink, everyone = self._fleet.netlink, propagate.members(bundle)
        if mtu is not None:
            undo.callback(setattr, bundle, "mtu_fixed", bundle.mtu_fixed)
            await propagate.set_mtu(netlink, bundle, everyone, mtu, undo)
            bundle.mtu_fixed = True
        if mac is not None:
            undo.callback(setattr, bundle, "mac_fixed", bundle.mac_fixed)
            await propagate.set_mac(netlink, bundle, everyone, mac, undo)
            bundle.mac_fixed = True

    async def _attach(self, name: str, ports: Sequence[str]) -> None:
        bundle = self._fleet.find(name)
        before = bundle.shape.ports
        async with _undoing() as undo:
            for port in ports:
                await attach(self._fleet, bundle, port, undo)
        _tell_attached(bundle, before)

    async def _detach(self, name: str, ports: Sequence[str]) -> None:
        bundle = self._fleet.find(name)
        async with _undoing() as undo:
            await detach(self._fleet, bundle, ports, undo)


@asynccontextmanager
async def _undoing() -> AsyncIterator[AsyncExitStack]:
    """What is pushed here runs, last first, unless the block ends well."""
    async with AsyncExitStack() as undo:
        yield undo
        undo.pop_all()


def _tell_attached(bundle: Bundle, before: Sequence[Port]) -> None:
    # When all is done, and not on the way: what is undone never happened.
    slots = {port.slot for port in before}
    for port in bundle.shape.ports:
        if port.slot not in slots:
            bundle.emit("port-attached", f"slot {port.slot}", port.link.name)


def _with_seed(options: Options) -> Options:
    """lagg(4) draws a seed at each attach of a protocol; ours is drawn once."""
    if options.hash_seed is not None:
        return options
    return replace(options, hash_seed=secrets.randbits(32))
