# SPDX-License-Identifier: BSD-2-Clause
"""A real exchange, replayed: Open vSwitch 3.1 and a Linux 6.1 bond on two wires.

tests/data/lacp_ovs_kernel.pcap.gz has both sides of it.  Our engine takes the place of
each in turn: with its identity, so that what the other said is said to us.
"""

import gzip
import struct
from collections.abc import Iterator

import pytest

from lagg.lacp.engine import Engine
from lagg.lacp.pdu import Lacpdu, decode, encode_lacpdu, source_of
from lagg.lacp.values import Instant, Medium, Settings, State, System
from tests.lacp.world import SECOND
from tests.tree import ROOT

CAPTURE = ROOT / "tests" / "data" / "lacp_ovs_kernel.pcap.gz"
OVS = System(0xFFFE, "3e:8a:e2:3f:4a:4a")
KERNEL = System(0xFFFF, "52:54:00:87:63:00")
KEYS = {OVS: 1, KERNEL: 15}
PORT_PRIORITIES = {OVS: 0xFFFF, KERNEL: 0xFF}


def frames() -> Iterator[tuple[Instant, bytes]]:
    """Each frame with its time since the first."""
    octets = gzip.decompress(CAPTURE.read_bytes())
    start, at = None, 24
    while at < len(octets):
        seconds, micros, length, _ = struct.unpack_from("<IIII", octets, at)
        now = seconds * SECOND + micros * 1000
        start = now if start is None else start
        yield now - start, octets[at + 16 : at + 16 + length]
        at += 16 + length


def test_every_captured_pdu_is_read_and_encodes_to_its_own_bytes() -> None:
    read = 0
    for _, frame in frames():
        pdu = decode(frame)
        assert isinstance(pdu, Lacpdu)
        assert encode_lacpdu(pdu, source_of(frame)) == frame
        read += 1
    assert read == 1647


def heard_by(us: System) -> Iterator[tuple[Instant, int, bytes]]:
    """What the other end said, and by which of our ports it came."""
    other = OVS if us == KERNEL else KERNEL
    for at, frame in frames():
        pdu = decode(frame)
        assert isinstance(pdu, Lacpdu)
        if pdu.actor.system == other:
            yield at, pdu.actor.port.number, frame


def replay(us: System) -> Iterator[tuple[Instant, Engine]]:
    """The engine after each event; both ends number the ports of a wire alike."""
    engine = Engine(Settings(us, fast=True, key=KEYS[us]), 0)
    for number in (1, 2):
        mac = f"02:00:5e:00:0{number}:01"
        medium = Medium(up=True, speed_mbps=10_000)
        engine.add_port(number, mac, PORT_PRIORITIES[us], medium, 0)
    for at, number, frame in heard_by(us):
        while (due := engine.deadline()) is not None and due < at:
            engine.tick(due)
            yield due, engine
        engine.receive(number, frame, at)
        yield at, engine


def distributing(us: System) -> list[tuple[float, list[int]]]:
    """Which ports distribute, and since when, in seconds."""
    changes: list[tuple[float, list[int]]] = []
    for at, engine in replay(us):
        ports = [port.number for port in engine.view().ports if port.distributing]
        if not changes or changes[-1][1] != ports:
            changes.append((round(at / SECOND, 3), ports))
    return changes


@pytest.mark.parametrize("us", [KERNEL, OVS], ids=["kernel", "ovs"])
def test_in_the_place_of_either_end_both_ports_come_up_in_5_s_and_are_up_at_the_end(
    us: System,
) -> None:
    changes = distributing(us)
    print(changes)
    first_both = next(at for at, ports in changes if ports == [1, 2])
    assert first_both < 5.5
    assert changes[-1][1] == [1, 2]


def test_in_the_place_of_the_kernel_the_carrier_bounce_is_a_silent_partner() -> None:
    """It is not in the capture: port 1 hears nothing from 249 to 255 s."""
    out = [at for at, ports in distributing(KERNEL) if ports == [2]]
    assert len(out) == 1
    assert 251 < out[0] < 253


def test_in_the_place_of_ovs_the_deaf_kernel_leaves_when_it_says_so() -> None:
    """At 316.8 s the kernel says Expired, then Defaulted; at 351.7 s it is back."""
    changes = [(at, ports) for at, ports in distributing(OVS) if 300 < at < 400]
    assert [ports for _, ports in changes] == [[1], [1, 2]]
    assert 316.8 < changes[0][0] < 320
    assert 351.6 < changes[1][0] < 354


def test_no_replay_breaks_the_limit_or_finds_a_bad_frame() -> None:
    for us in (KERNEL, OVS):
        engine = [engine for _, engine in replay(us)][-1]
        for port in engine.view().ports:
            assert not any(count for _, count in port.counts.bad)
            assert port.counts.lacpdu_rx > 300
            assert State.SYNC in port.partner.state
