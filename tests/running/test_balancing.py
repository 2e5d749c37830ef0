# SPDX-License-Identifier: BSD-2-Clause
"""A lagg at work whose buckets move for their load: when it looks, and what it says."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

import pytest

from lagg.errors import LaggError
from lagg.events import Event, EventKind
from lagg.kernel.native import Device
from lagg.link import Modes
from lagg.model import BUCKETS, HashKind, Options, Pin, Proto
from lagg.plan.balance import MOVES_MAX
from lagg.plan.pins import with_pin
from lagg.plan.shape import Port, Shape
from lagg.running.balancing import INTERVAL_MS_MIN, Balancing
from lagg.running.bundle import Bundle
from lagg.running.flows import counted, load_since, report_since
from tests.running.world import NotedDevice, VirtualLoop, link_of, now_ns, passes

MB = 1 << 20
INTERVAL_S = 1.0
A_BIT_S = INTERVAL_S / 10
PORTS = 3


class CountingDevice(NotedDevice):
    """With bytes by each bucket."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = [0] * BUCKETS
        self.looks = 0

    def buckets(self) -> tuple[tuple[int, int], ...]:
        self.looks += 1
        return tuple((0, size) for size in self.sent)


class World:
    """Three ports, and a load that is all on the first."""

    def __init__(self, interval_ms: int = int(INTERVAL_S * 1000)) -> None:
        self.device = CountingDevice()
        self.events: list[Event] = []
        options = Options(hash_seed=1, balance_interval_ms=interval_ms)
        self.bundle = Bundle(
            link_of(1, 0),
            cast(Device, self.device),
            Shape(Proto.LOADBALANCE, options),
            identity=1,
            emit=self.events.append,
        )
        self.bundle.followers.append(Balancing(self.bundle, clock=now_ns))
        for slot in range(PORTS):
            link = link_of(1, slot + 1)
            port = Port(slot, link, home_mac=link.mac, modes=Modes(1000))
            self.bundle.adopt(self.bundle.shape.with_port(port))
        self.events.clear()

    @property
    def deal(self) -> tuple[int, ...]:
        return self.bundle.plan.tx_slots

    def send_by_first(self) -> None:
        for bucket, slot in enumerate(self.deal):
            self.device.sent[bucket] += MB if slot == 0 else 0

    def change(self, **options: object) -> None:
        shape = self.bundle.shape
        options_after = replace(shape.options, **options)  # type: ignore[arg-type]
        self.bundle.adopt(replace(shape, options=options_after))

    def set_link(self, slot: int, *, up: bool) -> None:
        link = self.bundle.shape.at(slot).link
        now = replace(link, lower_up=up, operstate="UP" if up else "DOWN")
        self.bundle.adopt(self.bundle.shape.with_link(now, Modes(1000)))

    @property
    def moves(self) -> list[Event]:
        return [each for each in self.events if each.event is EventKind.MOVE]


def run(work: Callable[[World], Awaitable[None]], interval_ms: int = 1000) -> None:
    """Once the interval is over in which the ports came."""

    async def whole() -> None:
        world = World(interval_ms)
        await passes(INTERVAL_S)
        await work(world)
        world.bundle.give_up()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(whole())


def test_at_the_end_of_an_interval_buckets_move_and_it_is_told_and_counted() -> None:
    async def work(world: World) -> None:
        before = world.deal
        world.send_by_first()
        await passes(INTERVAL_S - A_BIT_S)
        assert world.deal == before
        await passes(2 * A_BIT_S)
        moved = [b for b in range(BUCKETS) if world.deal[b] != before[b]]
        assert len(moved) == MOVES_MAX
        assert {before[b] for b in moved} == {0}
        assert [(e.port, e.cause) for e in world.moves] == [
            ("p2", "balance"),
            ("p3", "balance"),
        ]
        told = ", ".join(e.details.partition(" ")[2] for e in world.moves)
        assert sorted(map(int, told.split(", "))) == moved
        assert world.bundle.saved([]) is not None
        history = world.bundle.saved([]).history  # type: ignore[union-attr]
        assert history.balanced == MOVES_MAX

    run(work)


def test_by_default_nobody_looks_and_nothing_moves() -> None:
    async def work(world: World) -> None:
        before = world.deal
        world.send_by_first()
        await passes(100 * INTERVAL_S)
        assert world.deal == before
        assert world.device.looks == 0

    run(work, interval_ms=0)


def test_it_begins_and_ends_with_the_option() -> None:
    async def work(world: World) -> None:
        world.change(balance_interval_ms=0)
        before = world.deal
        world.send_by_first()
        await passes(10 * INTERVAL_S)
        assert world.deal == before
        world.change(balance_interval_ms=1)
        await passes(0.9 * INTERVAL_MS_MIN / 1000)
        world.send_by_first()
        assert world.deal == before
        await passes(0.2 * INTERVAL_MS_MIN / 1000)
        assert world.deal != before

    run(work)


def test_what_was_sent_while_a_port_came_or_went_moves_nothing() -> None:
    async def work(world: World) -> None:
        world.set_link(2, up=False)
        await passes(1.5 * INTERVAL_S)
        world.send_by_first()
        world.set_link(2, up=True)
        before = world.deal
        await passes(INTERVAL_S)
        assert world.deal == before
        world.send_by_first()
        await passes(INTERVAL_S)
        assert world.deal != before

    run(work)


@pytest.mark.parametrize(
    "change", [{"hash_seed": 2}, {"hash_symmetric": True}, {"hash": HashKind.FNV1}]
)
def test_what_was_sent_by_another_hash_is_of_other_flows(
    change: dict[str, object],
) -> None:
    async def work(world: World) -> None:
        before = counted(world.bundle)
        world.send_by_first()
        assert load_since(world.bundle, before) is not None
        world.change(**change)
        assert load_since(world.bundle, before) is None

    run(work, interval_ms=0)


def test_a_look_that_a_port_crosses_is_refused_and_so_is_one_of_nobody() -> None:
    async def work(world: World) -> None:
        before = counted(world.bundle)
        world.send_by_first()
        assert report_since(world.bundle, before, 1000).moves
        world.set_link(2, up=False)
        with pytest.raises(LaggError, match="changed during the look"):
            report_since(world.bundle, before, 1000)
        for slot in range(2):
            world.set_link(slot, up=False)
        with pytest.raises(LaggError, match="no port carries"):
            report_since(world.bundle, counted(world.bundle), 1000)

    run(work, interval_ms=0)


def test_a_pinned_bucket_stays() -> None:
    async def work(world: World) -> None:
        *pinned, free = [b for b, slot in enumerate(world.deal) if slot == 0]
        for bucket in pinned:
            world.bundle.adopt(with_pin(world.bundle.shape, Pin(bucket, "p1")))
        before = world.deal
        world.send_by_first()
        await passes(1.5 * INTERVAL_S)
        assert [b for b in range(BUCKETS) if world.deal[b] != before[b]] == [free]

    run(work)


def test_without_a_flow_table_nobody_looks() -> None:
    async def work(world: World) -> None:
        shape = world.bundle.shape
        world.bundle.adopt(replace(shape, proto=Proto.ROUNDROBIN))
        looks = world.device.looks
        await passes(10 * INTERVAL_S)
        assert world.device.looks == looks
        world.bundle.adopt(replace(world.bundle.shape, proto=Proto.LOADBALANCE))
        await passes(1.5 * INTERVAL_S)
        assert world.device.looks > looks

    run(work)


def test_what_the_workers_refuse_moves_at_the_end_of_the_next_interval() -> None:
    async def work(world: World) -> None:
        before = world.deal
        world.device.stuck = True
        world.send_by_first()
        await passes(1.5 * INTERVAL_S)
        assert (world.deal, world.moves) == (before, [])
        world.device.stuck = False
        world.send_by_first()
        await passes(INTERVAL_S)
        assert world.deal != before

    run(work)
