# SPDX-License-Identifier: BSD-2-Clause
"""The order in which a file names its ports: one result of start, reload, replug."""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from lagg.model import LaggConfig, PortFlag
from tests.netns.commands_world import World

MACS = {f"p{number}": f"02:00:5e:00:53:1{number}" for number in range(3)}
"""A plugged port's own: the same each time, as a NIC's is."""

Wish = tuple[str, ...]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.start()
        yield made


def plug(world: World, name: str) -> None:
    """A port that comes, as a NIC does: with its name and MAC."""
    world.ip(f"link add new0 address {MACS[name]} type veth peer name far-{name}")
    world.ip(f"link set far-{name} up")
    world.ip(f"link set new0 name {name} up")


def unplug(world: World, name: str) -> None:
    world.ip(f"link del {name}")
    world.wait_event("port-departed", name)


def reload(world: World, *ports: str) -> tuple[str, ...]:
    return world.do(world.commands.reload([LaggConfig("lagg0", ports=ports)])).lines


def has_all(world: World, names: Wish) -> bool:
    """And their links, of which the kernel tells some time after they are plugged."""
    links = {port["name"]: port["link"] for port in world.record()["ports"]}
    return links == dict.fromkeys(names, "up")


def result(world: World, names: Wish) -> dict[str, object]:
    """What must not depend on who came when; when all ports are there."""
    world.wait(lambda: has_all(world, names), "all ports are attached")
    record = world.record()
    macs = {world.link(name)["address"] for name in ("lagg0", *names)}
    return {
        "primary": [
            p["name"] for p in record["ports"] if PortFlag.MASTER.value in p["flags"]
        ],
        "carries": world.carrying(),
        "slots": {port["name"]: port["slot"] for port in record["ports"]},
        "mac": (record["mac"], *macs),
    }


def wished(names: Wish) -> dict[str, object]:
    mac = MACS[names[0]]
    return {
        "primary": [names[0]],
        "carries": [names[0]],
        "slots": {name: slot for slot, name in enumerate(names)},
        "mac": (mac, mac),
    }


WISH: Wish = ("p1", "p0", "p2")


@pytest.mark.parametrize("come", tuple(permutations(WISH)))
def test_ports_that_come_one_by_one_are_what_they_are_after_a_start(
    world: World, come: Wish
) -> None:
    plug(world, come[0])
    reload(world, *WISH)
    for name in come[1:]:
        plug(world, name)
        world.wait_event("port-attached", name)
    assert result(world, WISH) == wished(WISH)
    assert reload(world, *WISH) == ()
    assert result(world, WISH) == wished(WISH)


def test_a_port_that_is_unplugged_and_plugged_in_again_is_what_it_was(
    world: World,
) -> None:
    for name in WISH:
        plug(world, name)
    reload(world, *WISH)
    assert result(world, WISH) == wished(WISH)
    for name in WISH:
        unplug(world, name)
        plug(world, name)
        assert result(world, WISH) == wished(WISH)


def test_a_start_with_the_same_file_gives_the_same(world: World) -> None:
    plug(world, "p0")
    reload(world, *WISH)
    for name in ("p2", "p1"):
        plug(world, name)
    before = result(world, WISH)
    world.stop()
    world.start()
    reload(world, *WISH)
    assert result(world, WISH) == before == wished(WISH)


def test_another_order_in_the_file_is_a_change(world: World) -> None:
    for name in WISH:
        plug(world, name)
    reload(world, "p0", "p1", "p2")
    assert reload(world, "p2", "p1", "p0") == ("lagg0: ports: in the order p2,p1,p0",)
    after = result(world, WISH)
    assert (after["primary"], after["mac"]) == (["p2"], (MACS["p2"],) * 2)
    assert reload(world, "p2", "p1", "p0") == ()


def test_the_order_outlives_a_port_detached_by_hand(world: World) -> None:
    for name in WISH:
        plug(world, name)
    reload(world, *WISH)
    world.detach("p1")
    world.attach("p1")
    assert result(world, WISH) == wished(WISH)
    world.detach("p1")
    assert reload(world, *WISH) == ("lagg0: port p1: attached",)
    assert result(world, WISH) == wished(WISH)


def test_what_is_saved_while_a_port_is_away_has_its_place(world: World) -> None:
    for name in WISH:
        plug(world, name)
    reload(world, *WISH)
    unplug(world, "p1")
    world.wait_event("port-waiting", "p1")
    (running,) = world.do(world.commands.running())
    assert running.ports == WISH


def test_what_stands_in_is_the_next_that_carries_whatever_its_ifindex(
    world: World,
) -> None:
    for name in WISH:
        plug(world, name)
    reload(world, *WISH)
    unplug(world, "p0")
    plug(world, "p0")  # its ifindex is the highest now
    result(world, WISH)
    world.ip("link set far-p1 down")
    world.wait(lambda: world.carrying() == ["p0"], "p0 stands in, not p2")


def test_a_mac_of_the_user_s_stays_whoever_comes(world: World) -> None:
    mac = "02:00:5e:00:53:99"
    plug(world, "p0")
    world.do(world.commands.reload([LaggConfig("lagg0", ports=WISH, mac=mac)]))
    for name in ("p1", "p2"):
        plug(world, name)
    found = result(world, WISH)
    assert (found["primary"], found["mac"]) == (["p1"], (mac, mac))


def test_a_reload_that_is_refused_leaves_the_order_as_it_was(world: World) -> None:
    for name in WISH:
        plug(world, name)
    reload(world, *WISH)
    world.ip("link add p9 type veth peer name q9")
    world.ip("addr add 192.0.2.1/24 dev p9")
    world.refused(lambda: reload(world, "p2", "p0", "p1", "p9"))
    assert result(world, WISH) == wished(WISH)
    unplug(world, "p1")
    plug(world, "p1")
    assert result(world, WISH) == wished(WISH)
