# SPDX-License-Identifier: BSD-2-Clause
"""The ports receive what their lagg is to receive, also where the kernel tells nobody.

What the poll would find is found by events here, for the poll comes too late to help.
"""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from lagg.kernel.netlink import Netlink
from lagg.kernel.netlink.watch import RTNLGRP_IPV4_MCADDR, RTNLGRP_IPV6_MCADDR
from lagg.kernel.netlink.wire import Socket
from lagg.operations import kernel_events, uppers
from lagg.operations.kernel_events import KernelEvents, Operation
from lagg.operations.laggs import Laggs
from lagg.watches import LinkWatch, WatchKind
from tests.netns.commands_world import World

PORTS = ("p0", "p1")
VIRTUAL_MAC = "00:00:5e:00:01:33"  # as VRRP has it
NEVER_S = 3600.0
WAITED_S = 0.2
LONG_LOOK_S = 0.2


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.plug(0, 1)
        yield made


@pytest.fixture
def without_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only events have anybody look."""
    monkeypatch.setattr(kernel_events, "POLL_S", NEVER_S)
    monkeypatch.setattr(kernel_events, "POLL_UNTOLD_S", NEVER_S)


@pytest.fixture
def untold_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before Linux 6.14."""
    join = Socket.join

    def refuse(socket: Socket, group: int) -> None:
        if group in (RTNLGRP_IPV4_MCADDR, RTNLGRP_IPV6_MCADDR):
            raise OSError("unknown")
        join(socket, group)

    monkeypatch.setattr(Socket, "join", refuse)


def start(world: World) -> None:
    world.start()
    world.create("lagg0", *PORTS)


def promiscuous(world: World) -> set[str]:
    return {name for name in PORTS if world.link(name)["promiscuity"]}


def reasons(world: World) -> dict[str, str | None]:
    return {port["name"]: port["promisc"] for port in world.record()["ports"]}


@pytest.mark.usefixtures("without_poll")
def test_another_mac_above_the_lagg_opens_the_ports_at_once(world: World) -> None:
    start(world)
    world.ip(f"link add link lagg0 name m0 address {VIRTUAL_MAC} type macvlan")
    assert promiscuous(world) == set()
    world.ip("link set m0 up")
    world.wait(lambda: promiscuous(world) == set(PORTS), "the ports are open")
    assert reasons(world) == dict.fromkeys(PORTS, "its lagg is")
    world.ip("link del m0")
    world.wait(lambda: promiscuous(world) == set(), "and shut again")
    assert reasons(world) == dict.fromkeys(PORTS)


def test_another_mac_in_another_namespace_opens_the_ports(world: World) -> None:
    """Of which nothing is told here: a container's macvlan."""
    start(world)
    world.ip(f"link add link lagg0 name m0 address {VIRTUAL_MAC} type macvlan")
    world.near.set_link("m0", net_ns_fd=world.far.descriptor)
    world.far_ip("link set m0 up")
    world.wait(lambda: promiscuous(world) == set(PORTS), "the ports are open")
    world.far_ip("link del m0")
    world.wait(lambda: promiscuous(world) == set(), "and shut again")


@pytest.mark.usefixtures("without_poll", "untold_groups")
@pytest.mark.parametrize("owner", ["lagg0", "m0"])
def test_the_group_of_a_new_ipv6_address_reaches_the_ports_at_once(
    world: World, owner: str
) -> None:
    """Or no neighbour would find it; by the kernel's word of the address."""
    start(world)
    world.ip("link add link lagg0 name m0 type macvlan")
    world.ip("link set m0 up")
    world.ip(f"addr add fd00::12:3456/64 dev {owner} nodad")
    group = "3333ff123456"
    world.wait(lambda: all(group in world.groups(p) for p in PORTS), "they hear it")
    assert not world.commands._laggs.netlink.tells_groups


def test_a_poll_that_waited_for_the_cpu_is_soon_followed_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pause is measured by what it took of the CPU: on a busy host 10 s else."""
    looks_s: list[float] = []
    nobody = threading.Event()

    def busy(_: Laggs) -> None:
        looks_s.append(time.monotonic())
        nobody.wait(WAITED_S)

    monkeypatch.setattr(Laggs, "spare_sniffers", busy)
    start(world)
    world.wait(lambda: len(looks_s) > 2, "the third poll")
    assert looks_s[2] - looks_s[1] < WAITED_S * kernel_events.POLL_REST / 2


def test_with_thousands_of_interfaces_groups_take_a_share_of_the_cpu_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much reason there is to look; each look takes as long as with so many."""
    looks_s: list[float] = []

    async def look(events: KernelEvents) -> None:
        looks_s.append(time.monotonic())
        events._stirred.set()

    async def long(look: Callable[[], Operation]) -> float:
        await look()
        return LONG_LOOK_S

    monkeypatch.setattr(KernelEvents, "_look_for_groups", look)
    monkeypatch.setattr(kernel_events, "_timed", long)
    start(world)
    world.wait(lambda: len(looks_s) > 3, "the fourth look")
    least_s = kernel_events.STIRRED_REST * LONG_LOOK_S
    assert all(after - before >= least_s for before, after in pairwise(looks_s))


# ---- NICs that filter VLANs --------------------------------------------------------


@pytest.fixture
def p0_filters(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As virtio, e1000, igb and vmxnet3 do; no NIC of this kernel without hardware."""
    p0 = world.near.ifindex("p0")

    async def filters(_: Netlink, ifindex: int) -> bool:
        return ifindex == p0

    monkeypatch.setattr(Netlink, "filters_vlans", filters)


@pytest.fixture
def macvlans_take_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of VLANs, which not every kernel has."""
    monkeypatch.setattr(uppers, "TAGGERS", frozenset({"macvlan"}))


@pytest.mark.usefixtures("without_poll", "p0_filters", "macvlans_take_tags")
def test_a_port_that_filters_vlans_is_open_while_a_lagg_has_any(world: World) -> None:
    start(world)
    world.ip("link add link lagg0 name lagg0.5 type macvlan")
    world.wait(lambda: promiscuous(world) == {"p0"}, "p0 is open")
    assert world.link("lagg0")["promiscuity"] == 0  # so there is no other reason
    why = "its NIC filters VLANs, and lagg0.5 needs them"
    assert reasons(world) == {"p0": why, "p1": None}

    world.detach("p0")
    assert promiscuous(world) == set()
    world.attach("p0")
    assert promiscuous(world) == {"p0"}
    world.ip("link del lagg0.5")
    world.wait(lambda: promiscuous(world) == set(), "and shut again")
    assert reasons(world) == dict.fromkeys(PORTS)


@pytest.mark.usefixtures("without_poll", "p0_filters")
def test_a_port_that_filters_vlans_is_open_while_a_watch_asks_in_one(
    world: World,
) -> None:
    def watch(*watches: LinkWatch) -> None:
        world.change(options=(("watch", watches),))

    def p0_is_more_open(by: int, why: str | None) -> None:
        assert reasons(world) == {"p0": why, "p1": None}
        # Both are, some time after, for each MAC that a watch lets a veth hear.
        world.wait(
            lambda: (
                world.link("p0")["promiscuity"] - by == world.link("p1")["promiscuity"]
            ),
            f"p0 is open {by} times more than p1",
        )

    start(world)
    target = ("192.0.2.1",)
    watch(LinkWatch(WatchKind.ARP, target))
    p0_is_more_open(0, None)
    watch(LinkWatch(WatchKind.ARP, target, vlan=(5,)))
    why = "its NIC filters VLANs, and the watch of 192.0.2.1 needs them"
    p0_is_more_open(1, why)

    world.detach("p0")
    world.attach("p0")
    p0_is_more_open(1, why)
    watch()
    p0_is_more_open(0, None)
