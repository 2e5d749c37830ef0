# SPDX-License-Identifier: BSD-2-Clause
"""Attach: what it refuses, that a refusal changes nothing, and what a port becomes."""

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lagg.model import MacPolicy, Options, Proto
from lagg.options import PORTS_MAX
from tests.netns.commands_world import World
from tests.netns.frames import waiting

MAC = "02:00:5e:00:53:99"
AS_LAGG4 = Options(mac_policy=MacPolicy.PRIMARY)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made.start()


# ---- refusals ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """`port` cannot become a port of lagg0 after `setup`, which is lines of ip(8)."""

    port: str
    code: int
    words: str  # of the cause
    setup: tuple[str, ...] = ()


# lagg0 has p0, lagg1 has p1, p2 is free.
REFUSALS = {
    "itself": Refusal("lagg0", errno.EINVAL, "its own port"),
    "another lagg": Refusal("lagg1", errno.EINVAL, "do not stack"),
    "a port of another lagg": Refusal("p1", errno.EBUSY, "already a port of lagg1"),
    "a port of a bridge": Refusal(
        "p2",
        errno.EBUSY,
        "belongs to bridge br0",
        ("link add br0 type bridge", "link set p2 master br0"),
    ),
    "with an IPv4 address": Refusal(
        "p2", errno.EBUSY, "192.0.2.1/24", ("addr add 192.0.2.1/24 dev p2",)
    ),
    "with a global IPv6 address": Refusal(
        "p2", errno.EBUSY, "2001:db8::1/64", ("addr add 2001:db8::1/64 dev p2",)
    ),
    "loopback": Refusal("lo", errno.EPROTONOSUPPORT, "loopback"),
    "a tun": Refusal(
        "tun0", errno.EPROTONOSUPPORT, "Ethernet", ("tuntap add tun0 mode tun",)
    ),
    "nobody": Refusal("p9", errno.ENODEV, "no such interface"),
    "a bridge over the lagg": Refusal(
        "br0",
        errno.EINVAL,
        "stands on lagg lagg0",
        ("link add br0 type bridge", "link set lagg0 master br0"),
    ),
    "a veth that leads back to the lagg": Refusal(
        "v0",
        errno.EINVAL,
        "lagg0",
        (
            "link add v0 type veth peer name v1",
            "link add br0 type bridge",
            "link set lagg0 master br0",
            "link set v1 master br0",
        ),
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_refusal_says_why_and_changes_nothing(world: World, what: str) -> None:
    refusal = REFUSALS[what]
    world.plug(0, 1, 2)
    world.create("lagg0", "p0")
    world.create("lagg1", "p1")
    for line in refusal.setup:
        world.ip(line)
    before = world.calm()
    error = world.refused(lambda: world.attach(refusal.port))
    assert error.code == refusal.code
    assert error.thing == f"lagg0: port {refusal.port}"
    assert refusal.words in error.cause
    world.unchanged(before)


def bridge_of(world: World, lagg: str, number: int) -> str:
    """A veth whose other end is with `lagg` in a bridge."""
    world.ip(f"link add v{number} type veth peer name w{number}")
    world.ip(f"link add br{number} type bridge")
    for port in (lagg, f"w{number}"):
        world.ip(f"link set {port} master br{number}")
    return f"v{number}"


def test_a_way_to_another_lagg_is_fine_until_it_is_a_loop(world: World) -> None:
    world.create("lagg0")
    world.create("lagg1")
    to_lagg0, to_lagg1 = bridge_of(world, "lagg0", 0), bridge_of(world, "lagg1", 1)
    world.attach(to_lagg0, lagg="lagg1")
    before = world.calm()
    error = world.refused(lambda: world.attach(to_lagg1))
    assert (error.thing, error.code) == ("lagg0: port v1", errno.EINVAL)
    world.unchanged(before)


def test_both_ends_of_a_cable_are_no_two_ports(world: World) -> None:
    world.ip("link add v0 type veth peer name v1")
    world.create("lagg0", "v0")
    before = world.calm()
    error = world.refused(lambda: world.attach("v1"))
    assert (error.code, "a loop" in error.cause) == (errno.EINVAL, True)
    world.unchanged(before)


def test_the_33rd_port_is_one_too_many(world: World) -> None:
    names = [f"v{number}" for number in range(PORTS_MAX + 1)]
    for name in names:
        world.near.veth(name, f"{name}x", world.far)
    world.create("lagg0", *names[:PORTS_MAX])
    assert sorted(world.port_names()) == sorted(names[:PORTS_MAX])
    before = world.calm()
    error = world.refused(lambda: world.attach(names[PORTS_MAX]))
    assert (error.code, error.thing) == (errno.ENOSPC, "lagg0: port v32")
    world.unchanged(before)
    # A slot that is free again is enough.
    world.detach("v7")
    world.attach(names[PORTS_MAX])
    assert world.record()["ports"][-1]["slot"] == 7


NOBODY = {
    "attach": lambda world: world.attach("p0", lagg="lagg9"),
    "detach": lambda world: world.detach("p0", lagg="lagg9"),
    "detach of no port": lambda world: world.detach("p0"),
    "release": lambda world: world.release("p0", lagg="lagg9"),
    "release of no port": lambda world: world.release("p0"),
    "set": lambda world: world.change("lagg9", mtu=1400),
    "destroy": lambda world: world.destroy("lagg9"),
}


@pytest.mark.parametrize("what", NOBODY)
def test_what_is_not_there_is_enoent(world: World, what: str) -> None:
    world.plug(0)
    world.create("lagg0")
    before = world.calm()
    act: Callable[[World], None] = NOBODY[what]
    assert world.refused(lambda: act(world)).code == errno.ENOENT
    world.unchanged(before)


def receive_machine(world: World) -> str:
    """Where that of the one port's LACP is."""
    (port,) = world.record()["ports"]
    assert port["lacp"]
    return port["lacp"]["receive"]


def test_only_lacp_holds_a_port_off(world: World) -> None:
    world.plug(0)
    world.create("lagg0", "p0")
    before = world.calm()
    refused = world.refused(lambda: world.release("p0"))
    assert (refused.code, refused.thing) == (errno.EINVAL, "lagg0")
    assert "laggproto failover" in refused.cause
    world.unchanged(before)
    world.change(proto=Proto.LACP)
    world.wait(lambda: receive_machine(world) == "defaulted", "LACP is alone")
    before = world.calm()
    world.release("p0")
    world.unchanged(before)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("lagg0", errno.EEXIST),
        ("p0", errno.EBUSY),
        ("lo", errno.EBUSY),
        ("a/b", errno.EINVAL),
        ("", errno.EINVAL),
        ("x" * 16, errno.EINVAL),
    ],
)
def test_a_lagg_that_cannot_be_made(world: World, name: str, code: int) -> None:
    world.plug(0)
    world.create("lagg0")
    before = world.calm()
    assert world.refused(lambda: world.create(name, "p0")).code == code
    world.unchanged(before)


@pytest.mark.parametrize(
    ("name", "kind"), [("lo", ""), ("p0", " (veth)"), ("also", " (veth)")]
)
def test_a_name_that_an_interface_has_is_refused_with_what_that_is(
    world: World, name: str, kind: str
) -> None:
    world.plug(0)
    world.ip("link property add dev p0 altname also")
    error = world.refused(lambda: world.create(name))
    assert (error.thing, error.code) == (name, errno.EBUSY)
    assert error.cause == (
        f"there is an interface of that name{kind}, which is no lagg of this laggd;"
        " choose another name or take that away"
    )


# ---- all or nothing ----------------------------------------------------------------


def test_attaching_several_of_which_the_last_fails_attaches_none(world: World) -> None:
    world.plug(0, 1, 2, mtu=1400)
    world.plug(3)
    world.create("lagg0", "p3", proto=Proto.LOADBALANCE)
    before = world.calm()
    error = world.refused(lambda: world.attach("p0", "p1", "p2", "lo"))
    assert error.thing == "lagg0: port lo"
    world.unchanged(before)


def test_creating_with_a_port_that_is_refused_leaves_nothing(world: World) -> None:
    world.plug(0, 1, mtu=1400)
    world.warm_up()
    before = world.calm()
    error = world.refused(lambda: world.create("lagg0", "p0", "p1", "nobody"))
    assert (error.thing, error.code) == ("lagg0: port nobody", errno.ENODEV)
    world.unchanged(before)


def test_settings_of_what_is_no_port_are_refused(world: World) -> None:
    world.plug(0, 1)
    world.create("lagg0", "p0")
    before = world.calm()
    settings = {"p1": (("lacp_port_priority", 7),)}
    error = world.refused(lambda: world.change(proto=Proto.NONE, port_options=settings))
    assert (error.thing, error.code) == ("lagg0: port p1", errno.ENOENT)
    assert error.cause == "no port of it"
    world.unchanged(before)
    world.change(port_options={"p0": settings["p1"]})
    assert world.record()["ports"][0]["lacp_port_priority"] == 7


def test_detaching_several_of_which_one_is_no_port_detaches_none(world: World) -> None:
    world.plug(0, 1, 2)
    world.create("lagg0", "p0", "p1", "p2", proto=Proto.LOADBALANCE)
    before = world.calm()
    error = world.refused(lambda: world.detach("p0", "p1", "lo"))
    assert (error.thing, error.code) == ("lagg0: port lo", errno.ENOENT)
    world.unchanged(before)


def test_attaching_a_port_again_is_success_without_a_change(world: World) -> None:
    world.plug(0, 1)
    world.create("lagg0", "p0", "p1")
    before, generation = world.calm(), world.record()["generation"]
    world.attach("p1", "p0", "p1")
    world.unchanged(before)
    assert world.record()["generation"] == generation


def test_a_port_named_twice_is_attached_and_detached_once(world: World) -> None:
    world.plug(0, 1)
    world.create("lagg0", "p0", "p1", "p0")
    assert world.port_names() == ["p0", "p1"]


# ---- what a port and its lagg become -----------------------------------------------


def test_a_lagg_of_which_nothing_is_said_is_as_lagg4_makes_it(world: World) -> None:
    world.create("lagg0")
    world.create("lagg1")
    record = world.record()
    options = record["options"]
    assert record["proto"] == "failover"
    assert options["lagghash"] == ["l2", "l3", "l4"]
    assert options["flowid_shift"] == 16
    macs = [world.record(name)["mac"] for name in ("lagg0", "lagg1")]
    assert macs[0] != macs[1]
    # Neither a group's nor from a manufacturer: so it is drawn.
    assert {int(mac[:2], 16) & 3 for mac in macs} == {2}


def test_a_lagg_without_ports_is_there_and_has_no_carrier(world: World) -> None:
    world.create("lagg0")
    record = world.record()
    assert (record["ports"], record["link"], record["up"]) == ([], "down", True)
    world.wait(lambda: "NO-CARRIER" in world.link("lagg0")["flags"], "no carrier")
    assert world.link("lagg0")["linkinfo"]["info_kind"] == "tun"
    world.destroy()
    assert set(world.kernel()["links"]) == {"lo"}


def test_the_first_port_gives_its_mac_and_mtu_and_the_second_takes_them(
    world: World,
) -> None:
    world.plug(0, mtu=1400)
    world.plug(1)
    first = world.link("p0")
    world.create("lagg0", "p0")
    assert alike(world, "lagg0", "p0") == (first["address"], 1400)
    world.attach("p1")
    assert alike(world, "lagg0", "p0", "p1") == (first["address"], 1400)
    assert (world.record()["mac"], world.record()["mtu"]) == (first["address"], 1400)


def alike(world: World, *names: str) -> tuple[str, int]:
    """The MAC and MTU that all of these have."""
    found = {(world.link(name)["address"], world.link(name)["mtu"]) for name in names}
    (only,) = found
    return only


def test_an_explicit_mac_and_mtu_stay_when_ports_come_and_go(world: World) -> None:
    world.plug(0, 1)
    before = world.kernel()["links"]
    world.create("lagg0", "p0", mac=MAC, mtu=1300)
    assert alike(world, "lagg0", "p0") == (MAC, 1300)
    world.attach("p1")
    world.detach("p0")
    assert alike(world, "lagg0", "p1") == (MAC, 1300)
    world.detach("p1")
    assert alike(world, "lagg0") == (MAC, 1300)
    world.attach("p0")
    assert alike(world, "lagg0", "p0") == (MAC, 1300)
    assert world.link("p1") == before["p1"]


def test_when_the_primary_leaves_the_mac_is_that_of_the_next(world: World) -> None:
    world.plug(0, 1, 2)
    macs = [world.link(f"p{number}")["address"] for number in range(3)]
    world.create("lagg0", "p1", "p2", "p0", options=AS_LAGG4)
    assert alike(world, "lagg0", "p0", "p1", "p2")[0] == macs[1]
    world.detach("p1")  # by ifindex p0 is the next
    assert alike(world, "lagg0", "p0", "p2")[0] == macs[0]
    world.detach("p2")  # no primary
    assert alike(world, "lagg0", "p0")[0] == macs[0]
    world.detach("p0")
    assert [world.link(f"p{number}")["address"] for number in range(3)] == macs


def test_a_port_is_set_up_deaf_dumb_and_without_an_address_of_its_own(
    world: World,
) -> None:
    world.plug(0, up=False)
    world.create("lagg0", "p0")
    world.wait(lambda: world.carrying() == ["p0"], "p0 carries the lagg")
    port = world.link("p0")
    assert "UP" in port["flags"]
    assert port["addresses"] == []
    assert port["inet6_addr_gen_mode"] == "none"
    index = port["ifindex"]
    assert world.kernel()["chains"] == [f"local{index}", f"out{index}"]
    assert not world.hears(0)


def forward_ipv6() -> None:
    """As on a router, which joins groups on each interface, and reports them."""
    for scope in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{scope}/forwarding").write_text("1")


def reports(name: str) -> int:
    """MLD reports that the kernel has sent or tried to send by an interface."""
    text = Path(f"/proc/thread-self/net/dev_snmp6/{name}").read_text("ascii")
    count = dict(line.split() for line in text.splitlines())
    return int(count["Icmp6OutMLDv2Reports"]) + int(count["Ip6OutDiscards"])


def test_by_a_port_on_standby_a_router_sends_nothing_with_the_lagg_s_mac(
    world: World,
) -> None:
    """Or the switch would send there what is for the lagg."""
    world.near.inside(forward_ipv6)
    world.plug(0, 1)
    world.ip("link set p1 down")
    before = world.near.inside(lambda: reports("p1"))
    with world.far.packet_socket("q1") as wire:
        world.create("lagg0", "p0", "p1")
        world.wait(
            lambda: world.near.inside(lambda: reports("p1")) > before, "a report"
        )
        mac = bytes.fromhex(world.record()["mac"].replace(":", ""))
        assert [each for each in waiting(wire) if each[6:12] == mac] == []


def test_a_second_lagg_beside_the_first(world: World) -> None:
    world.plug(0, 1)
    world.create("lagg0", "p0")
    world.create("lagg1", "p1")
    assert world.record("lagg1")["mac"] != world.record("lagg0")["mac"]
    world.destroy("lagg0")
    assert [port["name"] for port in world.record("lagg1")["ports"]] == ["p1"]
    p1 = world.link("p1")["ifindex"]
    assert world.kernel()["chains"] == [f"local{p1}", f"out{p1}"]
