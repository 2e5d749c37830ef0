# SPDX-License-Identifier: BSD-2-Clause
"""What somebody uses an interface for beside: refused before, told after."""

import errno
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.errors import LaggError
from lagg.kernel.netlink import Netlink
from lagg.link import Address, Modes
from lagg.model import LaggConfig
from tests.netns.commands_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.plug(0, 1)
        yield made.start()


MACVLAN = "link add link p0 name top type macvlan mode bridge"

# By what stands on p0: how it is made, and how the refusal names it.
USES = {
    "a macvlan": ([MACVLAN], "has macvlan top on it; take it away first"),
    "two of them": (
        [MACVLAN, "link add link p0 name top2 type macvlan mode bridge"],
        "has macvlan top on it and has macvlan top2 on it;"
        " undo that first (ip link del top; ip link del top2)",
    ),
    "a macvtap": (
        ["link add link p0 name tap7 type macvtap mode bridge"],
        "has macvtap tap7 on it; take it away first (ip link del tap7)",
    ),
    "a bridge": (
        ["link add br7 type bridge", "link set p0 master br7"],
        "belongs to bridge br7; release it first (ip link set p0 nomaster)",
    ),
    "an address": (
        ["addr add 10.55.0.1/24 dev p0"],
        "has the address 10.55.0.1/24; take it away first"
        " (ip address del 10.55.0.1/24 dev p0)",
    ),
}


def made(world: World, lines: list[str]) -> None:
    for line in lines:
        world.ip(line)


def warnings(world: World, port: str = "p0") -> list[str]:
    (found,) = [each for each in world.record()["ports"] if each["name"] == port]
    return list(found["warnings"])


@pytest.mark.parametrize("what", USES)
def test_what_an_interface_is_used_for_is_refused_with_its_names(
    world: World, what: str
) -> None:
    lines, words = USES[what]
    made(world, lines)
    world.create("lagg0", "p1")
    before = world.calm()
    error = world.refused(lambda: world.attach("p0"))
    assert (error.thing, error.code) == ("lagg0: port p0", errno.EBUSY)
    assert words in error.cause
    world.unchanged(before)


def test_what_stands_on_a_port_may_not_be_one(world: World) -> None:
    world.create("lagg0", "p0")
    world.ip(MACVLAN)
    error = world.refused(lambda: world.create("lagg1", "top"))
    assert error.cause == "stands on p0, which is a port and lets nobody hear"


# By what somebody does with a port later: how, the warning, and how it ends.
LATER = {
    "an address": (
        ["addr add 10.55.0.1/24 dev p0"],
        "has the address 10.55.0.1/24 (ip address del 10.55.0.1/24 dev p0)",
        "addr del 10.55.0.1/24 dev p0",
    ),
    "an IPv6 address": (
        ["addr add 2001:db8::1/64 dev p0"],
        "has the address 2001:db8::1/64 (ip address del 2001:db8::1/64 dev p0)",
        "addr del 2001:db8::1/64 dev p0",
    ),
    "a macvlan": (
        [MACVLAN],
        "has macvlan top on it (ip link del top)",
        "link del top",
    ),
    "a bridge": (
        ["link add br7 type bridge", "link set p0 master br7"],
        "belongs to bridge br7 (ip link set p0 nomaster)",
        "link set p0 nomaster",
    ),
    "a bridge that is deleted": (
        ["link add br7 type bridge", "link set p0 master br7"],
        "belongs to bridge br7 (ip link set p0 nomaster)",
        "link del br7",
    ),
}


@pytest.mark.parametrize("what", LATER)
def test_what_somebody_does_with_a_port_is_told_until_it_ends(
    world: World, what: str
) -> None:
    begin, words, end = LATER[what]
    world.create("lagg0", "p0", "p1")
    assert warnings(world) == []
    made(world, begin)
    assert world.wait_event("port-warning", "p0").details == words
    assert warnings(world) == [words]
    assert warnings(world, "p1") == []
    world.carrier(0, False)
    world.wait_event("port-link", "p0")
    world.carrier(0, True)
    world.wait_event("port-link", "p0")
    assert warnings(world) == [words]  # it is no news, and has not ended
    world.ip(end)
    assert world.wait_event("port-warning-over", "p0").details == words
    assert warnings(world) == []
    assert "port-warning" not in [each.event.value for each in world.events]


def test_a_bridge_that_takes_a_port_while_it_is_looked_at_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.create("lagg0", "p0")
    world.ip("link add br7 type bridge")
    modes, taken = Netlink.modes, list[str]()

    async def modes_slowly(netlink: Netlink, ifindex: int) -> Modes:
        if not taken:
            taken.append(world.ip("link set p0 master br7"))
        return await modes(netlink, ifindex)

    monkeypatch.setattr(Netlink, "modes", modes_slowly)
    world.ip("link set p0 mtu 1400")  # so that it is looked at
    assert "bridge br7" in world.wait_event("port-warning", "p0").details


def test_it_is_logged_as_a_warning(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.create("lagg0", "p0")
    world.ip(MACVLAN)
    world.wait_event("port-warning", "p0")
    assert [each.message for each in caplog.records if each.levelname == "WARNING"] == [
        "lagg0: p0: port-warning: has macvlan top on it (ip link del top)"
    ]


def test_several_uses_are_told_one_by_one(world: World) -> None:
    world.create("lagg0", "p0")
    world.ip("addr add 10.55.0.1/24 dev p0")
    world.wait_event("port-warning", "p0")
    world.ip(MACVLAN)
    world.wait_event("port-warning", "p0")
    assert len(warnings(world)) == 2
    world.ip("link set top name above")
    assert "above" in world.wait_event("port-warning", "p0").details
    world.detach("p0")
    world.ip("link del above")
    world.ip("addr del 10.55.0.1/24 dev p0")
    world.attach("p0")
    assert warnings(world) == []


def test_a_lagg_goes_on_whatever_somebody_does_and_gives_the_port_back(
    world: World,
) -> None:
    world.create("lagg0", "p0", "p1")
    for line in (MACVLAN, "addr add 10.55.0.1/24 dev p0"):
        world.ip(line)
        world.wait_event("port-warning", "p0")
    assert world.carrying() == ["p0"]
    world.detach("p0")
    assert "top" in world.kernel()["links"]
    (link,) = json.loads(world.ip("-j addr show p0"))
    assert "10.55.0.1" in [each["local"] for each in link["addr_info"]]


def test_a_port_that_is_waited_for_comes_when_its_use_has_ended(world: World) -> None:
    world.do(world.commands.reload([LaggConfig("lagg0", ports=("p9",))]))
    world.ip(MACVLAN)
    world.ip("link set p0 down")
    world.ip("link set p0 name p9")
    assert "macvlan top" in world.wait_event("port-refused", "p9").details
    world.ip("link del top")
    world.wait_event("port-attached", "p9")
    assert world.record()["ports"][0]["warnings"] == []


def test_an_attach_stands_though_nobody_can_say_what_the_port_is_used_for(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    addresses = Netlink.addresses
    laggs = world.commands._laggs

    async def refused(netlink: Netlink, ifindex: int) -> tuple[Address, ...]:
        if laggs.of_port(ifindex) is not None:
            raise LaggError("netlink", "list the addresses: sabotaged", errno.EIO)
        return await addresses(netlink, ifindex)

    world.create("lagg0", "p1")
    with monkeypatch.context() as patch:
        patch.setattr(Netlink, "addresses", refused)
        world.attach("p0")
    assert world.port_names() == ["p0", "p1"]
    assert "netlink: list the addresses: sabotaged (EIO)" in caplog.messages
    world.ip(MACVLAN)
    assert "macvlan top" in world.wait_event("port-warning", "p0").details


def test_an_address_that_a_port_is_given_later_is_told_and_not_served(
    world: World,
) -> None:
    """What the host would send by the port is dropped there, its answers as well."""
    world.create("lagg0", "p0", "p1")
    world.ip("address add 10.56.0.9/24 dev p0")
    world.wait_event("port-warning", "p0")
    for network in ("10.55.0", "10.56.0"):
        world.far_ip(f"address add {network}.1/24 dev q0")
    world.ip("address add 10.55.0.8/24 dev lagg0")
    world.wait(lambda: answers(world, "10.55.0.8"), "lagg0 is served")
    assert not answers(world, "10.56.0.9")
    (words,) = warnings(world)
    assert words.startswith("has the address 10.56.0.9/24 (ip address del")


def answers(world: World, address: str) -> bool:
    words = ["ping", "-c1", "-W1", address]
    ping = world.far.inside(
        lambda: subprocess.run(words, capture_output=True, check=False)
    )
    return ping.returncode == 0
