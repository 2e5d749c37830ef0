# SPDX-License-Identifier: BSD-2-Clause
"""Failover's manners on the kernel's own links: who carries when, and what it costs."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.model import Options, Proto
from tests.netns.commands_world import World
from tests.netns.frames import ether

DELAY_MS = 300
FRAMES = 50


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """p0, p1 and p2, and no lagg yet."""
    with World(tmp_path) as made:
        made.without_ipv6()
        made.plug_quick(0, 1, 2)
        made.start()
        yield made


def ms_between(world: World, first: tuple[str, str], second: tuple[str, str]) -> float:
    """From the event (kind, port) to the next such; both are waited for."""
    begun, ended = world.wait_event(*first), world.wait_event(*second)
    return (ended.time_ns - begun.time_ns) / 1e6


def test_a_port_is_used_and_left_when_its_delay_is_over(world: World) -> None:
    options = Options(up_delay_ms=DELAY_MS, down_delay_ms=DELAY_MS)
    world.create("lagg0", "p0", "p1", options=options)
    world.wait(lambda: world.carrying() == ["p0"], "p0 carries at once")
    world.wait_event("port-delay", "p1")
    world.carrier(0, up=False)
    left = ms_between(world, ("port-link", "p0"), ("port-delay", "p0"))
    world.wait(lambda: world.carrying() == ["p1"], "p1 carries")
    world.carrier(0, up=True)
    used = ms_between(world, ("port-link", "p0"), ("port-delay", "p0"))
    world.wait(lambda: world.carrying() == ["p0"], "p0 carries again")
    assert left >= DELAY_MS
    assert used >= DELAY_MS


@pytest.mark.parametrize("proto", [Proto.FAILOVER, Proto.LOADBALANCE])
def test_while_a_port_without_link_is_not_left_its_frames_have_a_way(
    world: World, proto: Proto
) -> None:
    """Another port stands in, as for one that dies under a burst."""
    options = Options(down_delay_ms=60_000)
    world.create("lagg0", "p0", "p1", proto=proto, options=options)
    world.wait(lambda: world.record()["link"] == "up", "it carries")
    world.carrier(0, up=False)
    assert world.wait_event("port-link", "p0").details == (
        "down, waits for down_delay_ms"
    )
    before = world.record()
    world.near.inside(lambda: send(FRAMES))
    world.wait(lambda: sent(world, before) == FRAMES, "all are accounted for")
    after = world.record()
    print(after["counters"], [(p["name"], p["drops"]) for p in after["ports"]])
    assert "p0" in [p["name"] for p in after["ports"] if p["reason"] is None]
    assert after["counters"]["drops"] == before["counters"]["drops"]


def send(count: int) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("lagg0", 0))
        for number in range(count):
            source = bytes((2, 0, 0, 0, 0, number))
            raw.send(ether(number.to_bytes(4, "big"), src=source))


def sent(world: World, before: object) -> int:
    was = before["counters"]["tx_in"]  # type: ignore[index]
    return int(world.record()["counters"]["tx_in"] - was)
