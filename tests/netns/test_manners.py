# SPDX-License-Identifier: BSD-2-Clause
"""Failover's manners on the kernel's own links: who carries when, and what it costs."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, wait_until
from lagg.model import Options, Proto, Reselect
from tests.netns.commands_world import World
from tests.netns.frames import ether
from tests.netns.outliving import Left
from tests.netns.partners import Partners, flowed, lost_nothing
from tests.netns.steer import Tally

DELAY_MS, LONG_MS = 300, 600_000
FRAMES = 50
RATE, FLOWS = 10_000, 16
BETWEEN = RATE // 20
"""Frames from one change to the next: 50 ms."""

AGREE_S = 20.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """p0, p1 and p2, and no lagg yet."""
    with World(tmp_path) as made:
        made.without_ipv6()
        made.plug_quick(0, 1, 2)
        made.wait(lambda: are_up(made, "p0", "p1", "p2"), "all have their link")
        made.start()
        yield made


def are_up(world: World, *ports: str) -> bool:
    """For who uses them: the kernel takes a moment to see that a carrier came."""
    links = world.kernel()["links"]
    return {links[port]["operstate"] for port in ports} == {"UP"}


def ms_between(world: World, first: tuple[str, str], second: tuple[str, str]) -> float:
    """From the event (kind, port) to the next such; both are waited for."""
    begun, ended = world.wait_event(*first), world.wait_event(*second)
    return (ended.time_ns - begun.time_ns) / 1e6


def test_a_port_is_used_and_left_when_its_delay_is_over(world: World) -> None:
    options = Options(up_delay_ms=DELAY_MS, down_delay_ms=DELAY_MS)
    world.create("lagg0", "p0", "p1", options=options)
    world.wait(lambda: world.carrying() == ["p0"], "p0 carries at once")
    world.wait_event("port-delay", "p1")
    world.carrier(0, up=False)
    left = ms_between(world, ("port-link", "p0"), ("port-delay", "p0"))
    world.wait(lambda: world.carrying() == ["p1"], "p1 carries")
    world.carrier(0, up=True)
    used = ms_between(world, ("port-link", "p0"), ("port-delay", "p0"))
    world.wait(lambda: world.carrying() == ["p0"], "p0 carries again")
    assert left >= DELAY_MS
    assert used >= DELAY_MS


@pytest.mark.parametrize("proto", [Proto.FAILOVER, Proto.LOADBALANCE])
def test_while_a_port_without_link_is_not_left_its_frames_have_a_way(
    world: World, proto: Proto
) -> None:
    """Another port stands in, as for one that dies under a burst."""
    options = Options(down_delay_ms=60_000)
    world.create("lagg0", "p0", "p1", proto=proto, options=options)
    world.wait(lambda: world.record()["link"] == "up", "it carries")
    world.carrier(0, up=False)
    assert world.wait_event("port-link", "p0").details == (
        "down, waits for down_delay_ms"
    )
    before = world.record()
    world.near.inside(lambda: send(FRAMES))
    world.wait(lambda: sent(world, before) == FRAMES, "all are accounted for")
    after = world.record()
    print(after["counters"], [(p["name"], p["drops"]) for p in after["ports"]])
    assert "p0" in [p["name"] for p in after["ports"] if p["reason"] is None]
    assert after["counters"]["drops"] == before["counters"]["drops"]


def send(count: int) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("lagg0", 0))
        for number in range(count):
            source = bytes((2, 0, 0, 0, 0, number))
            raw.send(ether(number.to_bytes(4, "big"), src=source))


def sent(world: World, before: object) -> int:
    was = before["counters"]["tx_in"]  # type: ignore[index]
    return int(world.record()["counters"]["tx_in"] - was)


# ---- who is active -------------------------------------------------------------------


def test_priorities_primary_and_a_user_s_choice_say_who_carries(world: World) -> None:
    world.create("lagg0", "p0", "p1", "p2")
    steps: list[tuple[dict[str, Any], str]] = [
        ({"port_options": {"p1": (("priority", 7),)}}, "p1"),
        ({"options": (("primary", "p2"),)}, "p2"),
        ({"active": "p0"}, "p0"),
        ({"options": (("reselect", Reselect.FAILURE),)}, "p0"),
        ({"active": ""}, "p2"),
    ]
    for change, port in steps:
        world.change(**change)
        assert (world.record()["active"], world.carrying()) == (port, [port]), change
    world.carrier(2, up=False)
    world.wait(lambda: world.carrying() == ["p1"], "the next in priority carries")
    world.carrier(2, up=True)
    world.wait(lambda: world.record()["ports"][2]["link"] == "up", "p2 is back")
    record = world.record()
    assert record["active"] == "p1"
    assert record["last_failover"] is not None
    assert record["last_failover"]["from"] == "p2"
    assert [port["failures"] for port in record["ports"]] == [0, 0, 1]
    why = "it carried when p2, the preferred, was back: reselect failure"
    assert record["active_reason"] == why


def test_a_choice_that_cannot_be_is_refused_and_changes_nothing(world: World) -> None:
    world.create("lagg0", "p0", "p1")
    world.carrier(1, up=False)
    world.wait(lambda: world.record()["ports"][1]["link"] == "down", "p1 is down")
    world.create("lagg1", "p2", proto=Proto.ROUNDROBIN)
    world.change(port_options={"p0": (("hold", True),)})
    before = world.laggs()
    for act, said in (
        (lambda: world.change(active="p1"), "port p1: cannot carry: carrier down"),
        (lambda: world.change(active="p0"), "port p0: cannot carry: held"),
        (lambda: world.change(active="p9"), "port p9: not a port of this lagg"),
        (lambda: world.change("lagg1", active="p2"), "has no active port; failover"),
        (lambda: world.change(options=(("primary", "p9"),)), "port p9: no port of it"),
        (lambda: world.change(hold_for_ms={"p9": 5}), "port p9: not a port"),
    ):
        assert said in str(world.refused(act))
    assert world.laggs() == before
    world.change(active="p0", port_options={"p0": (("hold", False),)})
    assert (world.record()["active"], world.carrying()) == ("p0", ["p0"])


# ---- the gate ------------------------------------------------------------------------


def test_a_hold_that_has_an_end_ends_by_itself(world: World) -> None:
    world.create("lagg0", "p0", "p1")
    world.change(hold_for_ms={"p0": LONG_MS})  # not over while it is looked at
    assert world.carrying() == ["p1"]
    assert [port["held"] for port in world.record()["ports"]] == [True, False]
    assert world.record()["ports"][0]["link"] == "up"
    world.wait_event("port-hold", "p0")
    asked_ns = time.monotonic_ns()
    world.change(hold_for_ms={"p0": DELAY_MS})
    ended = world.wait_event("port-hold", "p0")
    assert (ended.time_ns - asked_ns) / 1e6 >= DELAY_MS
    assert world.carrying() == ["p0"]


@pytest.mark.alone
@pytest.mark.parametrize("proto", ["failover", "roundrobin", "loadbalance", "lacp"])
def test_a_port_is_held_and_let_go_and_no_frame_is_lost(
    partners: Partners, tallies: list[Tally], proto: str
) -> None:
    # Of failover each end chooses for itself: the other one takes what comes anywhere.
    partners.set(proto=proto, failover_rx_all=True)
    if proto == "lacp":
        wait_until(lambda: carries(partners, 4), AGREE_S, "all four carry")
    with partners.pair.streaming(rate=RATE, flows=FLOWS) as run:
        for held in (True, False, True, False):
            flowed(partners, BETWEEN)
            partners.a.set_port("p0", hold=held)
            if proto == "lacp":
                count = 3 if held else 4
                wait_until(lambda n=count: carries(partners, n), AGREE_S, "agreed")  # type: ignore[misc]
        flowed(partners, BETWEEN)
    print(*run.results, sep="\n")
    lost_nothing(tallies, *run.results)


def carries(partners: Partners, ports: int) -> bool:
    """Whether so many ports distribute at both ends."""
    found = [
        sum("DISTRIBUTING" in port["flags"] for port in steer.record()["ports"])
        for steer in partners.steers
    ]
    return found == [ports, ports]


def test_all_of_it_outlives_laggd() -> None:
    with Lab() as lab:
        left = Left(lab)
        left.create("failover")
        left.laggd.ctl("set", "lagg0", "--reselect", "failure", "--active", "p1")
        left.laggd.ctl("set", "lagg0", "--port", "p2", "--hold-for", "600")
        before = left.record()
        assert before["active"] == "p1"
        assert [port["held"] for port in before["ports"]] == [False, False, True]
        left.kill()
        left.start()
        after = left.record()
        for key in ("active", "active_reason", "failovers", "last_failover"):
            assert after[key] == before[key], key
        for key in ("held", "state_since", "failures", "reason"):
            found = [[port[key] for port in each["ports"]] for each in (before, after)]
            assert found[0] == found[1], key
