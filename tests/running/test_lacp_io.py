# SPDX-License-Identifier: BSD-2-Clause
"""One lagg's LACP at work, with another's at the other end of its cables."""

import asyncio
import errno
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from lagg.errors import LaggError
from lagg.events import Asker, EventKind
from lagg.lacp.values import NS, AdSelect, Bad, Settings, State, System
from lagg.link import Modes
from lagg.model import HashKind, PortOptions
from lagg.plan.flow_moves import Moves
from lagg.plan.shape import LaggMac
from lagg.running.backlog import LOOK_S
from lagg.running.ears import FRAMES_PER_SLOT, SLOT_NS
from lagg.running.lacp_io import (
    ANSWER_S,
    GOODBYE_S,
    STOPPED_S,
    LacpIo,
)
from lagg.tasks import asked
from tests.running.world import (
    AGREE_S,
    READS_MAX,
    End,
    Line,
    World,
    link_of,
    passes,
    run,
)

SILENT_S = 5.0
"""Longer than the three seconds after which a partner is not there any more."""


def test_two_actors_agree_and_what_a_partner_is_told_is_so() -> None:
    async def work(world: World) -> None:
        took_s = await world.agree()
        assert 1.5 < took_s < 3
        for end in (world.a, world.b):
            assert end.bundle.plan.rx_accept == {0, 1}
            assert end.speeds > 0
            told = {(e.port, e.event.value) for e in end.events if e.port}
            assert ("p1", "distributing") in told
            assert ("p2", "partner") in told

    run(work)


def told_late(end: End) -> bool:
    return any(each.event is EventKind.LATE for each in end.events)


def test_nobody_asked_for_what_a_partner_says_or_says_no_more() -> None:
    client = Asker(0, 4711, "laggctl")

    async def work(world: World) -> None:
        with asked(client):  # who had the sockets opened and the timer set
            world.a.actor.sockets._hear(1)
            world.a.actor.sockets._hear(2)
        await world.agree()
        world.b.change(lacp_txtest=True)
        with asked(client):
            world.a.change(lacp_key=7)
        await world.until(lambda: told_late(world.a), 9)
        by = {each.event: each.by for each in world.a.events}
        assert by.pop(EventKind.OPTION) == client
        assert {EventKind.PARTNER, EventKind.LATE} < by.keys()
        assert set(by.values()) == {None}

    run(work)


def test_a_lost_carrier_takes_the_port_out_in_the_same_call() -> None:
    async def work(world: World) -> None:
        await world.agree()
        world.a.carrier(0, up=False)
        assert world.a.sends_to == {1}
        world.a.carrier(0, up=True)
        await world.agree()

    run(work)


def test_a_port_at_half_duplex_is_out_until_it_is_full_again() -> None:
    async def work(world: World) -> None:
        await world.agree()
        world.a.settle(0, Modes(1000, full_duplex=False))
        assert world.a.sends_to == {1}
        assert "half duplex" in str(world.a.bundle.shape.at(0).lacp.reason)
        world.a.settle(0, Modes(1000))
        await world.agree()

    run(work)


def test_who_leaves_has_stopped_to_send_before_the_partner_stops_to_listen() -> None:
    async def work(world: World) -> None:
        await world.agree()
        await passes(1)  # three PDUs a second, a goodbye among them
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        world.a.device.asked.clear()
        await world.a.actor.leave([1])
        assert world.a.device.asked[0] == {1}  # before anything is said
        assert loop.time() - begun_s < STOPPED_S
        assert world.a.sends_to == world.b.sends_to == {1}
        assert world.a.bundle.plan.rx_accept == {0, 1}  # what is on its way comes in
        assert State.SYNC not in world.a.lines[0].sent[-1].actor.state
        world.a.bundle.adopt(world.a.bundle.shape.without_port(0))
        await world.a.actor.close_ports([1])
        assert [s.number for s in world.a.actor.view().ports] == [2]

    run(work)


def test_the_marker_of_a_partner_whose_flows_move_is_answered_before_we_are_gone() -> (
    None
):
    async def work(world: World) -> None:
        await world.agree()
        await passes(1)
        world.b.device.behind = 10  # a few milliseconds, as real workers are
        await world.a.actor.leave([1])
        world.a.bundle.adopt(world.a.bundle.shape.without_port(0))
        await world.a.actor.close_ports([1])
        assert world.b.bundle.moves == Moves()
        await passes(ANSWER_S)
        counts = world.b.actor.view().ports[0].counts
        assert (counts.marker_unanswered, counts.marker_response_rx > 0) == (0, True)

    run(work)


@pytest.mark.parametrize(
    ("leaving", "markers", "waits"),
    [([1], True, True), ([1], False, False), ([1, 2], True, False)],
    ids=["sends markers", "never sent one", "has no port left"],
)
def test_only_a_partner_that_sends_markers_and_has_flows_to_move_is_waited_for(
    leaving: list[int], markers: bool, waits: bool
) -> None:
    """At most as long as a marker is waited for: with fnv1 the partner sends none."""

    async def work(world: World) -> None:
        if not markers:
            world.b.actor._engine.send_marker = lambda *_: None  # type: ignore[method-assign]
        await world.agree()
        world.b.change(hash=HashKind.FNV1)
        await passes(1)
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        await world.a.actor.leave(leaving)
        took_s = loop.time() - begun_s
        assert waits * ANSWER_S < took_s + 0.01 < STOPPED_S + waits * ANSWER_S

    run(work)


def test_leaving_a_partner_that_says_nothing_is_bounded() -> None:
    async def work(world: World) -> None:
        await world.agree()
        world.b.change(lacp_txtest=True)
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        await world.a.actor.leave([1, 2])
        assert loop.time() - begun_s <= GOODBYE_S + STOPPED_S + 0.01
        assert world.a.sends_to == set()

    run(work)


def test_who_stays_after_all_begins_anew() -> None:
    async def work(world: World) -> None:
        await world.agree()
        await world.a.actor.leave([1])
        world.a.actor.cancel_leave([1])
        await world.agree()

    run(work)


def test_who_stays_while_the_workers_hold_everything_up_begins_anew_all_the_same() -> (
    None
):
    """A worker that does not let go is why a port stays: then nothing is published."""

    async def work(world: World) -> None:
        await world.agree()
        await world.a.actor.leave([1])
        world.a.device.stuck = True
        await world.b.actor.leave([2])
        await passes(STOPPED_S)  # a has heard it, and is refused
        world.a.actor.cancel_leave([1])
        world.b.actor.cancel_leave([2])
        await passes(STOPPED_S)
        world.a.device.stuck = False
        await world.agree()

    run(work)


def test_a_goodbye_while_the_workers_hold_everything_up_is_said_when_they_go_on() -> (
    None
):
    async def work(world: World) -> None:
        await world.agree()
        world.a.device.stuck = True
        await world.b.actor.say_goodbye([2])
        await passes(STOPPED_S)
        goodbye = asyncio.ensure_future(world.a.actor.say_goodbye([1]))
        await passes(STOPPED_S)
        world.a.device.stuck = False
        await goodbye
        assert State.SYNC not in world.a.lines[0].sent[-1].actor.state
        await world.until(lambda: 0 not in world.b.sends_to, STOPPED_S)

    run(work)


def test_what_was_refused_is_done_when_the_workers_let_go_though_nobody_speaks() -> (
    None
):
    async def work(world: World) -> None:
        await world.agree()
        world.b.change(lacp_txtest=True)
        world.a.device.stuck = True
        await passes(SILENT_S)
        assert world.a.sends_to == {0, 1}
        world.a.device.stuck = False
        await passes(3 * LOOK_S)
        assert world.a.sends_to == set()

    run(work)


def test_a_goodbye_without_leaving_goes_to_every_partner() -> None:
    async def work(world: World) -> None:
        await world.agree()
        await world.a.actor.say_goodbye()
        await world.until(lambda: not world.b.sends_to, STOPPED_S)

    run(work)


def test_a_refused_publication_is_tried_again_and_nobody_is_told_before() -> None:
    async def work(world: World) -> None:
        world.a.device.stuck = True
        await passes(AGREE_S)
        assert world.a.sends_to == set()  # and End.check() saw no PDU that lies
        world.a.device.stuck = False
        await world.agree()

    run(work)


def test_a_storm_is_read_a_little_at_a_time_and_then_all_is_well() -> None:
    async def work(world: World) -> None:
        await world.agree()
        before = world.a.actor.view().ports[0].counts
        with suppress(BlockingIOError):
            while True:
                world.b._plugs[0].send(bytes(64))
        await passes(SLOT_NS / NS / 2)
        after = world.a.actor.view().ports[0].counts
        read = sum(dict(after.bad).values()) - sum(dict(before.bad).values())
        assert 0 < read < FRAMES_PER_SLOT + READS_MAX
        assert world.a.sends_to == {0, 1}
        await passes(AGREE_S)
        await world.agree()

    run(work)


def test_what_the_kernel_had_no_room_for_counts_as_too_much() -> None:
    async def work(world: World) -> None:
        await world.agree()
        for _ in range(2):
            world.a.lines[1].overruns = 500
            world.a.actor.view()
        bad = dict(world.a.actor.view().ports[1].counts.bad)
        assert bad[Bad.RATE] == 1000
        assert dict(world.a.actor.view().ports[0].counts.bad)[Bad.RATE] == 0

    run(work)


def test_options_priorities_and_the_mac_reach_the_partner() -> None:
    async def work(world: World) -> None:
        await world.agree()
        world.a.change(lacp_key=9, lacp_system_priority=5)
        options = {"p1": PortOptions(lacp_port_priority=7)}
        world.a.bundle.adopt(replace(world.a.bundle.shape, port_options=options))
        world.a.bundle.rule(LaggMac("02:00:5e:00:09:09", fixed=True))
        await passes(1)
        partner = world.b.actor.view().ports[0].partner
        assert (partner.key, partner.system.priority) == (9, 5)
        assert partner.system.mac == "02:00:5e:00:09:09"
        assert partner.port.priority == 7

    run(work)


def test_a_socket_that_cannot_be_opened_changes_nothing() -> None:
    async def work(world: World) -> None:
        def refuse(*_: object) -> Line:
            raise LaggError("p3", "bind", errno.ENODEV)

        actor = LacpIo(world.a.bundle, lambda: None, open_socket=refuse)
        with pytest.raises(LaggError):
            await actor.open_port(3, link_of(1, 3))
        assert actor.view().ports == ()
        await actor.close()

    run(work)


def test_every_option_and_both_macs_reach_the_engine() -> None:
    """None is what it is by default, and no number is what another is."""

    async def work(world: World) -> None:
        end = world.a
        shape = end.bundle.shape
        options = replace(
            shape.options,
            lacp_system_priority=11,
            lacp_active=False,
            lacp_fast_timeout=True,
            lacp_strict=False,
            lacp_key=12,
            lacp_port_offset=16,
            ad_select=AdSelect.PORT_PRIORITY,
            lacp_max_ports=13,
            lacp_min_links=14,
            lacp_fallback_timeout=15,
            lacp_coupled=True,
            lacp_txtest=True,
            lacp_rxtest=True,
        )
        usual = Settings(System(0x8000, end.bundle.link.mac), fast=True)
        assert end.actor._engine.settings == usual
        for system in (None, "02:00:5e:00:53:77"):
            chosen = replace(options, lacp_system=system)
            end.bundle.adopt(replace(shape, options=chosen))
            assert end.actor._engine.settings == Settings(
                System(11, system or end.bundle.link.mac),
                active=False,
                fast=True,
                strict=False,
                key=12,
                port_offset=16,
                ad_select=AdSelect.PORT_PRIORITY,
                max_ports=13,
                min_links=14,
                fallback_ns=15 * NS,
                coupled=True,
                txtest=True,
                rxtest=True,
            )

    run(work)


@pytest.mark.parametrize(
    "option",
    [
        *("lacp_active", "lacp_fast_timeout", "lacp_strict", "lacp_coupled"),
        *("lacp_txtest", "lacp_rxtest"),
    ],
)
def test_an_option_reaches_the_engine_alone(option: str) -> None:
    """Of the flags none is taken for another."""

    async def work(world: World) -> None:
        options = world.a.bundle.shape.options
        before = world.a.actor._engine.settings
        world.a.change(**{option: not getattr(options, option)})
        after = world.a.actor._engine.settings
        name = option.removeprefix("lacp_").removesuffix("_timeout")
        changed: dict[str, Any] = {name: not getattr(before, name)}
        assert after == replace(before, **changed)

    run(work)
