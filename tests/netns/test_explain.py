# SPDX-License-Identifier: BSD-2-Clause
"""What `explain` says of a frame is what becomes of that very frame."""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest

from lab import wait_until
from lab.daemon import LAGGCTL
from lagg.control.client import Client
from tests.netns.bare import PORTS, Bare, Ways
from tests.netns.flows import random_flows
from tests.netns.frames import ETH_P_IP, ETH_P_IPV6, ether, ipv4, ipv6, udp
from tests.netns.steer import DEADLINE_S, LAGG

FLOWS, FLOWS_LONG = 60, 200


@pytest.fixture
def frames(rng: Random, long_run: bool) -> list[bytes]:
    """Flows of every shape, a frame each, all different."""
    count = FLOWS_LONG if long_run else FLOWS
    found = [flow.frame(number) for number, flow in enumerate(random_flows(rng, count))]
    for number in range(count):
        ports = udp(number.to_bytes(4, "big"), sport=rng.randrange(1, 65536), dport=53)
        v6 = ipv6(ports, src=f"fd00::{rng.randrange(1, 9999):x}", dst="fd00::1")
        v4 = ipv4(b"fragment", src="10.0.0.1", dst="10.0.0.2", ident=number, fragment=9)
        found += [ether(v6, ETH_P_IPV6), ether(v4, ETH_P_IP)]
        found.append(ether(b"no IP" + number.to_bytes(2, "big"), dst=rng.randbytes(6)))
    return [b"\x02" + frame[1:] for frame in found]


def told(bare: Bare, frames: Sequence[bytes]) -> list[dict[str, Any]]:
    with Client(str(bare.laggd.socket)) as client:
        return [
            client.call("Explain", name=LAGG, frame=frame.hex())["explanation"]
            for frame in frames
        ]


def ways(said: Sequence[dict[str, Any]]) -> Ways:
    """The answers as numbers of ports."""
    names = [each["choice"]["ports"] for each in said]
    return [tuple(PORTS.index(name) for name in ports) for ports in names]


@pytest.mark.parametrize("kind", ["crc32c", "fnv1"])
@pytest.mark.parametrize("layers", [["l2"], ["l3", "l4"], ["l2", "l3", "l4"]])
def test_a_flow_takes_the_port_that_explain_names(
    bare: Bare, rng: Random, frames: list[bytes], kind: str, layers: list[str]
) -> None:
    seed = rng.randrange(2**32)
    bare.steer.set(proto="loadbalance", hash=kind, hash_seed=seed, lagghash=layers)
    said = told(bare, frames)
    assert bare.ways(frames) == ways(said)
    assert len({each["choice"]["ports"][0] for each in said}) == len(PORTS)


@pytest.mark.parametrize("kind", ["crc32c", "fnv1"])
@pytest.mark.parametrize("layers", [["l2"], ["l3", "l4"], ["l2", "l3", "l4"]])
def test_with_hash_symmetric_both_directions_of_a_flow_take_one_port(
    bare: Bare, rng: Random, kind: str, layers: list[str]
) -> None:
    seed = rng.randrange(2**32)
    bare.steer.set(proto="loadbalance", hash=kind, hash_seed=seed, lagghash=layers)
    bare.steer.set(hash_symmetric=True)
    there, back = both_directions(rng)
    said = told(bare, there)
    assert bare.ways(there) == bare.ways(back) == ways(said) == ways(told(bare, back))
    assert "alike both ways" in said[0]["why"]
    assert len({each["choice"]["ports"][0] for each in said}) == len(PORTS)


def both_directions(rng: Random) -> tuple[list[bytes], list[bytes]]:
    """Datagrams between many, and their answers."""
    there: list[bytes] = []
    back: list[bytes] = []
    for number in range(FLOWS):
        ends = [
            (b"\x02" + rng.randbytes(5), f"198.18.0.{number}", rng.randrange(1, 65536)),
            (b"\x02" + rng.randbytes(5), f"198.19.0.{number}", 53),
        ]
        for found, (one, other) in ((there, ends), (back, reversed(ends))):
            ports = udp(bytes([number]), sport=one[2], dport=other[2])
            packet = ipv4(ports, src=one[1], dst=other[1])
            found.append(ether(packet, ETH_P_IP, dst=other[0], src=one[0]))
    return there, back


@pytest.mark.parametrize("kind", ["crc32c", "fnv1"])
def test_when_a_port_goes_down_each_flow_goes_where_explain_said(
    bare: Bare, frames: list[bytes], kind: str
) -> None:
    bare.steer.set(proto="loadbalance", hash=kind)
    without = [
        {each["port"]: each["choice"]["ports"] for each in answer["without"]}
        for answer in told(bare, frames)
    ]
    for number in (3, 1):
        bare.cut(number)
        port = PORTS[number]
        foretold = [tuple(map(PORTS.index, answer[port])) for answer in without]
        assert bare.ways(frames) == foretold == ways(told(bare, frames))
        bare.mend(number)


@pytest.mark.parametrize("proto", ["failover", "broadcast", "none"])
@pytest.mark.parametrize("dead", [None, 0])
def test_explain_is_true_of_protocols_without_a_hash(
    bare: Bare, frames: list[bytes], proto: str, dead: int | None
) -> None:
    bare.steer.set(proto=proto)
    if dead is not None:
        bare.cut(dead)
    frames = frames[:20]
    foretold = ways(told(bare, frames))
    copies = max(1, len(foretold[0]))
    assert bare.ways(frames, copies=copies) == foretold


def test_round_robin_gives_turns_to_the_ports_that_explain_names(
    bare: Bare, frames: list[bytes]
) -> None:
    bare.steer.set(proto="roundrobin", rr_limit=2)
    bare.cut(2)
    frames = frames[:30]
    (named,) = {*ways(told(bare, frames))}
    assert {port for (port,) in bare.ways(frames)} == {*named} == {0, 1, 3}


def test_a_flow_by_its_fields_is_the_one_that_a_program_sends(
    bare: Bare, rng: Random
) -> None:
    """The kernel's own frames, not ours: a socket's, with the neighbour's MAC."""
    bare.steer.set(proto="loadbalance", hash_seed=rng.randrange(2**32))
    bare.near.run("ip", "addr", "replace", "192.0.2.1/24", "dev", LAGG)
    try:
        bare.near.run(
            *("ip", "neigh", "replace", "192.0.2.2", "lladdr", "02:00:5e:00:53:99"),
            *("dev", LAGG, "nud", "permanent"),
        )
        for port in range(5000, 5012):
            fields = f"src=192.0.2.1 dst=192.0.2.2 proto=udp sport={port} dport=9"
            out = explained_inside(bare, fields)
            assert senders(bare, port) == out["choice"]["ports"]
    finally:
        bare.near.run("ip", "addr", "flush", "dev", LAGG)


@pytest.mark.parametrize("layers", [["l2", "l3", "l4"], ["l2", "l3", "l4", "inner"]])
def test_with_inner_the_flows_of_a_vxlan_spread_over_all_ports(
    bare: Bare, layers: list[str]
) -> None:
    """The kernel's own tunnel; explain says of each frame where it went."""
    bare.steer.set(proto="loadbalance", lagghash=layers)
    with vxlan(bare):
        found = carried(bare, range(5000, 5000 + FLOWS))
    ports = [port for port, _ in found.values()]
    said = told(bare, [wire for _, wire in found.values()])
    assert [each["choice"]["ports"] for each in said] == [[port] for port in ports]
    inner = "inner" in layers
    assert len({*ports}) == (len(PORTS) if inner else 1)
    assert {tuple(each["tunnels"]) for each in said} == {("vxlan",) if inner else ()}
    counted = {each["counted"][1] for each in said}
    assert counted == {f"l3 {' '.join(INSIDE if inner else OUTSIDE)}"}


OUTSIDE, INSIDE = ("192.0.2.1", "192.0.2.2"), ("198.18.5.1", "198.18.5.2")
INNER_PORT_AT = 84
"""Where the source port is of a datagram that a frame in VXLAN over IPv4 carries."""


@contextmanager
def vxlan(bare: Bare) -> Iterator[None]:
    """vx0 over the lagg, to a host that is known and never answers."""
    of_vxlan = ("id", "5", "local", OUTSIDE[0], "remote", OUTSIDE[1])
    one_port = ("dstport", "4789", "srcport", "50000", "50001")
    bare.near.run("ip", "addr", "add", f"{OUTSIDE[0]}/24", "dev", LAGG)
    bare.near.run("ip", "link", "add", "vx0", "type", "vxlan", *of_vxlan, *one_port)
    try:
        bare.near.run("ip", "link", "set", "vx0", "addrgenmode", "none", "up")
        bare.near.run("ip", "addr", "add", f"{INSIDE[0]}/24", "dev", "vx0")
        for name, address in ((LAGG, OUTSIDE[1]), ("vx0", INSIDE[1])):
            known = (address, "lladdr", "02:00:5e:00:53:99", "nud", "permanent")
            bare.near.run("ip", "neigh", "replace", *known, "dev", name)
        yield
    finally:
        bare.near.run("ip", "link", "del", "vx0")
        bare.near.run("ip", "addr", "flush", "dev", LAGG)


def carried(bare: Bare, sports: Sequence[int]) -> dict[int, tuple[str, bytes]]:
    """Port and frame of a datagram from each source port through vx0."""
    found: dict[int, tuple[str, bytes]] = {}

    def seen() -> bool:
        for number, end in enumerate(ends):
            for each in end.take():
                sport = int.from_bytes(each.wire[INNER_PORT_AT : INNER_PORT_AT + 2])
                if each.wire[36:38] == (4789).to_bytes(2) and sport in sports:
                    found[sport] = PORTS[number], each.wire
        return len(found) == len(sports)

    with bare.watched() as ends:
        for sport in sports:
            with bare.near.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
                sending.bind((INSIDE[0], sport))
                sending.sendto(b"hello", (INSIDE[1], 9))
        wait_until(seen, DEADLINE_S, "all datagrams leave")
    return found


def explained_inside(bare: Bare, fields: str) -> dict[str, Any]:
    """laggctl in the namespace of the lagg: the neighbour's MAC is looked up there."""
    socket_words = ("--socket", bare.laggd.socket, "--json")
    done = bare.near.run(LAGGCTL, *socket_words, "explain", LAGG, *fields.split())
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.stderr == ""
    return found


def senders(bare: Bare, sport: int) -> list[str]:
    """The ports by which a datagram of this source port left."""
    found: list[str] = []

    def seen() -> bool:
        for number, end in enumerate(ends):
            wires = (each.wire for each in end.take())
            found.extend(PORTS[number] for wire in wires if is_from(wire, sport))
        return bool(found)

    with bare.watched() as ends:
        with bare.near.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.bind(("192.0.2.1", sport))
            sending.sendto(b"hello", ("192.0.2.2", 9))
        wait_until(seen, DEADLINE_S, "the datagram leaves")
    return found


def is_from(frame: bytes, sport: int) -> bool:
    return frame[12:14] == b"\x08\x00" and frame[34:36] == sport.to_bytes(2, "big")
