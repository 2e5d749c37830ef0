# SPDX-License-Identifier: BSD-2-Clause
"""BFD with Open vSwitch on each cable: a path that is dead though its carriers live."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from lab import wait_until
from lab.ovs import OpenVswitch, OvsPartner, missing
from lab.partner import Lacp
from tests.interop.world import ENDS, PORTS, World
from tests.kept import KeptByName
from tests.netns.frames import Capture

COUNT = 2
DEADLINE_S = 30.0
"""Far longer than anything takes; how long it does is in tests/watchers/test_bfd.py."""

INTERVAL_MS = 500
"""Three of them are longer than a machine that emulates others stands still."""

WATCH = f"bfd,interval_ms={INTERVAL_MS}"

BFD_BYTES = 66
"""A packet in UDP, IPv4 and Ethernet."""


@pytest.fixture
def world(
    kept_worlds: KeptByName[World], request: pytest.FixtureRequest
) -> Iterator[World]:
    if why := missing():
        pytest.skip(why)
    yield from kept_worlds.lend("ovs", request.session)


def switch(world: World) -> OpenVswitch:
    assert isinstance(world.partner, OvsPartner)
    return world.partner.switch


def form(
    world: World,
    proto: str = "loadbalance",
    interval_ms: int = INTERVAL_MS,
    missed_max: int = 3,
) -> None:
    """A lagg with BFD on each port and the partner's bond likewise; all is up."""
    if proto == "lacp":
        world.partner.configure(Lacp(), COUNT)
    else:
        switch(world).set_static("active-backup", ENDS[:COUNT])
    for end in ENDS[:COUNT]:
        often = {"min_tx": interval_ms, "min_rx": interval_ms, "mult": missed_max}
        switch(world).set_bfd(end, **often)
    watch = f"bfd,interval_ms={interval_ms},missed_max={missed_max}"
    options: dict[str, object] = {"watch": [watch]}
    if proto == "lacp":
        options["lacp_fast_timeout"] = True
    world.call("Create", proto=proto, ports=list(PORTS[:COUNT]), options=options)
    wait_until(lambda: is_up(world), DEADLINE_S, "all sessions are up")


def port(world: World, number: int) -> dict[str, Any]:
    return next(p for p in world.record()["ports"] if p["name"] == PORTS[number])


def verdict(world: World, number: int) -> str:
    (watch,) = port(world, number)["watch"]
    return str(watch["state"])


def theirs(world: World, number: int) -> str:
    return switch(world).bfd(ENDS[number])["Local Session State"]


def is_up(world: World) -> bool:
    """Whether both ends of every cable say so, and we give frames to who may."""
    carriers = 1 if world.record()["proto"] == "failover" else COUNT
    return carrying(world) == carriers and all(
        (verdict(world, n), theirs(world, n)) == ("up", "up") for n in range(COUNT)
    )


def carrying(world: World) -> int:
    flag = "DISTRIBUTING" if world.record()["proto"] == "lacp" else "ACTIVE"
    return sum(flag in each["flags"] for each in world.record()["ports"])


@pytest.mark.parametrize("proto", ["loadbalance", "failover", "broadcast", "lacp"])
@pytest.mark.parametrize("to_near", [True, False], ids=["in", "out"])
def test_a_path_that_is_cut_one_way_is_left_by_both_and_used_again(
    world: World, proto: str, to_near: bool
) -> None:
    form(world, "loadbalance" if proto == "broadcast" else proto)
    if proto == "broadcast":
        world.call("Set", proto="broadcast")
        wait_until(lambda: is_up(world), DEADLINE_S, "all sessions are up")
    cable = world.partner.cables[1]
    cable.lose(to_near=to_near, protocol="0x0800")  # LACP goes on
    we_s = wait_until(lambda: verdict(world, 1) == "down", DEADLINE_S, "we say down")
    they_s = wait_until(lambda: theirs(world, 1) != "up", DEADLINE_S, "they say down")
    print(f"{world.partner.version}: we after {we_s:.3f} s, they {they_s:.3f} s later")
    found = port(world, 1)
    assert found["link"] == "up"
    assert carrying(world) == 1
    says = "no packet of the partner" if to_near else "the partner says down"
    assert says in found["reason"]
    assert says in world.laggd.ctl("show", "lagg0")
    assert (verdict(world, 0), theirs(world, 0)) == ("up", "up")
    cable.pass_again(to_near=to_near)
    wait_until(lambda: is_up(world), DEADLINE_S, "all sessions are up again")


def test_a_partner_that_stops_is_left_and_we_end_ours_by_hand(world: World) -> None:
    form(world)
    world.set(watch=[])
    wait_until(lambda: theirs(world, 1) == "down", DEADLINE_S, "they were told")
    says = switch(world).bfd(ENDS[1])["Local Diagnostic"]
    assert says == "Neighbor Signaled Session Down"
    world.set(watch=[WATCH])
    wait_until(lambda: is_up(world), DEADLINE_S, "all sessions are up")
    switch(world).set_bfd(ENDS[1])
    wait_until(lambda: verdict(world, 1) == "down", DEADLINE_S, "nobody is heard")


def test_another_interval_is_agreed_on_and_the_partner_sees_no_flap(
    world: World,
) -> None:
    form(world, interval_ms=1000)
    flaps = [switch(world).bfd_flaps(end) for end in ENDS[:COUNT]]

    def agreed_ms() -> list[str]:
        """How often they believe that we send, by their words."""
        shown = (switch(world).bfd(end) for end in ENDS[:COUNT])
        return [each["Remote Minimum TX Interval"] for each in shown]

    for interval_ms in (200, 1000):
        world.set(watch=[f"bfd,interval_ms={interval_ms},missed_max=5"])
        wait_until(
            lambda ms=interval_ms: agreed_ms() == [f"{ms}ms"] * COUNT,  # type: ignore[misc]
            DEADLINE_S,
            "they were told",
        )
    assert is_up(world)
    assert [switch(world).bfd_flaps(end) for end in ENDS[:COUNT]] == flaps
    assert [port(world, n)["watch"][0]["failures"] for n in range(COUNT)] == [0] * COUNT


MISSED_MAX = 20
PATIENCE = 30
"""Packets of ours that take longer than the partner may be without any: 75 to 100 ms
each, and 20 of 100 ms."""


def spoken(world: World) -> None:
    """Until the partner has heard so many more packets by each cable."""
    with ExitStack() as ends:
        seen = [ends.enter_context(Capture(world.far, end)) for end in ENDS[:COUNT]]
        heard = [0] * COUNT

        def enough() -> bool:
            for n, each in enumerate(seen):
                heard[n] += sum(len(frame.wire) == BFD_BYTES for frame in each.take())
            return min(heard) >= PATIENCE

        wait_until(enough, DEADLINE_S, "the partner hears of us")


def restart(world: World) -> None:
    world.laggd.restart()
    world.reconnect()


def kill_and_wait(world: World) -> None:
    """Longer than the partner would bear in silence."""
    world.laggd.kill()
    spoken(world)
    world.laggd.start()
    world.reconnect()


def kill_forwarder(world: World) -> None:
    world.laggd.kill_forwarder()
    wait_until(lambda: world.laggd.forwarder(), DEADLINE_S, "its standby serves")


@pytest.mark.parametrize("event", [restart, kill_and_wait, kill_forwarder])
def test_laggd_or_its_forwarder_is_followed_and_the_partner_sees_no_flap(
    world: World, event: Callable[[World], None]
) -> None:
    form(world, interval_ms=100, missed_max=MISSED_MAX)
    flaps = [switch(world).bfd_flaps(end) for end in ENDS[:COUNT]]
    event(world)
    spoken(world)
    assert is_up(world)
    assert [switch(world).bfd_flaps(end) for end in ENDS[:COUNT]] == flaps
    assert [port(world, n)["watch"][0]["failures"] for n in range(COUNT)] == [0] * COUNT
