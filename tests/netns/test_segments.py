# SPDX-License-Identifier: BSD-2-Clause
"""lagg0 is given no longer frames to segment than all of its ports take."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.commands_world import World

USUAL = (65_536, 65_535)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.without_ipv6()
        made.plug_quick(0, 1, 2)
        for port, most in (("p0", (32_000, 40)), ("p1", (48_000, 20))):
            limit(made, port, most)
        made.start()
        yield made


def limit(world: World, name: str, most: tuple[int, int]) -> None:
    size, count = most
    world.ip(f"link set {name} gso_max_size {size} gso_max_segs {count}")


def limits(world: World, name: str = "lagg0") -> tuple[int, int]:
    (link,) = json.loads(world.ip(f"-details -json link show {name}"))
    return link["gso_max_size"], link["gso_max_segs"]


def test_its_limits_are_the_least_of_its_ports_as_they_come_and_go(
    world: World,
) -> None:
    world.create("lagg0")
    assert limits(world) == USUAL
    found = []
    for comes, port in (
        (True, "p2"),
        (True, "p0"),
        (True, "p1"),
        (False, "p0"),
        (False, "p1"),
    ):
        (world.attach if comes else world.detach)(port)
        found.append(limits(world))
    assert found == [USUAL, (32_000, 40), (32_000, 20), (48_000, 20), USUAL]
    assert limits(world, "p0") == (32_000, 40)


def test_a_port_s_new_limit_counts_from_the_next_change_of_its_link_on(
    world: World,
) -> None:
    world.create("lagg0", "p0", "p1")
    limit(world, "p1", (16_000, 10))
    world.carrier(1, up=False)
    world.wait(lambda: limits(world) == (16_000, 10), "lagg0 follows")
