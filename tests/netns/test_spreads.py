# SPDX-License-Identifier: BSD-2-Clause
"""Which port a frame leaves by, seen at the far ends of the cables."""

import math
from collections import Counter
from itertools import groupby, pairwise
from random import Random

import pytest

from lab import wait_until
from tests.netns.bare import ENDS, PORTS, Bare
from tests.netns.flows import Flow, random_flows
from tests.netns.frames import ETH_P_IP, ETH_P_IPV6, Capture, ether, ipv4, ipv6, udp
from tests.netns.steer import DEADLINE_S, LAGG, Tally

SEED = 2026
"""Fixed: 15 % is 2.7 standard deviations of a fair spread, so some seeds miss it."""

FLOWS = 1000
FRAMES_OF_A_FLOW = 3
FRAMES = 1200

HASHES = ("crc32c", "fnv1")


def numbered(count: int) -> list[bytes]:
    return [ether(number.to_bytes(4, "big")) for number in range(count)]


@pytest.fixture(scope="module")
def flows() -> list[Flow]:
    print(f"seed {SEED}")
    return random_flows(Random(SEED), FLOWS)


def homes(bare: Bare, flows: list[Flow]) -> list[int]:
    """The port of each flow, by number; asserts that it has but one."""
    frames = [
        flow.frame(index * FRAMES_OF_A_FLOW + number)
        for number in range(FRAMES_OF_A_FLOW)
        for index, flow in enumerate(flows)
    ]
    ways = bare.ways(frames)
    of_flow = [{*ways[index :: len(flows)]} for index in range(len(flows))]
    assert all(len(each) == 1 for each in of_flow)
    return [port for ((port,),) in of_flow]


def moves(before: list[int], after: list[int]) -> Counter[tuple[int, int]]:
    """How many flows went from which port to which other."""
    pairs = zip(before, after, strict=True)
    return Counter((was, now) for was, now in pairs if was != now)


# ---- roundrobin --------------------------------------------------------------------


@pytest.mark.parametrize("rr_limit", [1, 3, 32, 100])
def test_round_robin_gives_each_port_exactly_its_turn(
    bare: Bare, rr_limit: int
) -> None:
    bare.steer.set(proto="roundrobin", rr_limit=rr_limit)
    ways = bare.ways(numbered(FRAMES))
    turns = [(port, len(list(run))) for port, run in groupby(ways)]
    assert {frames for _, frames in turns[1:-1]} == {rr_limit}
    following = [(port + 1) % len(PORTS) for (port,), _ in turns]
    assert [port for (port,), _ in turns[1:]] == following[:-1]
    shares = Counter(ways)
    assert len(shares) == len(PORTS)
    assert max(shares.values()) - min(shares.values()) <= rr_limit


def test_with_rr_limit_0_each_frame_takes_a_port_by_chance_and_by_weight(
    bare: Bare,
) -> None:
    bare.steer.set_port(PORTS[0], weight=3)
    bare.steer.set(proto="roundrobin", rr_limit=0)
    ways = bare.ways(numbered(FRAMES))
    shares = Counter(ways)
    for port, sixths in enumerate((3, 1, 1, 1)):
        expected = FRAMES * sixths / 6
        assert abs(shares[port,] - expected) < 6 * math.sqrt(expected), shares
    # No order repeats: of two frames in a row 12 of 36 pairs are of one port.
    alike = sum(one == other for one, other in pairwise(ways))
    assert abs(alike - FRAMES / 3) < 6 * math.sqrt(FRAMES / 3)


@pytest.mark.parametrize("proto", ["loadbalance", "none"])
def test_turns_are_as_long_as_before_another_protocol(bare: Bare, proto: str) -> None:
    bare.steer.set(proto="roundrobin", rr_limit=3)
    bare.steer.set(proto=proto)
    bare.steer.set(proto="roundrobin")
    turns = [len(list(run)) for _, run in groupby(bare.ways(numbered(FRAMES)))]
    assert {*turns[1:-1]} == {3}


def test_round_robin_passes_over_a_port_without_carrier(bare: Bare) -> None:
    bare.steer.set(proto="roundrobin")
    bare.cut(1)
    shares = Counter(bare.ways(numbered(FRAMES)))
    assert shares == {(0,): FRAMES // 3, (2,): FRAMES // 3, (3,): FRAMES // 3}


# ---- loadbalance -------------------------------------------------------------------


@pytest.mark.parametrize("kind", HASHES)
def test_load_balance_keeps_each_flow_on_one_port_and_spreads_them(
    bare: Bare, flows: list[Flow], kind: str
) -> None:
    bare.steer.set(proto="loadbalance", hash=kind)
    shares = Counter(homes(bare, flows))
    even = FLOWS / len(PORTS)
    assert len(shares) == len(PORTS)
    assert all(abs(flows - even) <= 0.15 * even for flows in shares.values()), shares


def test_load_balance_and_round_robin_spread_by_weight(
    bare: Bare, flows: list[Flow]
) -> None:
    bare.steer.set(proto="loadbalance")
    even = homes(bare, flows)
    for name, weight in zip(PORTS, (5, 2, 1, 1), strict=True):
        bare.steer.set_port(name, weight=weight)
    weighed = homes(bare, flows)
    shares = Counter(weighed)
    for port, part in enumerate((5 / 9, 2 / 9, 1 / 9, 1 / 9)):
        assert abs(shares[port] / FLOWS - part) <= 0.05, shares
    gained = {now for _, now in moves(even, weighed)}
    assert gained <= {0, 1}  # of whom a weight was raised
    bare.steer.set(proto="roundrobin")
    rounds = 100
    turns = Counter(bare.ways(numbered(rounds * (5 + 2 + 1 + 1))))
    assert turns == {(0,): 500, (1,): 200, (2,): 100, (3,): 100}


@pytest.mark.parametrize("lost", range(len(PORTS)))
@pytest.mark.parametrize("kind", HASHES)
def test_a_cut_cable_moves_only_its_own_flows(
    bare: Bare, flows: list[Flow], kind: str, lost: int
) -> None:
    bare.steer.set(proto="loadbalance", hash=kind)
    before = homes(bare, flows)
    bare.cut(lost)
    after = homes(bare, flows)
    # lagg(4) gives them all to the next port, around the list; we spread them.
    others = {(lost + 1) % 4} if kind == "fnv1" else {0, 1, 2, 3} - {lost}
    moved = moves(before, after)
    assert set(moved) == {(lost, other) for other in others}
    assert moved.total() == before.count(lost)
    bare.mend(lost)
    assert not moves(before, homes(bare, flows))


@pytest.mark.parametrize("lost", [0, 2])
def test_a_detached_port_moves_only_its_own_flows(
    bare: Bare, flows: list[Flow], lost: int
) -> None:
    bare.steer.set(proto="loadbalance")
    before = homes(bare, flows)
    bare.steer.detach(PORTS[lost])
    after = homes(bare, flows)
    moved = moves(before, after)
    assert set(moved) == {(lost, other) for other in {0, 1, 2, 3} - {lost}}
    assert moved.total() == before.count(lost)
    assert max(moved.values()) < 0.5 * moved.total()


def test_fnv1_is_the_mapping_of_freebsd(bare: Bare, flows: list[Flow]) -> None:
    seed = 0xC0FFEE
    bare.steer.set(proto="loadbalance", hash="fnv1", hash_seed=seed)
    by_ifindex = sorted(range(len(PORTS)), key=lambda n: bare.near.ifindex(PORTS[n]))
    wanted = [by_ifindex[flow.fnv1(seed) % 4] for flow in flows]
    assert not moves(wanted, homes(bare, flows))
    bare.steer.detach(PORTS[1])
    by_ifindex.remove(1)
    wanted = [by_ifindex[flow.fnv1(seed) % 3] for flow in flows]
    assert not moves(wanted, homes(bare, flows))


def fragments_of_ipv4(ident: int) -> list[bytes]:
    """First, middle and last: each a frame."""
    payload = udp(bytes(4000), sport=4000 + ident, dport=5000)
    cuts = [(0x2000, payload[:1480]), (0x20B9, payload[1480:2960])]
    cuts.append((0x0172, payload[2960:]))
    return [
        ether(
            ipv4(part, src="10.0.0.1", dst="10.0.0.2", ident=ident, fragment=word),
            ETH_P_IP,
        )
        for word, part in cuts
    ]


def fragments_of_ipv6(ident: int) -> list[bytes]:
    payload = udp(bytes(4000), sport=4000 + ident, dport=5000)
    cuts = [(0x0001, payload[:1448]), (0x05A9, payload[1448:2896])]
    cuts.append((0x0B50, payload[2896:]))
    heads = [
        bytes((17, 0)) + word.to_bytes(2, "big") + ident.to_bytes(4, "big")
        for word, _ in cuts
    ]
    return [
        ether(ipv6(head + part, src="fd00::1", dst="fd00::2", proto=44), ETH_P_IPV6)
        for head, (_, part) in zip(heads, cuts, strict=True)
    ]


@pytest.mark.parametrize("kind", HASHES)
@pytest.mark.parametrize("fragments", [fragments_of_ipv4, fragments_of_ipv6])
def test_all_fragments_of_a_datagram_take_one_port(
    bare: Bare, kind: str, fragments: type, rng: Random
) -> None:
    bare.steer.set(proto="loadbalance", hash=kind, hash_seed=rng.getrandbits(32))
    frames = [frame for ident in range(50) for frame in fragments(ident)]
    assert len(set(bare.ways(frames))) == 1


# ---- failover, broadcast -----------------------------------------------------------


def test_failover_uses_one_port_and_returns_to_its_primary(bare: Bare) -> None:
    frames = numbered(100)
    assert set(bare.ways(frames)) == {(0,)}
    bare.cut(0)
    assert set(bare.ways(frames)) == {(1,)}
    bare.cut(1)
    assert set(bare.ways(frames)) == {(2,)}
    bare.mend(0)
    assert set(bare.ways(frames)) == {(0,)}


@pytest.mark.parametrize("rx_all", [False, True])
def test_failover_takes_frames_of_a_standby_port_on_request(
    bare: Bare, rx_all: bool
) -> None:
    bare.steer.set(failover_rx_all=rx_all)
    frames = numbered(100)
    tally = Tally(bare.steer)
    with Capture(bare.near, LAGG) as above, bare.far.packet_socket(ENDS[2]) as wire:
        for frame in frames:
            wire.send(frame)
        wait_until(lambda: tally["rx_in"] == len(frames), DEADLINE_S, "all are taken")
        seen = [each.wire for each in above.take()]
    assert seen == (frames if rx_all else [])
    assert tally.drops == ({} if rx_all else {"not-accepted": len(frames)})
    assert tally.port_drops(PORTS[2]) == tally.drops


def test_broadcast_sends_one_copy_by_each_active_port(bare: Bare) -> None:
    bare.steer.set(proto="broadcast")
    frames = numbered(100)
    assert set(bare.ways(frames, copies=4)) == {(0, 1, 2, 3)}
    bare.cut(2)
    assert set(bare.ways(frames, copies=3)) == {(0, 1, 3)}
