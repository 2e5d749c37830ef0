# SPDX-License-Identifier: BSD-2-Clause
"""What `laggctl monitor` is told, word by word, by a real kernel."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.model import Options, Proto
from tests.netns.driver_world import World

MAC = "02:00:5e:00:53:99"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """p0 and p1; no lagg, and nothing told yet."""
    with World(tmp_path) as made:
        made.plug(0, 1)
        made.start()
        yield made


@pytest.fixture
def lagg(world: World) -> World:
    """lagg0 with p0 and p1; what was told of its making is forgotten."""
    world.create("lagg0", "p0", "p1")
    world.wait_event("port-attached", "p1")
    world.events.clear()
    return world


def told(world: World, event: str, port: str | None = None) -> tuple[str, str | None]:
    """Waits for an event; its details, and which port it is about."""
    found = world.wait_event(event, port)
    assert found.lagg == "lagg0"
    assert found.time_ns > 0
    return found.details, found.port


def test_created_after_all_that_made_it(world: World) -> None:
    world.create("lagg0", "p0", "p1", proto=Proto.ROUNDROBIN)
    world.wait_event("port-attached", "p1")
    events = [(each.event, each.port, each.details) for each in world.events]
    assert told(world, "created") == ("laggproto roundrobin", None)
    assert told(world, "port-attached", "p0") == ("slot 0", "p0")
    assert events.index(("created", None, "laggproto roundrobin")) < events.index(
        ("port-attached", "p0", "slot 0")
    )


def test_proto_from_and_to(lagg: World) -> None:
    lagg.change(proto=Proto.LOADBALANCE)
    assert told(lagg, "proto") == ("failover -> loadbalance", None)


def test_link_up_and_down_with_the_reason_its_frames_are_counted_under(
    lagg: World,
) -> None:
    for number in (0, 1):
        lagg.carrier(number, up=False)
    assert told(lagg, "port-link", "p0") == ("down", "p0")
    assert told(lagg, "port-link", "p1") == ("down", "p1")
    assert told(lagg, "link") == ("down: no-active-port", None)
    lagg.carrier(1, up=True)
    assert told(lagg, "port-link", "p1") == ("up", "p1")
    assert told(lagg, "link") == ("up", None)
    lagg.change(proto=Proto.NONE)
    assert told(lagg, "link") == ("down: proto-none", None)


@pytest.mark.parametrize("way", ["laggctl", "ip"])
def test_mac_that_rules_once(lagg: World, way: str) -> None:
    if way == "laggctl":
        lagg.change(mac=MAC)
    else:
        lagg.ip(f"link set lagg0 address {MAC}")
    assert told(lagg, "mac") == (MAC, None)
    lagg.ip("link set p1 name lan1")
    told(lagg, "port-renamed")
    assert [each.event for each in lagg.events if each.event == "mac"] == []


def test_mtu_that_somebody_set(lagg: World) -> None:
    lagg.ip("link set lagg0 mtu 1400")
    assert told(lagg, "mtu") == ("1400", None)


def test_admin_down_and_up(lagg: World) -> None:
    lagg.ip("link set lagg0 down")
    assert told(lagg, "admin") == ("down", None)
    lagg.ip("link set lagg0 up")
    assert told(lagg, "admin") == ("up", None)


def test_renamed_lagg_and_port(lagg: World) -> None:
    lagg.ip("link set p1 name lan1")
    assert told(lagg, "port-renamed") == ("was p1", "lan1")
    lagg.ip("link set lagg0 down")
    lagg.ip("link set lagg0 name uplink")
    renamed = lagg.wait_event("renamed")
    assert (renamed.lagg, renamed.details) == ("uplink", "now uplink")


def test_port_detached_departed_and_destroyed(lagg: World) -> None:
    lagg.detach("p0")
    assert told(lagg, "port-detached") == ("slot 0", "p0")
    lagg.far_ip("link del q1")
    assert told(lagg, "port-departed") == ("slot 1", "p1")
    lagg.destroy()
    assert told(lagg, "destroyed") == ("0 of 0 ports put back", None)


def test_active_port_of_failover(lagg: World) -> None:
    lagg.carrier(0, up=False)
    assert told(lagg, "active-port") == ("carries the lagg now", "p1")


# ---- what is drawn by chance -------------------------------------------------------


def test_each_lagg_draws_a_seed_of_its_own_and_keeps_it(world: World) -> None:
    names = [f"lagg{number}" for number in range(4)]
    for name in names:
        world.create(name)
    seeds = [world.record(name).options.hash_seed for name in names]
    assert None not in seeds
    assert len({*seeds}) == 4  # 32 bits: by chance once in 700 million runs
    world.change(proto=Proto.LOADBALANCE)
    world.change(options=(("rr_limit", 2),))
    assert world.record().options.hash_seed == seeds[0]
    world.create("set0", options=Options(hash_seed=7))
    assert world.record("set0").options.hash_seed == 7
