# SPDX-License-Identifier: BSD-2-Clause
"""What TAPs and packet sockets get wrong unless they are asked in the right way."""

import socket
import struct
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from random import Random

import pytest

from lab import wait_until
from lab.namespace import kernel
from tests.netns.bare import ENDS, PORTS, Bare
from tests.netns.ethtool import without
from tests.netns.frames import (
    BROADCAST,
    ETH_P_8021AD,
    ETH_P_8021Q,
    ETH_P_ARP,
    ETH_P_IP,
    ETH_P_LLDP,
    TAG_BYTES,
    VNET,
    Capture,
    Seen,
    checksum,
    differing,
    ether,
    ipv4,
    offload_socket,
    tagged,
    transport_valid,
)
from tests.netns.partners import (
    UDP_PORT,
    WAYS,
    Partners,
    arrived,
    carry,
    lost_nothing,
    udp_socket,
)
from tests.netns.steer import BY_XDP, DEADLINE_S, LAGG, Tally

MB = 1_000_000
MSS = 1448
GSO_BYTES = 60 * 1024
NEEDS_CSUM, GSO_TCPV4 = 1, 1
TCP_BYTES, TCP_CHECKSUM = 20, 16
COUNT = 100

UDP_SEGMENT = 103
SEGMENT_BYTES, SEGMENTS, TRAINS = 1000, 40, 50
TAP_TAKES_TRAINS = (6, 2)
"""The first kernel whose TAP has TUN_F_USO4."""

# ---- checksums and segmentation that hosts leave to their interfaces -----------------


def tcp_segment(payload: bytes) -> bytes:
    """An Ethernet frame with a TCP checksum that only the pseudo-header is in."""
    src, dst = "192.0.2.1", "192.0.2.2"
    size = TCP_BYTES + len(payload)
    ends = socket.inet_aton(src) + socket.inet_aton(dst)
    partial = checksum(ends, struct.pack("!HH", socket.IPPROTO_TCP, size)) ^ 0xFFFF
    head = struct.pack("!HHIIHHHH", 1000, 2000, 1, 1, 0x5010, 1000, partial, 0)
    return ether(
        ipv4(head + payload, src=src, dst=dst, proto=socket.IPPROTO_TCP), ETH_P_IP
    )


def tcp_start(tags: int) -> int:
    """Where TCP begins in a tcp_segment() with so many VLAN tags."""
    return 34 + TAG_BYTES * tags


def offloads(seen: Seen) -> tuple[int, int, int]:
    return seen.gso_type, seen.gso_size, seen.csum_start


def offload_header(tags: int, *, gso: bool) -> bytes:
    """struct virtio_net_hdr of a tcp_segment() with so many VLAN tags."""
    start = tcp_start(tags)
    headers = start + TCP_BYTES
    size = MSS if gso else 0
    kind = GSO_TCPV4 if gso else 0
    return VNET.pack(NEEDS_CSUM, kind, headers if gso else 0, size, start, TCP_CHECKSUM)


def next_seen(captures: Sequence[Capture], count: int) -> list[Seen]:
    """What comes next to any of them: so many frames, and no more."""
    found: list[Seen] = []

    def complete() -> bool:
        for capture in captures:
            found.extend(capture.take())
        return len(found) >= count

    wait_until(complete, DEADLINE_S, f"{count} frames")
    assert len(found) == count
    return found


def test_udp_and_tcp_between_stacks_have_valid_checksums(partners: Partners) -> None:
    a, b = partners.pair.ends
    with udp_socket(b) as sink, udp_socket(a) as source:
        for size in range(1, 1400, 7):
            source.sendto(bytes(size), (b.address, UDP_PORT))
            wait_until(lambda: taken(sink), DEADLINE_S, f"{size} bytes arrive")
    carry(a, b, 10 * MB)
    carry(b, a, 10 * MB)
    for end in (a, b):
        assert checksum_errors(end.host.proc_net("snmp")) == {"Tcp": 0, "Udp": 0}


def taken(sink: socket.socket) -> bool:
    try:
        return bool(sink.recv(1 << 16))
    except BlockingIOError:
        return False


def checksum_errors(snmp: str) -> dict[str, int]:
    rows = [line.split() for line in snmp.splitlines()]
    tables = {
        names[0]: dict(zip(names, values, strict=True))
        for names, values in zip(rows[::2], rows[1::2], strict=True)
    }
    return {proto: int(tables[f"{proto}:"]["InCsumErrors"]) for proto in ("Tcp", "Udp")}


@pytest.mark.parametrize("tags", [0, 1, 2])
def test_a_partial_checksum_is_valid_when_the_port_cannot_compute_it(
    bare: Bare, tags: int, rng: Random
) -> None:
    frame = tcp_segment(rng.randbytes(500))
    assert not transport_valid(frame)
    with (
        without(bare.near, PORTS[0], "tx"),
        Capture(bare.far, ENDS[0]) as far,
        offload_socket(bare.near, LAGG) as into,
    ):
        into.send(offload_header(tags, gso=False) + tagged(frame, *TAGS[:tags]))
        (seen,) = next_seen([far], 1)
    assert seen.csum_ready
    plain = seen.wire[:12] + seen.wire[12 + TAG_BYTES * tags :]
    assert seen.wire == tagged(plain, *TAGS[:tags])
    assert transport_valid(plain)


TAGS = ((ETH_P_8021AD, 6 << 13 | 5), (ETH_P_8021Q, 1 << 13 | 42))


@pytest.mark.parametrize("tags", [0, 1, 2])
def test_a_gso_frame_of_60_kb_crosses_whole(bare: Bare, tags: int, rng: Random) -> None:
    frame = tagged(tcp_segment(rng.randbytes(GSO_BYTES)), *TAGS[:tags])
    tally = Tally(bare.steer)
    with (
        Capture(bare.far, ENDS[0], offloads=True) as far,
        offload_socket(bare.near, LAGG) as into,
    ):
        for _ in range(10):
            into.send(offload_header(tags, gso=True) + frame)
        seen = next_seen([far], 10)
    wait_until(
        lambda: tally.ports("tx_frames")[PORTS[0]] == 10, DEADLINE_S, "all are counted"
    )
    assert all(each.wire == frame for each in seen)
    assert {offloads(each) for each in seen} == {(GSO_TCPV4, MSS, tcp_start(tags))}


@pytest.mark.parametrize("tags", [0, 1, 2])
def test_a_gso_frame_received_with_a_vlan_tag_crosses_whole(
    bare: Bare, tags: int, rng: Random
) -> None:
    """The kernel takes the outer tag out; checksum and headers begin 4 bytes later."""
    frame = tagged(tcp_segment(rng.randbytes(GSO_BYTES)), *TAGS[:tags])
    with (
        Capture(bare.near, LAGG, offloads=True) as above,
        offload_socket(bare.far, ENDS[0]) as wire,
    ):
        for _ in range(10):
            wire.send(offload_header(tags, gso=True) + frame)
        seen = next_seen([above], 10)
    assert all(each.wire == frame for each in seen)
    assert {offloads(each) for each in seen} == {(GSO_TCPV4, MSS, tcp_start(tags))}


@pytest.mark.parametrize("way", WAYS)
def test_tcp_passes_ports_without_tso_and_checksum_offload(
    partners: Partners, way: str
) -> None:
    partners.set(**WAYS[way])
    a, b = partners.pair.ends
    with ExitStack() as off:
        for number in range(4):
            off.enter_context(without(a.host, f"p{number}", "tso", "sg", "tx"))
            off.enter_context(without(b.host, f"q{number}", "tso", "sg", "tx"))
        # Where each GSO frame fails, TCP still does 2 Mbit/s: 20 MB take 80 s.
        carry(a, b, 20 * MB)
        carry(b, a, 20 * MB)
    partners.pair.conserved()


def test_what_leaves_without_offloads_is_segmented_with_valid_checksums(
    bare: Bare, rng: Random
) -> None:
    payload = rng.randbytes(GSO_BYTES)
    segments = -(-GSO_BYTES // MSS)
    with (
        without(bare.near, PORTS[0], "tso", "sg", "tx"),
        Capture(bare.far, ENDS[0]) as far,
        offload_socket(bare.near, LAGG) as into,
    ):
        into.send(offload_header(0, gso=True) + tcp_segment(payload))
        seen = next_seen([far], segments)
    assert all(transport_valid(each.wire) and each.csum_ready for each in seen)
    parts = [payload[start : start + MSS] for start in range(0, GSO_BYTES, MSS)]
    assert differing([each.wire[54:] for each in seen], parts) == []


@pytest.mark.parametrize("able", [True, False], ids=["offloads", "none"])
def test_a_train_of_udp_segments_arrives_as_its_datagrams(
    partners: Partners, able: bool, rng: Random
) -> None:
    """UDP_SEGMENT: one frame at lagg0, cut by a port or by the kernel before it."""
    a, b = partners.pair.ends
    partners.set(proto="loadbalance")
    datagrams = [rng.randbytes(SEGMENT_BYTES) for _ in range(TRAINS * SEGMENTS)]
    tally = Tally(partners.a)
    with ExitStack() as opened:
        if not able:
            for number in range(4):
                opened.enter_context(without(a.host, f"p{number}", "tso", "sg", "tx"))
        sink, source = (opened.enter_context(udp_socket(end)) for end in (b, a))
        source.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SEGMENT_BYTES)
        for start in range(0, len(datagrams), SEGMENTS):
            train = b"".join(datagrams[start : start + SEGMENTS])
            source.sendto(train, (b.address, UDP_PORT))
        assert arrived(sink, Counter(datagrams)) == Counter(datagrams)
    cut_before = SEGMENTS if kernel() < TAP_TAKES_TRAINS else 1
    assert TRAINS * cut_before <= tally["tx_in"] < TRAINS * (cut_before + 1)


# ---- rings ---------------------------------------------------------------------------


def test_frames_around_the_size_of_a_ring_entry_are_not_cut(bare: Bare) -> None:
    bare.steer.set_mtu(9000)
    for end in ENDS:
        bare.far.set_link(end, mtu=9000)
    sizes = (*range(1800, 2200, 3), *range(4000, 9015, 59))
    frames = [ether(bytes([size % 256]) * (size - 14)) for size in sizes]
    with Capture(bare.near, LAGG) as above, bare.far.packet_socket(ENDS[0]) as wire:
        for frame in frames:
            wire.send(frame)
        seen = next_seen([above], len(frames))
    assert differing([each.wire for each in seen], frames) == []
    assert set(bare.ways(frames)) == {(0,)}


def test_jumbo_frames_and_gso_together_carry_tcp(partners: Partners) -> None:
    for steer in partners.steers:
        steer.set_mtu(9000)
    a, b = partners.pair.ends
    carry(a, b, 50 * MB)
    carry(b, a, 50 * MB)
    for steer in partners.steers:
        assert "oversize" not in {
            why for why, count in steer.record()["counters"]["drops"].items() if count
        }
    partners.pair.conserved()


# ---- who sees what -------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_our_own_frames_are_not_received(bare: Bare, way: str) -> None:
    bare.steer.set(**WAYS[way])
    copies = len(PORTS) if way == "broadcast" else 1
    tally = Tally(bare.steer)
    with Capture(bare.near, LAGG) as above:
        bare.ways([ether(n.to_bytes(4, "big")) for n in range(COUNT)], copies=copies)
        assert above.take() == []
    assert tally["tx_out"] == copies * COUNT
    assert tally["rx_in"] == 0


def test_a_sniffer_on_the_port_sees_what_leaves(bare: Bare) -> None:
    frames = [ether(number.to_bytes(4, "big")) for number in range(COUNT)]

    bare.steer.await_xdp(*PORTS)
    with Capture(bare.near, PORTS[0], outgoing=True) as port:
        wait_until(
            lambda: bare.steer.transmits(*PORTS) == ["packet", BY_XDP, BY_XDP, BY_XDP],
            DEADLINE_S,
            "it is noticed",
        )
        bare.ways(frames)
        seen = port.take()
    assert differing([each.wire for each in seen], frames) == []


def test_what_another_program_sends_by_a_port_is_not_the_lagg_s(bare: Bare) -> None:
    """LLDP, for instance."""
    frames = [ether(bytes([number]), ETH_P_LLDP) for number in range(COUNT)]
    tally = Tally(bare.steer)
    with Capture(bare.far, ENDS[0]) as wire, bare.near.packet_socket(PORTS[0]) as lldpd:
        for frame in frames:
            lldpd.send(frame)
        seen = next_seen([wire], COUNT)
    assert differing([each.wire for each in seen], frames) == []
    assert (tally["tx_in"], tally["tx_out"], tally["rx_in"]) == (0, 0, 0)
    counted = [tally.ports(each) for each in ("tx_frames", "rx_frames")]
    assert counted == [dict.fromkeys(PORTS, 0)] * 2
    assert tally.drops == {}


def test_unicast_to_others_goes_up_and_the_host_is_not_meant(bare: Bare) -> None:
    mac = bytes.fromhex(bare.near.link(LAGG).mac.replace(":", ""))
    ours = [ether(bytes([n]), dst=mac) for n in range(COUNT)]
    others = [ether(bytes([n])) for n in range(COUNT)]
    with Capture(bare.near, LAGG) as above, bare.far.packet_socket(ENDS[0]) as wire:
        for frame in ours + others:
            wire.send(frame)
        seen = next_seen([above], 2 * COUNT)
    kinds = [each.kind for each in seen]
    assert kinds == [socket.PACKET_HOST] * COUNT + [socket.PACKET_OTHERHOST] * COUNT


def test_a_promiscuous_lagg_has_promiscuous_ports(bare: Bare) -> None:
    def promiscuity() -> list[int]:
        return [bare.near.link(port).promiscuity for port in PORTS]

    assert promiscuity() == [0] * len(PORTS)
    bare.near.run("ip", "link", "set", LAGG, "promisc", "on")
    wait_until(lambda: promiscuity() == [1] * len(PORTS), DEADLINE_S, "ports listen")
    bare.near.run("ip", "link", "set", LAGG, "promisc", "off")
    wait_until(lambda: promiscuity() == [0] * len(PORTS), DEADLINE_S, "ports do not")


def test_the_stack_does_not_hear_its_port_beside_the_lagg(
    partners: Partners, tallies: list[Tally]
) -> None:
    """A port that is not deaf answers for the lagg's address, too."""
    a, b = partners.pair.ends
    mac = bytes.fromhex(b.host.link(LAGG).mac.replace(":", ""))
    request = arp_request(mac, b.address, a.address)
    with Capture(b.host, LAGG) as above, b.host.packet_socket(LAGG) as into:
        for _ in range(COUNT):
            into.send(request)
        # What answers this comes after all answers to those.
        assert partners.pair.ping(count=3).lost == 0
        answers = [each for each in above.take() if each.wire[12:22] == ARP_REPLY]
    assert len(answers) == COUNT
    stream, _ = partners.pair.stream(rate=2000, seconds=0.2)
    lost_nothing(tallies, stream)
    assert stream.duplicated == 0


ARP_REPLY = bytes.fromhex("08060001080006040002")


def arp_request(mac: bytes, sender: str, target: str) -> bytes:
    ends = mac + socket.inet_aton(sender) + bytes(6) + socket.inet_aton(target)
    head = struct.pack("!HHBBH", 1, ETH_P_IP, 6, 4, 1)
    return ether(head + ends, ETH_P_ARP, src=mac, dst=BROADCAST)
