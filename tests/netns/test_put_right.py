# SPDX-License-Identifier: BSD-2-Clause
"""What others do to a lagg and its ports by ip(8), however quickly, ends well."""

import asyncio
import errno
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.errors import LaggError
from lagg.kernel.netlink import Netlink
from lagg.link import Link
from lagg.plan.shape import Shape
from lagg.ports.takeover import Takeover
from lagg.running.bundle import Bundle
from tests.netns.commands_world import World

PORTS = ("p0", "p1", "p2")
MACS = [f"02:00:5e:00:53:{number:02x}" for number in range(1, 7)]
ROUNDS = 20
TURNS = 100
"""Turns of the event loop: more than it takes until what was read is told."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """lagg0 with p0, p1 and p2."""
    with World(tmp_path) as made:
        made.plug(0, 1, 2)
        made.start()
        made.create("lagg0", *PORTS)
        yield made


def seen(world: World, key: str, *names: str) -> set[object]:
    """What these interfaces have under a key of `ip -d link`."""
    links = world.kernel()["links"]
    return {links[name][key] for name in names or ("lagg0", *PORTS)}


def carrier(world: World) -> bool:
    return "LOWER_UP" in world.link("lagg0")["flags"]


# ---- twice in a row ----------------------------------------------------------------


def set_again_when_put_back(world: World, key: str, foreign: str | int) -> None:
    """From now on somebody sets it once more as soon as laggd has put it back."""
    netlink = world.commands._laggs.netlink
    setter = getattr(netlink, f"set_{key}")
    again = iter([True])

    async def put_back(ifindex: int, value: str | int) -> None:
        await setter(ifindex, value)
        if next(again, False):
            await setter(ifindex, foreign)

    setattr(netlink, f"set_{key}", put_back)


@pytest.mark.parametrize(
    ("key", "words", "foreign"),
    [("mac", "address", MACS[0]), ("mtu", "mtu", 1280)],
)
def test_what_is_set_on_a_port_twice_does_not_stay(
    world: World, key: str, words: str, foreign: str | int
) -> None:
    before = seen(world, words, "lagg0")
    set_again_when_put_back(world, key, foreign)
    world.ip(f"link set p1 {words} {foreign}")
    world.wait_event(f"port-{key}", "p1")
    world.wait_event(f"port-{key}", "p1")
    world.wait(lambda: seen(world, words) == before, "it is put back twice")


def test_of_macs_set_on_the_lagg_in_a_row_the_last_rules(world: World) -> None:
    macs = itertools.cycle(MACS)
    for _ in range(ROUNDS):
        in_a_row = [next(macs) for _ in range(5)]  # so that no round ends as the last
        for mac in in_a_row:
            world.near.set_link("lagg0", address=mac)
        last = {in_a_row[-1]}
        world.wait(lambda last=last: seen(world, "address") == last, "the last rules")  # type: ignore[misc]
        assert seen(world, "address") == last
    assert world.record()["mac"] == in_a_row[-1]


def test_of_mtus_set_on_the_lagg_in_a_row_the_last_rules(world: World) -> None:
    for first in range(1300, 1300 + ROUNDS):
        for mtu in (first, first + 30, first + 60):
            world.near.set_link("lagg0", mtu=mtu)
        world.wait(lambda mtu=mtu: seen(world, "mtu") == {mtu}, "the last rules")  # type: ignore[misc]
    assert world.record()["mtu"] == mtu


# ---- what is not theirs to set -----------------------------------------------------


def test_the_carrier_of_a_lagg_is_its_own(world: World) -> None:
    world.ip("link set lagg0 carrier off")
    assert world.wait_event("carrier").details == "off put back"
    world.wait(lambda: carrier(world), "the carrier is put back")
    assert world.record()["link"] == "up"
    for number in range(3):
        world.carrier(number, up=False)
    world.wait(lambda: not carrier(world), "no port carries")
    world.ip("link set lagg0 carrier on")
    assert world.wait_event("carrier").details == "on put back"
    world.wait(lambda: not carrier(world), "the carrier is put back")


def test_a_port_of_a_lagg_that_is_down_is_down_until_it_is_up(world: World) -> None:
    world.ip("link set lagg0 down")
    world.wait(lambda: seen(world, "operstate", *PORTS) == {"DOWN"}, "ports are down")
    world.plug(3)
    world.attach("p3")
    assert seen(world, "operstate", "p3") == {"DOWN"}
    assert world.record()["ports"][-1]["reason"] == "administratively down"
    world.ip("link set lagg0 up")
    world.wait(lambda: seen(world, "operstate", "p3") == {"UP"}, "p3 is up, too")
    world.ip("link set lagg0 down")
    world.wait(lambda: seen(world, "operstate", "p3") == {"DOWN"}, "p3 is down")
    world.detach("p3")
    world.wait(lambda: seen(world, "operstate", "p3") == {"UP"}, "as it was found")


# ---- what fails is done later ------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ETIMEDOUT, errno.ENOBUFS, errno.EINTR])
def test_an_event_whose_look_fails_once_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    link, failures = Netlink.link, [code]

    async def fail_once(netlink: Netlink, ifindex: int) -> Link:
        if failures:
            raise LaggError("p1", "look up the interface: for a test", failures.pop())
        return await link(netlink, ifindex)

    monkeypatch.setattr(Netlink, "link", fail_once)
    world.ip("link set p1 name lan1")
    assert world.wait_event("port-renamed", "lan1").details == "was p1"
    assert not failures
    assert world.port_names() == ["p0", "lan1", "p2"]


def test_what_could_not_be_put_right_on_a_port_is_put_right_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And keeps nothing else waiting: of one look all three are asked."""
    asked: list[str] = []

    def failing_once(owner: type, step: str) -> None:
        does = getattr(owner, step)

        async def fail_once(*args: object) -> None:
            asked.append(step)
            if asked.count(step) == 1:
                raise LaggError("p1", f"{step}: for a test", errno.ENOBUFS)
            await does(*args)

        monkeypatch.setattr(owner, step, fail_once)

    failing_once(Takeover, "silence")
    failing_once(Netlink, "set_mtu")
    failing_once(Netlink, "set_mac")
    world.ip(f"link set p1 mtu 1400 address {MACS[0]} addrgenmode eui64")
    world.wait(lambda: len(asked) >= 6, "each was asked twice")
    assert asked[:3] == ["silence", "set_mtu", "set_mac"]
    for key in ("mtu", "address", "inet6_addr_gen_mode"):
        world.wait(lambda key=key: len(seen(world, key, "p0", "p1")) == 1, key)  # type: ignore[misc]


def test_a_refused_mtu_keeps_no_other_change_from_being_followed(world: World) -> None:
    """Of one look at the lagg: an MTU that a port refuses, and that it is down."""
    netlink = world.commands._laggs.netlink
    refusing = next(p["ifindex"] for p in world.record()["ports"] if p["name"] == "p2")
    set_mtu = netlink.set_mtu

    async def refuse(ifindex: int, mtu: int) -> None:
        if ifindex == refusing and mtu == 1400:
            raise LaggError("p2", f"set MTU {mtu}: for a test", errno.EINVAL)
        await set_mtu(ifindex, mtu)

    netlink.set_mtu = refuse  # type: ignore[method-assign]
    world.near.set_link("lagg0", mtu=1400, state="down")
    world.wait(lambda: seen(world, "operstate") == {"DOWN"}, "the ports are down")
    world.wait(lambda: seen(world, "mtu") == {1500}, "the MTU is put back")
    record = world.record()
    assert (record["up"], record["mtu"]) == (False, 1500)
    assert world.do(world.commands.running())[0].mtu is None


def test_a_worker_that_holds_up_one_lagg_keeps_no_turn_from_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt, held = Bundle.adopt, [True]

    def refuse(bundle: Bundle, shape: Shape) -> None:
        if held and bundle.name == "lagg0":
            raise bundle.refuse("for a test", errno.EAGAIN)
        adopt(bundle, shape)

    monkeypatch.setattr(Bundle, "adopt", refuse)
    world.carrier(0, up=False)
    world.wait(lambda: "LOWER_UP" not in world.link("p0")["flags"], "p0 has no carrier")
    world.plug(3)
    world.create("lagg1", "p3")
    held.clear()
    world.wait(lambda: world.carrying() == ["p1"], "the lost carrier is acted upon")


# ---- what is told of a port while a detach of it is tried ----------------------------


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "come"])
def test_a_carrier_that_changes_while_a_detach_fails_is_known_when_it_has_failed(
    world: World, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    def carriers() -> dict[str, str]:
        return {port["name"]: port["link"] for port in world.record()["ports"]}

    async def held_up(bundle: Bundle) -> None:
        world.carrier(1, not lost)
        ifindex, netlink = world.link("p1")["ifindex"], world.commands._laggs.netlink
        while (await netlink.links())[ifindex].active is lost:
            await asyncio.sleep(0)
        for _ in range(TURNS):  # and so it is told, of an interface that is no port
            await asyncio.sleep(0)
        raise bundle.refuse("is held up", errno.ETIMEDOUT)

    world.carrier(1, lost)
    there = {"p0": "up", "p1": "up" if lost else "down", "p2": "up"}
    world.wait(lambda: carriers() == there, "the carriers are known")
    with monkeypatch.context() as patch:
        patch.setattr(Bundle, "grace", held_up)
        assert world.refused(lambda: world.detach("p1")).code == errno.ETIMEDOUT
    assert carriers() == there | {"p1": "down" if lost else "up"}


def test_a_detach_that_fails_is_undone_though_nobody_can_say_what_came_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def held_up(bundle: Bundle) -> None:
        patch.setattr(Netlink, "links", refused)
        raise bundle.refuse("is held up", errno.ETIMEDOUT)

    async def refused(_: Netlink) -> dict[int, Link]:
        raise LaggError("netlink", "list the interfaces: sabotaged", errno.EIO)

    with monkeypatch.context() as patch:
        patch.setattr(Bundle, "grace", held_up)
        assert world.refused(lambda: world.detach("p1")).code == errno.ETIMEDOUT
    assert world.port_names() == [*PORTS]
