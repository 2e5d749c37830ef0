# SPDX-License-Identifier: BSD-2-Clause
"""A port that a frame would have made deaf for good: packet(7) keeps a ring's entry for
ever when it has no words for how a frame is to be segmented.

On Linux 6.1 any UDP GSO train does it; on every kernel UDP that is to be fragmented, as
a TAP takes it from its guest.
"""

import errno
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.model import Proto
from lagg.operations.kernel_events import KernelEvents
from lagg.running.bundle import Bundle
from tests.netns.commands_world import World
from tests.netns.frames import DST, SRC, VNET, ether, ipv4
from tests.netns.taps import tap
from tests.waiting import in_time

NEEDS_CSUM, GSO_UDP = 1, 3
TRAINS = 100
PAUSE_S = 0.5


class Wire:
    """The guest's end of a TAP that is a port."""

    def __init__(self, world: World, name: str) -> None:
        self._descriptor = world.near.inside(lambda: tap(name, offloads=True))
        world.ip(f"link set {name} up")

    def close(self) -> None:
        os.close(self._descriptor)

    def send(self, frame: bytes, offload: bytes = bytes(VNET.size)) -> None:
        os.write(self._descriptor, offload + frame)

    def send_indescribable(self) -> None:
        udp = struct.pack("!HHHH", 9, 9, 3008, 0) + bytes(3000)
        packet = ipv4(udp, src="192.0.2.1", dst="192.0.2.2")
        offload = VNET.pack(NEEDS_CSUM, GSO_UDP, 42, 1000, 34, 6)
        self.send(DST + SRC + b"\x08\0" + packet, offload)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.without_ipv6()
        yield made.start()


@pytest.fixture
def wires(world: World) -> Iterator[list[Wire]]:
    made = [Wire(world, name) for name in ("t0", "t1")]
    world.create("lagg0", "t0", "t1", proto=Proto.ROUNDROBIN)
    yield made
    world.destroy()
    for wire in made:
        wire.close()


def received(world: World, number: int) -> int:
    return world.record()["ports"][number]["rx_frames"]


def reopened(world: World) -> list[int]:
    return [port["rings_reopened"] for port in world.record()["ports"]]


def conserved(world: World) -> bool:
    counters = world.record()["counters"]
    return counters["rx_in"] == counters["rx_out"] + sum(counters["drops"].values())


def test_a_port_hears_again_after_what_its_kernel_cannot_describe(
    world: World, wires: list[Wire]
) -> None:
    wires[0].send_indescribable()
    event = world.wait_event("ring-reopened", "t0")
    assert "offload" in event.details
    before = received(world, 0)
    wires[0].send(ether(b"heard"))
    world.wait(lambda: received(world, 0) == before + 1, "t0 hears")
    assert reopened(world) == [1, 0]
    assert conserved(world)


def test_the_other_ports_lose_nothing_meanwhile(
    world: World, wires: list[Wire]
) -> None:
    sent, before = 0, received(world, 1)
    wires[0].send_indescribable()

    def send_until_mended() -> bool:
        nonlocal sent
        for _ in range(50):
            wires[1].send(ether(b"sound"))
        sent += 50
        # No more than a ring has room for, however late its worker is.
        world.wait(lambda: received(world, 1) == before + sent, "t1 heard all")
        return reopened(world)[0] > 0

    world.wait(send_until_mended, "t0 was mended")
    assert not any(world.record()["ports"][1]["drops"].values())


def test_a_hundred_of_them_leave_no_port_deaf(world: World, wires: list[Wire]) -> None:
    for _ in range(TRAINS):
        for wire in wires:
            wire.send_indescribable()
    for number, wire in enumerate(wires):
        world.wait_event("ring-reopened", f"t{number}")
        before = received(world, number)
        wire.send(ether(b"heard"))
        world.wait(
            lambda number=number, before=before: received(world, number) > before,  # type: ignore[misc]
            "it hears",
        )
    assert conserved(world)


def test_while_they_go_on_the_port_hears_most_of_the_time(
    world: World, wires: list[Wire]
) -> None:
    wires[0].send_indescribable()
    world.wait_event("ring-reopened", "t0")

    def deaf_s() -> list[float]:
        began = time.monotonic()
        wires[0].send_indescribable()
        world.wait_event("ring-reopened", "t0")
        return [time.monotonic() - began]

    in_time(deaf_s, PAUSE_S)  # for from here on it is looked at often


def test_rings_are_looked_at_between_two_looks_around(
    world: World, wires: list[Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(events: KernelEvents) -> None:
        events._stirred.clear()

    monkeypatch.setattr(KernelEvents, "_look_for_groups", none)
    wires[0].send_indescribable()
    world.wait_event("ring-reopened", "t0")


@pytest.mark.parametrize("held_up", [1, 2])  # before the change, and after it
def test_it_hears_again_later_when_a_worker_holds_that_up(
    world: World, wires: list[Wire], monkeypatch: pytest.MonkeyPatch, held_up: int
) -> None:
    grace, refusals = Bundle.grace, [held_up]

    async def grace_later(bundle: Bundle) -> None:
        if refusals:
            refusals[0] -= 1
        if refusals == [0]:
            refusals.pop()
            raise bundle.refuse("worker 0 did not leave its section", errno.ETIMEDOUT)
        await grace(bundle)

    monkeypatch.setattr(Bundle, "grace", grace_later)
    wires[0].send_indescribable()
    world.wait_event("ring-reopened", "t0")
    assert refusals == []
    before = received(world, 0)
    wires[0].send(ether(b"heard"))
    world.wait(lambda: received(world, 0) == before + 1, "t0 hears")
    assert conserved(world)
    wires[0].send_indescribable()
    world.wait_event("ring-reopened", "t0")  # again, for none was left open
    assert reopened(world) == [2, 0]


def test_what_is_sound_stays_as_it_is(world: World, wires: list[Wire]) -> None:
    before = world.record()["generation"]
    for _ in range(5000):
        wires[0].send(ether(b"much"))
    world.wait(lambda: conserved(world), "all is counted")
    world.wait(lambda: received(world, 0) >= 5000, "all has come")
    assert reopened(world) == [0, 0]
    assert world.record()["generation"] == before
