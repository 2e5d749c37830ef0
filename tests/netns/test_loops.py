# SPDX-License-Identifier: BSD-2-Clause
"""Frames that a lagg sent and that come back, by whatever loop there is."""

from collections.abc import Iterator
from typing import Any

import pytest

from lab import wait_until
from tests.netns.bare import ENDS, PORTS, Bare
from tests.netns.frames import BROADCAST, ETH_P_8021Q, Capture, ether, tagged
from tests.netns.steer import DEADLINE_S, LAGG, Tally

FRAMES = 20
STATIC = ("failover", "roundrobin", "loadbalance", "broadcast")


def own(bare: Bare) -> bytes:
    """A broadcast as the lagg sends it."""
    mac = bytes.fromhex(bare.steer.record()["mac"].replace(":", ""))
    return ether(b"own", src=mac, dst=BROADCAST)


def inject(bare: Bare, number: int, *frames: bytes) -> None:
    with bare.far.packet_socket(ENDS[number]) as wire:
        for frame in frames:
            wire.send(frame)


def port(bare: Bare, number: int) -> dict[str, Any]:
    found: dict[str, Any] = bare.steer.record()["ports"][number]
    return found


@pytest.mark.parametrize("proto", STATIC)
def test_what_the_lagg_sent_goes_up_by_no_port_with_or_without_a_tag(
    bare: Bare, proto: str
) -> None:
    bare.steer.set(proto=proto)
    tally, back = Tally(bare.steer), own(bare)
    stranger = ether(b"stranger", dst=BROADCAST)
    loop = [back, tagged(back, (ETH_P_8021Q, 7))] * FRAMES
    with Capture(bare.near, LAGG) as above:
        inject(bare, 0, *loop, stranger)
        wait_until(
            lambda: tally["rx_in"] == 2 * FRAMES + 1, DEADLINE_S, "all are taken"
        )
        seen = [each.wire for each in above.take()]
    assert seen == [stranger]
    assert tally.drops == {"own-source": 2 * FRAMES}
    assert tally.port_drops(PORTS[0]) == tally.drops
    assert not port(bare, 0)["looped"]


def test_loop_guard_keeps_a_port_out_while_own_frames_come_by_it(bare: Bare) -> None:
    bare.steer.set(proto="loadbalance", loop_guard=True)
    inject(bare, 1, own(bare))
    wait_until(lambda: port(bare, 1)["looped"], DEADLINE_S, "it is kept out")
    found = port(bare, 1)
    assert (found["flags"], found["departures"]["loop"]) == ([], 1)
    assert found["reason"].startswith("kept out by loop_guard")
    wait_until(lambda: not port(bare, 1)["looped"], DEADLINE_S, "it is let in again")
    assert port(bare, 1)["flags"] == ["ACTIVE"]


@pytest.fixture
def dumb_switch(bare: Bare) -> Iterator[None]:
    """All cables end in a switch that knows of no aggregation."""
    bare.far.run("ip", "link", "add", "dumb", "type", "bridge")
    for end in ENDS:
        bare.far.run("ip", "link", "set", end, "master", "dumb")
    bare.far.run("ip", "link", "set", "dumb", "up")
    yield
    bare.far.run("ip", "link", "del", "dumb")


@pytest.mark.usefixtures("dumb_switch")
def test_two_ports_on_a_switch_that_knows_no_aggregation_hear_nothing_of_their_own(
    bare: Bare,
) -> None:
    bare.steer.set(proto="roundrobin")
    tally = Tally(bare.steer)
    expected = {"own-source": FRAMES * (len(PORTS) - 1)}
    with Capture(bare.near, LAGG) as above:
        for _ in range(FRAMES):
            bare.into.send(own(bare))
        wait_until(lambda: tally.drops == expected, DEADLINE_S, "all came back")
        seen = [each.wire for each in above.take()]
    assert own(bare) not in seen  # beside what the bridge says itself
