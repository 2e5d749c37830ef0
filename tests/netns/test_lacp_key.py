# SPDX-License-Identifier: BSD-2-Clause
"""What tells the laggs of a host apart in their LACP keys, on the real kernel."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.lacp.key import identity_of
from lagg.model import LaggConfig, Proto
from tests.netns.commands_world import World

ALIKE = ("lagg0", "lagg00")
"""Two names with one identity."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.plug(0, 1)
        yield made.start()


def key(world: World, lagg: str = "lagg0") -> int:
    """What the first port of a lagg says in its LACPDUs."""
    lacp = world.record(lagg)["ports"][0]["lacp"]
    assert lacp is not None
    return lacp["actor"]["key"]


def reload(world: World, *names: str) -> None:
    configs = [
        LaggConfig(name, proto=Proto.LACP, ports=(f"p{ALIKE.index(name)}",))
        for name in names
    ]
    world.do(world.commands.reload(configs))


def test_a_lagg_that_is_made_anew_has_the_key_that_it_had(world: World) -> None:
    """Though its interface has another number, as after a restart."""
    world.create("lagg0", "p0", proto=Proto.LACP)
    was, before = world.record()["ifindex"], key(world)
    world.stop()
    world.start()
    world.create("lagg0", "p0", proto=Proto.LACP)
    assert world.record()["ifindex"] != was
    assert key(world) == before


def test_a_lagg_that_is_renamed_keeps_its_key(world: World) -> None:
    world.create("lagg0", "p0", proto=Proto.LACP)
    before = key(world)
    world.ip("link set lagg0 name bond7")
    world.wait_event("renamed")
    world.change("bond7", proto=Proto.FAILOVER)
    world.change("bond7", proto=Proto.LACP)
    assert key(world, "bond7") == before
    world.create("lagg0", "p1", proto=Proto.LACP)
    assert key(world) != before


@pytest.mark.parametrize("names", [ALIKE, ALIKE[::-1]], ids="first {0[0]}".format)
def test_of_laggs_with_one_identity_the_first_of_the_files_has_it(
    world: World, names: tuple[str, str]
) -> None:
    assert len({identity_of(name, ()) for name in ALIKE}) == 1
    reload(world, *names)
    first, second = (key(world, name) for name in names)
    assert second == first + 32
    world.stop()
    world.start()
    reload(world, *names)
    assert [key(world, name) for name in names] == [first, second]


def test_the_identity_of_a_lagg_that_is_gone_is_free_again(world: World) -> None:
    world.create("lagg0", "p0", proto=Proto.LACP)
    before = key(world)
    world.destroy()
    world.refused(lambda: world.create("lagg0", "none", proto=Proto.LACP))
    world.create("lagg00", "p0", proto=Proto.LACP)
    assert key(world, "lagg00") == before
