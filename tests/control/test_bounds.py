# SPDX-License-Identifier: BSD-2-Clause
"""The control socket: what it bears, and how events reach who monitors."""

import asyncio
import contextlib
import functools
import os
import resource
import socket
import struct
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lagg.control import server, varlink
from lagg.control.monitors import EVENTS_MAX, MONITORS_MAX, EventQueue
from lagg.control.varlink import MESSAGE_BYTES_MAX
from lagg.events import Event, EventKind
from tests.control.fake_trials import AT, DONE
from tests.control.world import (
    RawClient,
    World,
    open_files_count,
    wait_until,
    world_at,
)

NOBODY = 65534
REFUSED = "org.laggd.Lagg.Refused"


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlink, "STALL_SECONDS", 0.2)


LIST = b'{"method":"org.laggd.Lagg.List"'


def assert_serves(world: World) -> None:
    assert "laggs" in world.call("List")["parameters"]


# What it bears


def keep_on(act: Callable[[], object]) -> None:
    """Until the other side hears no more: it closed, or does not read."""
    with contextlib.suppress(OSError):
        while True:
            act()


def test_a_message_has_a_bound(world: World) -> None:
    with world.connect() as client:
        client.send(b" " * (MESSAGE_BYTES_MAX + 2))
        assert client.reply()["parameters"]["errno_name"] == "EMSGSIZE"
        wait_until(client.is_dropped)
    assert_serves(world)


def test_a_message_just_below_the_bound_is_read(world: World) -> None:
    with world.connect() as client:
        client.send((LIST + b"}").ljust(MESSAGE_BYTES_MAX - 1) + b"\0")
        assert client.reply()["parameters"] == {"laggs": []}


def test_a_flood_without_an_end_is_cut_off(world: World) -> None:
    with world.connect() as client:
        keep_on(lambda: client.send(b"x" * 65536))
    assert_serves(world)


@pytest.mark.usefixtures("short_patience")
def test_half_a_message_and_a_stall_is_dropped_and_harms_nobody(world: World) -> None:
    with world.connect() as client:
        client.send(b'{"method":')
        assert_serves(world)
        wait_until(client.is_dropped)
    assert_serves(world)


@pytest.mark.usefixtures("short_patience")
def test_a_client_between_calls_may_be_silent(world: World) -> None:
    with world.connect() as quiet, world.connect() as stalled:
        quiet.call("List")
        stalled.send(b"{")
        wait_until(stalled.is_dropped)  # the same patience, for somebody it holds for
        assert quiet.call("List")["parameters"] == {"laggs": []}


@pytest.mark.usefixtures("short_patience")
def test_a_client_that_never_reads_is_dropped_and_harms_nobody(world: World) -> None:
    for number in range(50):
        world.call("Create", name=f"lagg{number}")
    with world.connect() as client:
        client.socket.settimeout(0.05)
        keep_on(lambda: client.request("List"))
        assert_serves(world)
        wait_until(lambda: world.soon(lambda: len(world.server._clients)) == 0)
    assert_serves(world)


def test_200_clients_at_once_are_all_answered(world: World) -> None:
    with ThreadPoolExecutor(200) as crowd:
        replies = list(crowd.map(lambda _: world.call("List"), range(200)))
    assert replies == [{"parameters": {"laggs": []}}] * 200


def test_1000_clients_at_once_are_all_answered(world: World) -> None:
    with ThreadPoolExecutor(1000) as crowd:
        replies = list(crowd.map(lambda _: world.call("List"), range(1000)))
    assert replies == [{"parameters": {"laggs": []}}] * 1000


def test_1000_half_messages_keep_nobody_out(world: World) -> None:
    with ExitStack() as crowd:
        for _ in range(1000):
            client = crowd.enter_context(world.connect())
            client.send(b'{"method":')
        assert_serves(world)
        assert world.soon(lambda: len(world.server._clients)) <= server.CLIENTS_MAX
    wait_until(lambda: world.soon(lambda: len(world.server._clients)) == 0)


def test_200_clients_that_came_while_it_was_busy_are_all_answered(
    world: World,
) -> None:
    busy = threading.Event()
    with ExitStack() as crowd, ThreadPoolExecutor(1) as other:
        held = other.submit(world.soon, busy.wait)
        clients = [crowd.enter_context(world.connect()) for _ in range(200)]
        for client in clients:
            client.request("List")
        busy.set()
        held.result()
        assert [each.reply() for each in clients] == [
            {"parameters": {"laggs": []}}
        ] * 200


def test_200_silent_clients_keep_nobody_out(world: World) -> None:
    with ExitStack() as crowd:
        clients = [crowd.enter_context(world.connect()) for _ in range(200)]
        assert_serves(world)
        assert world.soon(lambda: len(world.server._clients)) <= server.CLIENTS_MAX
        wait_until(
            lambda: sum(not each.is_dropped() for each in clients) <= server.CLIENTS_MAX
        )
        assert clients[0].is_dropped()
        assert not clients[-1].is_dropped()
    wait_until(lambda: world.soon(lambda: len(world.server._clients)) == 0)


def test_clients_leave_most_descriptors_to_laggs_and_ports(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with ExitStack() as crowd:
        for _ in range(60):
            crowd.enter_context(world.connect())
        assert_serves(world)
        assert world.soon(lambda: len(world.server._clients)) <= 16
    with ExitStack() as crowd:
        for _ in range(8):
            crowd.enter_context(world.connect()).monitor()
        late = crowd.enter_context(world.connect())
        late.request_more("Monitor")
        assert late.reply()["parameters"]["errno_name"] == "EUSERS"


def test_when_everybody_waits_for_a_change_a_newcomer_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CLIENTS_MAX", 2)
    world.commands.gate = asyncio.Event()
    with world.connect() as one, world.connect() as two:
        one.request("Create", name="lagg1")
        two.request("Create", name="lagg2")
        wait_until(lambda: len(world.commands.calls) == 2)
        with world.connect() as four:
            assert four.reply()["parameters"]["errno_name"] == "EUSERS"
        world.soon(world.commands.gate.set)
        assert (one.reply(), two.reply()) == ({"parameters": DONE},) * 2
    assert sorted(world.commands.configs) == ["lagg1", "lagg2"]


def test_connections_leave_no_descriptor_behind(world: World) -> None:
    assert_serves(world)
    wait_until(lambda: world.soon(lambda: len(world.server._clients)) == 0)
    before = open_files_count()
    for _ in range(20):
        with world.connect() as client:
            ancillary = (
                socket.SOL_SOCKET,
                socket.SCM_RIGHTS,
                struct.pack("3i", *(client.socket.fileno(),) * 3),
            )
            client.socket.sendmsg([b"{"], [ancillary])
        with world.connect() as client:
            client.monitor()
    wait_until(lambda: open_files_count() <= before)


def test_a_change_outlives_its_client(world: World) -> None:
    world.commands.gate = asyncio.Event()
    with world.connect() as client:
        client.request("Create", name="lagg0")
        wait_until(lambda: world.commands.calls == ["create"])
    world.soon(world.commands.gate.set)
    wait_until(lambda: "lagg0" in world.commands.configs)


def test_the_end_waits_for_a_change_and_answers_it(tmp_path: Path) -> None:
    with world_at(str(tmp_path / "s")) as world, ThreadPoolExecutor(1) as other:
        gate = world.commands.gate = asyncio.Event()
        with world.connect() as client, world.connect() as idle:
            client.request("Create", name="lagg0")
            wait_until(lambda: world.commands.calls == ["create"])
            closing = other.submit(world.run, world.server.close())
            wait_until(idle.is_dropped)
            assert not closing.done()
            world.soon(gate.set)
            assert client.reply() == {"parameters": DONE}
            closing.result()
    assert "lagg0" in world.commands.configs


@pytest.mark.parametrize("turns", range(server.ACCEPT_TURNS + 2))
def test_who_comes_in_the_moment_of_the_end_is_hung_up_on(
    tmp_path: Path, turns: int
) -> None:
    """Accepted and not yet served, whichever turn of the loop it is."""
    with world_at(str(tmp_path / "s")) as world:

        async def come_and_end() -> RawClient:
            client = world.connect()
            for _ in range(turns):
                await asyncio.sleep(0)
            await world.server.close()
            return client

        with world.run(come_and_end()) as client:
            assert client.is_dropped()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_no_bytes_bring_it_down(world: World, pieces: list[bytes]) -> None:
    with (
        world.connect() as client,
        contextlib.suppress(BrokenPipeError, ConnectionResetError),
    ):
        for piece in pieces:
            client.send(piece + b"\0")
    assert_serves(world)


# Events


def event(number: int) -> Event:
    return Event("lagg0", "eth0", EventKind.PORT_LINK, f"number {number}", number, AT)


def emit(world: World, count: int) -> None:
    for number in range(count):
        world.commands.emit(event(number))


def test_a_monitor_sees_what_happens(world: World) -> None:
    with world.connect() as client:
        client.monitor()
        world.call("Create", name="lagg0")
        reply = client.reply()
        assert reply["continues"]
        assert reply["parameters"]["event"] == {
            "lagg": "lagg0",
            "port": None,
            "event": "created",
            "details": "failover",
            "time_ns": 1,
            "at": AT,
            "cause": None,
            "by": {
                "uid": os.geteuid(),
                "pid": os.getpid(),
                "program": Path("/proc/self/comm").read_text().rstrip("\n"),
            },
        }


def test_a_monitor_that_leaves_is_forgotten(world: World) -> None:
    with world.connect() as client:
        client.monitor()
        assert len(world.commands.sinks) == 1
    wait_until(lambda: not world.commands.sinks)
    wait_until(lambda: world.soon(lambda: len(world.server._clients)) == 0)


def test_a_monitor_that_speaks_is_dropped(world: World) -> None:
    with world.connect() as client:
        client.monitor().request("List")
        wait_until(client.is_dropped)
    wait_until(lambda: not world.commands.sinks)


def test_monitors_are_counted_and_leave_room_for_calls(world: World) -> None:
    with ExitStack() as crowd:
        first = crowd.enter_context(world.connect()).monitor()
        for _ in range(MONITORS_MAX - 1):
            crowd.enter_context(world.connect()).monitor()
        late = crowd.enter_context(world.connect())
        late.request_more("Monitor")
        assert late.reply()["parameters"]["errno_name"] == "EUSERS"
        assert_serves(world)
        first.socket.close()
        wait_until(lambda: len(world.commands.sinks) < MONITORS_MAX)
        crowd.enter_context(world.connect()).monitor()


def test_silent_clients_do_not_push_a_monitor_out(world: World) -> None:
    with ExitStack() as crowd:
        monitor = crowd.enter_context(world.connect()).monitor()
        for _ in range(server.CLIENTS_MAX * 2):
            crowd.enter_context(world.connect())
        world.call("Create", name="lagg0")
        assert monitor.reply()["parameters"]["event"]["event"] == "created"


def test_a_slow_reader_is_told_what_it_lost(world: World) -> None:
    with world.connect() as slow:
        slow.monitor()
        world.soon(lambda: emit(world, EVENTS_MAX + 9))
        found = [slow.reply()["parameters"]["event"] for _ in range(EVENTS_MAX + 1)]
    assert [each["time_ns"] for each in found[:-1]] == list(range(EVENTS_MAX))
    assert found[-1] == {
        "lagg": "",
        "port": None,
        "event": "events-lost",
        "details": "9 events lost: this reader is too slow",
        "time_ns": EVENTS_MAX + 8,
        "at": AT,
        "cause": None,
        "by": None,
    }


@pytest.mark.usefixtures("short_patience")
def test_a_monitor_that_never_reads_is_dropped_and_others_see_all(
    world: World,
) -> None:
    with world.connect() as deaf, world.connect() as keen:
        deaf.monitor()
        keen.monitor()
        count = 0
        while len(world.commands.sinks) == 2:
            world.soon(functools.partial(world.commands.emit, event(count)))
            assert keen.reply()["parameters"]["event"]["time_ns"] == count
            count += 1
        assert_serves(world)


def test_a_monitor_that_never_reads_costs_little_memory(world: World) -> None:
    with world.connect() as deaf:
        deaf.monitor()
        world.soon(lambda: emit(world, EVENTS_MAX))  # as much as is kept for it
        tracemalloc.start()
        try:
            for _ in range(20):
                world.soon(lambda: emit(world, 5000))
            kept_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept_bytes < 1 << 20  # of 100 000 events, some 20 MB


def test_the_queue_keeps_the_oldest_and_counts_the_rest() -> None:
    async def work() -> list[Event]:
        queue = EventQueue()
        for number in range(EVENTS_MAX + 2):
            queue.put(event(number))
        found = [await queue.get() for _ in range(EVENTS_MAX + 1)]
        queue.put(event(7))
        found.append(await queue.get())
        assert await is_empty(queue)
        return found

    found = asyncio.run(work())
    assert found[:EVENTS_MAX] == [event(number) for number in range(EVENTS_MAX)]
    assert found[-2].event is EventKind.EVENTS_LOST
    assert found[-1] == event(7)


async def is_empty(queue: EventQueue) -> bool:
    taking = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    waits = not taking.done()
    taking.cancel()
    return waits


def test_the_queue_waits_when_it_is_empty() -> None:
    async def work() -> Event:
        queue = EventQueue()
        taking = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        assert not taking.done()
        queue.put(event(1))
        return await taking

    assert asyncio.run(work()) == event(1)
