# SPDX-License-Identifier: BSD-2-Clause
"""AF_XDP sends by a port's first transmit queue, a packet socket by any: with several,
frames of a flow could overtake each other, so then the packet socket sends all.
"""

import asyncio
import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lab import Namespace
from lagg.kernel.netlink import Netlink, queues
from lagg.kernel.netlink.generic import Generic
from lagg.kernel.netlink.wire import Message, Socket
from lagg.link import Link
from lagg.model import Proto, Transmit
from lagg.operations.kernel_events import KernelEvents
from tests.netns import ethtool
from tests.netns.commands_world import World
from tests.netns.frames import ether, waiting

FRAMES, CHANGES = 4000, 100
SHORT_BYTES, LONG_BYTES = 100, 2030
"""Bytes of a frame that leaves by AF_XDP, and of one too long for that."""

SO_RCVBUFFORCE = 33
ROOM_BYTES = 64 << 20

CHANNELS_NTF = b"\x13"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Wires where p0 has one of its four queues each way, and p1 is a usual veth."""
    with World(tmp_path) as made:
        made.start()
        far = {"ifname": "q0", "net_ns_fd": made.far.descriptor}
        most: dict[str, Any] = {"num_tx_queues": 4, "num_rx_queues": 4}
        made.near.netlink("link", "add", ifname="p0", kind="veth", peer=far, **most)
        set_queues(made, receive=1, transmit=1)
        made.far.set_link("q0", state="up")
        made.near.set_link("p0", state="up")
        made.plug(1)
        yield made


def set_queues(world: World, *, receive: int, transmit: int) -> None:
    counts = {"receive": receive, "transmit": transmit}
    world.near.inside(lambda: ethtool.set_queues("p0", **counts))


def frame_of(number: int) -> bytes:
    size = LONG_BYTES if number % 3 == 0 else SHORT_BYTES
    return ether(b"%06d" % number + bytes(size - 20))


def create(world: World) -> None:
    world.create("lagg0", "p0", "p1", proto=Proto.FAILOVER)
    if transmits(world)[1] is Transmit.PACKET:
        pytest.skip("no AF_XDP here")


def transmits(world: World) -> list[Transmit]:
    tx = {port["name"]: Transmit(port["tx"]) for port in world.record()["ports"]}
    return [tx["p0"], tx["p1"]]


def carries_by(world: World, way: Transmit) -> bool:
    (port,) = world.record()["ports"]
    return port["reason"] is None and port["tx"] == way.value


async def no_look(follower: KernelEvents) -> None:
    """Instead of a poll's."""
    follower._stirred.clear()


def await_transmits(world: World, *wanted: Transmit) -> None:
    world.wait(lambda: transmits(world) == list(wanted), f"the ports send by {wanted}")


def test_a_port_sends_by_the_packet_socket_while_it_has_several_queues(
    world: World,
) -> None:
    create(world)
    assert transmits(world) == [Transmit.XDP, Transmit.XDP]
    set_queues(world, receive=1, transmit=4)
    await_transmits(world, Transmit.PACKET, Transmit.XDP)
    set_queues(world, receive=1, transmit=1)
    await_transmits(world, Transmit.XDP, Transmit.XDP)


def test_a_port_that_has_several_when_it_is_attached_sends_so_from_the_first_frame(
    world: World,
) -> None:
    set_queues(world, receive=1, transmit=2)
    create(world)
    assert transmits(world) == [Transmit.PACKET, Transmit.XDP]
    set_queues(world, receive=1, transmit=1)
    await_transmits(world, Transmit.XDP, Transmit.XDP)


def test_only_the_ports_that_came_are_asked_for_their_queues(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, asked = Netlink.transmit_by_several, list[list[str]]()

    async def asking(netlink: Netlink, links: Sequence[Link]) -> set[int]:
        asked.append([link.name for link in links])
        return await ask(netlink, links)

    world.stop()
    monkeypatch.setattr(KernelEvents, "_look_for_sniffers", no_look)
    monkeypatch.setattr(Netlink, "transmit_by_several", asking)
    world.start()
    world.create("lagg0", "p0", proto=Proto.FAILOVER)
    world.attach("p1")
    world.change(mtu=1400)
    assert asked == [["p0"], ["p1"]]


def test_all_ports_are_asked_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(world)
    set_queues(world, receive=1, transmit=4)
    monkeypatch.delattr(Generic, "transmit_queues")
    # The driver of a TAP does not say how many it has.
    world.ip("tuntap add d0 mode tap multi_queue")
    with closing(world.near.inside(Netlink)) as netlink:
        every = world.do(netlink.links()).values()
        several = world.do(netlink.transmit_by_several([*every]))
    found = {link.name for link in every if link.ifindex in several}
    assert found == {"p0", "d0"}


def test_receive_queues_do_not_matter(world: World) -> None:
    set_queues(world, receive=4, transmit=1)
    create(world)
    assert transmits(world) == [Transmit.XDP, Transmit.XDP]


def test_more_queues_are_told_and_need_no_poll(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.stop()
    monkeypatch.setattr(KernelEvents, "_look_for_sniffers", no_look)
    world.start()
    create(world)
    for _ in range(10):
        set_queues(world, receive=1, transmit=4)
        await_transmits(world, Transmit.PACKET, Transmit.XDP)
        set_queues(world, receive=1, transmit=1)
        await_transmits(world, Transmit.XDP, Transmit.XDP)


def test_notices_that_were_lost_are_made_up_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = Socket.receive_now

    def lost(opened: Socket) -> list[Message]:
        messages = receive(opened)
        if any(each.raw[16:17] == CHANNELS_NTF for each in messages):
            raise OSError(errno.ENOBUFS, "for a test")
        return messages

    world.stop()
    monkeypatch.setattr(KernelEvents, "_look_for_sniffers", no_look)
    world.start()
    create(world)
    monkeypatch.setattr(Socket, "receive_now", lost)
    set_queues(world, receive=1, transmit=4)
    await_transmits(world, Transmit.PACKET, Transmit.XDP)


def test_a_kernel_without_ethtool_s_netlink_tells_nobody_and_nothing_fails(
    near: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lacking(_: Socket, name: str) -> None:
        raise OSError(errno.ENOENT, f"no {name}")

    async def first() -> object:
        with closing(Netlink()) as netlink:
            watch = asyncio.ensure_future(anext(netlink.watch_queues()))
            done, _ = await asyncio.wait([watch], timeout=0.1)
            watch.cancel()
            return done

    monkeypatch.setattr(queues, "family", lacking)
    assert near.arun(first) == set()


def test_no_frame_is_lost_or_overtaken_while_the_queues_change(world: World) -> None:
    """Nobody waits for laggd, and short frames go by AF_XDP among long ones."""
    world.without_ipv6()
    world.far_ip("link set q0 mtu 9000")
    world.create("lagg0", "p0", proto=Proto.FAILOVER, mtu=9000)
    got: list[bytes] = []
    wanted = [frame_of(number) for number in range(FRAMES)]
    with (
        world.near.packet_socket("lagg0") as above,
        world.far.packet_socket("q0") as beyond,
    ):
        beyond.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM_BYTES)
        for number, frame in enumerate(wanted):
            if number % (FRAMES // CHANGES) == 0:
                several = number // (FRAMES // CHANGES) % 2
                set_queues(world, receive=1, transmit=4 if several else 1)
            above.send(frame)
            got += waiting(beyond)

        def all_came() -> bool:
            got.extend(waiting(beyond))
            return len(got) >= FRAMES

        world.wait(all_came, "all frames came")
    assert got == wanted
    counters = world.record()["counters"]
    assert counters["tx_in"] == counters["tx_out"] + sum(counters["drops"].values())
