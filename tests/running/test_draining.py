# SPDX-License-Identifier: BSD-2-Clause
"""Flows of a static lagg wait until what they sent before has left their old port."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

import pytest

from lagg.events import Event
from lagg.kernel.native import Device, DeviceCounters, PortCounters
from lagg.link import Modes
from lagg.model import Options, Proto
from lagg.plan.pins import with_moves
from lagg.plan.shape import Port, Shape
from lagg.running.bundle import Bundle
from lagg.running.draining import DRAIN_S_MAX, Draining
from tests.running.world import (
    NO_DROPS,
    READING,
    NotedDevice,
    VirtualLoop,
    link_of,
    passes,
)

BUCKET = 17


class Queues(NotedDevice):
    """With what was sent by each port, and what of that waits still."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = [0, 0]
        self.waits = [0, 0]

    def read(self) -> DeviceCounters:
        ports = list(READING.ports)
        for slot, size in enumerate(self.sent):
            ports[slot] = PortCounters(0, size, 0, 0, NO_DROPS)
        return replace(READING, ports=tuple(ports))

    def unsent_bytes(self, slot: int) -> int:
        return self.waits[slot]


class World:
    def __init__(self, proto: Proto = Proto.LOADBALANCE) -> None:
        self.device = Queues()
        self.events: list[Event] = []
        self.bundle = Bundle(
            link_of(1, 0),
            cast(Device, self.device),
            Shape(proto, Options(hash_seed=1)),
            identity=1,
            emit=self.events.append,
        )
        self.bundle.followers.append(Draining(self.bundle))
        for slot in range(2):
            link = link_of(1, slot + 1)
            port = Port(slot, link, home_mac=link.mac, modes=Modes(1000))
            self.bundle.adopt(self.bundle.shape.with_port(port))

    @property
    def origin(self) -> int:
        return self.bundle.plan.tx_slots[BUCKET]

    def move(self) -> None:
        """One bucket to the other port."""
        shape = with_moves(self.bundle.shape, {BUCKET: 1 - self.origin})
        self.bundle.adopt(shape)

    @property
    def held(self) -> frozenset[int]:
        assert self.device.plan is not None
        return self.device.plan.held


def run(work: Callable[[World], Awaitable[None]]) -> None:
    """Once no bucket waits any more for the ports that came."""

    async def whole() -> None:
        world = World()
        await rest(world)
        await work(world)
        world.bundle.give_up()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(whole())


async def rest(world: World) -> float:
    """Until nothing waits; how long that took."""
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    while world.held:
        await passes(0.0001)
        assert loop.time() - begun_s < 2 * DRAIN_S_MAX
    return loop.time() - begun_s


def test_a_moved_bucket_waits_until_the_old_port_has_sent_all() -> None:
    async def work(world: World) -> None:
        origin = world.origin
        world.device.waits[origin] = 3000
        world.move()
        assert world.held == {BUCKET}
        await passes(DRAIN_S_MAX / 2)
        assert world.held == {BUCKET}
        world.device.waits[origin] = 0
        assert await rest(world) < DRAIN_S_MAX / 10
        assert world.bundle.moves.origins == {}

    run(work)


def test_a_port_that_is_never_idle_is_drained_of_what_was_before_the_move() -> None:
    async def work(world: World) -> None:
        origin = world.origin
        world.device.waits[origin] = 3000
        world.move()
        await passes(DRAIN_S_MAX / 2)
        world.device.sent[origin] += 2999
        await passes(DRAIN_S_MAX / 10)
        assert world.held == {BUCKET}
        world.device.sent[origin] += 1
        assert await rest(world) < DRAIN_S_MAX / 10

    run(work)


def test_a_port_that_sends_nothing_holds_nothing_up_for_more_than_a_second() -> None:
    async def work(world: World) -> None:
        world.device.waits = [3000, 3000]
        world.move()
        assert await rest(world) == pytest.approx(DRAIN_S_MAX, abs=0.01)

    run(work)


def test_what_moves_meanwhile_waits_for_a_grace_period_of_its_own() -> None:
    async def work(world: World) -> None:
        world.device.waits = [3000, 3000]
        world.move()
        await passes(DRAIN_S_MAX / 2)
        other = next(b for b, s in enumerate(world.bundle.plan.tx_slots) if s == 0)
        world.bundle.adopt(with_moves(world.bundle.shape, {other: 1}))
        assert world.held == {BUCKET, other}
        asked = len(world.device.asked)
        world.device.waits = [0, 0]
        await rest(world)
        assert len(world.device.asked) > asked

    run(work)


def test_a_refused_publication_is_tried_again() -> None:
    async def work(world: World) -> None:
        world.move()
        world.device.stuck = True
        await passes(DRAIN_S_MAX)
        assert world.held == {BUCKET}
        world.device.stuck = False
        await rest(world)

    run(work)


def test_a_bucket_of_a_port_that_is_cut_moves_at_once() -> None:
    async def work(world: World) -> None:
        world.device.waits = [3000, 3000]
        link = world.bundle.shape.at(0).link
        dead = replace(link, lower_up=False, operstate="DOWN")
        world.bundle.adopt(world.bundle.shape.with_link(dead, Modes(1000)))
        assert world.held == frozenset()
        assert world.bundle.plan.distributing == (1,)

    run(work)
