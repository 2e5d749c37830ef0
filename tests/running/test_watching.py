# SPDX-License-Identifier: BSD-2-Clause
"""Watches at work: machines, sockets and shape, in a time that waits for nobody."""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest

from lagg.errors import LaggError
from lagg.events import Event
from lagg.kernel.native import Device
from lagg.lacp.lease import Lease
from lagg.lacp.pdu import mac_of
from lagg.model import Options, Proto
from lagg.plan.shape import Shape
from lagg.running import watching
from lagg.running.bundle import Bundle
from lagg.running.watching import Watching
from lagg.watchers.address import probe_mac
from lagg.watchers.bfd_packet import (
    CONTROL_BYTES,
    MAC_OPEN_VSWITCH,
    ControlPacket,
    Diagnostic,
    Envelope,
    SessionState,
    decode_control,
)
from lagg.watches import Answer, LinkWatch, WatchKind
from tests.plan.test_delays import port_of, with_carrier
from tests.running.world import (
    AtOnce,
    NotedDevice,
    VirtualLoop,
    link_of,
    now_ns,
    passes,
)

TARGET = "192.0.2.1"
WATCH = LinkWatch(WatchKind.ARP, targets=(TARGET,), interval_ms=100)
HOST = bytes.fromhex("02005e0053fe")
DEAD_S = 0.45
SEAL = Envelope.open_vswitch(HOST, 7)


class Wire:
    """A port's probe socket, and the host at its other end."""

    def __init__(self, far: "Far", slot: int) -> None:
        self._far, self._slot = far, slot
        self._near, self._there = socket.socketpair(type=socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self.admitted: set[str] = set()
        self.closed = False
        self.asked: list[bool] = []  # what its driver answered
        self.has_carrier = True

    def close(self) -> None:
        self.closed = True
        self._near.close()
        self._there.close()

    def fileno(self) -> int:
        return self._near.fileno()

    def frames(self) -> Iterator[bytes]:
        with suppress(BlockingIOError):
            for _ in range(64):
                yield self._near.recv(256)

    def send(self, frame: bytes) -> bool:
        self._far.heard(self._slot, frame)
        return True

    def take_overruns(self) -> int:
        return 0

    def admit(self, macs: Collection[str]) -> None:
        self.admitted = {*macs}

    def carrier(self) -> bool:
        self.asked.append(self.has_carrier)
        return self.has_carrier

    def deliver(self, frame: bytes) -> None:
        self._there.send(frame)


class Far:
    """A host that answers ARP by the ports that are not cut, or by another one."""

    def __init__(self) -> None:
        self.wires: dict[int, Wire] = {}
        self.cut: set[int] = set()
        self.by: dict[int, int] = {}  # the answer to a port's probe comes by this one
        self.probes: list[int] = []
        self.frames: list[bytes] = []  # as they left
        self.refused = 0
        self.noise = 0  # frames that come before each answer

    def open(self, ifindex: int, name: str) -> Wire:
        if self.refused:
            self.refused -= 1
            raise LaggError(name, os.strerror(errno.ENOBUFS), errno.ENOBUFS)
        slot = ifindex - 10
        self.wires[slot] = Wire(self, slot)
        return self.wires[slot]

    def heard(self, slot: int, probe: bytes) -> None:
        self.probes.append(slot)
        self.frames.append(probe)
        if slot not in self.cut:
            asker, target = probe[22:28], probe[38:42]
            body = probe[14:20] + b"\0\2" + HOST + target + asker + bytes(4)
            frame = asker + HOST + probe[12:14] + body
            for each in [bytes(60)] * self.noise + [frame]:
                self.wires[self.by.get(slot, slot)].deliver(each)


class Lagg:
    """A lagg of two ports, watched from the start or later."""

    def __init__(self, proto: Proto = Proto.LOADBALANCE, *watches: LinkWatch) -> None:
        self.device, self.far = NotedDevice(), Far()
        self.events: list[Event] = []
        self.bundle = Bundle(
            link_of(1, 0),
            cast(Device, self.device),
            Shape(proto, Options(hash_seed=0, watch=watches)),
            identity=1,
            emit=self.events.append,
            clock=now_ns,
        )
        self.watching = Watching(self.bundle, clock=now_ns, open_socket=self.far.open)
        self.bundle.followers.append(self.watching)

    def attach(self, *slots: int) -> None:
        for slot in slots:
            shape = self.bundle.shape.with_port(port_of(slot, up=True))
            self.bundle.adopt(shape)

    def change(self, **options: Any) -> None:  # noqa: ANN401
        shape = self.bundle.shape
        self.bundle.adopt(replace(shape, options=replace(shape.options, **options)))

    def carrier(self, slot: int, *, up: bool) -> None:
        self.bundle.adopt(with_carrier(self.bundle.shape, slot, up=up))

    def carries(self) -> set[int]:
        assert self.device.plan is not None
        return {*self.device.plan.tx_slots}

    def states(self) -> list[list[str]]:
        ports = self.bundle.shape.ports
        return [[v.state.value for v in port.watched.verdicts] for port in ports]

    def told(self) -> list[tuple[str | None, str, str | None]]:
        return [
            (each.port, each.details, each.cause)
            for each in self.events
            if each.event.value == "port-watch"
        ]


def run(work: Callable[[], Awaitable[None]]) -> None:
    """In virtual time; nothing may be left over."""
    failed: list[dict[str, Any]] = []

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(AtOnce())
        loop.set_exception_handler(lambda _, context: failed.append(context))
        await work()
        await passes(0.01)  # what was given up closes by and by

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(whole())
    assert failed == []


def test_ports_that_come_carry_once_they_are_answered() -> None:
    async def work() -> None:
        lagg = Lagg(Proto.LOADBALANCE, WATCH)
        lagg.attach(0, 1)
        assert lagg.carries() == set()
        await passes(0.05)
        assert (lagg.states(), lagg.carries()) == ([["up"], ["up"]], {0, 1})
        lagg.bundle.give_up()

    run(work)


def test_a_path_that_is_cut_is_left_in_time_and_taken_again() -> None:
    async def work() -> None:
        lagg = Lagg()
        lagg.attach(0, 1)
        lagg.change(watch=(WATCH,))
        assert (lagg.states(), lagg.carries()) == ([["init"], ["init"]], {0, 1})
        await passes(0.05)
        lagg.far.cut.add(0)
        await passes(0.2)
        assert lagg.carries() == {0, 1}
        await passes(DEAD_S - 0.2)
        assert (lagg.states(), lagg.carries()) == ([["down"], ["up"]], {1})
        lagg.far.cut.clear()
        await passes(0.15)
        assert (lagg.states(), lagg.carries()) == ([["up"], ["up"]], {0, 1})
        target = f"arp {TARGET}"
        assert lagg.told()[-2:] == [
            ("eth0", f"{target}: up -> down", "no reply for 3 x 100 ms"),
            ("eth0", f"{target}: down -> up", "replies"),
        ]
        lagg.bundle.give_up()

    run(work)


def test_while_it_finds_nothing_new_no_snapshot_is_published() -> None:
    async def work() -> None:
        lagg = Lagg(Proto.LOADBALANCE, WATCH)
        lagg.attach(0, 1)
        await passes(0.05)
        lagg.device.stuck = True
        probes = len(lagg.far.probes)
        await passes(10)
        assert len(lagg.far.probes) == probes + 2 * 100
        assert lagg.told()[-1][1].endswith("-> up")
        lagg.bundle.give_up()

    run(work)


def test_what_waits_is_heard_before_it_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also at a port that is not listened to now, for too much came in by it."""
    monkeypatch.setattr(watching, "FRAMES_PER_SLOT", 1)

    async def work() -> None:
        lagg = Lagg(Proto.LOADBALANCE, replace(WATCH, interval_ms=50, missed_max=1))
        lagg.far.noise = 2
        lagg.attach(0, 1)
        await passes(5)
        assert lagg.states() == [["up"], ["up"]]
        assert not any("-> down" in details for _, details, _ in lagg.told())
        lagg.bundle.give_up()

    run(work)


@pytest.mark.parametrize(
    ("proto", "answer", "found"),
    [
        (Proto.LOADBALANCE, Answer.PORT, "down"),
        (Proto.LOADBALANCE, Answer.LAGG, "up"),
        (Proto.LACP, Answer.PORT, "up"),
    ],
)
def test_an_answer_by_another_port_counts_where_the_partner_spreads(
    proto: Proto, answer: Answer, found: str
) -> None:
    async def work() -> None:
        lagg = Lagg(proto, replace(WATCH, answer=answer))
        lagg.far.by[0] = 1
        lagg.attach(0, 1)
        await passes(DEAD_S)
        assert lagg.states() == [[found], ["up"]]
        macs = [probe_mac(p.home_mac, p.slot) for p in lagg.bundle.shape.ports]
        shared = {*macs} if found == "up" else {macs[1]}
        assert lagg.far.wires[1].admitted == shared
        lagg.far.cut.add(0)
        await passes(DEAD_S)
        assert lagg.states() == [["down"], ["up"]], "the answer is to one port's probe"
        lagg.bundle.give_up()

    run(work)


def test_a_driver_is_asked_and_a_port_left_for_which_it_has_no_carrier() -> None:
    async def work() -> None:
        poll = LinkWatch(WatchKind.POLL, interval_ms=100, missed_max=2)
        lagg = Lagg(Proto.LOADBALANCE, poll)
        lagg.attach(0, 1)
        await passes(1.05)
        assert (lagg.states(), lagg.carries()) == ([["up"], ["up"]], {0, 1})
        wires = lagg.far.wires
        assert [len(wire.asked) for wire in wires.values()] == [11, 11]
        wires[0].has_carrier = False
        await passes(0.2)
        assert (lagg.states(), lagg.carries()) == ([["down"], ["up"]], {1})
        wires[0].has_carrier = True
        await passes(0.1)
        assert (lagg.states(), lagg.carries()) == ([["up"], ["up"]], {0, 1})
        lagg.carrier(1, up=False)
        asked = len(wires[1].asked)
        await passes(1)
        assert len(wires[1].asked) == asked
        assert lagg.far.probes == []
        lagg.bundle.give_up()

    run(work)


def test_a_session_hears_its_own_port_alone_and_says_when_it_ends() -> None:
    async def work() -> None:
        lagg = Lagg(Proto.LACP, LinkWatch(WatchKind.BFD))
        lagg.far.cut |= {0, 1}
        lagg.attach(0, 1)
        await passes(0.05)
        down = ControlPacket(
            SessionState.DOWN, Diagnostic.NONE, 3, 7, 0, 1_000_000, 1_000_000
        )
        lagg.far.wires[1].deliver(SEAL.seal(down))
        await passes(0.05)
        reasons = [p.watched.verdicts[0].reason for p in lagg.bundle.shape.ports]
        assert reasons == ["no packet of the partner yet", "the partner says down"]
        admitted = [wire.admitted for wire in lagg.far.wires.values()]
        assert lagg.device.kept_out == dict(enumerate(admitted))
        macs = [probe_mac(p.home_mac, p.slot) for p in lagg.bundle.shape.ports]
        assert admitted == [{mac, mac_of(MAC_OPEN_VSWITCH)} for mac in macs]
        lagg.far.probes.clear()
        lagg.change(watch=())
        assert lagg.far.probes == [0, 1]
        assert lagg.device.kept_out == {0: set(), 1: set()}
        lagg.bundle.give_up()

    run(work)


async def with_a_session() -> tuple[Lagg, ControlPacket]:
    """A lagg whose first port's session is up, and what the partner says in it."""
    lagg = Lagg(Proto.LOADBALANCE, LinkWatch(WatchKind.BFD, interval_ms=100))
    lagg.far.cut.add(0)
    lagg.attach(0)
    await passes(0.05)
    ours = decode_control(lagg.far.frames[-1][-CONTROL_BYTES:])
    assert isinstance(ours, ControlPacket)
    up = ControlPacket(
        SessionState.UP, Diagnostic.NONE, 3, 7, ours.my_discriminator, 100_000, 100_000
    )
    for state in (SessionState.INIT, SessionState.UP):
        lagg.far.wires[0].deliver(SEAL.seal(replace(up, state=state)))
    await passes(0.01)
    return lagg, up


def test_a_session_goes_on_at_another_pace_by_a_poll() -> None:
    async def work() -> None:
        lagg, up = await with_a_session()
        lagg.far.wires[0].deliver(SEAL.seal(replace(up, final=True)))
        await passes(0.01)
        assert lagg.states() == [["up"]]
        del lagg.far.frames[:]
        lagg.change(watch=(LinkWatch(WatchKind.BFD, interval_ms=50, missed_max=5),))
        await passes(0.2)
        said = [decode_control(f[-CONTROL_BYTES:]) for f in lagg.far.frames]
        assert {
            (s.state, s.poll, s.desired_min_tx_us, s.multiplier)
            for s in said
            if isinstance(s, ControlPacket)
        } == {(SessionState.UP, True, 50_000, 5)}
        assert lagg.states() == [["up"]]
        assert [details for _, details, _ in lagg.told()] == ["bfd: down -> up"]
        lagg.bundle.give_up()

    run(work)


def test_what_a_session_says_while_nobody_is_here_is_told_once_it_is_another() -> None:
    async def work() -> None:
        lagg, up = await with_a_session()
        told: list[object] = []
        lagg.bundle.watch(lambda: told.append(lagg.watching.leases()), lambda: None)
        lagg.far.wires[0].deliver(SEAL.seal(replace(up, final=True)))
        await passes(0.15)
        said = decode_control(lagg.far.frames[-1][-CONTROL_BYTES:])
        assert isinstance(said, ControlPacket)
        assert (said.state, said.poll) == (SessionState.UP, False)
        assert told[-1] == {0: [Lease(lagg.far.frames[-1], 100)]}
        lagg.change(watch=())
        assert lagg.watching.leases() == {0: []}
        lagg.bundle.give_up()

    run(work)


def test_an_answer_goes_on_counting_at_another_pace() -> None:
    async def work() -> None:
        lagg = Lagg(Proto.LOADBALANCE, replace(WATCH, interval_ms=3_600_000))
        lagg.attach(0, 1)
        await passes(0.05)
        lagg.far.cut.add(0)
        lagg.change(watch=(WATCH,))
        assert lagg.states() == [["up"], ["up"]]
        await passes(DEAD_S)
        assert (lagg.states(), lagg.carries()) == ([["down"], ["up"]], {1})
        lagg.bundle.give_up()

    run(work)


def test_a_port_without_carrier_is_not_asked_and_is_proved_anew() -> None:
    async def work() -> None:
        lagg = Lagg(Proto.LOADBALANCE, WATCH)
        lagg.attach(0, 1)
        await passes(0.05)
        lagg.carrier(0, up=False)
        lagg.far.probes.clear()
        await passes(1)
        assert {*lagg.far.probes} == {1}
        lagg.carrier(0, up=True)
        assert lagg.carries() == {1}
        await passes(0.05)
        assert lagg.carries() == {0, 1}
        lagg.bundle.give_up()

    run(work)


def test_what_is_watched_no_more_is_asked_no_more_and_its_socket_closes() -> None:
    async def work() -> None:
        lagg = Lagg(Proto.LOADBALANCE, WATCH)
        lagg.attach(0, 1)
        await passes(0.05)
        lagg.bundle.adopt(lagg.bundle.shape.without_port(1))
        await passes(0.05)
        assert [wire.closed for wire in lagg.far.wires.values()] == [False, True]
        lagg.change(watch=())
        lagg.far.probes.clear()
        await passes(1)
        assert lagg.far.probes == []
        assert all(wire.closed for wire in lagg.far.wires.values())
        assert lagg.carries() == {0}
        lagg.bundle.give_up()

    run(work)


def test_a_socket_that_cannot_be_opened_is_tried_again_and_nothing_judged() -> None:
    async def work() -> None:
        lagg = Lagg()
        lagg.attach(0, 1)
        lagg.far.refused = 3
        lagg.change(watch=(WATCH,))
        await passes(0.9)
        assert (lagg.states(), lagg.carries()) == ([["init"], ["init"]], {0, 1})
        await passes(1.2)
        assert lagg.states() == [["up"], ["up"]]
        lagg.bundle.give_up()

    run(work)


def test_the_next_one_begins_with_what_was_found() -> None:
    async def work() -> None:
        lagg = Lagg(Proto.LOADBALANCE, WATCH)
        lagg.attach(0, 1)
        await passes(0.05)
        lagg.far.cut.add(0)
        await passes(DEAD_S)
        left = lagg.bundle.shape
        lagg.bundle.give_up()
        nxt = Lagg(Proto.LOADBALANCE, WATCH)
        nxt.far.cut.add(0)
        nxt.bundle.adopt(left)
        assert (nxt.states(), nxt.carries()) == ([["down"], ["up"]], {1})
        await passes(1)
        assert nxt.bundle.shape.ports == left.ports
        nxt.bundle.give_up()

    run(work)


def test_a_verdict_that_the_workers_hold_up_is_told_when_they_let_it_be() -> None:
    async def work() -> None:
        lagg = Lagg(Proto.LOADBALANCE, WATCH)
        lagg.attach(0, 1)
        await passes(0.05)
        lagg.far.cut.add(0)
        lagg.device.stuck = True
        await passes(DEAD_S)
        assert lagg.states() == [["up"], ["up"]], "the shape says what the workers do"
        lagg.device.stuck = False
        await passes(1)
        assert (lagg.states(), lagg.carries()) == ([["down"], ["up"]], {1})
        lagg.bundle.give_up()

    run(work)
