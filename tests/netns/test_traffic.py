# SPDX-License-Identifier: BSD-2-Clause
"""Real traffic between two laggs, in each protocol; every frame accounted for."""

import socket
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from lab import End, ping, wait_until
from tests.netns.frames import (
    BROADCAST,
    DST,
    ETH_P_8021AD,
    ETH_P_8021Q,
    ETH_P_IP,
    Capture,
    ether,
    ipv4,
    tagged,
    udp,
)
from tests.netns.partners import (
    UDP_PORT,
    WAYS,
    Partners,
    arrived,
    carry,
    exchange,
    iperf,
    udp_socket,
)
from tests.netns.steer import DEADLINE_S, LAGG, Tally

MB = 1_000_000
JUMBO = 9000
FRAMES = 50

GROUP = "239.77.0.1"
SUBNET_BROADCAST = "10.77.0.255"
MULTICAST, MULTICAST_IPV6 = bytes.fromhex("01005e4d0001"), bytes.fromhex("33334d000001")

TAGS = {
    "vid": ((ETH_P_8021Q, 100),),
    "priority": ((ETH_P_8021Q, 7 << 13 | 100),),
    "dei": ((ETH_P_8021Q, 1 << 12 | 4094),),
    "priority-only": ((ETH_P_8021Q, 5 << 13),),
    "802.1ad": ((ETH_P_8021AD, 3 << 13 | 200),),
    "qinq": ((ETH_P_8021AD, 6 << 13 | 5), (ETH_P_8021Q, 1 << 13 | 42)),
    "double": ((ETH_P_8021Q, 2 << 13 | 7), (ETH_P_8021Q, 3 << 13 | 8)),
}

EXPECTED = {"ring-overrun", "tap-overrun", "tap-full", "tx-full", "not-accepted"}
"""What TCP and copies may run into on a busy machine; and a port that has just become
one sends a last word of its own, which the partner's standby port does not accept."""


@pytest.fixture(params=WAYS)
def way(partners: Partners, request: pytest.FixtureRequest) -> Iterator[str]:
    """Each way to carry frames, set on both ends; at the end every frame is counted."""
    partners.set(**WAYS[request.param])
    tallies = [Tally(steer) for steer in partners.steers]
    yield request.param
    for tally in tallies:
        assert not tally.drops.keys() - EXPECTED, tally.drops


def inject(partners: Partners, sender: End, receiver: End, frames: list[bytes]) -> None:
    """Sends frames into one lagg; asserts what comes out of the other one's lagg."""
    copies = partners.copies()
    wanted = Counter(dict.fromkeys(frames, copies))
    assert len(wanted) == len(frames)
    with (
        Capture(receiver.host, LAGG) as above,
        sender.host.packet_socket(LAGG) as into,
    ):
        for frame in frames:
            into.send(frame)
        found: Counter[bytes] = Counter()

        def complete() -> bool:
            # The hosts speak for themselves, too.
            found.update(each.wire for each in above.take() if each.wire in wanted)
            return found.total() >= wanted.total()

        wait_until(complete, DEADLINE_S, "all frames arrive")
    assert not [n for n, frame in enumerate(frames) if found[frame] != copies]


# ---- the stacks --------------------------------------------------------------------


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
def test_ping(partners: Partners, ipv6: bool) -> None:
    answered = partners.pair.ping(count=50, ipv6=ipv6)
    assert answered.lost == 0


@pytest.mark.usefixtures("way")
def test_tcp_of_100_mb_both_ways_at_once_arrives_intact(partners: Partners) -> None:
    a, b = partners.pair.ends
    exchange([(a, b), (b, a)], 100 * MB)


@pytest.mark.usefixtures("way")
def test_tcp_over_ipv6(partners: Partners) -> None:
    carry(*partners.pair.ends, 10 * MB, ipv6=True)


@pytest.mark.usefixtures("way")
def test_iperf3_with_cubic(partners: Partners) -> None:
    measured = iperf(*partners.pair.ends, 1.0)
    # A stall is a hundredth of this; a busy machine is not.
    assert measured.mbit_per_s > 100, measured


@pytest.mark.usefixtures("way")
def test_jumbo_frames(partners: Partners) -> None:
    for end, steer in zip(partners.pair.ends, partners.steers, strict=True):
        end.laggd.ctl("set", LAGG, "--mtu", str(JUMBO))
        names = (LAGG, *steer.ports())
        assert {end.host.link(name).mtu for name in names} == {JUMBO}
    assert partners.pair.ping(size=JUMBO - 28).lost == 0
    frames = [
        ether(number.to_bytes(2, "big") * (size // 2))
        for number, size in enumerate(range(1900, JUMBO + 1, 50))
    ]
    partners.both_ways(lambda a, b: inject(partners, a, b, frames))
    carry(*partners.pair.ends, 20 * MB)


@pytest.mark.usefixtures("way")
def test_udp_in_fragments(partners: Partners, rng: Random) -> None:
    sent = [rng.randbytes(20_000) for _ in range(20)]

    def act(sender: End, receiver: End) -> None:
        with udp_socket(receiver) as sink, udp_socket(sender) as source:
            for datagram in sent:
                # One at a time: round robin does not keep their order, and Linux gives
                # up a datagram when 64 fragments of others come between its own.
                source.sendto(datagram, (receiver.address, UDP_PORT))
                found = arrived(sink, Counter([datagram]))
                # Of broadcast's copies one may be put together more than once.
                assert not [each for each in found if each not in sent]

    partners.both_ways(act)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("to", [GROUP, SUBNET_BROADCAST])
def test_multicast_and_broadcast(partners: Partners, to: str) -> None:
    sent = [number.to_bytes(4, "big") for number in range(FRAMES)]

    def act(sender: End, receiver: End) -> None:
        with udp_socket(receiver) as sink, udp_socket(sender) as source:
            join(sink, receiver)
            interface = socket.inet_aton(sender.address)
            source.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            for datagram in sent:
                source.sendto(datagram, (to, UDP_PORT))
            wanted = Counter(dict.fromkeys(sent, partners.copies()))
            assert arrived(sink, wanted) == wanted

    partners.both_ways(act)


def join(opened: socket.socket, end: End) -> None:
    membership = socket.inet_aton(GROUP) + socket.inet_aton(end.address)
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)


# ---- frames as they are --------------------------------------------------------------


@pytest.mark.usefixtures("way")
def test_frames_of_every_destination_and_size(partners: Partners) -> None:
    frames = [
        ether(bytes([number]) * (size - 14), dst=dst)
        for number, size in enumerate((60, 61, 590, 1513, 1514))
        for dst in (BROADCAST, MULTICAST, MULTICAST_IPV6, DST)
    ]
    partners.both_ways(lambda a, b: inject(partners, a, b, frames))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS.keys())
def test_vlan_tags_arrive_exactly_as_sent(
    partners: Partners, tags: tuple[tuple[int, int], ...]
) -> None:
    frames = [tagged(frame, *tags) for frame in some_ipv4(FRAMES)]
    partners.both_ways(lambda a, b: inject(partners, a, b, frames))


def some_ipv4(count: int) -> list[bytes]:
    return [
        ether(
            ipv4(
                udp(number.to_bytes(4, "big"), sport=number + 1, dport=9),
                src="192.0.2.1",
                dst="192.0.2.2",
            ),
            ETH_P_IP,
        )
        for number in range(count)
    ]


# ---- laggproto none ------------------------------------------------------------------


def test_none_sends_nothing_and_counts_all(partners: Partners) -> None:
    partners.a.set(proto="none")
    tally = Tally(partners.a)
    a, b = partners.pair.ends
    assert ping(a.host, b.address, wait_s=0.1).received == 0
    with a.host.packet_socket(LAGG) as into:
        for frame in some_ipv4(FRAMES):
            into.send(frame)
    wait_until(lambda: tally["tx_in"] >= FRAMES, DEADLINE_S, "all are taken")
    assert not a.host.link(LAGG).carrier
    seen = tally.still()
    assert seen["tx_out"] == 0
    assert seen.drops == {"proto-none": seen["tx_in"] + seen["rx_in"]}
    partners.pair.conserved()


def test_none_takes_nothing_and_counts_all(partners: Partners) -> None:
    partners.a.set(proto="none")
    tally, sent = Tally(partners.a), Tally(partners.b)
    with partners.pair.b.host.packet_socket(LAGG) as into:
        for frame in some_ipv4(FRAMES):
            into.send(frame)
    wait_until(lambda: sent["tx_out"] >= FRAMES, DEADLINE_S, "all are sent")
    wait_until(lambda: tally["rx_in"] >= FRAMES, DEADLINE_S, "all are taken")
    seen = tally.still()
    assert seen["rx_out"] == 0
    assert seen.drops == {"proto-none": seen["rx_in"] + seen["tx_in"]}
    partners.pair.conserved()
