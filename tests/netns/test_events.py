# SPDX-License-Identifier: BSD-2-Clause
"""What a lagg hands on to its ports, and what it does when they change."""

import asyncio
import errno
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path

import pytest

from lab.namespace import kernel
from lab.waiting import SLOWNESS
from lagg.kernel.netlink import Netlink
from lagg.model import Drop, LaggChange, MacPolicy, Options, Proto
from tests.netns import ethtool
from tests.netns.commands_world import World

PORTS = ("p0", "p1", "p2")
MAC = "02:00:5e:00:53:99"
GROUP = "01:00:5e:7f:00:01"
IP_GROUP, IP_GROUP_MAC = "233.252.0.1", "01005e7c0001"

FLAPS = 1000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """lagg0 with p0, p1 and p2, none of them changed from outside yet."""
    with World(tmp_path) as made:
        made.plug(0, 1, 2)
        made.start()
        made.create("lagg0", "p0", "p1", "p2")
        yield made


def seen(world: World, key: str, *names: str) -> set[object]:
    """What these interfaces have under a key of `ip -d link`."""
    links = world.kernel()["links"]
    return {links[name][key] for name in names or ("lagg0", *PORTS)}


def up(world: World, name: str) -> bool:
    return "UP" in world.link(name)["flags"]


# ---- MTU, MAC, up and down ---------------------------------------------------------


def by_laggctl(world: World) -> None:
    world.change(mtu=1300, mac=MAC)


def by_ip(world: World) -> None:
    world.ip("link set lagg0 mtu 1300")
    world.ip(f"link set lagg0 address {MAC}")


def told(world: World) -> tuple[int, str]:
    record = world.record()
    return record["mtu"], record["mac"]


@pytest.mark.parametrize("set_both", [by_laggctl, by_ip])
def test_the_lagg_s_mtu_and_mac_reach_every_port_and_stay(
    world: World, set_both: Callable[[World], None]
) -> None:
    set_both(world)
    world.wait(lambda: seen(world, "mtu") == {1300}, "every port has the MTU")
    world.wait(lambda: seen(world, "address") == {MAC}, "every port has the MAC")
    world.wait(lambda: told(world) == (1300, MAC), "the record says so")
    world.detach("p0")
    assert (
        seen(world, "mtu", "lagg0", "p1"),
        seen(world, "address", "lagg0", "p2"),
    ) == (
        {1300},
        {MAC},
    )


def test_two_changes_in_a_row_leave_the_last(world: World) -> None:
    for mtu in (1300, 1500, 1400, 1500):
        world.change(mtu=mtu)
        assert seen(world, "mtu") == {mtu}
    for mac in (MAC, "02:00:5e:00:53:98", MAC):
        world.change(mac=mac)
        assert seen(world, "address") == {mac}


def test_changes_that_wait_for_each_other_leave_the_last(world: World) -> None:
    """The second comes before the kernel's word about the first was heard."""

    async def both(first: LaggChange, second: LaggChange) -> None:
        change = world.commands.set
        await asyncio.gather(change("lagg0", first), change("lagg0", second))

    mac = world.record()["mac"]
    world.do(both(LaggChange(mtu=1300, mac=MAC), LaggChange(mtu=1500, mac=mac)))
    assert (seen(world, "mtu"), seen(world, "address")) == ({1500}, {mac})


def test_lagg_down_and_up_reach_the_ports(world: World) -> None:
    world.ip("link set lagg0 down")
    world.wait(lambda: not any(up(world, port) for port in PORTS), "ports are down")
    world.wait(lambda: reasons(world) == {"administratively down"}, "it is told why")
    record = world.record()
    assert (record["up"], record["link"]) == (False, "down")
    world.ip("link set lagg0 up")
    world.wait(lambda: all(up(world, port) for port in PORTS), "ports are up")
    world.wait(lambda: world.carrying() == ["p0"], "p0 carries again")


def reasons(world: World) -> set[str | None]:
    return {port["reason"] for port in world.record()["ports"]}


def attach_stubborn(world: World) -> None:
    """vx0, a port that takes no MTU above 1500: a vxlan over a link of 1550 bytes."""
    world.ip("link add under0 type veth peer name under1")
    world.ip("link set under0 mtu 1550 up")
    world.ip("link add vx0 type vxlan id 5 dstport 4789 remote 192.0.2.9 dev under0")
    world.ip("link set vx0 mtu 1500")
    world.attach("vx0")


@pytest.mark.parametrize("way", ["laggctl", "ip"])
def test_an_mtu_that_one_port_refuses_is_rolled_back_on_all(
    world: World, way: str
) -> None:
    world.detach("p2")
    attach_stubborn(world)
    world.plug(3)
    world.attach("p3")  # by ifindex behind the one that refuses
    names = ("lagg0", "p0", "p1", "vx0", "p3")
    if way == "laggctl":
        error = world.refused(lambda: world.change(mtu=1600))
        assert (error.thing, error.code) == ("lagg0: port vx0", errno.EINVAL)
        assert "set MTU 1600" in error.cause
    else:
        world.ip("link set lagg0 mtu 1600")
    world.wait(lambda: seen(world, "mtu", *names) == {1500}, "all is as before")
    assert world.record()["mtu"] == 1500
    world.change(mtu=1450)
    assert seen(world, "mtu", *names) == {1450}


def test_a_port_s_own_mtu_and_mac_are_put_back(world: World) -> None:
    mac = world.record()["mac"]
    world.ip("link set p1 mtu 1280")
    world.wait(lambda: seen(world, "mtu") == {1500}, "the MTU is put back")
    world.wait_event("port-mtu", "p1")
    world.ip(f"link set p1 address {MAC}")
    world.wait(lambda: seen(world, "address") == {mac}, "the MAC is put back")
    world.wait_event("port-mac", "p1")


# ---- what the ports receive --------------------------------------------------------


def test_promiscuous_mode_reaches_the_ports_and_leaves_them(world: World) -> None:
    assert seen(world, "promiscuity", *PORTS) == {0}
    world.ip("link set lagg0 promisc on")
    world.wait(lambda: seen(world, "promiscuity", *PORTS) == {1}, "promiscuous")
    world.ip("link set lagg0 promisc off")
    world.wait(lambda: seen(world, "promiscuity", *PORTS) == {0}, "no more")


def test_all_multicast_reaches_the_ports_and_leaves_them(world: World) -> None:
    world.ip("link set lagg0 allmulticast on")
    world.wait(lambda: seen(world, "allmulti", *PORTS) == {1}, "all multicast")
    world.ip("link set lagg0 allmulticast off")
    world.wait(lambda: seen(world, "allmulti", *PORTS) == {0}, "no more")


def test_a_bridge_over_the_lagg_makes_the_ports_promiscuous(world: World) -> None:
    world.ip("link add br0 type bridge")
    world.ip("link set lagg0 master br0")
    world.wait(lambda: seen(world, "promiscuity", *PORTS) == {1}, "promiscuous")
    world.plug(3)
    world.attach("p3")
    assert world.link("p3")["promiscuity"] == 1
    world.detach("p3")
    assert world.link("p3")["promiscuity"] == 0
    world.ip("link set lagg0 nomaster")
    world.wait(lambda: seen(world, "promiscuity", *PORTS) == {0}, "no more")


def all_hear(world: World, mac: str) -> bool:
    return all(mac in world.groups(port) for port in PORTS)


def none_hears(world: World, mac: str) -> bool:
    return not any(mac in world.groups(port) for port in PORTS)


def test_a_multicast_group_joined_on_the_lagg_reaches_the_ports(world: World) -> None:
    world.ip("addr add 192.0.2.1/24 dev lagg0")
    member = world.near.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with member:
        wanted = struct.pack(
            "4s4si", socket.inet_aton(IP_GROUP), bytes(4), world.record()["ifindex"]
        )
        member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, wanted)
        world.wait(lambda: all_hear(world, IP_GROUP_MAC), "the ports hear the group")
    world.wait(lambda: none_hears(world, IP_GROUP_MAC), "and no more")


def test_a_link_layer_group_reaches_the_ports_by_the_poll(world: World) -> None:
    mac = GROUP.replace(":", "")
    world.ip(f"maddr add {GROUP} dev lagg0")
    world.wait(lambda: all_hear(world, mac), "the ports hear the group")
    world.plug(3)
    world.attach("p3")
    assert mac in world.groups("p3")
    world.ip(f"maddr del {GROUP} dev lagg0")
    world.wait(lambda: none_hears(world, mac), "and no more")


# ---- carrier -----------------------------------------------------------------------


def carrier_of(world: World, name: str = "lagg0") -> bool:
    return "LOWER_UP" in world.link(name)["flags"]


def test_failover_follows_the_cables(world: World) -> None:
    assert world.carrying() == ["p0"]
    world.carrier(0, up=False)
    world.wait(lambda: world.carrying() == ["p1"], "p1 carries")
    world.carrier(1, up=False)
    world.wait(lambda: world.carrying() == ["p2"], "p2 carries")
    assert carrier_of(world)
    world.carrier(2, up=False)
    world.wait(lambda: not carrier_of(world), "the lagg has no carrier")
    assert world.record()["link"] == "down"
    world.carrier(1, up=True)
    world.wait(lambda: carrier_of(world), "the lagg has carrier again")
    assert world.carrying() == ["p1"]
    world.carrier(0, up=True)
    world.wait(lambda: world.carrying() == ["p0"], "back to the primary")


def test_carrier_and_speed_follow_the_plan(world: World) -> None:
    each = 10_000  # Mbit/s, what veth says of itself
    assert (carrier_of(world), speed_of(world)) == (True, each)
    world.change(proto=Proto.LOADBALANCE)
    assert (world.record()["speed_mbps"], speed_of(world)) == (3 * each, 3 * each)
    world.carrier(1, up=False)
    world.wait(lambda: speed_of(world) == 2 * each, "two ports are left")
    world.change(proto=Proto.NONE)
    assert (carrier_of(world), speed_of(world)) == (False, -1)
    world.change(proto=Proto.BROADCAST)
    assert (carrier_of(world), speed_of(world)) == (True, 2 * each)
    world.detach("p0")
    assert speed_of(world) == each


def speed_of(world: World) -> int:
    """As ethtool(8) asks the kernel, without our netlink."""
    return world.near.inside(lambda: ethtool.speed_mbps("lagg0"))


def test_a_storm_of_flaps_ends_in_the_right_state(world: World) -> None:
    def flap() -> None:
        for _ in range(ceil(FLAPS / SLOWNESS)):
            for state in ("down", "up"):
                world.far.set_link("q0", state=state)

    storm = threading.Thread(target=flap)
    storm.start()
    storm.join()
    world.carrier(1, up=False)
    world.wait(lambda: world.carrying() == ["p0"], "p0 carries")
    world.carrier(0, up=False)
    world.wait(lambda: world.carrying() == ["p2"], "p2 carries")
    links = [(port["name"], port["link"]) for port in world.record()["ports"]]
    assert links == [("p0", "down"), ("p1", "down"), ("p2", "up")]


# ---- ports that change and go ------------------------------------------------------


def test_a_port_s_new_name_is_followed(world: World) -> None:
    world.near.rename("p1", "lan1")
    world.wait(lambda: "lan1" in world.port_names(), "the record has the new name")
    assert not world.hears(1, "lan1")
    assert '"lan1"' in (world.state_dir / "ports.json").read_text()
    world.ip("link add p1 type veth peer name other")  # the old name is free
    world.detach("lan1")
    after = world.link("lan1")
    assert (after["promiscuity"], after["inet6_addr_gen_mode"]) == (0, "eui64")
    assert len(after["addresses"]) == 1
    assert f"port{after['ifindex']}" not in world.kernel()["chains"]


def test_a_deleted_port_departs_and_leaves_nothing(world: World) -> None:
    sockets = len(world.kernel()["packet sockets"])
    mac = world.link("p1")["address"]
    world.far_ip("link del q0")
    world.wait_event("port-departed", "p0")
    assert world.port_names() == ["p1", "p2"]
    assert world.carrying() == ["p1"]
    assert len(world.kernel()["packet sockets"]) == sockets // 3 * 2
    assert len(world.kernel()["chains"]) == 2 * len(("in", "out"))
    assert seen(world, "address", "lagg0", "p1", "p2") == {mac}  # p0's, and it stays
    world.plug(0)
    world.wait(lambda: world.hears(0), "a new interface of that name is nobody's port")
    world.attach("p0")
    assert world.port_names() == ["p1", "p2", "p0"]


def test_when_the_primary_is_deleted_the_mac_is_its_heir_s(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        world.plug(0, 1, 2)
        home = world.link("p1")["address"]
        world.start()
        options = Options(mac_policy=MacPolicy.PRIMARY)
        world.create("lagg0", "p0", "p1", "p2", options=options)
        world.far_ip("link del q0")
        world.wait_event("port-departed", "p0")
        assert seen(world, "address", "lagg0", "p1", "p2") == {home}


def test_a_port_that_moves_to_another_namespace_departs(world: World) -> None:
    world.near.set_link("p1", net_ns_fd=world.far.descriptor)
    world.wait_event("port-departed", "p1")
    assert world.port_names() == ["p0", "p2"]
    world.far.set_link("p1", net_ns_fd=world.near.descriptor)
    world.near.set_link("p1", state="up")
    world.wait(lambda: world.hears(1), "back, it is nobody's port and hears")
    assert world.port_names() == ["p0", "p2"]


def test_another_interface_with_a_port_s_ifindex_is_no_port(world: World) -> None:
    ifindex = world.link("p1")["ifindex"]

    async def replace_it() -> None:
        # No turn for the follower in between.
        world.ip("link del p1")
        world.ip(f"link add p1 index {ifindex} type veth peer name other")

    world.do(replace_it())
    world.wait_event("port-departed", "p1")
    assert world.port_names() == ["p0", "p2"]


# ---- the lagg's own interface ------------------------------------------------------


def test_a_lagg_deleted_by_ip_is_destroyed_and_its_ports_put_back(
    tmp_path: Path,
) -> None:
    with World(tmp_path) as world:
        world.plug(0, 1)
        before = world.kernel()
        world.start()
        world.create("lagg0", "p0", "p1", mac=MAC)
        world.ip("link del lagg0")
        assert "deleted its interface" in world.wait_event("lost").details
        world.wait_event("destroyed")
        world.wait(lambda: world.kernel() == before, "all is as before")
        assert world.laggs() == []
        world.create("lagg0", "p0", "p1")


def test_a_lagg_moved_to_another_namespace_is_destroyed_and_told_why(
    tmp_path: Path,
) -> None:
    with World(tmp_path) as world:
        world.plug(0, 1)
        before = world.kernel()
        there = world.far_ip("-br link")
        world.start()
        world.create("lagg0", "p0", "p1", mac=MAC)
        world.near.set_link("lagg0", net_ns_fd=world.far.descriptor)
        lost = world.wait_event("lost").details
        assert "moved its interface to another network namespace" in lost
        assert "make it anew here" in lost
        world.wait_event("destroyed")
        world.wait(lambda: world.kernel() == before, "all is as before")
        world.wait(lambda: world.far_ip("-br link") == there, "there it is gone")
        world.create("lagg0", "p0", "p1")  # what it says to do works
        world.ip("link add link lagg0 name top type macvlan mode bridge")
        world.near.set_link("top", net_ns_fd=world.far.descriptor)
        assert "top" in world.far_ip("-br link")
        assert world.record()["link"] == "up"


def test_a_lagg_s_new_name_is_followed(world: World) -> None:
    world.ip("link set lagg0 down")
    world.ip("link set lagg0 name bundle0")
    world.ip("link set bundle0 up")
    world.wait_event("renamed")
    world.wait(lambda: world.laggs()[0]["name"] == "bundle0", "the record has it")
    world.wait(lambda: world.laggs()[0]["up"], "it is up")
    world.detach("p0", lagg="bundle0")
    assert world.refused(lambda: world.detach("p1")).code == errno.ENOENT
    world.create("lagg0", "p0")
    world.destroy("bundle0")


@pytest.mark.skipif(kernel() < (6, 2), reason="Linux renames what is up since 6.2")
def test_frames_that_the_kernel_dropped_are_counted_once_over_a_rename(
    silent: World,
) -> None:
    """Between the rename and its being followed nobody has the name we know."""
    sent = send_until_the_kernel_drops(silent)
    bundle = silent.commands._laggs.bundles["lagg0"]

    def dropped() -> int:
        return bundle.record()["counters"]["drops"][Drop.PROTO_NONE.value]

    async def rename_and_read() -> tuple[int, int]:
        # No turn for the kernel's events between the rename and the reading.
        before = dropped()
        silent.ip("link set lagg0 name bundle0")
        return before, dropped()

    assert silent.do(rename_and_read()) == (sent, sent)
    silent.wait_event("renamed")
    silent.wait(lambda: silent.laggs()[0]["name"] == "bundle0", "the record has it")
    assert silent.record("bundle0")["counters"]["drops"][Drop.PROTO_NONE.value] == sent


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[World]:
    """As `world`, but nothing moves except what the test sends."""
    with World(tmp_path) as made:
        made.plug(0, 1, 2)
        made.without_ipv6()
        made.start()
        made.create("lagg0", "p0", "p1", "p2")
        yield made


def send_until_the_kernel_drops(silent: World) -> int:
    """How many frames; all are counted, of a lagg0 that now carries nothing.

    The kernel drops them some time after it was told that there is no carrier.
    """
    silent.change(proto=Proto.NONE)
    raw = silent.near.inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    sent = 0

    def kernel_dropped_some() -> bool:
        nonlocal sent
        sent += raw.send(bytes(60)) // 60
        (link,) = json.loads(silent.ip("-j -s link show dev lagg0"))
        return bool(link["stats64"]["tx"]["dropped"] >= 20)

    def all_are_counted() -> bool:
        return silent.record()["counters"]["drops"][Drop.PROTO_NONE.value] == sent

    with raw:
        raw.bind(("lagg0", 0))
        silent.wait(kernel_dropped_some, "the kernel drops frames")
    silent.wait(all_are_counted, "each frame is counted")
    return sent


# ---- lost events -------------------------------------------------------------------


def test_after_an_overrun_every_port_is_looked_at(world: World) -> None:
    """The events of a carrier change, a rename and a departure are all lost."""
    netlink = world.commands._laggs.netlink

    async def overrun() -> None:
        """Blocks the loop while more happens than the queue holds."""
        shrink(netlink)
        world.carrier(0, up=False)
        world.near.rename("p1", "lan1")
        world.far_ip("link del q2")
        world.ip("link set lagg0 mtu 1400")
        for number in range(200):
            world.ip(f"link set lo alias {number}")

    world.do(overrun())
    world.wait(lambda: world.port_names() == ["p0", "lan1"], "p2 departed")
    world.wait(lambda: world.carrying() == ["lan1"], "lan1 carries")
    world.wait(lambda: seen(world, "mtu", "p0", "lan1") == {1400}, "the MTU arrived")


def shrink(netlink: Netlink) -> None:
    """Leaves the event queue with room for a handful."""
    events = netlink._watch._socket._socket
    events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
