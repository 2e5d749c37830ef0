# SPDX-License-Identifier: BSD-2-Clause
"""A switch to LACP is whole or undone: what was, goes on, whichever step fails."""

import asyncio
import errno
import os
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, cast

import pytest

from lagg.errors import LaggError
from lagg.events import Event
from lagg.kernel.native import Device
from lagg.link import Link, Modes
from lagg.model import Options, Proto
from lagg.operations.laggs import Laggs
from lagg.operations.protocol_change import change_protocol
from lagg.plan.plan import Plan
from lagg.plan.shape import Port, Shape
from lagg.running.bundle import Bundle
from lagg.running.lacp_io import LacpIo

PORTS = 3
OPEN, FILTER, PUBLISH = "open", "filter", "publish"


class World:
    """A static lagg of PORTS ports whose `fails` step does, at its `at`th time."""

    def __init__(self, fails: str = "", at: int = 0) -> None:
        self._fails, self._left = fails, at
        self.open: set[int] = set()
        self.admitted = dict.fromkeys(range(PORTS), True)
        self.takeover = self
        self.gone = 0  # the ifindex of one that the kernel knows no more
        self.plans: list[Plan] = []
        events: list[Event] = []
        link = link_of(9)
        shape = Shape(Proto.LOADBALANCE, Options(hash_seed=0))
        device = cast(Device, self)
        self.bundle = Bundle(link, device, shape, identity=1, emit=events.append)
        for slot in range(PORTS):
            port = Port(slot, link_of(slot + 1), home_mac="", modes=Modes())
            self.bundle.adopt(self.bundle.shape.with_port(port))
        self._armed = bool(fails)

    def _step(self, name: str) -> None:
        if self._armed and name == self._fails:
            self._left -= 1
            if self._left < 0:
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    def negotiator(self, bundle: Bundle) -> LacpIo:
        return LacpIo(bundle, lambda: None, open_socket=self.socket)

    # ---- the device ----------------------------------------------------------------

    _armed = False

    def publish(self, plan: Plan) -> int:
        self._step(PUBLISH)
        self.plans.append(plan)
        return 1

    def held_by(self, _: int) -> None:
        """No worker is behind."""

    def set_carrier(self, up: bool) -> None:
        """Nobody looks."""

    def admit_lacp(self, slot: int, admit: bool) -> None:
        if not admit:
            self._step(FILTER)
        self.admitted[slot] = admit

    # ---- the takeover --------------------------------------------------------------

    def hears_local(self, _: int) -> bool:
        return True

    async def set_hears_local(self, ifindex: int, hears: bool) -> None:
        """As it was: these switches are not about that."""
        assert hears
        if ifindex == self.gone:
            raise LaggError("p", "set up its chain: No such device", errno.ENODEV)

    # ---- the sockets ---------------------------------------------------------------

    def socket(self, ifindex: int, name: str) -> "Socket":
        try:
            self._step(OPEN)
        except OSError as error:
            raise LaggError.of_os(name, "open", error) from error
        return Socket(self)


class Socket:
    def __init__(self, world: World) -> None:
        self._world = world
        self._pipe = os.pipe()
        world.open.add(self._pipe[0])

    def close(self) -> None:
        self._world.open.remove(self._pipe[0])
        for end in self._pipe:
            os.close(end)

    def fileno(self) -> int:
        return self._pipe[0]

    def frames(self) -> Any:  # noqa: ANN401
        return iter(())

    def send(self, _: bytes) -> bool:
        return True

    def take_overruns(self) -> int:
        return 0


def link_of(number: int) -> Link:
    mac = f"02:00:5e:00:53:{number:02x}"
    return Link(number, f"p{number}", mac, 1500, True, True, "UP", 1)


def to(world: World, proto: Proto) -> None:
    async def work() -> None:
        async with AsyncExitStack() as undo:
            await change_protocol(
                cast(Laggs, world),
                world.bundle,
                proto,
                lambda shape: replace(shape, proto=proto),
                undo,
            )
            undo.pop_all()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("fails", "at"),
    [*((step, at) for step in (OPEN, FILTER) for at in range(PORTS)), (PUBLISH, 0)],
)
def test_a_switch_to_lacp_that_fails_leaves_all_as_it_was(fails: str, at: int) -> None:
    world = World(fails, at)
    shape, plan, published = world.bundle.shape, world.bundle.plan, len(world.plans)
    with pytest.raises(LaggError):
        to(world, Proto.LACP)
    assert (world.bundle.shape, world.bundle.plan) == (shape, plan)
    assert len(world.plans) == published
    assert world.bundle.lacp is None
    assert world.open == set()
    assert all(world.admitted.values())


def test_a_switch_to_lacp_and_back_opens_and_closes_what_it_needs() -> None:
    async def both() -> None:
        async with AsyncExitStack() as undo:
            laggs = cast(Laggs, world)
            for proto in (Proto.LACP, Proto.LACP, Proto.FAILOVER):

                def change(shape: Shape, proto: Proto = proto) -> Shape:
                    return replace(shape, proto=proto)

                await change_protocol(laggs, world.bundle, proto, change, undo)
                running = proto is Proto.LACP
                assert len(world.open) == (PORTS if running else 0)
                assert all(world.admitted.values()) is not running
                assert (world.bundle.lacp is not None) is running
            undo.pop_all()

    world = World()
    asyncio.run(both())


def test_a_port_that_has_just_gone_refuses_no_switch() -> None:
    world = World()
    world.gone = 2
    to(world, Proto.ROUNDROBIN)
    assert world.bundle.shape.proto is Proto.ROUNDROBIN
