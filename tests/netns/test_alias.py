# SPDX-License-Identifier: BSD-2-Clause
"""What ip(8) shows of a lagg."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.model import Proto
from tests.netns.commands_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.start()
        yield made


def alias(world: World) -> str:
    return str(world.link("lagg0")["ifalias"])


def test_the_alias_says_what_a_lagg_is_and_how_it_does(world: World) -> None:
    world.plug(0, 1)
    world.create("lagg0")
    assert alias(world) == "laggd: failover 0/0 ports"
    world.attach("p0", "p1")
    world.change(proto=Proto.LOADBALANCE)
    assert alias(world) == "laggd: loadbalance 2/2 ports"
    world.carrier(1, up=False)
    world.wait(lambda: alias(world) == "laggd: loadbalance 1/2 ports", "it follows")
    world.detach("p0")
    assert alias(world) == "laggd: loadbalance 0/1 ports"


def test_an_alias_that_somebody_gave_it_stays(world: World) -> None:
    world.plug(0)
    world.create("lagg0")
    world.ip("link set lagg0 alias mine")
    bundle = world.commands._laggs.bundles["lagg0"]
    world.wait(lambda: bundle.link.alias == "mine", "laggd is told")
    world.attach("p0")
    assert alias(world) == "mine"
