# SPDX-License-Identifier: BSD-2-Clause
"""A held port that is set down, so that a partner that is told nothing leaves it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Host, Lab, Stream, ping, wait_until
from lagg.model import HoldLink, Proto
from lagg.operations import held_links
from lagg.running.bundle import Bundle
from tests.netns.commands_world import World
from tests.netns.outliving import Left
from tests.netns.partners import Partners, flowed, know, lost_nothing
from tests.netns.steer import DEADLINE_S, LAGG, Steer, Tally

RATE, FLOWS = 10_000, 16
BETWEEN = RATE // 20
STILL_SENT = 8
"""Looks, each of which finds more frames than the last."""

NEAR, FAR, SWITCH = "10.77.0.1", "10.77.0.2", "br0"

SHORT_MS, LONG_MS = 300, 600_000

HELD = (("hold", True), ("hold_link", HoldLink.DOWN))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """lagg0 of p0 and p1, by roundrobin."""
    with World(tmp_path) as made:
        made.without_ipv6()
        made.plug_quick(0, 1)
        made.start()
        made.create("lagg0", "p0", "p1", proto=Proto.ROUNDROBIN)
        yield made


def is_up(world: World, port: str = "p0") -> bool:
    return world.near.link(port).up


def wait_link(world: World, *, up: bool) -> None:
    word = "up" if up else "down"
    world.wait(lambda: is_up(world) is up, f"p0 is {word}")


def hold(world: World) -> None:
    world.change(port_options={"p0": HELD})
    wait_link(world, up=False)


def test_it_is_down_while_it_is_held_and_says_so(world: World) -> None:
    hold(world)
    world.wait(lambda: world.record()["ports"][0]["link"] == "down", "it is told")
    held, other = world.record()["ports"]
    assert (held["reason"], other["reason"]) == ("held, its link set down", None)
    assert (held["hold_link"], held["failures"]) == ("down", 0)
    world.change(port_options={"p0": (("hold", False),)})
    wait_link(world, up=True)
    world.wait(lambda: world.carrying() == ["p0", "p1"], "both carry")


def test_it_is_set_down_once_a_look_finds_that_nothing_came_since_the_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partner that sends between all of some looks, and then no more."""
    ups: list[bool] = []
    received = held_links._received

    def look(bundle: Bundle) -> list[int]:
        ups.append(is_up(world))
        if ups[STILL_SENT:]:
            return received(bundle)
        return [len(ups)]

    monkeypatch.setattr(held_links, "_received", look)
    monkeypatch.setattr(held_links, "SILENT_S_MAX", DEADLINE_S)
    hold(world)
    assert ups[:STILL_SENT] == [True] * STILL_SENT
    assert world.record()["ports"][0]["reason"] == "held, its link set down"


def test_by_itself_a_hold_ends_with_the_link_up(world: World) -> None:
    world.change(port_options={"p0": HELD[1:]}, hold_for_ms={"p0": LONG_MS})
    wait_link(world, up=False)
    world.change(hold_for_ms={"p0": SHORT_MS})  # from now on, when that was seen
    wait_link(world, up=True)


@pytest.mark.parametrize("way", ["detach", "stop", "destroy"])
def test_every_way_out_gives_the_link_back(world: World, way: str) -> None:
    hold(world)
    acts = {
        "detach": lambda: world.detach("p0"),
        "stop": world.stop,
        "destroy": world.destroy,
    }
    acts[way]()
    assert is_up(world)


def test_with_lacp_the_partner_is_told_and_the_link_stays(world: World) -> None:
    hold(world)
    world.change(proto=Proto.LACP)
    wait_link(world, up=True)
    world.change(proto=Proto.BROADCAST)
    wait_link(world, up=False)


def test_the_lagg_s_own_down_and_up_leave_it_down(world: World) -> None:
    hold(world)
    for state in ("down", "up"):
        world.ip(f"link set lagg0 {state}")
        up = state == "up"
        world.wait(lambda up=up: is_up(world, "p1") is up, f"p1 is {state}")  # type: ignore[misc]
    assert not is_up(world)
    world.ip("link set lagg0 down")
    world.wait(lambda: not is_up(world, "p1"), "p1 is down")
    world.change(port_options={"p0": (("hold", False),)})
    world.ip("link set lagg0 up")
    wait_link(world, up=True)


def test_the_next_laggd_after_a_crash_gives_the_link_back() -> None:
    with Lab() as lab:
        left = Left(lab)
        left.create("roundrobin")
        left.laggd.ctl(
            *("set", "lagg0", "--port", "p1", "--hold", "--hold-link", "down")
        )
        host = left.near
        wait_until(lambda: not host.link("p1").up, DEADLINE_S, "p1 is down")
        left.kill()
        left.start()
        assert left.record()["ports"][1]["reason"] == "held, its link set down"
        left.laggd.ctl("set", "lagg0", "--port", "p1", "--no-hold")
        wait_until(lambda: host.link("p1").up, DEADLINE_S, "p1 is up")


@pytest.mark.alone
@pytest.mark.parametrize("ways", [1, 2])
def test_a_switch_that_learns_has_moved_away_and_no_frame_is_lost(ways: int) -> None:
    """Also where it learns from an announcement alone, for nothing else is sent."""
    with Lab() as lab:
        near, far = lab.host("near"), lab.host("far")
        for port, end in (("p0", "q0"), ("p1", "q1")):
            lab.cable(near, port, far, end)
        switch(far, "q0", "q1")
        laggd = lab.daemon(near)
        laggd.ctl(
            *("create", LAGG, "--failover-rx-all", "--port", "p0", "--port", "p1"),
        )
        near.add_address(LAGG, f"{NEAR}/24")
        know(near, LAGG, FAR, far.link(SWITCH).mac)
        know(far, SWITCH, NEAR, near.link(LAGG).mac)
        wait_until(lambda: ping(near, FAR, count=1).lost == 0, DEADLINE_S, "it answers")
        steer = Steer(laggd)
        tally = Tally(steer)
        streams = [
            Stream(source, sink, to, rate=RATE, flows=FLOWS)
            for source, sink, to in ((far, near, NEAR), (near, far, FAR))[:ways]
        ]
        for held in (True, False) * 3:
            came(tally, BETWEEN)
            steer.set_port("p0", hold=held, hold_link="down")
            steer.wait_link("p0", up=not held)
        came(tally, BETWEEN)
        for stream in streams:
            stream.stop()
        results = [stream.result() for stream in streams]
        print(*results, sep="\n")
        lost_nothing([tally], *results)
        steer.close()


def switch(host: Host, *ports: str) -> None:
    host.netlink("link", "add", ifname=SWITCH, kind="bridge")
    for port in ports:
        host.set_link(port, master=host.ifindex(SWITCH))
    host.set_link(SWITCH, state="up")
    host.add_address(SWITCH, f"{FAR}/24")


def came(tally: Tally, frames: int) -> None:
    wanted = tally["rx_in"] + frames
    wait_until(lambda: tally["rx_in"] >= wanted, DEADLINE_S, "frames come in")


@pytest.mark.alone
@pytest.mark.parametrize("proto", ["failover", "roundrobin", "loadbalance"])
def test_a_partner_that_does_not_learn_loses_what_it_gives_to_a_dead_link(
    partners: Partners, tallies: list[Tally], proto: str
) -> None:
    """What we send arrives, and so does all that the partner's kernel has sent.

    What is lost its driver has dropped and counted, for its link was down.
    """
    partners.set(proto=proto, failover_rx_all=True)
    a, b = partners.a, partners.b
    before = dropped(partners.pair.b.host, "q0")
    with partners.pair.streaming(rate=RATE, flows=FLOWS) as run:
        for held in (True, False) * 3:
            flowed(partners, BETWEEN)
            a.set_port("p0", hold=held, hold_link="down")
            for steer, port in ((a, "p0"), (b, "q0")):
                steer.wait_link(port, up=not held)
        flowed(partners, BETWEEN)
    a.set_port("p0", hold=False, hold_link="up")
    print(*run.results, sep="\n")
    lost_nothing(tallies, run.there)
    # First what came: a host may say something of its own between the two looks.
    came_by = tallies[0].ports("rx_frames")["p0"]
    dead = tallies[1].ports("tx_frames")["q0"] - came_by
    overload = sum(tally.overload for tally in tallies)
    assert run.back.lost <= dead + overload
    now = dropped(partners.pair.b.host, "q0")
    assert run.back.lost <= now - before + overload


def dropped(host: Host, port: str) -> int:
    """Frames that a port's driver, or the kernel before it, was given and sent not."""
    (link,) = json.loads(host.run("ip", "-j", "-s", "link", "show", port).stdout)
    count: int = link["stats64"]["tx"]["dropped"]
    return count
