# SPDX-License-Identifier: BSD-2-Clause
"""Ports that keep their own MAC: with the active one's on the lagg, or one let in."""

import errno
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.l2 import ARP, Ether

from lab import Host, Lab, Pair, Stream
from lagg.link import RxFilter
from lagg.model import MacPolicy, Options, Proto
from tests.netns.commands_world import World
from tests.netns.frames import Capture
from tests.netns.partners import lost_nothing
from tests.netns.steer import Steer, Tally
from tests.waiting import wait_until

MAC, ADDRESS = "02:00:5e:00:53:99", "192.0.2.77"
NAMES = ("p0", "p1", "p2")
OWN, ACTIVE = (Options(mac_policy=each) for each in (MacPolicy.OWN, MacPolicy.ACTIVE))
STATIC = [Proto.FAILOVER, Proto.ROUNDROBIN, Proto.LOADBALANCE, Proto.BROADCAST]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.plug(0, 1, 2)
        made.start()
        yield made


def macs(world: World, *names: str) -> dict[str, str]:
    links = world.kernel()["links"]
    return {name: links[name]["address"] for name in names}


def lets_in(world: World, name: str) -> frozenset[str]:
    """The MACs that laggd has a port let in beside its own."""
    ifindex = world.link(name)["ifindex"]
    hold: RxFilter = world.commands._laggs.takeover.hold(ifindex).rx
    return hold.unicast


@pytest.mark.parametrize("proto", [*STATIC, Proto.LACP])
def test_with_own_each_port_keeps_its_mac_and_lets_in_the_lagg_s(
    world: World, proto: Proto
) -> None:
    before = macs(world, *NAMES)
    world.create("lagg0", *NAMES, proto=proto, options=OWN)
    assert macs(world, *NAMES) == before
    assert world.record()["mac"] == before["p0"]
    others = {frozenset({before["p0"]})}
    assert {lets_in(world, name) for name in ("p1", "p2")} == others
    assert lets_in(world, "p0") == frozenset()
    world.detach("p0")
    assert world.record()["mac"] == before["p0"]
    world.change(mac=MAC)
    assert {lets_in(world, name) for name in ("p1", "p2")} == {frozenset({MAC})}
    assert macs(world, *NAMES) == before
    world.change(options=(("mac_policy", MacPolicy.STABLE),))
    assert macs(world, "p1", "p2") == {"p1": MAC, "p2": MAC}
    assert {lets_in(world, name) for name in ("p1", "p2")} == {frozenset()}
    world.change(options=(("mac_policy", MacPolicy.OWN),))
    assert macs(world, *NAMES) == before
    assert {lets_in(world, name) for name in ("p1", "p2")} == {frozenset({MAC})}
    world.destroy()
    assert macs(world, *NAMES) == before


def test_with_own_the_lagg_is_reached_by_every_port(world: World) -> None:
    world.create("lagg0", "p0", "p1", options=OWN)
    world.ip(f"addr add {ADDRESS}/24 dev lagg0")
    world.far_ip("addr add 192.0.2.1/24 dev q0")
    assert reached(world)
    world.far_ip("addr del 192.0.2.1/24 dev q0")
    world.carrier(0, up=False)
    world.wait(lambda: world.carrying() == ["p1"], "p1 carries")
    world.far_ip("addr add 192.0.2.1/24 dev q1")
    assert reached(world)


def reached(world: World) -> bool:
    """Whether a far host that asks nobody's MAC gets an answer."""
    ping = ["ping", "-c1", "-W10", ADDRESS]
    return world.far.inside(lambda: subprocess.run(ping, check=False).returncode) == 0


def pulled(world: World) -> None:
    world.carrier(0, up=False)


def held(world: World) -> None:
    world.change(port_options={"p0": (("hold", True),)})


def chosen(world: World) -> None:
    world.change(active="p1")


def detached(world: World) -> None:
    world.detach("p0")


def deleted(world: World) -> None:
    world.ip("link del p0")


def moved_away(world: World) -> None:
    world.near.set_link("p0", net_ns_fd=world.far.descriptor)


WAYS = (pulled, held, chosen, detached, deleted, moved_away)


@pytest.mark.parametrize("way", WAYS)
def test_with_active_the_lagg_has_the_mac_of_who_carries_and_only_that_is_announced(
    world: World, way: Callable[[World], None]
) -> None:
    before = macs(world, *NAMES)
    world.create("lagg0", *NAMES, options=ACTIVE)
    assert macs(world, *NAMES, "lagg0") == before | {"lagg0": before["p0"]}
    world.ip(f"addr add {ADDRESS}/24 dev lagg0")
    world.change(options=(("announce_count", 3), ("announce_interval_ms", 10)))
    with Capture(world.far, "q1") as wire:
        heard: list[str] = []

        def announced() -> int:
            frames = [Ether(each.wire) for each in wire.take()]
            heard.extend(f[ARP].hwsrc for f in frames if ARP in f)
            return len(heard)

        way(world)
        world.wait(lambda: macs(world, "lagg0")["lagg0"] == before["p1"], "it follows")
        world.wait(lambda: announced() >= 3, "it is announced")
    assert {*heard} == {before["p1"]}
    left = ("p1", "p2")
    assert macs(world, *left) == {name: before[name] for name in left}
    assert {lets_in(world, name) for name in left} == {frozenset()}


def test_a_mac_that_a_user_gave_is_let_in_with_active_as_well(world: World) -> None:
    before = macs(world, *NAMES)
    world.create("lagg0", *NAMES, options=ACTIVE, mac=MAC)
    assert macs(world, *NAMES, "lagg0") == before | {"lagg0": MAC}
    assert {lets_in(world, name) for name in NAMES} == {frozenset({MAC})}


def test_what_the_active_port_s_mac_makes_no_sense_with_is_refused(
    world: World,
) -> None:
    world.create("lagg0", *NAMES, proto=Proto.LOADBALANCE)
    policy = (("mac_policy", MacPolicy.ACTIVE),)
    for change in (
        {"options": policy},
        {"options": policy, "proto": Proto.LACP},
        {"options": policy, "proto": Proto.BROADCAST},
    ):
        refusal = world.refused(lambda c=change: world.change(**c))  # type: ignore[misc]
        assert (refusal.code, "own leaves" in refusal.cause) == (errno.EINVAL, True)
    world.change(options=policy, proto=Proto.FAILOVER)
    refusal = world.refused(lambda: world.change(proto=Proto.ROUNDROBIN))
    assert (refusal.thing, refusal.code) == ("lagg0: mac_policy active", errno.EINVAL)
    assert world.record()["proto"] == "failover"


def test_a_port_that_refuses_another_mac_is_refused_with_the_remedy_that_helps(
    world: World,
) -> None:
    world.ip("link add fixed0 type ifb")  # whose driver cannot set one
    world.create("lagg0", "p0")
    before = world.calm()
    refusal = world.refused(lambda: world.attach("fixed0"))
    assert refusal.thing == "lagg0: port fixed0"
    assert "mac_policy own" in refusal.cause
    world.unchanged(before)
    world.change(options=(("mac_policy", MacPolicy.OWN),))
    own = macs(world, "fixed0")
    world.attach("fixed0")
    assert (world.port_names(), macs(world, "fixed0")) == (["p0", "fixed0"], own)
    refusal = world.refused(
        lambda: world.change(options=(("mac_policy", MacPolicy.STABLE),))
    )
    assert refusal.thing == "lagg0: port fixed0"
    assert world.record()["options"]["mac_policy"] == "own"


def test_a_port_s_own_mac_is_put_back(world: World) -> None:
    world.create("lagg0", *NAMES, options=OWN)
    own = macs(world, *NAMES)
    world.ip(f"link set p1 address {MAC}")
    world.wait_event("port-mac", "p1")
    world.wait(lambda: macs(world, *NAMES) == own, "it is put back")


# ---- two laggs with one MAC --------------------------------------------------------


def test_a_donor_that_gives_its_mac_to_another_lagg_is_warned_of(world: World) -> None:
    (mac,) = macs(world, "p0").values()
    world.create("lagg0", "p0", "p1")
    world.detach("p0")
    world.events.clear()
    world.create("lagg1", "p0")
    told = world.wait_event("mac-shared")
    assert (told.lagg, "lagg1" in told.details, mac in told.details) == (
        "lagg0",
        True,
        True,
    )


# ---- traffic, and who follows laggd ------------------------------------------------

RATE, FLOWS = 20_000, 16


@pytest.mark.alone
def test_under_traffic_the_policy_changes_and_nothing_is_lost() -> None:
    with Lab() as lab:
        pair = Pair(lab, cables=2, proto="loadbalance")
        steer, partner = Steer(pair.a.laggd), Steer(pair.b.laggd)
        tallies = [Tally(steer), Tally(partner)]
        stream = Stream(
            pair.b.host, pair.a.host, pair.a.address, rate=RATE, flows=FLOWS
        )
        for policy in ("own", "stable", "own", "primary"):
            steer.set(mac_policy=policy)
            wanted = steer.record()["counters"]["rx_out"] + RATE // 20
            wait_until(
                lambda w=wanted: steer.record()["counters"]["rx_out"] >= w,  # type: ignore[misc]
                60,
                "frames",
            )
        stream.stop()
        lost_nothing(tallies, stream.result())
        pair.conserved()
        for each in (steer, partner):
            each.close()


@pytest.mark.parametrize("policy", ["own", "active"])
def test_the_next_laggd_goes_on_with_the_policy(policy: str) -> None:
    with Lab() as lab:
        near, far = lab.host("a"), lab.host("b")
        cables = [lab.cable(near, f"p{i}", far, f"q{i}") for i in range(2)]
        before = {name: near.link(name).mac for name in ("p0", "p1")}
        laggd = lab.daemon(near)
        ports = "--port", "p0", "--port", "p1"
        laggd.ctl("create", "lagg0", *ports, "--mac-policy", policy)
        laggd.kill()
        cables[0].cut()  # while nobody looks
        laggd.start()
        wanted = before["p1" if policy == "active" else "p0"]
        wait_until(lambda: near.link("lagg0").mac == wanted, 60, "its MAC")
        assert {name: near.link(name).mac for name in before} == before
        wait_until(lambda: opened(near) == (policy == "own"), 60, "its filter")
        laggd.ctl("destroy", "lagg0")
        assert not opened(near)


def opened(host: Host) -> bool:
    """Whether p1 lets in another MAC than its own; its driver needs no filter."""
    return "p1" in {
        line.split()[2]
        for line in host.run("bridge", "fdb", "show").stdout.splitlines()
        if "self permanent" in line and not line.startswith(("33:33", "01:00"))
    }
