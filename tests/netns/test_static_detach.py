# SPDX-License-Identifier: BSD-2-Clause
"""A port of a static protocol leaves: its partner is told by the carrier alone.

    near: lagg0 = p0 p1 p2  ------------  q0 q1 q2 :far, which sends all the time

The ports were down before, so they are down afterwards: until the far end has lost its
carrier it sends, and all that its kernel has sent is delivered or counted.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from lab import Host, Lab, wait_until
from tests.netns.bare import silence
from tests.netns.frames import ETH_P_LOCAL, ether
from tests.netns.steer import DEADLINE_S, LAGG, Steer, Tally

PORTS = ("p0", "p1", "p2")
FRAMES = 500


class World:
    def __init__(self, lab: Lab, proto: str) -> None:
        self.proto = proto
        self.near, self.far = lab.host("near"), lab.host("far")
        for host in (self.near, self.far):
            silence(host)
        for port in PORTS:
            lab.cable(self.near, port, self.far, end_of(port))
            self.near.set_link(port, state="down")
        words = [word for port in PORTS for word in ("--port", port)]
        laggd = lab.daemon(self.near, log_level="info")
        laggd.ctl("create", LAGG, "--proto", proto, *words)
        self.steer = Steer(laggd)
        self.steer.wait_link(*PORTS, up=True)

    @contextmanager
    def flood(self, *ports: str) -> Iterator[None]:
        """Frames come in by each of these ports all the time; many have come by now."""
        stop = threading.Event()
        senders = [
            threading.Thread(target=send, args=(self.far, end_of(port), stop))
            for port in ports
        ]
        before = Tally(self.steer)
        for sender in senders:
            sender.start()
        try:
            wait_until(lambda: _flows(before, ports), DEADLINE_S, "frames flow")
            yield
        finally:
            stop.set()
            for sender in senders:
                sender.join()

    def sent(self, ports: Sequence[str]) -> int:
        """Frames that left the far ends so far, as its kernel counts them."""
        messages = [
            self.far.netlink("get_links", self.far.ifindex(end_of(port)))[0]
            for port in ports
        ]
        return sum(each.get_attr("IFLA_STATS64")["tx_packets"] for each in messages)


def _flows(tally: Tally, ports: Sequence[str]) -> bool:
    """By each port: one sender may begin long after the other."""
    received = tally.ports("rx_frames")
    return all(received[port] > FRAMES for port in ports)


def end_of(port: str) -> str:
    return port.replace("p", "q")


def send(host: Host, name: str, stop: threading.Event) -> None:
    frame = ether(bytes(64), ETH_P_LOCAL)
    with host.packet_socket(name) as wire:
        while not stop.is_set():
            with suppress(OSError):
                wire.send(frame)


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with Lab() as lab:
        made = World(lab, request.param)
        yield made
        made.steer.close()


@pytest.mark.parametrize("leaving", [("p0",), ("p0", "p1")], ids=" ".join)
@pytest.mark.parametrize(
    "world", ["failover", "loadbalance", "roundrobin", "broadcast"], indirect=True
)
def test_all_that_was_on_the_wire_comes_in(
    world: World, leaving: tuple[str, ...]
) -> None:
    """In failover the last of them, which stood by, is heard and not accepted."""
    tally, before = Tally(world.steer), world.sent(leaving)
    with world.flood(*leaving):
        world.steer.detach(*leaving)
        assert not any(world.near.link(port).up for port in leaving)
    sent = world.sent(leaving) - before
    assert sent > FRAMES
    assert tally["rx_in"] == sent
    assert tally["rx_out"] == sent - sum(tally.drops.values())
    standby = tally.drops.get("not-accepted", 0)
    assert (standby > 0) is (world.proto == "failover" and len(leaving) > 1)
    assert sum(tally.drops.values()) - standby == tally.overload
