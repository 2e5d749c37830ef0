# SPDX-License-Identifier: BSD-2-Clause
"""What is longer than lagg0's MTU allows does not come in, and is counted.

By a TAP that is a port, whose other end is the test's: a veth lets in no such frame.
"""

import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.model import Drop, Proto
from lagg.records import CountersRecord
from tests.netns.commands_world import World
from tests.netns.frames import (
    DST,
    ETH_P_8021AD,
    ETH_P_8021Q,
    ETH_P_IP,
    SRC,
    VNET,
    ether,
    ipv4,
    tagged,
)
from tests.netns.taps import tap

ETHER_BYTES = 14
TAGS = {
    "none": (),
    "802.1Q": ((ETH_P_8021Q, 5),),
    "802.1ad": ((ETH_P_8021AD, 5),),
    "two": ((ETH_P_8021AD, 5), (ETH_P_8021Q, 6)),
}
TAGS_BYTES = 8
GSO_TCPV4, MSS = 1, 1448
NEW_MTUS = (9000, 1500, 4000, 1500) * 10


class Guest:
    """The other end of t0, which is the port of lagg0."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._descriptor = world.near.inside(lambda: tap("t0", offloads=True))
        world.ip("link set t0 up")
        world.create("lagg0", "t0", proto=Proto.FAILOVER)

    def close(self) -> None:
        self._world.destroy()
        os.close(self._descriptor)

    def send(self, frame: bytes, offload: bytes = bytes(VNET.size)) -> None:
        os.write(self._descriptor, offload + frame)

    def sends(self, frame: bytes, offload: bytes = bytes(VNET.size)) -> str:
        """Sends a frame; "passes", or why it does not, by lagg and port alike."""
        before = self.counters
        self.send(frame, offload)
        self._world.wait(lambda: self.counters["rx_in"] > before["rx_in"], "it came")
        after = self.counters
        assert after["rx_in"] == before["rx_in"] + 1
        (port,) = self._world.record()["ports"]
        if after["rx_out"] > before["rx_out"]:
            return "passes"
        was, now = before["drops"], after["drops"]
        (drop,) = (d.value for d in Drop if now[d.value] > was[d.value])
        assert port["drops"][drop] == now[drop]
        return drop

    @property
    def counters(self) -> CountersRecord:
        found = self._world.record()["counters"]
        assert found["rx_in"] == found["rx_out"] + sum(found["drops"].values())
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.without_ipv6()
        yield made.start()


@pytest.fixture
def guest(world: World) -> Iterator[Guest]:
    made = Guest(world)
    yield made
    made.close()


def of_length(size: int) -> bytes:
    return ether(bytes(size - ETHER_BYTES))


@pytest.mark.parametrize("mtu", [1500, 9000])
@pytest.mark.parametrize("tags", TAGS)
def test_a_full_frame_passes_whatever_its_tags(
    world: World, guest: Guest, mtu: int, tags: str
) -> None:
    world.change(mtu=mtu)
    assert guest.sends(tagged(of_length(mtu + ETHER_BYTES), *TAGS[tags])) == "passes"


@pytest.mark.parametrize("mtu", [1500, 2100, 9000])
def test_a_longer_one_does_not(world: World, guest: Guest, mtu: int) -> None:
    world.change(mtu=mtu)
    longest = mtu + ETHER_BYTES + TAGS_BYTES
    assert guest.sends(of_length(longest)) == "passes"
    assert guest.sends(of_length(longest + 1)) == "oversize"
    with_a_tag = tagged(of_length(longest + 1 - 4), *TAGS["802.1Q"])
    assert guest.sends(with_a_tag) == "oversize"


def test_a_frame_of_any_ethernet_passes_however_small_the_mtu(
    world: World, guest: Guest
) -> None:
    world.change(mtu=1280)
    assert guest.sends(tagged(of_length(1514), *TAGS["two"])) == "passes"
    assert guest.sends(of_length(1523)) == "oversize"


def test_a_train_of_segments_is_not_judged_by_its_length(guest: Guest) -> None:
    tcp = bytes(12) + b"\x50\x10" + bytes(6)
    packet = ipv4(tcp + bytes(20 * MSS), src="192.0.2.1", dst="192.0.2.2", proto=6)
    train = DST + SRC + ETH_P_IP.to_bytes(2, "big") + packet
    offload = VNET.pack(1, GSO_TCPV4, 54, MSS, 34, 16)
    assert guest.sends(train, offload) == "passes"
    assert guest.sends(train) == "oversize"


def test_it_may_be_changed_behind_our_back(world: World, guest: Guest) -> None:
    long = of_length(9000)
    assert guest.sends(long) == "oversize"
    world.ip("link set lagg0 mtu 9000")
    world.wait(lambda: world.record()["mtu"] == 9000, "the MTU was taken")
    assert guest.sends(long) == "passes"
    world.ip("link set lagg0 mtu 1500")
    world.wait(lambda: world.record()["mtu"] == 1500, "the MTU was taken")
    assert guest.sends(long) == "oversize"


def test_every_frame_is_counted_while_the_mtu_changes(
    world: World, guest: Guest
) -> None:
    frames = [of_length(size) for size in (60, 1514, 2500, 5000)]
    before, stopped, sent = guest.counters, threading.Event(), 0

    def flood() -> None:
        nonlocal sent
        for frame in itertools.cycle(frames):
            if stopped.is_set():
                return
            guest.send(frame)
            sent += 1

    flow = threading.Thread(target=flood)
    flow.start()
    for mtu in NEW_MTUS:
        world.change(mtu=mtu)
    stopped.set()
    flow.join()
    world.wait(lambda: guest.counters["rx_in"] == before["rx_in"] + sent, "all came")
    counted = guest.counters["drops"]
    drops = {drop for drop in Drop if counted[drop.value]}
    assert Drop.OVERSIZE in drops
    assert drops <= {Drop.OVERSIZE, Drop.RING_OVERRUN, Drop.TAP_FULL}
