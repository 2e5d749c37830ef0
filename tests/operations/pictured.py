# SPDX-License-Identifier: BSD-2-Clause
"""Laggs on a picture of the kernel, in which interfaces are values.

What a rehearsal stands on, and here whole laggs do; each sees the other's interfaces.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from errno import EBUSY
from types import SimpleNamespace
from typing import Any, cast

from lagg.errors import LaggError
from lagg.events import Event
from lagg.kernel.native import Device
from lagg.kernel.netlink import Netlink
from lagg.link import Link, Modes, Reception
from lagg.operations.changes import Changes
from lagg.operations.hotplug import HotPlug
from lagg.operations.rehearsal import RehearsedLaggs, seen
from lagg.operations.rehearsed_kernel import (
    RehearsedDevice,
    RehearsedNetlink,
    RehearsedTakeover,
)
from lagg.ports.takeover import Takeover

PORTS = ("p0", "p1", "p2", "slow0", "down0", "small0")
STRANGERS = ("lo", "theirs0", "used0", "vlan0", "absent0", "lagg1")


def link(ifindex: int, name: str, **others: Any) -> Link:  # noqa: ANN401
    mac = f"02:00:5e:00:53:{ifindex:02x}"
    known = Link(ifindex, name, mac, 1500, True, True, "UP", 1, mtu_max=9000)
    return replace(known, **others)


LINKS = (
    link(1, "lo", arphrd=772, flags=8),
    *(link(2 + at, name) for at, name in enumerate(PORTS[:4])),
    link(6, "down0", up=False, lower_up=False, operstate="DOWN"),
    link(7, "small0", mtu_max=1500),
    link(8, "theirs0"),
    link(9, "used0"),
    link(10, "vlan0", kind="vlan", lower=9),
)


class Kernel:
    """What is asked and not pictured."""

    async def addresses(self, _: int) -> tuple[()]:
        return ()

    async def wireless(self, _: int) -> bool:
        return False

    async def filters_vlans(self, _: int) -> bool:
        return False

    async def modes(self, ifindex: int) -> Modes:
        return Modes(1000 if ifindex == 5 else 10000)

    def reception(self, _: int) -> Reception:
        return Reception(0, 0)


class NobodysPorts:
    """The interfaces before any was taken; another laggd has one."""

    held: frozenset[int] = frozenset()

    def hears_local(self, _: int) -> bool:
        return False

    def holds(self, _: int) -> bool:
        return False

    async def require_free(self, link: Link) -> None:
        if link.name == "theirs0":
            raise LaggError(link.name, "is a port of another laggd", EBUSY)


class Ports(RehearsedTakeover):
    """The ports of the laggs that run here."""

    async def require_free(self, link: Link) -> None:
        await self._takeover.require_free(link)

    def original(self, ifindex: int) -> Any:  # noqa: ANN401
        mac, mtu, up = self._found(ifindex)
        return SimpleNamespace(mac=mac, mtu=mtu, up=up)


class Pictured:
    """Laggs that run, and all that was told of them."""

    def __init__(self, netlink: RehearsedNetlink) -> None:
        self.netlink = netlink
        self.laggs = RehearsedLaggs(
            cast(Netlink, netlink),
            cast(Takeover, Ports(netlink, cast(Takeover, NobodysPorts()))),
            lambda name, _: cast(Device, RehearsedDevice(netlink, name)),
        )
        self.hotplug = HotPlug(self.laggs, _never)
        self.changes = Changes(self.laggs, self.hotplug)
        self.events: list[Event] = []
        self.laggs.subscribe(self.events.append)

    async def whole(self) -> tuple[object, ...]:
        """All there is of them."""
        links = await self.netlink.links()
        return seen(self.laggs), links, self.laggs.takeover.held, len(self.events)


async def _never(_: object) -> None:
    """No port that is waited for comes."""


@asynccontextmanager
async def pictured() -> AsyncIterator[Pictured]:
    """Without a lagg yet."""
    kernel = cast(Netlink, Kernel())
    world = Pictured(RehearsedNetlink(kernel, {each.ifindex: each for each in LINKS}))
    async with world.hotplug:
        try:
            yield world
        finally:
            await world.laggs.close()
