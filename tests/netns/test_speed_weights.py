# SPDX-License-Identifier: BSD-2-Clause
"""`weight = "speed"`: flows are dealt by what drivers tell of their ports.

By TAPs, whose speed can be set; that of a veth is 10 Gbit/s and no other.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.model import PortOptions, Proto
from tests.netns.commands_world import World
from tests.netns.taps import tap

SPEEDS_MBPS = {"t1": 1_000, "t10": 10_000, "t25": 25_000}
BY_SPEED = PortOptions(weight=0)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.start()
        held = made.near.inside(lambda: [tap(name) for name in SPEEDS_MBPS])
        yield made
        made.destroy()
        for descriptor in held:
            os.close(descriptor)


def set_speed(world: World, name: str, mbps: int) -> None:
    netlink = world.commands._laggs.netlink
    world.do(netlink.set_speed(world.near.ifindex(name), mbps))


def dealt(world: World) -> Counter[str]:
    """How many buckets each port has, by name."""
    shape = world.commands._laggs.bundles["lagg0"].shape
    return Counter(shape.at(slot).link.name for slot in shape.homes)


def test_flows_are_dealt_by_the_speeds_of_their_ports(world: World) -> None:
    """Also when one of them tells another, once its link is back."""
    for name, mbps in SPEEDS_MBPS.items():
        set_speed(world, name, mbps)
    options = dict.fromkeys(SPEEDS_MBPS, BY_SPEED)
    world.create("lagg0", *SPEEDS_MBPS, proto=Proto.LOADBALANCE, port_options=options)
    world.wait(lambda: dealt(world) == {"t1": 7, "t10": 71, "t25": 178}, "by speed")
    world.ip("link set t25 down")
    set_speed(world, "t25", 10_000)
    world.ip("link set t25 up")
    world.wait(lambda: dealt(world) == {"t1": 12, "t10": 122, "t25": 122}, "by speed")
