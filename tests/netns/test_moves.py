# SPDX-License-Identifier: BSD-2-Clause
"""Flows that are moved and pinned while they send: no frame is lost or overtaken."""

import time
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from random import Random

import pytest

from lab import Lab, Stream, wait_until
from lab.cable import Patched
from lab.stream import PORT
from lagg.running.draining import DRAIN_S_MAX
from tests.netns.flows import Flow, random_flows
from tests.netns.moving import ENDS, PORTS, Arrivals, Moving, by_flow, is_in_order
from tests.netns.partners import lost_nothing
from tests.netns.steer import DEADLINE_S, LAGG, Tally
from tests.waiting import in_time


@pytest.fixture(params=["loadbalance", "lacp"])
def proto(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# ---- a slow port -------------------------------------------------------------------

BACKLOG = 8
"""Frames that wait on the slow way, and as many behind them."""
DRAIN_S = 0.25
"""So long they do, and longer on a machine that has no time for its timers."""
FRAME_BYTES = 1000


@pytest.mark.alone
@pytest.mark.parametrize(
    ("method", "by"), [("Move", []), ("Pin", ["--no-xdp"])], ids=["xdp", "packet"]
)
def test_a_flow_that_is_moved_overtakes_nothing_that_its_old_port_still_has(
    proto: str, method: str, by: list[str], rng: Random
) -> None:
    """Unless that takes longer than anything waits for."""

    def drain() -> list[float]:
        with Lab() as lab, closing(Moving(lab, proto, *by, patched=True)) as world:
            if not by:
                world.a.await_xdp(*PORTS)
            return [moved_by_a_slow_port(world, method, rng)]

    in_time(drain, DRAIN_S_MAX)


def moved_by_a_slow_port(world: Moving, method: str, rng: Random) -> float:
    """Asserts that the old port's frames come first; how long they took to."""
    flow = next(each for each in random_flows(rng, 100) if each.vlan is None)
    frames = [frame_of(flow, number) for number in range(2 * BACKLOG)]
    told = world.ask("Explain", frame=frames[0].hex())["explanation"]
    bucket, (old,) = told["bucket"], told["choice"]["ports"]
    new = next(port for port in PORTS if port != old)
    slow(world, old)
    wanted = world.frames()[bucket] + BACKLOG
    with Arrivals(world.pair.b.host, ENDS) as arrivals:
        send(world, frames[:BACKLOG])
        wait_until(lambda: world.frames()[bucket] >= wanted, DEADLINE_S, "all left")
        began_s = time.monotonic()
        world.ask(method, bucket=bucket, port=new)
        send(world, frames[BACKLOG:])
        arrived(arrivals, frames[:BACKLOG])
        took_s = time.monotonic() - began_s
        seen = arrived(arrivals, frames)
    ends = dict(zip(PORTS, ENDS, strict=True))
    ways = [ends[old]] * BACKLOG + [ends[new]] * BACKLOG
    in_order = seen == [*zip(ways, range(2 * BACKLOG), strict=True)]
    assert in_order or took_s >= DRAIN_S_MAX, seen
    return took_s


def slow(world: Moving, port: str) -> None:
    cable = world.pair.cables[PORTS.index(port)]
    assert isinstance(cable, Patched)
    kbit_s = int(BACKLOG * FRAME_BYTES * 8 / 1000 / DRAIN_S)
    cable.slow(to_near=False, kbit_s=kbit_s)


def frame_of(flow: Flow, number: int) -> bytes:
    return flow.frame(number).ljust(FRAME_BYTES, b"\0")


def send(world: Moving, frames: Sequence[bytes]) -> None:
    """Into a's lagg."""
    with world.pair.a.host.packet_socket(LAGG) as into:
        for frame in frames:
            into.send(frame)


def arrived(arrivals: Arrivals, frames: Sequence[bytes]) -> list[tuple[str, int]]:
    """By which end each came, and its number, in the order they came."""
    numbers = {frame: number for number, frame in enumerate(frames)}

    def ours() -> list[tuple[str, int]]:
        came = arrivals.seen
        return [(end, numbers[frame]) for end, frame in came if frame in numbers]

    wait_until(lambda: len(ours()) >= len(frames), DEADLINE_S, "all frames arrive")
    return ours()


# ---- all ports busy ----------------------------------------------------------------

RATE, FLOWS = 4_000, 16
BETWEEN = RATE // 100
ROUNDS = 3


@pytest.mark.alone
def test_flows_that_are_moved_and_pinned_lose_nothing_and_keep_their_order(
    proto: str,
) -> None:
    with Lab() as lab:
        world = Moving(lab, proto)
        tallies = [Tally(steer) for steer in world.steers]
        a, b = world.pair.ends
        with Arrivals(b.host, ENDS) as arrivals:
            stream = Stream(a.host, b.host, b.address, rate=RATE, flows=FLOWS)
            busy = buckets_in_use(world)
            for method in ("Move", "Pin", "Unpin") * ROUNDS:
                for bucket in busy:
                    place(world, method, bucket)
                    wait_until(world.taken(BETWEEN), DEADLINE_S, "frames flow")
            stream.stop()
            result = stream.result()
            flows = by_flow(arrivals.seen, PORT)
        print(result)
        lost_nothing(tallies, result)
        assert result.duplicated == result.corrupt == result.errors == 0
        assert len(flows) == FLOWS
        for each in flows.values():
            assert is_in_order(each)
            ports = [end for end, _ in each]
            changes = sum(one != other for one, other in pairwise(ports))
            assert changes >= 2 * ROUNDS, "each was moved, and pinned elsewhere"
        world.close()


def buckets_in_use(world: Moving) -> list[int]:
    """The buckets that all flows of the stream are in."""
    before = world.frames()
    wait_until(world.taken(4 * FLOWS), DEADLINE_S, "frames of each flow went out")
    pairs = enumerate(zip(before, world.frames(), strict=True))
    return [bucket for bucket, (was, now) in pairs if now > was]


def place(world: Moving, method: str, bucket: int) -> None:
    """On another port than now, or where its home is."""
    if method == "Unpin":
        world.ask("Unpin", bucket=bucket)
    else:
        old = PORTS.index(world.deal()[bucket])
        world.ask(method, bucket=bucket, port=PORTS[(old + 1) % len(PORTS)])
