# SPDX-License-Identifier: BSD-2-Clause
"""Frames that leave by AF_XDP beside those that leave by the packet socket.

The checksums that laggd fills in are held to scapy's, which knows nothing of ours.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from lab import Lab, Pair, wait_until
from tests.netns.bare import ENDS, PORTS, Bare
from tests.netns.frames import VNET, Capture, Seen, ether, offload_socket
from tests.netns.partners import Steered, lost_nothing
from tests.netns.steer import BY_XDP, DEADLINE_S, LAGG, Steer, Tally

NEEDS_CSUM, GSO_TCPV4, MSS = 1, 1, 1448
TRIES = 50
"""A busy machine may be too late in most of them."""


def transmits(record: dict[str, Any]) -> set[str]:
    return {port["tx"] for port in record["ports"]}


def arrivals(capture: Capture, count: int) -> list[Seen]:
    found: list[Seen] = []

    def complete() -> bool:
        found.extend(capture.take())
        return len(found) >= count

    wait_until(complete, DEADLINE_S, f"{count} frames arrive")
    assert len(found) == count
    return found


# ---- checksums ---------------------------------------------------------------------

MACS = {"src": "02:00:5e:00:53:01", "dst": "02:00:5e:00:53:02"}
V4 = {"src": "192.0.2.1", "dst": "198.51.100.2"}
V6 = {"src": "2001:db8::1", "dst": "2001:db8:0:1::2"}
TAGS: dict[str, list[Packet]] = {
    "untagged": [],
    "VLAN": [Dot1Q(vlan=5)],
    "QinQ": [Dot1AD(vlan=7), Dot1Q(vlan=9)],
}
NETWORKS: dict[str, Packet] = {
    "IPv4": IP(**V4),
    "IPv4 options": IP(options=b"\1" * 8, **V4),
    "IPv6": IPv6(**V6),
}
SIZES = (0, 1, 2, 17, 18, 500, 1399, 1400)


def scapy_frames(tags: str, transport: type[Packet]) -> Iterator[Packet]:
    for network in NETWORKS.values():
        for size in SIZES:
            frame = Ether(**MACS)
            for tag in TAGS[tags]:
                frame = frame / tag
            payload = Raw(bytes(n * 7 % 256 for n in range(size)))
            yield frame / network / transport(sport=1000, dport=2000) / payload


def left_open(wire: bytes, start: int, field: int) -> bytes:
    """The frame with only the pseudo-header's sum where the checksum goes, and an
    offload header that says so, as a host's stack hands it to its interface."""
    whole = bytearray(wire)
    done = int.from_bytes(whole[start + field : start + field + 2], "big")
    whole[start + field : start + field + 2] = bytes(2)
    rest = bytes(whole[start:]) + b"\0" * (len(whole[start:]) % 2)
    words = sum(struct.unpack(f"!{len(rest) // 2}H", rest))
    pseudo = ((done ^ 0xFFFF) - words) % 0xFFFF
    whole[start + field : start + field + 2] = pseudo.to_bytes(2, "big")
    return VNET.pack(NEEDS_CSUM, 0, 0, 0, start, field) + bytes(whole)


@pytest.mark.parametrize("transport", [TCP, UDP])
@pytest.mark.parametrize("tags", TAGS)
def test_a_checksum_that_laggd_fills_in_is_scapy_s(
    bare: Bare, tags: str, transport: type[Packet]
) -> None:
    bare.steer.await_xdp(*PORTS)
    field = 16 if transport is TCP else 6
    wires = [bytes(frame) for frame in scapy_frames(tags, transport)]
    with (
        Capture(bare.far, ENDS[0]) as far,
        offload_socket(bare.near, LAGG) as into,
    ):
        for wire in wires:
            start = len(wire) - len(bytes(Ether(wire).getlayer(transport)))
            into.send(left_open(wire, start, field))
        seen = arrivals(far, len(wires))
    assert all(each.csum_ready and each.csum_start == 0 for each in seen)
    assert [each.wire for each in seen] == wires


# ---- order -------------------------------------------------------------------------


@contextmanager
def shaped(bare: Bare) -> Iterator[None]:
    """The first port has a queueing discipline that holds frames back."""
    device = ("dev", PORTS[0])
    shape = ("tbf", "rate", "20mbit", "burst", "32k", "latency", "5s")
    bare.near.run("tc", "qdisc", "add", *device, "root", *shape)
    yield
    bare.near.run("tc", "qdisc", "del", *device, "root")


def gso_frame(number: int) -> bytes:
    """A TCP super-frame of 20 KB with its offload header; the number is its ACK's."""
    payload = Raw(bytes(20_000))
    frame = Ether(**MACS) / IP(**V4) / TCP(sport=1, dport=2, ack=number) / payload
    return VNET.pack(NEEDS_CSUM, GSO_TCPV4, 54, MSS, 34, 16) + bytes(frame)


def short_frame(number: int) -> bytes:
    frame = Ether(**MACS) / IP(**V4) / TCP(sport=1, dport=2, ack=number)
    return bytes(VNET.size) + bytes(frame)


@pytest.mark.parametrize("every", [2, 5])
def test_a_short_frame_does_not_overtake_what_waits_in_the_port_s_queue(
    bare: Bare, every: int
) -> None:
    bare.steer.await_xdp(*PORTS)
    count = 40
    with (
        shaped(bare),
        Capture(bare.far, ENDS[0], offloads=True) as far,
        offload_socket(bare.near, LAGG) as into,
    ):
        for number in range(count):
            make = short_frame if number % every else gso_frame
            into.send(make(number))
        seen = arrivals(far, count)
    numbers = [int.from_bytes(each.wire[42:46], "big") for each in seen]
    assert numbers == list(range(count))


def test_short_frames_leave_by_af_xdp_again_when_the_queue_is_empty(
    bare: Bare,
) -> None:
    """Once laggd has noticed the shaper, within a second, all leave through it."""
    for _ in range(TRIES):
        bare.steer.await_xdp(*PORTS)
        with offload_socket(bare.near, LAGG) as into, shaped(bare):
            queued = queued_around_a_large_one(bare, into)
            if bare.steer.transmits(PORTS[0]) == [BY_XDP]:
                assert queued == (False, True, False)
                return
    pytest.fail("the shaper was always noticed at once")


def queued_around_a_large_one(
    bare: Bare, into: socket.socket
) -> tuple[bool, bool, bool]:
    """Whether two short frames, a large one, and a short one passed the queue."""
    marks = [queue_sent(bare)]
    bare.ways([ether(b"1"), ether(b"2")])
    marks.append(queue_sent(bare))
    into.send(gso_frame(0))
    wait_until(lambda: queue_sent(bare) > marks[1], DEADLINE_S, "the queue empties")
    marks.append(queue_sent(bare))
    bare.ways([ether(b"3")])
    marks.append(queue_sent(bare))
    first, large, last = (after > before for before, after in pairwise(marks))
    return first, large, last


def queue_sent(bare: Bare) -> int:
    """Bytes that the first port's queueing discipline passed on."""
    words = bare.near.run("tc", "-s", "qdisc", "show", "dev", PORTS[0]).stdout.split()
    return int(words[words.index("bytes") - 1])


# ---- where it is used --------------------------------------------------------------


def test_what_lacp_hears_by_is_no_sniffer() -> None:
    with Lab() as lab:
        pair = Pair(lab, cables=1, proto="lacp")
        with closing(Steer(pair.a.laggd)) as steer:  # also when it is skipped
            steer.await_xdp("p0")
            with Capture(pair.a.host, "p0", outgoing=True):
                wait_until(
                    lambda: steer.transmits("p0") == ["packet"],
                    DEADLINE_S,
                    "it is noticed",
                )
            steer.set(proto="failover")
            steer.await_xdp("p0")


def test_what_a_watch_hears_by_is_no_sniffer() -> None:
    """And who does sniff is noticed beside it."""
    with Lab() as lab:
        watch = ("--watch", "bfd,interval_ms=1000,missed_max=200")
        pair = Pair(lab, cables=1, proto="failover", options=watch)
        with closing(Steer(pair.a.laggd)) as steer:  # also when it is skipped
            wait_until(lambda: is_watched(steer), DEADLINE_S, "the session is up")
            with Capture(pair.a.host, "p0", outgoing=True):
                wait_until(
                    lambda: steer.transmits("p0") == ["packet"],
                    DEADLINE_S,
                    "it is noticed",
                )
            steer.await_xdp("p0")


def is_watched(steer: Steer) -> bool:
    """Whether all that its ports' watches find is good."""
    ports = steer.record()["ports"]
    return {w["state"] for port in ports for w in port["watch"]} == {"up"}


def test_laggd_told_to_do_without_sends_all_by_the_packet_socket() -> None:
    with Lab() as lab:
        pair = Pair(lab, cables=1, laggd=("--no-xdp",))
        steered = Steered(pair)
        tallies = [Tally(steer) for steer in steered.steers]
        assert transmits(pair.a.record()) == {"packet"}
        lost_nothing(tallies, *pair.stream(rate=2000, seconds=0.3))
        steered.close()


# ---- workers -----------------------------------------------------------------------


def test_two_workers_keep_the_order_of_each_flow_and_count_every_frame() -> None:
    with Lab() as lab:
        options = ("--lagghash", "l3,l4")
        pair = Pair(lab, proto="loadbalance", options=options, laggd=("--workers", "2"))
        steered = Steered(pair)
        tallies = [Tally(steer) for steer in steered.steers]
        results = pair.stream(rate=8000, seconds=1.0, flows=16)
        lost_nothing(tallies, *results)
        for result in results:
            assert (result.duplicated, result.reordered, result.corrupt) == (0, 0, 0)
        steered.close()
        for record in (pair.a.record(), pair.b.record()):
            counters = record["counters"]
            assert record["workers"] == 2
            assert transmits(record) == {"packet"}
            assert sum(p["tx_frames"] for p in record["ports"]) == counters["tx_out"]
        pair.conserved()
