# SPDX-License-Identifier: BSD-2-Clause
"""The partner hears where a lagg is, and all that stands on it, when that is news."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from pyroute2 import NetlinkError
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from lab import Cable, Daemon, Host, Lab, wait_until
from tests.netns.frames import Capture

ADDRESS, ADDRESS6 = "10.77.0.1", "fd77::1"
MAC = "02:00:5e:00:53:77"
DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class World:
    """A lagg of two ports, a cable from each to a far host."""

    lab: Lab
    near: Host
    far: Host
    laggd: Daemon
    cables: list[Cable]

    def carries(self, port: str) -> bool:
        return self.laggd.port("lagg0", port)["reason"] is None


@pytest.fixture
def world() -> Iterator[World]:
    with Lab() as lab:
        near, far = lab.host("a"), lab.host("b")
        cables = [lab.cable(near, f"p{i}", far, f"q{i}") for i in range(2)]
        laggd = lab.daemon(near)
        laggd.ctl("create", "lagg0", "--port", "p0", "--port", "p1")
        made = World(lab, near, far, laggd, cables)
        wait_until(lambda: made.carries("p0"), DEADLINE_S, "p0 carries the lagg")
        yield made


def make_vlan(near: Host) -> str:
    try:
        near.netlink(
            "link",
            "add",
            ifname="lagg0.7",
            kind="vlan",
            link=near.ifindex("lagg0"),
            vlan_id=7,
        )
    except NetlinkError as error:
        pytest.skip(f"no VLANs on this kernel: {error}")
    return "lagg0.7"


def make_macvlan(near: Host) -> str:
    lagg = near.ifindex("lagg0")
    near.netlink("link", "add", ifname="m0", kind="macvlan", link=lagg, address=MAC)
    return "m0"


def make_bridge(near: Host) -> str:
    near.netlink("link", "add", ifname="br0", kind="bridge", address=MAC)
    near.sysctl("net.ipv6.conf.lagg0.disable_ipv6", 1)
    near.set_link("lagg0", master=near.ifindex("br0"))
    return "br0"


def make_macvlan_on_bridge(near: Host) -> str:
    bridge = near.ifindex(make_bridge(near))
    near.set_link("br0", state="up")
    mac = MAC.replace("77", "78")
    near.netlink("link", "add", ifname="m0", kind="macvlan", link=bridge, address=mac)
    return "m0"


SPEAKERS: dict[str, Callable[[Host], str]] = {
    "lagg": lambda _: "lagg0",
    "vlan": make_vlan,
    "macvlan": make_macvlan,
    "bridge": make_bridge,
    "macvlan on a bridge": make_macvlan_on_bridge,
}
"""What has the address: made, if it must be, and its name."""


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_a_failover_is_announced_by_the_port_that_carries_now(
    world: World, speaker: str
) -> None:
    name = SPEAKERS[speaker](world.near)
    world.near.set_link(name, state="up")
    world.near.add_address(name, f"{ADDRESS}/24")
    world.near.add_address(name, f"{ADDRESS6}/64")
    mac = world.near.link(name).mac
    with Capture(world.far, "q1") as wire:
        world.cables[0].cut()
        heard = Heard(wire)
        wait_until(lambda: heard.arps and heard.advertisements, DEADLINE_S, "both")
        assert {frame[Ether].src for frame in heard.all} == {mac}
        assert {frame[ARP].hwsrc for frame in heard.arps} == {mac}
        assert {Dot1Q in frame for frame in heard.all} == {speaker == "vlan"}
        assert {told_by(frame) for frame in heard.advertisements} == {unsolicited(mac)}


@pytest.mark.parametrize("router", [False, True])
def test_a_router_is_announced_as_one(world: World, router: bool) -> None:
    world.near.add_address("lagg0", f"{ADDRESS6}/64")
    world.near.sysctl("net.ipv6.conf.lagg0.forwarding", int(router))
    with Capture(world.far, "q1") as wire:
        world.cables[0].cut()
        heard = Heard(wire)
        wait_until(lambda: heard.advertisements, DEADLINE_S, "advertisements")
        assert {frame[ICMPv6ND_NA].R for frame in heard.advertisements} == {router}


def test_a_lagg_that_has_a_port_again_is_announced(world: World) -> None:
    world.near.add_address("lagg0", f"{ADDRESS}/24")
    world.laggd.ctl("set", "lagg0", "--proto", "loadbalance")
    world.laggd.ctl("detach", "lagg0", "p0", "p1")
    assert not world.near.link("lagg0").carrier
    with Capture(world.far, "q1") as wire:
        world.laggd.ctl("attach", "lagg0", "p1")
        heard = Heard(wire)
        wait_until(lambda: heard.arps, DEADLINE_S, "an announcement")


def test_a_port_that_had_the_lagg_s_mac_before_is_announced_by_the_one_that_carries(
    world: World,
) -> None:
    """A switch heard the MAC from there, and would send there what is for the lagg."""
    world.near.add_address("lagg0", f"{ADDRESS}/24")
    world.laggd.ctl("detach", "lagg0", "p1")
    world.laggd.ctl("set", "lagg0", "--mac", MAC)
    world.near.set_link("p1", address=MAC)
    with Capture(world.far, "q0") as wire:
        world.laggd.ctl("attach", "lagg0", "p1")
        heard = Heard(wire)
        wait_until(lambda: heard.arps, DEADLINE_S, "an announcement")
        assert {frame[Ether].src for frame in heard.arps} == {MAC}


def by_laggctl(world: World) -> None:
    world.laggd.ctl("set", "lagg0", "--mac", MAC)


def by_ip(world: World) -> None:
    world.near.set_link("lagg0", address=MAC)


def by_its_primary(world: World) -> None:
    world.laggd.ctl("set", "lagg0", "--mac-policy", "primary")
    world.laggd.ctl("detach", "lagg0", "p0")


@pytest.mark.parametrize("change", [by_laggctl, by_ip, by_its_primary])
def test_a_new_mac_is_announced_and_the_old_one_no_more(
    world: World, change: Callable[[World], None]
) -> None:
    world.laggd.ctl("set", "lagg0", "--proto", "broadcast")
    world.near.add_address("lagg0", f"{ADDRESS}/24")
    old = world.near.link("lagg0").mac
    with Capture(world.far, "q1") as wire:
        change(world)
        heard = Heard(wire)
        wait_until(lambda: heard.arps, DEADLINE_S, "an announcement")
        new = world.near.link("lagg0").mac
        assert {frame[ARP].hwsrc for frame in heard.arps} == {new} != {old}


class Heard:
    """Who announced our addresses, as it comes in."""

    def __init__(self, wire: Capture) -> None:
        self._wire = wire
        self._frames: list[Packet] = []

    @property
    def all(self) -> list[Packet]:
        self._frames += [Ether(each.wire) for each in self._wire.take()]
        return [frame for frame in self._frames if is_arp(frame) or is_na(frame)]

    @property
    def arps(self) -> list[Packet]:
        return [frame for frame in self.all if is_arp(frame)]

    @property
    def advertisements(self) -> list[Packet]:
        return [frame for frame in self.all if is_na(frame)]


def told_by(na: Packet) -> tuple[object, ...]:
    """What of it makes the neighbours believe: RFC 4861, 7.1.2 and 7.2.6."""
    said, option = na[ICMPv6ND_NA], na[ICMPv6NDOptDstLLAddr]
    flags = said.R, said.S, said.O
    return na.dst, na[IPv6].dst, na[IPv6].hlim, flags, option.lladdr


def unsolicited(mac: str) -> tuple[object, ...]:
    """To all nodes, overriding what they know, not solicited, of no router."""
    return "33:33:00:00:00:01", "ff02::1", 255, (0, 0, 1), mac


def is_arp(frame: Packet) -> bool:
    return ARP in frame and frame[ARP].psrc == frame[ARP].pdst == ADDRESS


def is_na(frame: Packet) -> bool:
    return ICMPv6ND_NA in frame and frame[ICMPv6ND_NA].tgt == ADDRESS6


ROUNDS, APART_MS, SOON_MS = 20, 3000, 20


def test_what_is_left_to_be_said_the_next_laggd_says(world: World) -> None:
    world.near.add_address("lagg0", f"{ADDRESS}/24")
    paced = "--announce-count", str(ROUNDS), "--announce-interval-ms", str(APART_MS)
    world.laggd.ctl("set", "lagg0", *paced)
    with Capture(world.far, "q1") as wire:
        world.cables[0].cut()
        heard = Heard(wire)
        wait_until(lambda: heard.arps, DEADLINE_S, "it begins")
        world.laggd.kill()
        before = len(heard.arps)
        assert before < ROUNDS
        world.laggd.start()
        world.laggd.ctl("set", "lagg0", "--announce-interval-ms", str(SOON_MS))
        # A round that was cut off is said again.
        wait_until(lambda: len(heard.arps) >= ROUNDS, DEADLINE_S, "all rounds")
        world.laggd.ctl("show", "lagg0")
        assert before < ROUNDS <= len(heard.arps) <= ROUNDS + 1
