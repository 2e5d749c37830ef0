# SPDX-License-Identifier: BSD-2-Clause
"""Two laggs back to back whose LACP runs in a time of its own, for tests of the actor.

Their sockets are datagrams, their devices only note what is published, and the clock
waits for nobody.
"""

import asyncio
import errno
import os
import selectors
import socket
from collections.abc import Awaitable, Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from lagg.events import Event
from lagg.kernel.native import Device, DeviceCounters, PortCounters
from lagg.lacp.pdu import Lacpdu, decode
from lagg.lacp.values import NS, State
from lagg.link import Link, Modes
from lagg.model import Counters, Drop, Options, Proto
from lagg.options import PORTS_MAX
from lagg.plan.plan import Plan
from lagg.plan.shape import Port, Shape, port_number
from lagg.running.bundle import Bundle
from lagg.running.lacp_io import LacpIo

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
    """Lets so much of that time pass, which takes none."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(seconds, done.set_result, None)
    await done


def now_ns() -> int:
    return int(asyncio.get_running_loop().time() * NS)


NO_DROPS = dict.fromkeys(Drop, 0)
READING = DeviceCounters(
    generation=7,
    xdp=frozenset(),
    reopened=(0,) * PORTS_MAX,
    total=Counters(tx_in=0, tx_out=0, rx_in=0, rx_out=0, drops=NO_DROPS),
    ports=(PortCounters(0, 0, 0, 0, NO_DROPS),) * PORTS_MAX,
)
"""What a device counts that no frame has passed."""


class NotedDevice:
    """What the workers would be under; refuses while `stuck`."""

    workers = 1

    def __init__(self) -> None:
        self.published: list[Plan] = []
        self.stuck = False
        self.behind = 0
        self.asked: list[set[int]] = []  # whom it sent to, when a grace period was due
        self.kept_out: dict[int, set[str]] = {}

    def publish(self, plan: Plan) -> int:
        if self.stuck:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.published.append(plan)
        return 1

    @property
    def plan(self) -> Plan | None:
        """The last that was published."""
        return self.published[-1] if self.published else None

    def held_by(self, _: int) -> int | None:
        """Every worker is past it, but for the first so many times `behind` says."""
        assert self.plan is not None
        self.asked.append(set(self.plan.tx_slots))
        self.behind -= self.behind > 0
        return 0 if self.behind else None

    def reclaim(self) -> int:
        return 0

    def read(self) -> DeviceCounters:
        return READING

    def set_carrier(self, up: bool) -> None:
        """The plan says so, too."""

    def keep_out(self, slot: int, macs: Collection[str]) -> None:
        self.kept_out[slot] = {*macs}


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
        self.bundle = Bundle(link, device, shape, identity=1, emit=self.events.append)
        self.actor = LacpIo(
            self.bundle, self._faster, clock=now_ns, open_socket=self._open
        )
        self.bundle.negotiate_by(self.actor)

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
            await self.actor.open_port(port_number(slot), link)
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
