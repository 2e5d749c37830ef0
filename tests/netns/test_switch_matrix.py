# SPDX-License-Identifier: BSD-2-Clause
"""Every protocol switched to every other and to itself, with 0, 1, 2 and 32 ports.

    near: lagg0 = p0 ... p31  ------------  q0 ... q31 :far

Under traffic: a stream of numbered frames runs through the lagg all the while.  After
each switch frames that nobody else sends tell which protocol carries them.
"""

import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import count as counting
from itertools import pairwise
from typing import Any

import pytest

from lab import OVERLOAD, Lab, Stream, StreamResult, conserved, wait_until
from lagg.model import Proto
from lagg.options import PORTS_MAX
from tests.netns.bare import silence
from tests.netns.frames import ETH_P_LOCAL, ether
from tests.netns.partners import know
from tests.netns.steer import DEADLINE_S, LAGG, Steer, Tally

PORT_COUNTS = (0, 1, 2, PORTS_MAX)
PORTS = [f"p{i}" for i in range(PORTS_MAX)]
ENDS = [f"q{i}" for i in range(PORTS_MAX)]

NEAR, FAR = "10.79.0.1", "10.79.0.2"
MAC_FAR = "02:5e:00:00:79:02"

RATE = 2_000
"""Frames a second; broadcast makes 64,000 of them."""
STREAM_ENDS = 5
"""What a sender adds to say that it has ended."""

FLOWS = 7
"""A prime, so that round robin gives no flow a port of its own."""
FRAMES = 64
"""After each switch, in turn of FLOWS flows that differ in their source."""

ETHER_BYTES = 14
FRAME_BYTES_MAX = 1 << 16


STATIC = [proto for proto in Proto if proto is not Proto.LACP]
"""The protocols that need no partner; test_lacp.py has the switches to LACP."""


def tour() -> list[str]:
    """A walk through the protocols that takes each ordered pair once, and ends where it
    began: an Eulerian circuit (Hierholzer), as every protocol leads to every one.
    """
    names = [proto.value for proto in STATIC]
    left = {name: [*names] for name in names}
    path, walk = [Proto.FAILOVER.value], []
    while path:
        if left[path[-1]]:
            path.append(left[path[-1]].pop())
        else:
            walk.append(path.pop())
    return walk[::-1]


def test_the_tour_takes_every_switch_once() -> None:
    walk = tour()
    pairs = [*pairwise(walk)]
    assert len(pairs) == len({*pairs}) == len(STATIC) ** 2
    assert walk[0] == walk[-1] == "failover"


# ---- the world ---------------------------------------------------------------------


class Wide:
    """A lagg of up to 32 ports, and a far host whose stack takes frames from any."""

    def __init__(self, lab: Lab) -> None:
        self.near, self.far = lab.host("near"), lab.host("far")
        for host in (self.near, self.far):
            silence(host)
        for which in ("all", "default"):
            self.far.sysctl(f"net.ipv4.conf.{which}.rp_filter", 0)
        for port, end in zip(PORTS, ENDS, strict=True):
            lab.cable(self.near, port, self.far, end)
            self.far.set_link(end, address=MAC_FAR)
        self.laggd = lab.daemon(self.near, log_level="info")
        silent = ("--announce-count", "0", "--rejoin-count", "0")
        self.laggd.ctl("create", LAGG, *silent)
        self.steer = Steer(self.laggd)
        self.near.add_address(LAGG, f"{NEAR}/24")
        self.far.add_address(ENDS[0], f"{FAR}/24")
        self.into = self.near.packet_socket(LAGG, ETH_P_LOCAL)
        self.ends = [self.far.packet_socket(end, ETH_P_LOCAL) for end in ENDS]

    def close(self) -> None:
        for opened in (self.into, *self.ends):
            opened.close()
        self.steer.close()

    def with_ports(self, count: int) -> None:
        """The first `count` ports attached, all with carrier; failover."""
        self.steer.set(proto="failover", hash_seed=1)
        held = self.steer.ports()
        if held[count:]:
            self.steer.detach(*held[count:])
        if count > len(held):
            self.steer.attach(*PORTS[len(held) : count])
        self.steer.wait_link(*PORTS[:count], up=True)
        know(self.near, LAGG, FAR, MAC_FAR)  # a change of the MAC forgets it


@pytest.fixture(scope="module")
def wide() -> Iterator[Wide]:
    with Lab() as lab:
        made = Wide(lab)
        yield made
        made.close()


class Probe:
    """Frames of our own beside the stream, into the lagg from both sides."""

    def __init__(self, wide: Wide, count: int) -> None:
        self._wide, self._count = wide, count
        self._batch = 0
        self.sent = 0
        self.arrived = 0  # of those, at one far end at least
        self.copies = 0
        self.look()

    def send(self, number: int) -> None:
        """A frame of the batch; FLOWS of them differ in their source."""
        payload = struct.pack("!II", self._batch, number)
        source = bytes((2, 0x5E, 0, 0, 0, number % FLOWS))
        self._wide.into.send(ether(payload, src=source))
        self.sent += 1

    def until_carried(self, copies: int) -> None:
        """Until a frame arrives: the kernel takes a moment to see a carrier come."""
        self._batch += 1
        ways: Ways = {}
        sent = counting()

        def through() -> bool:
            self.send(next(sent))
            self._collect(ways)
            return bool(ways)

        wait_until(through, DEADLINE_S, "a frame arrives")
        missed, after = min(ways), next(sent)
        self._until_all(ways, copies * (after - missed))

    def transmit(self, copies: int) -> list[Counter[int]]:
        """A batch into the lagg: the far ends where each frame came out."""
        self._batch += 1
        ways: Ways = {}
        before = self.counters
        for number in range(FRAMES):
            self.send(number)
        self._until_all(ways, copies * FRAMES)
        if not copies:
            self._until_counted("tx_in", before["tx_in"] + FRAMES)
            assert self.counters["tx_out"] == before["tx_out"]
            self._collect(ways)
        return [ways.get(number, Counter()) for number in range(FRAMES)]

    def _until_counted(self, counter: str, wanted: int) -> None:
        def counted() -> bool:
            self.look()
            return bool(self.counters[counter] >= wanted)

        wait_until(counted, DEADLINE_S, f"{wanted} {counter}")

    def look(self) -> dict[str, Any]:
        """The lagg's record, kept: laggd takes milliseconds for one of 32 ports."""
        self.record = self._wide.steer.record()
        conserved(self.record)
        return self.record

    @property
    def counters(self) -> dict[str, Any]:
        """As last looked at."""
        found: dict[str, Any] = self.record["counters"]
        return found

    def _until_all(self, ways: "Ways", copies: int) -> None:
        def complete() -> bool:
            self._collect(ways)
            return sum(way.total() for way in ways.values()) >= copies

        wait_until(complete, DEADLINE_S, "all frames arrive")
        self.arrived += len(ways)
        self.copies += sum(way.total() for way in ways.values())

    def _collect(self, ways: "Ways") -> None:
        for end, opened in enumerate(self._wide.ends):
            for frame in _taken(opened):
                batch, number = struct.unpack_from("!II", frame, ETHER_BYTES)
                assert batch == self._batch, "a frame of an earlier batch"
                ways.setdefault(number, Counter())[end] += 1

    def receive(self) -> tuple[int, int]:
        """A frame into each port: how many went up, and how many were not accepted."""
        before = self.counters
        assert [*_taken(self._wide.into)] == []
        for opened in self._wide.ends[: self._count]:
            opened.send(ether(b""))
        self._until_counted("rx_in", before["rx_in"] + self._count)
        now = self.counters
        up = now["rx_out"] - before["rx_out"]
        assert now["rx_in"] - before["rx_in"] == self._count
        assert len([*_taken(self._wide.into)]) == up
        refused = now["drops"]["not-accepted"] - before["drops"]["not-accepted"]
        return up, refused


Ways = dict[int, Counter[int]]
"""How often each frame, by its number, came to which far end."""


def _taken(opened: socket.socket) -> Iterator[bytes]:
    """The frames that a socket has."""
    with suppress(BlockingIOError):
        while True:
            yield opened.recv(FRAME_BYTES_MAX)


# ---- what each protocol does -------------------------------------------------------


def flags(proto: str, count: int) -> list[list[str]]:
    """Each port's flags while all have carrier and the first is the primary."""
    match proto:
        case "failover":
            return [["MASTER", "ACTIVE"], *[[]] * (count - 1)][:count]
        case "tlb" | "alb":
            return [["MASTER", "ACTIVE"], *[["ACTIVE"]] * (count - 1)][:count]
        case "none":
            return [[]] * count
        case _:
            return [["ACTIVE"]] * count


def check_ways(proto: str, count: int, ways: list[Counter[int]]) -> None:
    """All frames left as the protocol says, and by no other way."""
    ports = range(count)
    flows = [sum(ways[flow::FLOWS], Counter()) for flow in range(FLOWS)]
    once = [way.total() for way in ways] == [1] * FRAMES
    if not count or proto == "none":
        assert not any(ways)
    elif proto in (
        "failover",
        "tlb",
        "alb",
    ):  # these are from other MACs than the lagg's
        assert ways == [Counter([0])] * FRAMES
    elif proto == "broadcast":
        assert ways == [Counter(ports)] * FRAMES
    elif proto == "loadbalance":
        assert once
        assert all(len(flow) == 1 for flow in flows)
        assert count == 1 or len(sum(flows, Counter())) > 1
    else:
        assert once
        assert count == 1 or any(len(flow) > 1 for flow in flows)


def check_received(proto: str, count: int, received: tuple[int, int]) -> None:
    """All ports are heard, but where one is the way in; under none, nobody."""
    match proto:
        case "failover" | "tlb" | "alb":
            assert received == (min(count, 1), max(count - 1, 0))
        case "none":
            assert received == (0, 0)  # counted as proto-none, as the stream's are
        case _:
            assert received == (count, 0)


# ---- the matrix --------------------------------------------------------------------


@pytest.mark.parametrize("count", PORT_COUNTS)
def test_every_switch_under_traffic_takes_effect_whole(wide: Wide, count: int) -> None:
    wide.with_ports(count)
    tally, probe = Tally(wide.steer), Probe(wide, count)
    stream = Stream(wide.near, wide.far, FAR, rate=RATE, flows=FLOWS)
    for before, proto in pairwise(tour()):
        assert probe.record["proto"] == before
        switch(wide, probe, proto, count)
        follows(probe, proto, count)
    stream.stop()
    accounted(tally, probe, stream.result(), count)


def switch(wide: Wide, probe: Probe, proto: str, count: int) -> None:
    """One publication, none if it is to itself, and the record says the new."""
    was = probe.record
    wide.steer.set(proto=proto)
    now = probe.look()
    carrier = count > 0 and proto != "none"
    assert now["proto"] == proto
    assert now["generation"] == was["generation"] + is_news(was["proto"], proto, count)
    assert [port["flags"] for port in now["ports"]] == flags(proto, count)
    assert (now["link"] == "up") == wide.near.link(LAGG).carrier == carrier


def is_news(before: str, proto: str, count: int) -> bool:
    """Whether the workers are told: of no port both tables of flows are empty."""
    alike = count == 0 and {before, proto} <= {"loadbalance", "tlb", "alb"}
    return before != proto and not alike


def follows(probe: Probe, proto: str, count: int) -> None:
    """All that is sent now, either way, follows the protocol."""
    carried = count if proto == "broadcast" else min(count, 1)
    copies = 0 if proto == "none" else carried
    # The worker may be under the old plan until these have gone up.
    probe.receive()
    if copies:
        probe.until_carried(copies)
    check_ways(proto, count, probe.transmit(copies))
    check_received(proto, count, probe.receive())


def accounted(tally: Tally, probe: Probe, result: StreamResult, count: int) -> None:
    """Each frame left as often as it was sent, or was dropped for a reason."""
    print(count, "ports:", result, tally.drops)
    assert result.corrupt == result.errors == 0
    ends = STREAM_ENDS * FLOWS
    left = probe.copies + result.received + result.duplicated + result.overflows
    assert 0 <= tally["tx_out"] - left <= (ends if count else 0)
    assert count > 1 or result.duplicated == 0
    dropped = sum(tally.drops.values()) - (tally["rx_in"] - tally["rx_out"])
    missing = result.lost + probe.sent - probe.arrived + (0 if count else ends)
    # One of several copies that found no room is no missing frame.
    full = tally.drops.get("tx-full", 0)
    assert dropped - full <= missing <= dropped
    reasons = {"not-accepted", "proto-none", *OVERLOAD} if count else {"no-port"}
    assert tally.drops.keys() <= reasons
