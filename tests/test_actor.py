# SPDX-License-Identifier: BSD-2-Clause
"""One lagg's LACP between sockets that are datagrams and a clock that waits for nobody.

Two actors, each with a lagg whose device only notes what is published, back to back.
"""

import asyncio
import errno
import os
import selectors
import socket
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest

from lagg.actor import FRAMES_PER_SLOT, GOODBYE_S, NS, SLOT_NS, STOPPED_S, Actor
from lagg.bundle import Bundle
from lagg.errors import LaggError
from lagg.lacp.pdu import Lacpdu, decode
from lagg.lacp.values import Bad, State
from lagg.link import Link, Modes
from lagg.model import Event, Options, PortOptions, Proto
from lagg.native import Device
from lagg.plan import Plan
from lagg.shape import Port, Shape, port_number

PORTS = 2
READS_MAX = 4
FAST = Options(hash_seed=0, lacp_fast_timeout=True)
AGREE_S = 5.0


class VirtualSelector(selectors.DefaultSelector):
    """Waits for no time: it passes at once when nothing is to be read."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0

    def select(self, timeout: float | None = None) -> Any:  # noqa: ANN401
        found = super().select(0)
        if found or timeout is None:
            return found or super().select(timeout)
        self.now_s += max(timeout, 0)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on that time."""

    def __init__(self) -> None:
        self._virtual = VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


class AtOnce(ThreadPoolExecutor):
    """Threads that take none of that time: it would pass while they run."""

    def submit(self, call: Any, /, *args: Any, **words: Any) -> Future[Any]:  # noqa: ANN401
        done = Future[Any]()
        try:
            done.set_result(call(*args, **words))
        except Exception as error:  # noqa: BLE001 # it is the caller's
            done.set_exception(error)
        return done


async def passes(seconds: float) -> None:
    """So much of that time, which takes none."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(seconds, done.set_result, None)
    await done


def now_ns() -> int:
    return int(asyncio.get_running_loop().time() * NS)


class NotedDevice:
    """What the workers would be under; refuses while `stuck`."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.stuck = False
        self.asked: list[set[int]] = []  # whom it sent to, when a grace period was due

    def publish(self, plan: Plan) -> int:
        if self.stuck:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.plan = plan
        return 1

    def held_by(self, _: int) -> None:
        """Every worker is past it."""
        assert self.plan is not None
        self.asked.append(set(self.plan.tx_slots))

    def reclaim(self) -> int:
        return 0

    def set_carrier(self, up: bool) -> None:
        """The plan says so, too."""


class Line:
    """One end of a cable, as a slow-protocol socket."""

    def __init__(self, end: "End", slot: int, line: socket.socket) -> None:
        self._end, self._slot, self._line = end, slot, line
        self.overruns = 0
        self.sent: list[Lacpdu] = []

    def close(self) -> None:
        self._line.close()

    def fileno(self) -> int:
        return self._line.fileno()

    def frames(self) -> Iterator[bytes]:
        with suppress(BlockingIOError):
            for _ in range(READS_MAX):
                yield self._line.recv(256)

    def send(self, frame: bytes) -> bool:
        pdu = decode(frame)
        if isinstance(pdu, Lacpdu):
            self.sent.append(pdu)
            self._end.check(self._slot, pdu)
        with suppress(OSError):
            self._line.send(frame)
        return True

    def take_overruns(self) -> int:
        taken, self.overruns = self.overruns, 0
        return taken


class End:
    """A lagg of PORTS ports, its negotiator, and what it said."""

    def __init__(self, number: int, lines: list[socket.socket]) -> None:
        self.number = number
        self.device = NotedDevice()
        self.events: list[Event] = []
        self.speeds = 0
        self.lines: dict[int, Line] = {}
        self._plugs = lines
        link = link_of(number, 0)
        shape = Shape(Proto.LACP, FAST)
        device = cast(Device, self.device)
        self.bundle = Bundle(link, device, shape, emit=self.events.append)
        self.actor = Actor(
            self.bundle, self._faster, clock=now_ns, open_socket=self._open
        )
        self.bundle.lacp = self.actor

    def _faster(self) -> None:
        self.speeds += 1

    def _open(self, ifindex: int, _: str) -> Line:
        slot = ifindex % 10 - 1
        self.lines[slot] = Line(self, slot, self._plugs[slot])
        return self.lines[slot]

    def check(self, slot: int, pdu: Lacpdu) -> None:
        """The workers have been told all that the partner is told."""
        plan = self.device.plan
        if State.COLLECTING in pdu.actor.state:
            assert plan is not None
            assert slot in plan.rx_accept
        if State.SYNC not in pdu.actor.state:
            assert slot not in self.sends_to

    async def start(self) -> None:
        for slot in range(PORTS):
            link = link_of(self.number, slot + 1)
            await self.actor.listen(port_number(slot), link)
            port = Port(slot, link, home_mac=link.mac, modes=Modes(1000))
            self.bundle.adopt(self.bundle.shape.with_port(port))

    @property
    def sends_to(self) -> set[int]:
        return set(self.device.plan.tx_slots) if self.device.plan else set()

    def change(self, **options: Any) -> None:  # noqa: ANN401
        shape = self.bundle.shape
        self.bundle.adopt(replace(shape, options=replace(shape.options, **options)))

    def settle(self, slot: int, modes: Modes) -> None:
        link = self.bundle.shape.at(slot).link
        self.bundle.adopt(self.bundle.shape.with_link(link, modes))

    def carrier(self, slot: int, *, up: bool) -> None:
        link = replace(
            self.bundle.shape.at(slot).link,
            lower_up=up,
            operstate="UP" if up else "DOWN",
        )
        self.bundle.adopt(self.bundle.shape.with_link(link, Modes(1000)))


def link_of(lagg: int, number: int) -> Link:
    mac = f"02:00:5e:00:{lagg:02x}:{number:02x}"
    return Link(lagg * 10 + number, f"p{number}", mac, 1500, True, True, "UP", 1)


class World:
    def __init__(self) -> None:
        pairs = [socket.socketpair(type=socket.SOCK_DGRAM) for _ in range(PORTS)]
        for each in (plug for pair in pairs for plug in pair):
            each.setblocking(False)
        self.a = End(1, [pair[0] for pair in pairs])
        self.b = End(2, [pair[1] for pair in pairs])

    async def until(self, holds: Callable[[], object], within_s: float) -> float:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        while not holds():
            assert loop.time() - begun_s < within_s
            await passes(0.01)
        return loop.time() - begun_s

    async def agree(self) -> float:
        wanted = set(range(PORTS))
        return await self.until(
            lambda: self.a.sends_to == self.b.sends_to == wanted, AGREE_S
        )


def run(work: Callable[[World], Awaitable[None]]) -> None:
    """In virtual time, both ends started."""

    failed: list[dict[str, Any]] = []

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(AtOnce())
        loop.set_exception_handler(lambda _, context: failed.append(context))
        world = World()
        try:
            await world.a.start()
            await world.b.start()
            await work(world)
        finally:
            await world.a.actor.close()
            await world.b.actor.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(whole())
    assert failed == []


def test_two_actors_agree_and_what_a_partner_is_told_is_so() -> None:
    async def work(world: World) -> None:
        took_s = await world.agree()
        assert 1.5 < took_s < 3
        for end in (world.a, world.b):
            assert end.bundle.plan.rx_accept == {0, 1}
            assert end.speeds > 0
            told = {(e.port, e.event) for e in end.events if e.port}
            assert ("p1", "distributing") in told
            assert ("p2", "partner") in told

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
        await world.a.actor.ignore([1])
        assert [s.number for s in world.a.actor.view().ports] == [2]

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
        world.a.actor.stay([1])
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
        world.a.actor.stay([1])
        world.b.actor.stay([2])
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
        world.a.bundle.mac_fixed = True  # by the user: not lent by another port
        world.a.bundle.note(10, lambda link: replace(link, mac="02:00:5e:00:09:09"))
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

        actor = Actor(world.a.bundle, lambda: None, open_socket=refuse)
        with pytest.raises(LaggError):
            await actor.listen(3, link_of(1, 3))
        assert actor.view().ports == ()
        await actor.close()

    run(work)
