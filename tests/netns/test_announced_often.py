# SPDX-License-Identifier: BSD-2-Clause
"""What the partner hears of a new way in: how often, of whom, and never too early."""

import asyncio
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from scapy.layers.igmp import IGMPv3_MR
from scapy.layers.inet6 import ICMPv6MLReport2
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from lagg.kernel.netlink import stations
from lagg.kernel.netlink.wire import Message, Socket
from lagg.model import LaggChange, Proto
from lagg.operations.announce import BATCH_FRAMES, Announcer
from lagg.options import ANNOUNCE_MS_MAX
from lagg.plan.way_in import due_at
from tests.netns.commands_world import World
from tests.netns.frames import Capture, Seen, ether

ADDRESS, GUEST = "192.0.2.77", "02:00:5e:00:53:77"
MAC = "02:00:5e:00:53:99"
GROUP, GROUP6 = "239.7.7.7", "ff05::77"
IS_EXCLUDE = 2
"""A current-state record, as we send; the kernel tells of a change by another kind."""

REVERSE_ARP = bytes.fromhex("8035")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.plug(0, 1, 2)
        made.start()
        yield made


def said_all(world: World) -> bool:
    """Whether nothing is left to be said of lagg0."""
    bundle = world.commands._laggs.bundles["lagg0"]
    lagg = bundle.link.ifindex
    quiet = lagg not in announcer(world)._speaking
    return due_at(bundle.wanted) is None and quiet


def said_some(world: World, *, left: int) -> bool:
    """Whether so many announcements of lagg0 are left, and none is being said."""
    bundle = world.commands._laggs.bundles["lagg0"]
    quiet = bundle.link.ifindex not in announcer(world)._speaking
    return bundle.wanted.announcements.left == left and quiet


def announcer(world: World) -> Announcer:
    found = world.commands._laggs.moved.__self__  # type: ignore[attr-defined]
    assert isinstance(found, Announcer)
    return found


class Partner:
    """All that came in at a far port, as it comes."""

    def __init__(self, wire: Capture) -> None:
        self._wire = wire
        self._seen: list[Seen] = []

    def _take(self) -> list[bytes]:
        self._seen += self._wire.take()
        return [each.wire for each in self._seen]

    @property
    def frames(self) -> list[Packet]:
        return [Ether(wire) for wire in self._take() if wire[12:14] != REVERSE_ARP]

    @property
    def announced(self) -> list[str]:
        """The MACs by which our address was announced."""
        return [frame[ARP].hwsrc for frame in self.frames if announces(frame)]

    @property
    def announced_at(self) -> list[int]:
        """When it was, by the wall clock."""
        self._take()
        return [each.at_ns for each in self._seen if announces(Ether(each.wire))]

    @property
    def taught(self) -> Counter[str]:
        """How often switches were taught of each MAC."""
        return Counter(
            wire[6:12].hex(":") for wire in self._take() if wire[12:14] == REVERSE_ARP
        )

    @property
    def rejoined(self) -> Counter[str]:
        """How often groups were said to be joined."""
        records = [
            record
            for frame in self.frames
            for record in (
                *(frame[IGMPv3_MR].records if IGMPv3_MR in frame else ()),
                *(frame[ICMPv6MLReport2].records if ICMPv6MLReport2 in frame else ()),
            )
        ]
        return Counter(
            getattr(each, "maddr", None) or each.dst
            for each in records
            if each.rtype == IS_EXCLUDE
        )


def announces(frame: Packet) -> bool:
    return ARP in frame and frame[ARP].psrc == frame[ARP].pdst == ADDRESS


@contextmanager
def partner(world: World, name: str) -> Iterator[Partner]:
    with Capture(world.far, name) as wire:
        yield Partner(wire)


def set_options(world: World, **options: int) -> None:
    world.change(options=tuple(options.items()))


@pytest.mark.parametrize("count", [0, 1, 10, 20, 30])
def test_a_failover_is_announced_as_often_as_is_set(world: World, count: int) -> None:
    world.create("lagg0", "p0", "p1")
    world.ip(f"addr add {ADDRESS}/24 dev lagg0")
    world.wait(lambda: said_all(world), "all is said")
    set_options(world, announce_count=count, announce_interval_ms=APART_MS)
    with partner(world, "q1") as heard:
        began_ns = time.time_ns()
        world.carrier(0, up=False)
        world.wait(lambda: world.carrying() == ["p1"], "p1 carries")
        world.wait(lambda: said_all(world), "all is said")
        world.wait(lambda: len(heard.announced) >= count, "all is heard")
        # Each may be late; none is early, however late the one before it was.
        early = [
            number
            for number, at_ns in enumerate(heard.announced_at)
            if at_ns < began_ns + number * APART_MS * 10**6
        ]
        assert (len(heard.announced), early) == (count, [])
        spaced = [b - a for a, b in pairwise(heard.announced_at)]
        print("apart, ms:", [round(each / 1e6, 1) for each in spaced])


APART_MS = 20


def test_a_lagg_says_where_it_is_before_what_stands_on_it_is_listed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.create("lagg0", "p0", "p1")
    world.ip(f"addr add {ADDRESS}/24 dev lagg0")
    world.wait(lambda: said_all(world), "all is said")
    inside, go_on = stations.__globals__, threading.Event()
    addresses = inside["_addresses"]

    def waiting(source: Socket) -> object:
        go_on.wait()
        return addresses(source)

    monkeypatch.setitem(inside, "_addresses", waiting)
    try:
        with partner(world, "q1") as heard:
            world.carrier(0, up=False)
            world.wait(lambda: heard.announced, "it is announced")
            assert not said_all(world)
            go_on.set()
            world.wait(lambda: said_all(world), "all is said")
            assert len(heard.announced) == 1
    finally:
        go_on.set()


def test_news_while_it_is_announced_has_all_its_rounds(world: World) -> None:
    world.create("lagg0", "p0", "p1", "p2")
    world.ip(f"addr add {ADDRESS}/24 dev lagg0")
    world.wait(lambda: said_all(world), "all is said")
    set_options(world, announce_count=10, announce_interval_ms=ANNOUNCE_MS_MAX)
    with partner(world, "q2") as heard:
        world.carrier(0, up=False)
        world.wait(lambda: world.carrying() == ["p1"], "p1 carries")
        # None is on its way, or it would leave by p2, too.
        world.wait(lambda: said_some(world, left=9), "one is said")
        set_options(world, announce_interval_ms=20)
        world.carrier(1, up=False)
        world.wait(lambda: world.carrying() == ["p2"], "p2 carries")
        world.wait(lambda: said_all(world), "all is said")
        world.wait(lambda: len(heard.announced) >= 10, "all is heard")
        assert len(heard.announced) == 10


@pytest.mark.parametrize("proto", [Proto.LOADBALANCE, Proto.ROUNDROBIN])
def test_a_port_that_is_held_is_a_reason_with_any_spread(
    world: World, proto: Proto
) -> None:
    world.create("lagg0", "p0", "p1", proto=proto)
    world.ip(f"addr add {ADDRESS}/24 dev lagg0")
    world.wait(lambda: said_all(world), "all is said")
    with partner(world, "q1") as heard:
        world.change(port_options={"p0": (("hold", True),)})
        world.wait(lambda: heard.announced, "an announcement")


def test_another_group_is_a_reason(world: World) -> None:
    world.create("lagg0", "p0", "p1", "p2", proto=Proto.LOADBALANCE)
    world.ip(f"addr add {ADDRESS}/24 dev lagg0")
    high = dict.fromkeys(("p0", "p1"), (("priority", 1),))
    world.change(options=(("min_links", 1),), port_options=high)
    world.wait(lambda: said_all(world), "all is said")
    with partner(world, "q2") as heard:
        world.change(port_options=dict.fromkeys(high, (("priority", -1),)))
        world.wait(lambda: heard.announced, "an announcement")
        assert world.carrying() == ["p2"]


# ---- whom switches are taught of ---------------------------------------------------


def with_guest(world: World) -> None:
    """A bridge on lagg0, and a guest behind it that the bridge has heard."""
    world.ip("link add br0 type bridge")
    world.ip("link add g0 type veth peer name g1")
    for name in ("g0", "lagg0"):
        world.ip(f"link set {name} master br0")
    for name in ("br0", "g0", "g1"):
        world.ip(f"link set {name} up")
    world.wait(lambda: hears(world, "g0"), "the bridge has heard the guest")


def hears(world: World, port: str) -> bool:
    """Lets the guest speak; whether the bridge knows it."""
    with world.near.open_socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("g1", 0))
        sender.send(ether(b"", src=bytes.fromhex(GUEST.replace(":", ""))))
    return GUEST in world.near.inside(lambda: _fdb(port))


def _fdb(port: str) -> list[str]:
    index = socket.if_nametoindex(port)
    return [each.mac for each in stations().macs if each.ifindex == index]


def test_a_guest_behind_a_bridge_is_taught_by_the_port_that_carries_now(
    world: World,
) -> None:
    world.create("lagg0", "p0", "p1")
    with_guest(world)
    world.wait(lambda: said_all(world), "all is said")
    set_options(world, announce_count=3, announce_interval_ms=20)
    with partner(world, "q1") as heard:
        world.carrier(0, up=False)
        world.wait(lambda: said_all(world) and heard.taught[GUEST] >= 3, "three")
        assert heard.taught[GUEST] == 3


def test_a_guest_is_not_taught_where_spanning_tree_keeps_it_away(world: World) -> None:
    world.create("lagg0", "p0", "p1")
    with_guest(world)
    world.ip("link set br0 type bridge stp_state 1 forward_delay 3000")
    world.ip("link set lagg0 nomaster")
    world.ip("link set lagg0 master br0")  # it listens first, for long
    world.wait(lambda: said_all(world), "all is said")
    with partner(world, "q1") as heard:
        world.carrier(0, up=False)
        world.wait(lambda: world.carrying() == ["p1"], "p1 carries")
        world.wait(lambda: said_all(world) and heard.frames, "others are announced")
        assert heard.taught[GUEST] == 0


def test_a_macvlan_that_lives_elsewhere_is_taught(world: World) -> None:
    world.create("lagg0", "p0", "p1")
    world.ip(f"link add m0 link lagg0 address {GUEST} type macvlan mode bridge")
    world.near.set_link("m0", net_ns_fd=world.far.descriptor)
    world.far.set_link("m0", state="up")
    world.wait(lambda: said_all(world), "all is said")
    with partner(world, "q1") as heard:
        world.carrier(0, up=False)
        world.wait(lambda: heard.taught[GUEST], "the macvlan's MAC is taught")
        world.wait(lambda: said_all(world), "all is said")
        assert heard.taught[GUEST] == 1


MANY = 3000


def test_thousands_are_taught_each_once_and_the_loop_goes_on(world: World) -> None:
    world.create("lagg0", "p0", "p1")
    with_guest(world)
    macs = {f"02:00:5e:01:{n >> 8:02x}:{n & 255:02x}" for n in range(MANY)}
    batch = "".join(f"fdb add {mac} dev g0 master static\n" for mac in sorted(macs))
    world.near.inside(lambda: _bridge(batch))
    world.wait(lambda: said_all(world), "all is said")
    with partner(world, "q1") as heard, counted_turns(world) as turns:
        world.carrier(0, up=False)
        world.wait(lambda: world.carrying() == ["p1"], "p1 carries")
        world.wait(lambda: said_all(world), "all is said")
        world.wait(lambda: macs <= heard.taught.keys(), "all are taught")
        taught = heard.taught
        assert {taught[mac] for mac in macs} == {1}
        assert turns() > MANY // BATCH_FRAMES


def test_a_guest_that_is_learnt_while_they_are_listed_makes_none_be_listed_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.create("lagg0", "p0", "p1")
    with_guest(world)
    macs = [f"02:00:5e:01:{n >> 8:02x}:{n & 255:02x}" for n in range(MANY)]
    add = "fdb add {} dev g0 master static\n".format
    world.near.inside(lambda: _bridge("".join(map(add, macs))))
    late = (f"02:00:5e:02:00:{n:02x}" for n in range(256))
    receive = Socket.receive_now

    def receive_and_learn(source: Socket) -> list[Message]:
        found = receive(source)
        _bridge(add(next(late)))
        return found

    monkeypatch.setattr(Socket, "receive_now", receive_and_learn)
    listed = Counter(world.near.inside(lambda: _fdb("g0")))
    assert {listed[mac] for mac in macs} == {1}


@contextmanager
def counted_turns(world: World) -> Iterator[Callable[[], int]]:
    """How often the loop has gone round while something was being said."""
    turns, over = 0, threading.Event()

    async def count() -> None:
        nonlocal turns
        while not over.is_set():
            turns += bool(announcer(world)._speaking)
            await asyncio.sleep(0)

    counting = asyncio.run_coroutine_threadsafe(count(), world.loop)
    yield lambda: turns
    over.set()
    counting.result()


def _bridge(batch: str) -> None:
    subprocess.run(["bridge", "-batch", "-"], input=batch, text=True, check=True)


# ---- groups ------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3])
def test_groups_are_joined_again_by_the_port_that_carries_now(
    world: World, count: int
) -> None:
    world.create("lagg0", "p0", "p1")
    world.ip(f"addr add {ADDRESS}/24 dev lagg0")
    joined = world.near.inside(_join)
    set_options(world, rejoin_count=count)
    world.wait(lambda: said_all(world), "all is said")
    with partner(world, "q1") as heard:
        world.carrier(0, up=False)
        world.wait(lambda: world.carrying() == ["p1"], "p1 carries")
        world.wait(lambda: said_all(world), "all is said")
        for group in (GROUP, GROUP6):
            world.wait(lambda g=group: heard.rejoined[g] >= count, group)  # type: ignore[misc]
        assert (heard.rejoined[GROUP], heard.rejoined[GROUP6]) == (count, count)
    for each in joined:
        each.close()


def _join() -> tuple[socket.socket, ...]:
    four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    index = socket.if_nametoindex("lagg0")
    here = index.to_bytes(4, "little")
    wanted = socket.inet_aton(GROUP) + bytes(4) + here
    four.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, wanted)
    six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    wanted = socket.inet_pton(socket.AF_INET6, GROUP6) + here
    six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, wanted)
    return four, six


# ---- never too early ---------------------------------------------------------------


def test_while_a_port_has_the_old_mac_nothing_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.create("lagg0", "p0", "p1", "p2")
    world.ip(f"addr add {ADDRESS}/24 dev lagg0")
    world.wait(lambda: said_all(world), "all is said")
    netlink = world.commands._laggs.netlink
    set_mac, go_on = netlink.set_mac, asyncio.Event()
    waiting = world.link("p2")["ifindex"]

    async def slow(ifindex: int, mac: str) -> None:
        if ifindex == waiting:
            await go_on.wait()
        await set_mac(ifindex, mac)

    monkeypatch.setattr(netlink, "set_mac", slow)
    with partner(world, "q1") as heard:
        change = world.commands.set("lagg0", LaggChange(mac=MAC))
        under_way = asyncio.run_coroutine_threadsafe(change, world.loop)
        world.wait(lambda: world.link("p1")["address"] == MAC, "p1 has the new MAC")
        world.carrier(0, up=False)  # news, while it does not rule yet
        world.wait(lambda: announcer(world)._speaking, "it is about to be announced")
        assert heard.announced == []
        world.loop.call_soon_threadsafe(go_on.set)
        under_way.result()
        world.wait(lambda: said_all(world) and heard.announced, "it is announced")
        assert {*heard.announced} == {MAC}
