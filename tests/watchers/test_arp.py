# SPDX-License-Identifier: BSD-2-Clause
"""What an arp watch asks, and what answers it; scapy has the second opinion."""

from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

from lagg.watchers.address import probe_mac
from lagg.watchers.watcher import Ends
from lagg.watches import PROBE_OCTET, LinkWatch, WatchKind, WatchState
from tests.watchers.asking_world import ENDS, HOST, THIRD, asked, found

TARGET, OTHER = "192.0.2.1", "192.0.2.9"
BESIDE = Ends(probe_mac("02:00:5e:00:53:ab", 1), slot=1)
WATCH = LinkWatch(WatchKind.ARP, targets=(TARGET,))


def reply(
    *,
    mac: str = HOST,
    address: str = TARGET,
    to: str = ENDS.mac,
    to_address: str = "0.0.0.0",
) -> Any:  # noqa: ANN401
    """As a host makes it of our probe (RFC 826)."""
    body = ARP(op=2, hwsrc=mac, psrc=address, hwdst=to, pdst=to_address)
    return Ether(src=mac, dst=to) / body


def test_a_probe_is_that_of_rfc_5227_from_the_ports_own_mac() -> None:
    _, (frame,) = asked(WATCH)
    body = ARP(op=1, hwsrc=ENDS.mac, psrc="0.0.0.0", pdst=TARGET)
    made = bytes(Ether(src=ENDS.mac, dst="ff:ff:ff:ff:ff:ff") / body)
    assert frame == made.ljust(60, b"\0")


def test_each_target_is_asked_and_any_may_answer() -> None:
    watch = replace(WATCH, targets=(TARGET, OTHER))
    _, frames = asked(watch)
    assert {Ether(frame)[ARP].pdst for frame in frames} == {TARGET, OTHER}
    assert found(reply(address=OTHER), watch) is WatchState.UP


def test_a_source_is_said_and_answered() -> None:
    watch = replace(WATCH, source="192.0.2.77")
    _, (frame,) = asked(watch)
    assert Ether(frame)[ARP].psrc == "192.0.2.77"
    assert found(reply(to_address="192.0.2.77"), watch) is WatchState.UP
    assert found(reply(), watch) is WatchState.DOWN


@pytest.mark.parametrize(
    ("vlan", "tags"),
    [((10,), Dot1Q(vlan=10)), ((100, 10), Dot1AD(vlan=100) / Dot1Q(vlan=10))],
)
def test_a_probe_and_its_answer_are_in_the_vlan(
    vlan: tuple[int, ...],
    tags: Any,  # noqa: ANN401
) -> None:
    watch = replace(WATCH, vlan=vlan)
    _, (frame,) = asked(watch)
    body = ARP(op=1, hwsrc=ENDS.mac, psrc="0.0.0.0", pdst=TARGET)
    made = bytes(Ether(src=ENDS.mac, dst="ff:ff:ff:ff:ff:ff") / tags / body)
    assert frame == made.ljust(60, b"\0")
    bare = reply()
    assert found(bare, watch) is WatchState.DOWN
    answer = Ether(src=bare.src, dst=bare.dst) / tags / bare[ARP]
    assert found(answer, watch) is WatchState.UP
    assert found(answer, WATCH) is WatchState.DOWN


def test_a_tag_of_priority_alone_is_no_vlan() -> None:
    bare = reply()
    tagged = Ether(src=bare.src, dst=bare.dst) / Dot1Q(vlan=0, prio=6) / bare[ARP]
    assert found(tagged, WATCH) is WatchState.UP


NO_ANSWERS = {
    "to another port's probe": reply(to=BESIDE.mac),
    "of another host": reply(address=OTHER),
    "a gratuitous reply of the target": Ether(src=HOST, dst="ff:ff:ff:ff:ff:ff")
    / ARP(op=2, hwsrc=HOST, psrc=TARGET, hwdst="ff:ff:ff:ff:ff:ff", pdst=TARGET),
    "an announcement of a third": Ether(src=THIRD, dst="ff:ff:ff:ff:ff:ff")
    / ARP(op=1, hwsrc=THIRD, psrc=TARGET, pdst=TARGET),
    "the target's own question": Ether(src=HOST, dst=ENDS.mac)
    / ARP(op=1, hwsrc=HOST, psrc=TARGET, hwdst=ENDS.mac, pdst="0.0.0.0"),
    "our own probe, back by a loop": Ether(asked(WATCH)[1][0]),
    "flooded: to us in its body alone": Ether(src=HOST, dst="ff:ff:ff:ff:ff:ff")
    / reply()[ARP],
    "to us on the wire alone": Ether(src=HOST, dst=ENDS.mac)
    / reply(to=BESIDE.mac)[ARP],
    "to an address that did not ask": reply(to_address="192.0.2.77"),
    "in a VLAN": Ether(src=HOST, dst=ENDS.mac) / Dot1Q(vlan=10) / reply()[ARP],
    "RARP": Ether(src=HOST, dst=ENDS.mac, type=0x8035) / reply()[ARP],
    "of another hardware": Ether(src=HOST, dst=ENDS.mac)
    / ARP(bytes(ARP(hwtype=6))[:8] + bytes(reply()[ARP])[8:]),
}


@pytest.mark.parametrize("what", NO_ANSWERS)
def test_this_is_no_answer(what: str) -> None:
    assert found(NO_ANSWERS[what], WATCH) is WatchState.DOWN


@pytest.mark.parametrize("size", range(len(bytes(reply()))))
def test_an_answer_that_is_cut_short_is_none(size: int) -> None:
    assert found(bytes(reply())[:size], WATCH) is WatchState.DOWN


def test_of_hosts_with_one_address_a_pinned_mac_alone_answers() -> None:
    assert found(reply(mac=THIRD), WATCH) is WatchState.UP
    pinned = replace(WATCH, target_mac=HOST)
    assert found(reply(mac=THIRD), pinned) is WatchState.DOWN
    assert found(reply(), pinned) is WatchState.UP


def test_a_probes_mac_is_local_the_ports_alone_and_always_the_same() -> None:
    homes = [f"02:00:5e:00:{n >> 8:02x}:{n & 255:02x}" for n in range(1000)]
    macs = {probe_mac(home, slot) for home in homes for slot in range(4)}
    assert len(macs) == 4000
    assert {int(mac[:2], 16) for mac in macs} == {PROBE_OCTET}
    assert PROBE_OCTET & 0b11 == 0b10
    assert probe_mac("02:00:5e:00:53:aa", 0) == "62:ff:28:58:c4:78"
