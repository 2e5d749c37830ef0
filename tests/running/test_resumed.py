# SPDX-License-Identifier: BSD-2-Clause
"""A lagg at work that is saved, and goes on in another process: nobody notices.

One end of two cables is replaced by what its saved value makes of it; its sockets are
open all the time.
"""

import random
from dataclasses import replace
from typing import cast

import pytest

from lagg.events import EventKind
from lagg.handover.saved import SavedHold, SavedHostDrops, SavedLagg
from lagg.kernel.native import Device
from lagg.lacp.values import State
from lagg.link import RxFilter
from lagg.model import Drop, Proto, Wanted
from lagg.plan.flow_moves import Moves
from lagg.plan.shape import LaggMac
from lagg.running.bundle import Bundle
from lagg.running.lacp_io import LacpIo
from tests.running.world import End, Line, World, now_ns, passes, run


def saved_text(bundle: Bundle) -> bytes:
    holds = [SavedHold(port.link.ifindex) for port in bundle.shape.ports]
    saved = bundle.saved(holds)
    assert saved is not None
    return saved.text()


async def replace_laggd(
    end: End, away_s: float = 0.0, text: bytes | None = None, **changed: object
) -> None:
    """Another process has the end: of the one before there are values and sockets.

    `text`: what it had saved, if it is not as it was at its end.  Of the values some
    are changed.
    """
    text = text or saved_text(end.bundle)
    kept = {slot: line._line.dup() for slot, line in end.lines.items()}
    await end.actor.close()
    await passes(away_s)
    saved = replace(SavedLagg.of(text, now_ns()), **changed)  # type: ignore[arg-type]
    assert saved.lacp is not None
    device = cast(Device, end.device)
    end.bundle = Bundle.resumed(saved, device, emit=end.events.append)
    end.lines = {slot: Line(end, slot, kept[slot]) for slot in kept}
    end.actor = LacpIo.resumed(
        end.bundle,
        end._faster,
        saved.lacp,
        {slot + 1: line for slot, line in end.lines.items()},
        clock=now_ns,
        open_socket=end._open,
    )
    end.bundle.negotiate_by(end.actor)
    end.bundle.publish_again()
    end.actor.reconcile()


@pytest.mark.parametrize("away_s", [0.0, 0.5, 1.4])
def test_no_partner_notices_that_laggd_is_another(away_s: float) -> None:
    async def work(world: World) -> None:
        await world.agree()
        await passes(3)
        seen = len(world.b.events)
        for _ in range(5):
            before = {slot: line.sent[-1] for slot, line in world.a.lines.items()}
            await replace_laggd(world.a, away_s)
            await passes(0.7)
            after = {slot: line.sent[0] for slot, line in world.a.lines.items()}
            assert after == before
            assert world.a.sends_to == world.b.sends_to == {0, 1}
        await passes(5)
        assert world.b.events[seen:] == []
        assert world.a.bundle.shape.ports[0].lacp.distributing

    run(work)


@pytest.mark.parametrize("late_s", [0.3, 1.0])
def test_a_successor_that_knows_no_times_and_counts_of_the_last_second_does_as_well(
    late_s: float,
) -> None:
    """What laggd saved before is all there is: it has heard and spoken since."""

    async def work(world: World) -> None:
        await world.agree()
        await passes(3)
        seen = len(world.b.events)
        for _ in range(5):
            text = saved_text(world.a.bundle)
            await passes(late_s)
            before = {slot: line.sent[-1] for slot, line in world.a.lines.items()}
            await replace_laggd(world.a, 0.4, text)
            await passes(0.7)
            after = {slot: line.sent[0] for slot, line in world.a.lines.items()}
            assert after == before
            assert world.a.sends_to == world.b.sends_to == {0, 1}
        await passes(5)
        assert world.b.events[seen:] == []

    run(work)


def test_whoever_was_away_for_long_forgives_a_partner_that_he_did_not_hear() -> None:
    async def work(world: World) -> None:
        await world.agree()
        await replace_laggd(world.a, 30)
        seen = len(world.a.events)
        await passes(0.2)
        late = [e for e in world.a.events[seen:] if e.event is EventKind.LATE]
        assert late == []

    run(work)


@pytest.mark.parametrize("seed", range(5))
def test_replaced_at_any_instant_the_ends_agree_as_soon_as_ever(seed: int) -> None:
    chance = random.Random(seed)

    async def work(world: World) -> None:
        for _ in range(20):
            await passes(chance.uniform(0, 0.3))
            await replace_laggd(chance.choice((world.a, world.b)))
        assert await world.agree() < 3

    run(work)


def test_a_port_that_was_about_to_leave_is_left_to_who_goes_on() -> None:
    async def work(world: World) -> None:
        await world.agree()
        world.a.actor._set_leaving([1])
        world.a.actor.reconcile()
        assert world.a.sends_to == {1}
        await replace_laggd(world.a)
        assert world.a.sends_to == {1}
        world.a.actor.cancel_leave([1, 2])
        await world.agree()
        assert State.DISTRIBUTING in world.a.lines[0].sent[-1].actor.state

    run(work)


def test_flows_that_wait_for_a_marker_wait_for_the_one_that_is_out() -> None:
    """Or for another, when none was."""

    async def work(world: World) -> None:
        await world.agree()
        world.a.actor._markers._asked = {0: 77}
        await replace_laggd(world.a, moves=((0, 0), (1, 1)))
        assert world.a.bundle.moves == Moves({0: 0, 1: 1})
        await passes(0.5)
        assert world.a.bundle.moves == Moves({0: 0})

    run(work)


def test_nothing_is_saved_while_the_workers_keep_lacp_waiting() -> None:
    async def work(world: World) -> None:
        await world.agree()
        world.a.device.stuck = True
        world.b.actor._order(lambda now: world.b.actor._engine.leave([1], now))
        await world.until(lambda: world.a.bundle.saved([]) is None, 2)
        world.a.device.stuck = False
        await world.until(lambda: world.a.bundle.saved([]) is not None, 1)
        assert world.a.bundle.saved([]) is not None

    run(work)


def test_what_is_to_be_seen_of_the_lagg_is_the_same() -> None:
    async def work(world: World) -> None:
        await world.agree()
        drops = SavedHostDrops(9, ((Drop.NO_PORT, 5),))
        await replace_laggd(world.a, host_drops=drops, shares_mac=True)
        bundle = world.a.bundle
        said = bundle.config
        bundle.want(Wanted(said=said, waiting_for=("eth7",), mtu_fixed=True))
        bundle.note_opening(bundle.shape.ports[0].link.ifindex, "its lagg is")
        bundle.note_warnings(1, ("a bridge has it",))
        before = seen_of(bundle)
        assert bundle.record()["counters"]["drops"]["no-port"] == 5
        await replace_laggd(world.a)
        assert seen_of(world.a.bundle) == before

    run(work)


def seen_of(bundle: Bundle) -> tuple[object, ...]:
    record = bundle.record()
    return record, bundle.config, bundle.plan, bundle.shape, bundle.wanted


def test_a_static_lagg_is_the_same_without_a_negotiator() -> None:
    async def work(world: World) -> None:
        await world.agree()
        bundle = world.a.bundle
        bundle.negotiate_by(None)
        bundle.adopt(
            replace(
                bundle.shape,
                proto=Proto.LOADBALANCE,
                mac=LaggMac("02:00:5e:00:53:09", fixed=True),
            )
        )
        saved = SavedLagg.of(saved_text(bundle), now_ns())
        again = Bundle.resumed(saved, bundle.device, emit=lambda _: None)
        assert seen_of(again) == seen_of(bundle)
        assert saved.holds[0].rx == RxFilter()

    run(work)
