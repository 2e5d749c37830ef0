# SPDX-License-Identifier: BSD-2-Clause
"""Whether frames flow: what devices say, and when who awaits them is told."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator

import pytest

from lagg.running.traffic import Traffic


class Counting:
    """A device that only counts; `arrive` is the next frame, and tells as a worker."""

    def __init__(self) -> None:
        self.frames = 0
        self.eventfd: int | None = None

    def alert(self, eventfd: int) -> None:
        self.eventfd = eventfd

    def arrive(self) -> None:
        self.frames += 1
        if self.eventfd is not None:
            os.eventfd_write(self.eventfd, 1)
            self.eventfd = None


class Racing(Counting):
    """A frame arrives just before it is to tell."""

    def alert(self, eventfd: int) -> None:
        if self.frames == 0:
            self.arrive()
        super().alert(eventfd)


class World:
    def __init__(self, *devices: Counting) -> None:
        self.devices = devices
        self.traffic = Traffic(lambda: self.devices)
        self.told = 0

    def come(self) -> None:
        self.told += 1

    async def turn(self) -> None:
        """All that is ready is done."""
        for _ in range(3):
            await asyncio.sleep(0)


Run = Callable[[Coroutine[None, None, None]], None]


@pytest.fixture
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


def test_it_flows_when_any_device_had_frames_since_it_was_asked(run: Run) -> None:
    async def work() -> None:
        world = World(Counting(), Counting())
        seen = [world.traffic.flows()]
        world.devices[1].arrive()
        seen += [world.traffic.flows(), world.traffic.flows()]
        assert seen == [False, True, False]
        world.traffic.close()

    run(work())


def test_who_awaits_frames_is_told_once_by_whichever_device(run: Run) -> None:
    async def work() -> None:
        world = World(Counting(), Counting())
        world.traffic.await_frames(world.come)
        await world.turn()
        assert world.told == 0
        for device in reversed(world.devices):
            device.arrive()
            await world.turn()
        assert world.told == 1
        assert world.traffic.flows()
        world.traffic.await_frames(world.come)
        await world.turn()
        assert world.told == 1
        world.devices[0].arrive()
        await world.turn()
        assert world.told == 2
        world.traffic.close()

    run(work())


def test_a_frame_that_came_before_the_devices_were_to_tell_is_told(run: Run) -> None:
    async def work() -> None:
        world = World(Racing())
        world.traffic.await_frames(world.come)
        await world.turn()
        assert world.told == 1
        world.traffic.close()

    run(work())


def test_the_last_who_awaits_is_told_and_nobody_after_the_end(run: Run) -> None:
    async def work() -> None:
        world, former = World(Counting()), World()
        world.traffic.await_frames(former.come)
        world.traffic.await_frames(world.come)
        world.devices[0].arrive()
        await world.turn()
        assert (former.told, world.told) == (0, 1)
        world.traffic.await_frames(world.come)
        world.traffic.close()
        await world.turn()
        assert world.told == 1
        former.traffic.close()

    run(work())
