# SPDX-License-Identifier: BSD-2-Clause
"""What `laggctl monitor` is told, word by word, by a real kernel."""

import re
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lagg.events import Asker
from lagg.model import LaggChange, LaggConfig, Options, Proto
from lagg.tasks import asked
from tests.netns.commands_world import World

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
    events = [(each.event.value, each.port, each.details) for each in world.events]
    assert told(world, "created") == ("laggproto roundrobin", None)
    assert told(world, "port-attached", "p0") == ("", "p0")
    assert events.index(("created", None, "laggproto roundrobin")) < events.index(
        ("port-attached", "p0", "")
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
    assert [each.event.value for each in lagg.events if each.event.value == "mac"] == []


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
    assert told(lagg, "port-detached") == ("", "p0")
    lagg.far_ip("link del q1")
    assert told(lagg, "port-departed") == ("", "p1")
    lagg.destroy()
    assert told(lagg, "destroyed") == ("", None)


def test_active_port_of_failover(lagg: World) -> None:
    lagg.carrier(0, up=False)
    assert told(lagg, "active-port") == ("p0 -> p1", "p1")


# ---- what is drawn by chance -------------------------------------------------------


def test_each_lagg_draws_a_seed_of_its_own_and_keeps_it(world: World) -> None:
    names = [f"lagg{number}" for number in range(4)]
    for name in names:
        world.create(name)
    seeds = [world.record(name)["options"]["hash_seed"] for name in names]
    assert None not in seeds
    assert len({*seeds}) == 4  # 32 bits: by chance once in 700 million runs
    world.change(proto=Proto.LOADBALANCE)
    world.change(options=(("rr_limit", 2),))
    assert world.record()["options"]["hash_seed"] == seeds[0]
    world.create("set0", options=Options(hash_seed=7))
    assert world.record("set0")["options"]["hash_seed"] == 7


# ---- options, and who asked --------------------------------------------------------

ASKER = Asker(0, 4711, "laggctl")


def by_client(world: World, act: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Does what a client of the socket asks for."""

    async def ask() -> None:
        with asked(ASKER):
            await act()

    world.do(ask())


def test_every_option_that_is_set_is_told_with_both_values_and_who_asked(
    lagg: World,
) -> None:
    change = LaggChange(
        mtu=1400,
        options=(("lacp_strict", False), ("rr_limit", 5)),
        port_options={"p1": (("lacp_port_priority", 100),)},
    )
    by_client(lagg, lambda: lagg.commands.set("lagg0", change))
    for details, port in (
        ("rr_limit: 1 -> 5", None),
        ("lacp_strict: true -> false", None),
        ("lacp_port_priority: 32768 -> 100", "p1"),
    ):
        found = lagg.wait_event("option")
        assert (found.details, found.port, found.by) == (details, port, ASKER)
    found = lagg.wait_event("mtu")
    assert (found.details, found.by) == ("1400", ASKER)
    by_client(lagg, lambda: lagg.commands.set("lagg0", change))
    assert lagg.events == []


def test_options_that_a_reload_changes_are_told(lagg: World) -> None:
    wanted = LaggConfig(
        "lagg0", Proto.LOADBALANCE, ("p0", "p1"), options=Options(use_flowid=True)
    )
    by_client(lagg, lambda: lagg.commands.reload([wanted]))
    assert told(lagg, "proto") == ("failover -> loadbalance", None)
    found = lagg.wait_event("option")
    assert (found.details, found.by) == ("use_flowid: false -> true", ASKER)


def test_nobody_asked_for_what_the_kernel_does_and_its_cause_is_told(
    lagg: World,
) -> None:
    change = LaggChange(proto=Proto.LACP)
    by_client(lagg, lambda: lagg.commands.set("lagg0", change))
    assert lagg.wait_event("link").by == ASKER
    change = LaggChange(proto=Proto.FAILOVER)
    by_client(lagg, lambda: lagg.commands.set("lagg0", change))
    assert lagg.wait_event("link").cause == "laggproto failover"
    lagg.carrier(0, up=False)
    assert lagg.wait_event("port-link", "p0").by is None
    found = lagg.wait_event("active-port", "p1")
    assert (found.by, found.cause) == (None, "p0 down")


def test_the_time_of_day_is_told_as_rfc_3339(lagg: World) -> None:
    began = datetime.now(UTC)
    lagg.change(proto=Proto.ROUNDROBIN)
    at = lagg.wait_event("proto").at
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", at)
    assert began <= datetime.fromisoformat(at) <= datetime.now(UTC)
