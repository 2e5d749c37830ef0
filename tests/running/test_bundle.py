# SPDX-License-Identifier: BSD-2-Clause
"""What a bundle says of the snapshots it has replaced, with a device that is stuck."""

import asyncio
import errno
from dataclasses import replace
from typing import cast

import pytest

from lagg.errors import LaggError
from lagg.events import Event
from lagg.kernel.native import Device
from lagg.link import Link
from lagg.model import SNAPSHOTS_MAX, Options, Proto
from lagg.plan.plan import Plan
from lagg.plan.shape import Shape
from lagg.records import Limbo
from lagg.running.backlog import LOOK_S
from lagg.running.bundle import Bundle
from tests.running.world import VirtualLoop, passes
from tests.waiting import wait_until

LINK = Link(9, "lagg0", "02:00:5e:00:53:01", 1500, True, False, "DOWN", 1)


class StuckDevice:
    """A device of which worker 3 sits in a section since ticket `since`."""

    def __init__(self) -> None:
        self.ticket = 1
        self.since = 0
        self.dead: list[int] = []
        self.full = False
        self.plans: list[Plan] = []

    def ended(self) -> list[int]:
        return self.dead

    def publish(self, plan: Plan) -> int:
        if self.full:
            raise OSError(errno.EAGAIN, "all snapshots are in use")
        self.plans.append(plan)
        self.ticket += 1
        return self.ticket

    def held_by(self, ticket: int) -> int | None:
        return 3 if self.since and ticket > self.since else None

    def reclaim(self) -> int:
        return 0

    def set_carrier(self, up: bool) -> None:
        raise AssertionError(f"no port came or went: {up}")


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> tuple[StuckDevice, Bundle, list[Event]]:
    monkeypatch.setattr("lagg.running.grace_periods.GRACE_S", 0.01)
    device, events = StuckDevice(), list[Event]()
    shape = Shape(Proto.LOADBALANCE, Options(hash_seed=0))
    bundle = Bundle(LINK, cast(Device, device), shape, identity=1, emit=events.append)
    return device, bundle, events


def reseed(bundle: Bundle, seed: int) -> None:
    options = replace(bundle.shape.options, hash_seed=seed)
    bundle.adopt(replace(bundle.shape, options=options))


def test_a_parked_worker_is_named_and_what_it_holds_is_counted(
    stuck: tuple[StuckDevice, Bundle, list[Event]],
) -> None:
    device, bundle, _ = stuck
    reseed(bundle, 1)
    assert bundle.limbo() == Limbo(snapshots=0, oldest_ms=0, worker=None)
    device.since = device.ticket
    for seed in (2, 3, 4):
        reseed(bundle, seed)  # never waits for it
    limbo = bundle.limbo()
    assert (limbo["snapshots"], limbo["worker"]) == (3, 3)
    device.since = 0
    assert bundle.limbo() == Limbo(snapshots=0, oldest_ms=0, worker=None)


def test_a_wait_for_a_parked_worker_has_an_end_and_an_event(
    stuck: tuple[StuckDevice, Bundle, list[Event]],
) -> None:
    device, bundle, events = stuck
    device.since = device.ticket
    reseed(bundle, 1)
    events.clear()
    with pytest.raises(LaggError, match="lagg0: worker 3 did not leave") as refusal:
        asyncio.run(bundle.grace())
    assert refusal.value.code == errno.ETIMEDOUT
    assert [event.event.value for event in events] == ["worker-stuck"]
    device.since = 0
    asyncio.run(bundle.grace())


def test_a_worker_that_is_parked_or_has_ended_ails(
    stuck: tuple[StuckDevice, Bundle, list[Event]],
) -> None:
    device, bundle, _ = stuck
    assert bundle.ailments() == []
    device.dead = [1]
    assert bundle.ailments() == ["lagg0: worker 1 has ended"]
    device.dead, device.since = [], device.ticket
    reseed(bundle, 1)
    parked = "lagg0: worker 3 does not leave its section"
    wait_until(lambda: bundle.ailments() == [parked], 60, "it is late")


def test_the_workers_are_told_of_another_mtu_at_once_and_of_nothing_else(
    stuck: tuple[StuckDevice, Bundle, list[Event]],
) -> None:
    device, bundle, _ = stuck
    bundle.note(LINK.ifindex, lambda known: replace(known, mac="02:00:5e:00:53:02"))
    bundle.note(LINK.ifindex, lambda known: replace(known, mtu=LINK.mtu))
    assert device.plans == []
    bundle.note(LINK.ifindex, lambda known: replace(known, mtu=9000))
    assert [plan.mtu for plan in device.plans] == [9000]
    reseed(bundle, 1)
    assert device.plans[-1].mtu == 9000


def test_an_mtu_that_the_workers_could_not_be_told_is_told_with_the_next_plan(
    stuck: tuple[StuckDevice, Bundle, list[Event]],
) -> None:
    device, bundle, _ = stuck
    device.full = True
    with pytest.raises(LaggError) as caught:
        bundle.note(LINK.ifindex, lambda known: replace(known, mtu=9000))
    assert caught.value.code == errno.EAGAIN
    device.full = False
    bundle.adopt(bundle.shape)
    assert [plan.mtu for plan in device.plans] == [9000]


def test_a_refused_publication_is_tried_again_when_the_worker_has_let_go(
    stuck: tuple[StuckDevice, Bundle, list[Event]],
) -> None:
    device, bundle, _ = stuck
    device.since = device.ticket
    for seed in range(1, SNAPSHOTS_MAX):
        reseed(bundle, seed)
    device.full = True
    tried: list[int] = []

    def attempt(seed: int) -> None:
        tried.append(seed)
        reseed(bundle, seed)

    async def work(rest_s: float) -> None:
        with pytest.raises(LaggError):
            reseed(bundle, 99)
        bundle.when_free(attempt, 99)
        await passes(rest_s)
        assert tried == []
        device.since, device.full = 0, False
        await passes(rest_s)
        assert tried == [99]
        assert bundle.plan.hash_seed == 99

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work(10 * LOOK_S))


def test_nothing_is_tried_again_once_the_lagg_goes(
    stuck: tuple[StuckDevice, Bundle, list[Event]],
) -> None:
    _, bundle, _ = stuck

    async def work() -> None:
        tried: list[int] = []
        bundle.when_free(tried.append, 1)
        bundle.give_up()
        await passes(10 * LOOK_S)
        assert tried == []

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work())


def test_of_one_change_only_what_remains_of_the_options_is_told(
    stuck: tuple[StuckDevice, Bundle, list[Event]],
) -> None:
    _, bundle, events = stuck
    reseed(bundle, 1)
    events.clear()
    with bundle.one_change():
        reseed(bundle, 2)
        reseed(bundle, 1)  # undone
    with bundle.one_change():
        reseed(bundle, 3)
        reseed(bundle, 4)
    assert [each.details for each in events] == ["hash_seed: 1 -> 4"]
