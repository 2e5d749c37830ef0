# SPDX-License-Identifier: BSD-2-Clause
"""Who can feign the answer to a probe, and what comes of it: ten cases of each kind.

A stranger is next to p0, whose way to the host is cut.  What he sends is the right
answer but for one thing; the right one counts, whoever it is from.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from lab import Lab
from lab.host import Host
from lagg.ethernet import mac_bytes
from lagg.watchers.ns import link_local
from tests.netns.frames import Capture, waiting
from tests.netns.watched import ARP as ARP_WATCH
from tests.netns.watched import HOST, HOST6, NS, WatchedLagg

THIRD, OTHER = "02:00:5e:00:53:03", "02:00:5e:00:53:77"
EVERYBODY = "ff:ff:ff:ff:ff:ff"

FORGED = 30
"""Frames that came in at a port, feigning an answer; more than two are judged."""


@pytest.fixture(scope="module")
def kept_world() -> Iterator[WatchedLagg]:
    with Lab() as lab:
        made = WatchedLagg(lab)
        yield made
        made.close()


@pytest.fixture
def world(kept_world: WatchedLagg) -> Iterator[WatchedLagg]:
    yield kept_world
    kept_world.conserved()
    kept_world.put_back()


# ---- answers, and what is not quite one ----------------------------------------------

Frame = Any  # scapy's


def framed(packet: Frame, to: str, vlan: int) -> Frame:
    ether = Ether(src=THIRD, dst=to)
    return (ether / Dot1Q(vlan=vlan) if vlan else ether) / packet


def replied(
    world: WatchedLagg,
    *,
    to: str = "",
    of: str = "",
    vlan: int = 0,
    dst: str = "",
    **fields: object,
) -> Frame:
    """The reply to p0's probe; `to` another MAC, `of` another address, and so on."""
    to = to or world.probe_macs[0]
    said = {"op": 2, "hwsrc": THIRD, "psrc": of or HOST, "hwdst": to, "pdst": "0.0.0.0"}
    return framed(ARP(**said | fields), dst or to, vlan)


def advertised(
    world: WatchedLagg,
    *,
    to: str = "",
    of: str = "",
    vlan: int = 0,
    dst: str = "",
    solicited: int = 1,
    **fields: object,
) -> Frame:
    """The advertisement that answers p0's probe, or not quite, as replied()."""
    to = to or world.probe_macs[0]
    ip = {"src": HOST6, "dst": address_of(to), "hlim": 255}
    told = ICMPv6ND_NA(R=0, S=solicited, O=1, tgt=of or HOST6)
    packet = IPv6(**ip | fields) / told / ICMPv6NDOptDstLLAddr(lladdr=THIRD)
    return framed(packet, dst or to, vlan)


def address_of(mac: str) -> str:
    """By which a probe with this MAC asks."""
    return str(IPv6Address(link_local(mac_bytes(mac))))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of watch: how it is written, its answer, and an address nobody asks."""

    watch: str
    answer: Callable[..., Frame]
    other: str


KINDS = {
    "arp": Kind(ARP_WATCH, replied, "10.77.0.9"),
    "ns": Kind(NS, advertised, "fd77::9"),
}

Feigned = tuple[str, Callable[[WatchedLagg, Kind], Frame]]
"""More of the watch, and a frame that is to pass for the answer to p0's probe."""

OF_BOTH: dict[str, Feigned] = {
    "to the other port's probe": ("", lambda w, k: k.answer(w, to=w.probe_macs[1])),
    "to the lagg's MAC": ("", lambda w, k: k.answer(w, to=w.steer.record()["mac"])),
    "of another address": ("", lambda w, k: k.answer(w, of=k.other)),
    "in a VLAN": ("", lambda w, k: k.answer(w, vlan=10)),
    "without the VLAN": (",vlan=30", lambda w, k: k.answer(w)),
    "by another MAC than the target's": (
        f",target_mac={OTHER}",
        lambda w, k: k.answer(w),
    ),
}

OF_ARP: dict[str, Feigned] = {
    "a gratuitous reply": (
        "",
        lambda w, _: replied(w, dst=EVERYBODY, hwdst=EVERYBODY, pdst=HOST),
    ),
    "an announcement": ("", lambda w, _: replied(w, dst=EVERYBODY, op=1, pdst=HOST)),
    "a request of the target's": ("", lambda w, _: replied(w, op=1)),
    "our own probe, back": ("", lambda w, _: probe(w)),
}

OF_NS: dict[str, Feigned] = {
    "that nobody solicited": ("", lambda w, _: advertised(w, solicited=0)),
    "to all nodes": ("", lambda w, _: to_all_nodes(w)),
    "from beyond a router": ("", lambda w, _: advertised(w, hlim=254)),
    "our own probe, back": ("", lambda w, _: solicitation(w)),
}

FEIGNED = {
    **{(kind, what): each for kind in KINDS for what, each in OF_BOTH.items()},
    **{("arp", what): each for what, each in OF_ARP.items()},
    **{("ns", what): each for what, each in OF_NS.items()},
}


def to_all_nodes(world: WatchedLagg) -> Frame:
    """In Ethernet to p0's probe, or nobody would look at it."""
    frame = advertised(world)
    frame[IPv6].dst = "ff02::1"
    return frame


def probe(world: WatchedLagg) -> Frame:
    ours = world.probe_macs[0]
    body = ARP(op=1, hwsrc=ours, psrc="0.0.0.0", pdst=HOST)
    return Ether(src=ours, dst=EVERYBODY) / body


def solicitation(world: WatchedLagg) -> Frame:
    ours = world.probe_macs[0]
    group = "ff02::1:ff00:2"
    packet = IPv6(src=address_of(ours), dst=group, hlim=255) / ICMPv6ND_NS(tgt=HOST6)
    return Ether(src=ours, dst="33:33:ff:00:00:02") / packet


DEAD = [["down"], []]


@pytest.mark.parametrize(("kind", "what"), FEIGNED)
def test_who_feigns_an_answer_fools_nobody(
    world: WatchedLagg, kind: str, what: str
) -> None:
    more, frame_of = FEIGNED[kind, what]
    visited(world, KINDS[kind].watch + more)
    frame = bytes(frame_of(world, KINDS[kind]))
    came = 0
    into, seen = world.stranger.packet_socket("eth0"), world.a.packet_socket("p0")
    with into, seen:

        def came_often() -> bool:
            nonlocal came
            into.send(frame)
            came += sum(each[:12] == frame[:12] for each in waiting(seen))
            return came >= FORGED or world.states() != DEAD

        world.wait(came_often, "it came in often enough")
    assert world.states() == DEAD
    assert world.carrying() == ["p1"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_answer_is_taken_from_anybody_on_the_way(
    world: WatchedLagg, kind: str
) -> None:
    """It is what the others lack that is looked at: the same stranger, and the reply.

    Which host has an address is not to be known; target_mac says it.
    """
    visited(world, KINDS[kind].watch)
    right = bytes(KINDS[kind].answer(world))
    with world.stranger.packet_socket("eth0") as into:

        def is_taken() -> bool:
            into.send(right)
            return world.states() == [["up"], []]

        world.wait(is_taken, "it is taken for the host's")


def visited(world: WatchedLagg, watch: str) -> None:
    """The stranger is at p0's switch, whose way on is cut and found dead."""
    world.steer.set(proto="loadbalance")
    world.visit(0)
    world.cut(0)
    world.steer.set(watch=[f"{watch},port=p0"])
    world.wait(lambda: world.states() == DEAD, "p0 is found dead")


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_by_the_wrong_port_counts_only_where_the_partner_spreads(
    world: WatchedLagg, kind: str
) -> None:
    """The switch believes that p0's probes come from where p1 is."""
    watch = KINDS[kind].watch
    world.watch(watch, proto="loadbalance")
    with world.misled(world.probe_macs[0], "v1", "q1"):
        world.wait_states("down", "up")
        assert world.carrying() == ["p1"]
        world.steer.set(watch=[f"{watch},answer=lagg"])
        world.wait_states("up", "up")
        world.cut(0)
        world.wait_states("down", "up")


@pytest.mark.parametrize("kind", KINDS)
def test_a_guest_with_the_target_s_address_answers_for_its_own_port_alone(
    world: WatchedLagg, kind: str
) -> None:
    """It lives behind p1's switch, and is asked by both ports."""
    world.watch(KINDS[kind].watch, proto="loadbalance")
    world.visit(1)
    with settled_there(world.stranger):
        world.cut(0)
        world.wait_states("down", "up")
        world.cut(1)  # so that the guest alone is asked, by p1
        with Capture(world.a, "p0", outgoing=True) as wire:
            asked = 0

            def asked_often() -> bool:
                nonlocal asked
                ours = mac_bytes(world.probe_macs[0])
                asked += sum(each.wire[6:12] == ours for each in wire.take())
                return asked >= FEW

            world.wait(asked_often, "p0 has asked often enough")
        assert world.states() == [["down"], ["up"]]
        assert world.carrying() == ["p1"]


FEW = 10


@contextmanager
def settled_there(guest: Host) -> Iterator[None]:
    """A guest that has both addresses of the host, and is silent unless asked."""
    guest.sysctl("net.ipv6.conf.eth0.accept_dad", 0)
    guest.sysctl("net.ipv6.conf.eth0.disable_ipv6", 0)
    try:
        for address in (f"{HOST}/24", f"{HOST6}/64"):
            guest.add_address("eth0", address)
        yield
    finally:
        guest.run("ip", "addr", "flush", "dev", "eth0")
        guest.sysctl("net.ipv6.conf.eth0.disable_ipv6", 1)
