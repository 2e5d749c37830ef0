# SPDX-License-Identifier: BSD-2-Clause
"""What an ns watch asks, and what answers it; scapy has the second opinion."""

from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from lagg.watches import LinkWatch, WatchKind, WatchState
from tests.watchers.asking_world import ENDS, HOST, THIRD, asked, found

TARGET, OTHER = "2001:db8::1:2:3", "2001:db8::9"
OURS = "fe80::60ff:28ff:fe58:c478"
WATCH = LinkWatch(WatchKind.NS, targets=(TARGET,))


def packet(
    *, target: str = TARGET, to: str = OURS, hops: int = 255, solicited: int = 1
) -> Any:  # noqa: ANN401
    """An advertisement as a host makes it of our probe."""
    body = ICMPv6ND_NA(R=0, S=solicited, O=1, tgt=target)
    return (
        IPv6(src=target, dst=to, hlim=hops) / body / ICMPv6NDOptDstLLAddr(lladdr=HOST)
    )


def reply(**words: Any) -> Any:  # noqa: ANN401
    return Ether(src=HOST, dst=ENDS.mac) / packet(**words)


def probe(tags: Any = None, source: str = OURS) -> bytes:  # noqa: ANN401
    """As RFC 4861, 7.2.2 has it, to the group of RFC 4291, 2.7.1."""
    head = Ether(src=ENDS.mac, dst="33:33:ff:02:00:03")
    body = ICMPv6ND_NS(tgt=TARGET) / ICMPv6NDOptSrcLLAddr(lladdr=ENDS.mac)
    rest = IPv6(src=source, dst="ff02::1:ff02:3", hlim=255) / body
    return bytes(head / rest if tags is None else head / tags / rest)


def test_a_probe_is_a_solicitation_from_the_ports_own_link_local_address() -> None:
    _, (frame,) = asked(WATCH)
    assert frame == probe()


def test_a_source_is_said_and_answered() -> None:
    watch = replace(WATCH, source="2001:db8::77")
    _, (frame,) = asked(watch)
    assert frame == probe(source="2001:db8::77")
    assert found(reply(to="2001:db8::77"), watch) is WatchState.UP
    assert found(reply(), watch) is WatchState.DOWN


def test_each_target_is_asked_and_any_may_answer() -> None:
    watch = replace(WATCH, targets=(TARGET, OTHER))
    _, frames = asked(watch)
    assert {Ether(frame)[ICMPv6ND_NS].tgt for frame in frames} == {TARGET, OTHER}
    assert found(reply(target=OTHER), watch) is WatchState.UP


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
    assert frame == probe(tags)
    answer = Ether(src=HOST, dst=ENDS.mac) / tags / packet()
    assert found(answer, watch) is WatchState.UP
    assert found(answer, WATCH) is WatchState.DOWN
    assert found(reply(), watch) is WatchState.DOWN


def wrong(at: int, value: int) -> bytes:
    """The answer with another byte."""
    frame = bytearray(bytes(reply()))
    frame[at] = value
    return bytes(frame)


NO_ANSWERS = {
    "of another host": reply(target=OTHER),
    "unsolicited": reply(solicited=0),
    "to all nodes": Ether(src=HOST, dst="33:33:00:00:00:01") / packet(to="ff02::1"),
    "to another port's probe": Ether(src=HOST, dst="62:00:00:00:00:01") / packet(),
    "to another address": reply(to="fe80::1"),
    "from beyond a router": reply(hops=254),
    "our own probe, back by a loop": probe(),
    "with a wrong checksum": wrong(57, 0),
    "of IPv4's version": wrong(14, 0x40),
    "of UDP": wrong(20, 17),
    "of another code": wrong(55, 1),
}


@pytest.mark.parametrize("what", NO_ANSWERS)
def test_this_is_no_answer(what: str) -> None:
    assert found(NO_ANSWERS[what], WATCH) is WatchState.DOWN


def test_the_answer_that_those_were_made_of_is_one() -> None:
    assert found(reply(), WATCH) is WatchState.UP


@pytest.mark.parametrize("size", range(len(bytes(reply()))))
def test_an_answer_that_is_cut_short_is_none(size: int) -> None:
    assert found(bytes(reply())[:size], WATCH) is WatchState.DOWN


def test_of_hosts_with_one_address_a_pinned_mac_alone_answers() -> None:
    pinned = replace(WATCH, target_mac=HOST)
    assert found(reply(), pinned) is WatchState.UP
    forged = Ether(src=THIRD, dst=ENDS.mac) / packet()
    assert found(forged, WATCH) is WatchState.UP
    assert found(forged, pinned) is WatchState.DOWN
