# SPDX-License-Identifier: BSD-2-Clause
"""What of a lagg's shape time changes, with the workers under it, and over a hand-over.

The time is of its own: it waits for nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

from lagg.events import Event
from lagg.handover.saved import SavedHold, SavedLagg
from lagg.kernel.native import Device
from lagg.model import Options, Proto
from lagg.plan.gate import held_for
from lagg.plan.shape import Shape
from lagg.running.bundle import Bundle
from tests.plan.test_delays import port_of, with_carrier
from tests.running.world import NotedDevice, VirtualLoop, link_of, now_ns, passes

DELAY_MS = 500
DAMPED = Options(hash_seed=0, damping=True)
OPTIONS = Options(hash_seed=0, up_delay_ms=DELAY_MS, down_delay_ms=DELAY_MS)


class Lagg:
    """A failover lagg of two ports, the second of which waited and is used."""

    def __init__(self) -> None:
        self.device = NotedDevice()
        self.events: list[Event] = []
        self.bundle = Bundle(
            link_of(1, 0),
            cast(Device, self.device),
            Shape(Proto.FAILOVER, OPTIONS),
            identity=1,
            emit=self.events.append,
            clock=now_ns,
        )

    async def start(self) -> None:
        for slot in (0, 1):
            shape = self.bundle.shape.with_port(port_of(slot, up=True))
            self.bundle.adopt(shape)
        assert self.carries() == (0,)
        await passes(DELAY_MS / 1000)
        assert self.carries() == (0, 1)

    def carries(self) -> tuple[int, ...]:
        assert self.device.plan is not None
        return self.device.plan.tx_slots

    def carrier(self, slot: int, *, up: bool) -> None:
        self.bundle.adopt(with_carrier(self.bundle.shape, slot, up=up))

    def told(self) -> list[tuple[str, str | None]]:
        return [(each.event.value, each.port) for each in self.events]


def run(work: Callable[[Lagg], Awaitable[None]]) -> None:
    async def whole() -> None:
        lagg = Lagg()
        await lagg.start()
        lagg.events.clear()
        await work(lagg)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(whole())


def test_a_port_is_left_when_its_delay_is_over_and_not_before() -> None:
    async def work(lagg: Lagg) -> None:
        lagg.carrier(0, up=False)
        await passes(DELAY_MS / 1000 - 0.01)
        assert lagg.carries() == (0, 1)
        await passes(0.01)
        assert lagg.carries() == (1,)
        assert lagg.told() == [
            ("port-link", "eth0"),
            ("port-delay", "eth0"),
            ("active-port", "eth1"),
        ]

    run(work)


def test_a_link_that_is_back_in_time_ends_the_wait() -> None:
    async def work(lagg: Lagg) -> None:
        lagg.carrier(0, up=False)
        await passes(0.4)
        lagg.carrier(0, up=True)
        await passes(10)
        assert lagg.told() == [("port-link", "eth0")] * 2

    run(work)


def test_what_the_workers_refuse_is_done_when_they_let_go() -> None:
    async def work(lagg: Lagg) -> None:
        lagg.carrier(0, up=False)
        lagg.device.stuck = True
        await passes(1)
        assert lagg.carries() == (0, 1)
        lagg.device.stuck = False
        await passes(1)
        assert lagg.carries() == (1,)

    run(work)


def test_waits_holds_and_history_go_on_in_the_next_laggd() -> None:
    async def work(lagg: Lagg) -> None:
        lagg.bundle.adopt(held_for(lagg.bundle.shape, {"eth1": 2000}, now_ns()))
        lagg.carrier(0, up=False)
        found = lagg.bundle.saved([SavedHold(10), SavedHold(11)])
        assert found is not None
        lagg.bundle.give_up()
        again = SavedLagg.of(found.text(), now_ns())
        assert again == replace(found, moves=again.moves)
        device = cast(Device, lagg.device)
        emit = lagg.events.append
        bundle = Bundle.resumed(again, device, emit=emit, clock=now_ns)
        bundle.settle()
        seen = [bundle.plan.tx_slots]
        for wait_s in (DELAY_MS / 1000, 2):
            await passes(wait_s)
            seen.append(bundle.plan.tx_slots)
        assert seen == [(0,), (), (1,)]
        assert [port["failures"] for port in bundle.record()["ports"]] == [1, 0]

    run(work)


def test_who_is_kept_out_for_flapping_is_let_in_by_the_next_laggd() -> None:
    async def work(lagg: Lagg) -> None:
        lagg.bundle.adopt(replace(lagg.bundle.shape, options=DAMPED))
        published = len(lagg.device.published)
        for _ in range(100):
            lagg.carrier(0, up=False)
            await passes(0.005)
            lagg.carrier(0, up=True)
            await passes(0.005)
        assert len(lagg.device.published) == published + 5
        out = {"penalty": 16_000, "suppressed": True}
        record = lagg.bundle.record()["ports"][0]
        assert record["damping"] == {**out, "penalty": 15_984, "reuse_ms": 19_986}
        found = lagg.bundle.saved([SavedHold(10), SavedHold(11)])
        assert found is not None
        lagg.bundle.give_up()
        again = SavedLagg.of(found.text(), now_ns())
        device, emit = cast(Device, lagg.device), lagg.events.append
        bundle = Bundle.resumed(again, device, emit=emit, clock=now_ns)
        bundle.settle()
        seen = []
        for wait_s in (19.98, 0.01):
            await passes(wait_s)
            seen.append(bundle.plan.tx_slots)
        assert seen == [(1,), (0, 1)]
        record = bundle.record()["ports"][0]
        assert record["damping"] == {
            "penalty": 1000,
            "suppressed": False,
            "reuse_ms": 0,
        }

    run(work)
