# SPDX-License-Identifier: BSD-2-Clause
"""Whatever is changed while numbered frames flow both ways, none of them is lost.

Frames of one flow stay in order unless the flow moves to another port.  The streams are
measured, so no other test runs.
"""

import ctypes
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count, pairwise, repeat
from pathlib import Path
from typing import Any

import pytest

from lab import Host, Lab, Pair, Stream, Streaming, wait_until
from tests.netns.bare import ENDS, Bare
from tests.netns.bare import PORTS as BARE_PORTS
from tests.netns.frames import ETH_P_ALL, ETH_P_IP, Capture, differing, ether
from tests.netns.partners import PORTS, Partners, flowed, lost_nothing
from tests.netns.steer import DEADLINE_S, LAGG, Steer, Tally
from tests.waiting import in_time

pytestmark = pytest.mark.alone

RATE = 10_000
FLOWS = 16
"""Flows: so many that not all take one port of four, but in one of 10^9 runs."""
BETWEEN = RATE // 40
"""Frames from one change to the next: 25 ms."""


# ---- which port a flow takes -------------------------------------------------------

IPV4_BYTES, UDP_BYTES, ETHER_BYTES = 20, 8, 14
FLOW_AT = ETHER_BYTES + IPV4_BYTES + UDP_BYTES + 16
"""Where a frame of a stream has the number of its flow (stream.h of the lab)."""
FRAME_BYTES = 2048


def homes(sink: Host, ports: Sequence[str]) -> dict[int, str]:
    """The port by which each flow of the one stream into `sink` comes."""
    found: dict[int, str] = {}
    kind = socket.htons(ETH_P_ALL)  # anything else is deaf at a port
    with sink.open_socket(socket.AF_PACKET, socket.SOCK_RAW, kind) as opened:
        opened.setblocking(False)

        def complete() -> bool:
            with suppress(BlockingIOError):
                while len(found) < FLOWS:
                    frame, address = opened.recvfrom(FRAME_BYTES)
                    coming = address[2] != socket.PACKET_OUTGOING
                    if address[0] in ports and address[1] == ETH_P_IP and coming:
                        (flow,) = struct.unpack_from("!H", frame, FLOW_AT)
                        found[flow] = address[0]
            return len(found) == FLOWS

        wait_until(complete, DEADLINE_S, "a frame of each flow comes")
    return found


# ---- options -----------------------------------------------------------------------

LOADBALANCE: dict[str, Any] = {"proto": "loadbalance"}
CHANGES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "hash": (LOADBALANCE, [{"hash": "fnv1"}, {"hash": "crc32c"}]),
    "lagghash": (
        LOADBALANCE,
        [
            {"lagghash": layers}
            for layers in (["l2"], ["l3"], ["l4"], ["l2", "l3", "l4"])
        ],
    ),
    "hash_seed": (LOADBALANCE, [{"hash_seed": seed} for seed in (2, 3, 1)]),
    "rr_limit": (
        {"proto": "roundrobin"},
        [{"rr_limit": frames} for frames in (7, 2**32 - 1, 100, 1)],
    ),
}
"""For each option the protocol, and the values that it is set to in turn."""

ROUNDS = 3


@pytest.mark.parametrize("option", CHANGES)
def test_an_option_is_changed_and_nothing_is_lost(
    partners: Partners, tallies: list[Tally], option: str
) -> None:
    proto, changes = CHANGES[option]
    partners.set(**proto)
    before = generations(partners)
    with partners.pair.streaming(rate=RATE, flows=FLOWS) as run:
        for change in changes * ROUNDS:
            flowed(partners, BETWEEN)
            partners.set(**change)
        flowed(partners, BETWEEN)
    whole(tallies, run)
    published = len(changes) * ROUNDS
    assert generations(partners) == [each + published for each in before]


@pytest.mark.parametrize(
    ("proto", "changes"),
    [
        ("loadbalance", [{"use_flowid": True}, {"flowid_shift": 3}, {"rr_limit": 9}]),
        ("failover", [{"hash": "fnv1"}, {"hash_seed": 7}, {"rr_limit": 9}]),
        ("failover", [{"hash_seed": seed} for seed in range(10, 20)]),
    ],
)
def test_an_option_that_nothing_depends_on_moves_no_frame(
    partners: Partners, tallies: list[Tally], proto: str, changes: list[dict[str, Any]]
) -> None:
    partners.set(proto=proto)
    with partners.pair.streaming(rate=RATE, flows=FLOWS) as run:
        ways = homes(partners.pair.b.host, PORTS[1])
        for change in changes:
            flowed(partners, BETWEEN)
            partners.set(**change)
        flowed(partners, BETWEEN)
        assert homes(partners.pair.b.host, PORTS[1]) == ways
    whole(tallies, run)
    assert run.there.reordered == run.back.reordered == 0


def generations(partners: Partners) -> list[int]:
    return [steer.record()["generation"] for steer in partners.steers]


def whole(tallies: Sequence[Tally], run: Streaming) -> None:
    """Every frame arrived, once, as it was."""
    print(*run.results, sep="\n")
    lost_nothing(tallies, *run.results)
    for result in run.results:
        assert result.duplicated == result.corrupt == result.errors == 0, result


# ---- MTU and MAC -------------------------------------------------------------------


def test_the_mtu_is_changed_and_nothing_is_lost(
    partners: Partners, tallies: list[Tally]
) -> None:
    partners.set(proto="loadbalance")
    with partners.pair.streaming(rate=RATE, flows=FLOWS) as run:
        for mtu in (9000, 1500) * ROUNDS:
            flowed(partners, BETWEEN)
            for steer, end, ports in zip(
                partners.steers, partners.pair.ends, PORTS, strict=True
            ):
                steer.set_mtu(mtu)
                assert {end.host.link(name).mtu for name in (LAGG, *ports)} == {mtu}
        flowed(partners, BETWEEN)
    whole(tallies, run)
    assert run.there.reordered == run.back.reordered == 0


LEARNT_MS_MAX = 500
"""The partner hears of a new MAC from the first ARP request that comes from it."""


def test_a_new_mac_costs_no_more_than_it_takes_to_be_learnt() -> None:
    with Lab() as lab:  # of its own: the MAC is the user's from now on
        pair = Pair(lab, cables=2, proto="loadbalance")
        steer, numbers = Steer(pair.a.laggd), count(1)

        def outages_ms() -> list[float]:
            mac = f"02:5e:00:00:53:{next(numbers):02x}"
            with pair.streaming(rate=RATE, flows=FLOWS) as run:
                carried(steer)
                steer.set_mac(mac)
                carried(steer)
            assert {pair.a.host.link(name).mac for name in (LAGG, "p0", "p1")} == {mac}
            print(*run.results, sep="\n")
            for result in run.results:
                assert result.duplicated == result.corrupt == 0
            pair.conserved()
            # Frames to the old MAC are carried; the stack drops them.
            return [result.outage_ms_max for result in run.results]

        for _ in range(2):
            in_time(outages_ms, LEARNT_MS_MAX, LEARNT_MS_MAX)
        steer.close()


def carried(steer: Steer) -> None:
    """Until the lagg has taken BETWEEN more frames from its host, and given as many."""
    begun = steer.record()["counters"]

    def both() -> bool:
        now = steer.record()["counters"]
        return all(now[way] >= begun[way] + BETWEEN for way in ("tx_in", "rx_out"))

    wait_until(both, DEADLINE_S, "frames flow")


# ---- flows that stay, flows that move ----------------------------------------------

PUBLICATIONS = 200
LOOK_EVERY = 5


def test_200_publications_reorder_no_flow(
    partners: Partners, tallies: list[Tally]
) -> None:
    partners.set(proto="loadbalance")
    before = generations(partners)
    with partners.pair.streaming(rate=RATE, flows=FLOWS) as run:
        ways = homes(partners.pair.b.host, PORTS[1])
        assert len({*ways.values()}) > 1
        for number in range(PUBLICATIONS):
            partners.set(rr_limit=2 + number)
            if number % LOOK_EVERY == 0:
                assert homes(partners.pair.b.host, PORTS[1]) == ways
            flowed(partners, BETWEEN // 25)
    assert generations(partners) == [each + PUBLICATIONS for each in before]
    whole(tallies, run)
    assert run.there.reordered == run.back.reordered == 0


def test_a_port_that_comes_and_goes_reorders_only_the_flows_that_it_moves(
    partners: Partners, tallies: list[Tally]
) -> None:
    """A flow that moves may overtake its frames on the old port."""
    partners.set(proto="loadbalance")
    a, b = partners.pair.ends
    stream = Stream(a.host, b.host, b.address, rate=RATE, flows=FLOWS)
    ways = [homes(b.host, PORTS[1])]
    leaving = int(max(ways[0].values())[1])  # not the primary: the MAC would go, too
    assert leaving > 0
    for _ in range(ROUNDS):
        partners.a.detach(PORTS[0][leaving])
        ways.append(homes(b.host, PORTS[1]))
        partners.a.attach(PORTS[0][leaving])
        ways.append(homes(b.host, PORTS[1]))
    stream.stop()
    result = stream.result()
    print(result)
    lost_nothing(tallies, result)
    assert result.duplicated == result.corrupt == 0
    moves = [
        (flow, {was[flow], now[flow]})
        for was, now in pairwise(ways)
        for flow in was
        if was[flow] != now[flow]
    ]
    assert moves
    assert all(PORTS[1][leaving] in ends for _, ends in moves)
    reordered = {number for number, flow in enumerate(result.flows) if flow.reordered}
    assert reordered <= {flow for flow, _ in moves}


# ---- planned detach ----------------------------------------------------------------


@pytest.mark.parametrize("proto", ["failover", "roundrobin", "loadbalance"])
def test_ports_that_carry_are_detached_and_nothing_sent_is_lost(
    partners: Partners, tallies: list[Tally], proto: str
) -> None:
    """Not the primary, with which the MAC would go: what that costs is another test."""
    partners.set(proto=proto, failover_rx_all=True)
    if proto == "failover":
        partners.pair.cables[0].cut()
        partners.a.wait_link(PORTS[0][0], up=False)
    a, b = partners.pair.ends
    stream = Stream(a.host, b.host, b.address, rate=RATE, flows=FLOWS)
    for _ in range(2):
        sent = Tally(partners.a)
        flowed(partners, BETWEEN)
        carried = sent.ports("tx_frames")
        busiest = max(PORTS[0][1:], key=lambda port: carried.get(port, 0))
        assert carried[busiest] > 0
        partners.a.detach(busiest)
    flowed(partners, BETWEEN)
    stream.stop()
    result = stream.result()
    print(result)
    lost_nothing(tallies, result)
    assert result.duplicated == result.corrupt == result.errors == 0


RING_HELD = 500
"""Frames: more than a burst, and less than a ring holds."""


def test_frames_in_the_ring_of_a_detached_port_are_delivered(bare: Bare) -> None:
    """The worker is stopped, so that only the detachment can have delivered them."""
    bare.steer.set(proto="roundrobin")
    frames = [ether(struct.pack("!I", number)) for number in range(RING_HELD)]
    tally = Tally(bare.steer)
    with (
        bare.far.packet_socket(ENDS[3]) as sender,
        Capture(bare.near, BARE_PORTS[3]) as wire,
        Capture(bare.near, LAGG) as host,
        stopped_worker(bare.laggd.pid),
    ):
        for frame in frames:
            sender.send(frame)
        seen = 0

        def came() -> bool:
            nonlocal seen
            seen += len(wire.take())
            return seen == RING_HELD

        wait_until(came, DEADLINE_S, "all frames are at the port")
        assert tally["rx_in"] == 0
        bare.steer.detach(BARE_PORTS[3])
        assert not differing([each.wire for each in host.take()], frames)
        assert tally["rx_in"] == tally["rx_out"] == RING_HELD


PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000
"""waitpid(2)'s __WALL: threads of others, too."""


@contextmanager
def stopped_worker(pid: int) -> Iterator[None]:
    """The one thread of laggd that is in poll(2), the idle worker, goes no further."""

    found: list[int] = []

    def idle() -> bool:
        found[:] = polling(pid)
        return len(found) == 1

    wait_until(idle, DEADLINE_S, "the worker is idle")
    (thread,) = found
    ptrace(PTRACE_SEIZE, thread)
    try:
        ptrace(PTRACE_INTERRUPT, thread)
        os.waitpid(thread, WALL)
        yield
    finally:
        ptrace(PTRACE_DETACH, thread)


def polling(pid: int) -> list[int]:
    """The threads in poll(2); the control thread waits in epoll_wait(2)."""
    number = {"x86_64": "7", "aarch64": "73"}[os.uname().machine]
    return [
        int(task.name)
        for task in Path(f"/proc/{pid}/task").iterdir()
        if (task / "syscall").read_text().split()[0] == number
    ]


def ptrace(request: int, thread: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, thread, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


# ---- many --------------------------------------------------------------------------

SWITCHES, SWITCHES_MIN = 10_000, 100
PAIRS_MIN = 12
SECONDS, SECONDS_LONG = 5.0, 15.0
"""Then the least has to do; tools/soak has the night."""

CARRYING = ("roundrobin", "loadbalance", "failover")
"""Without broadcast, which sends each frame more than once, and none."""


@pytest.fixture
def seconds(long_run: bool) -> float:
    return SECONDS_LONG if long_run else SECONDS


def test_ten_thousand_protocol_switches_lose_nothing(
    partners: Partners, tallies: list[Tally], seconds: float
) -> None:
    # The two ends do not switch at once; until both have, a standby port is sent to.
    partners.set(failover_rx_all=True)
    before = generations(partners)
    with partners.pair.streaming(rate=RATE, flows=FLOWS) as run:
        start = time.monotonic()
        switches = 0
        for switches in range(2, SWITCHES + 1, 2):
            partners.set(proto=CARRYING[switches // 2 % len(CARRYING) - 1])
            if switches >= SWITCHES_MIN and time.monotonic() - start > seconds:
                break
        taken_s = time.monotonic() - start
    print(f"{switches} switches, {switches / taken_s:.0f} a second")
    whole(tallies, run)
    assert generations(partners) == [each + switches // 2 for each in before]


def test_an_idle_port_comes_and_goes_many_times_and_nothing_is_lost(
    partners: Partners, tallies: list[Tally], seconds: float
) -> None:
    with (
        partners.pair.streaming(rate=RATE, flows=FLOWS) as run,
        ThreadPoolExecutor(len(PORTS)) as threads,
    ):
        ports = [each[3] for each in PORTS]
        made = [*threads.map(come_and_go, partners.steers, ports, repeat(seconds))]
    print(f"{made} pairs")
    whole(tallies, run)
    assert run.there.reordered == run.back.reordered == 0


def come_and_go(steer: Steer, port: str, seconds: float) -> int:
    """How often a port did: PAIRS_MIN times, or as often as it can for a while."""
    start = time.monotonic()
    pairs = 0
    while pairs < PAIRS_MIN or time.monotonic() - start < seconds:
        steer.detach(port)
        steer.attach(port)
        pairs += 1
    return pairs
