# SPDX-License-Identifier: BSD-2-Clause
"""A pulled cable of the kind that the kernel is slow to tell of."""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from lab import Lab, Pair, wait_until
from tests.netns.commands_world import World
from tests.netns.taps import set_tap_carrier, tap
from tests.waiting import in_time

FRAMES = 2_000
DEADLINE_S = 60.0
NOTICED_MS_MAX = 200
"""The kernel alone would take a second; 5 ms is the aim on an idle machine."""


@pytest.mark.alone
def test_a_pull_the_kernel_holds_back_is_noticed_while_frames_flow() -> None:
    """Every NIC's carrier loss is told at most once a second over all namespaces."""
    with Lab() as lab:
        pair = Pair(lab, options=("--failover-rx-all",), like_hardware=True)

        def usual_ms() -> list[float]:
            # Each pull but the first is within that second, and would be held back.
            outages_ms = [pulled_ms(pair) for _ in range(6)]
            print(outages_ms)
            return [statistics.median(outages_ms)]

        in_time(usual_ms, NOTICED_MS_MAX)


def pulled_ms(pair: Pair) -> float:
    with pair.streaming(rate=10_000, flows=4) as run:
        wait_until(flowing(pair), DEADLINE_S, "frames flow")
        pair.cables[0].cut()
        wait_until(lambda: active(pair) == "p1", DEADLINE_S, "p1 carries")
        pair.cables[0].mend()
        wait_until(lambda: active(pair) == "p0", DEADLINE_S, "p0 carries again")
    pair.conserved()
    return run.there.outage_ms_max


def flowing(pair: Pair) -> Callable[[], bool]:
    begun = pair.a.record()["counters"]["tx_in"]
    return lambda: bool(pair.a.record()["counters"]["tx_in"] > begun + FRAMES)


def active(pair: Pair) -> str | None:
    ports = pair.a.record()["ports"]
    return next((p["name"] for p in ports if "ACTIVE" in p["flags"]), None)


@pytest.fixture
def nics(tmp_path: Path) -> Iterator[tuple[World, list[int]]]:
    """lagg0 with t0, t1 and t2, and the descriptors that are their cables.

    TAPs, because the kernel takes its time to tell their carrier, as that of real NICs;
    of a veth it tells at once.
    """
    with World(tmp_path) as world:
        cables = [world.near.inside(partial(tap, f"t{number}")) for number in range(3)]
        world.start()
        world.create("lagg0", "t0", "t1", "t2")
        world.wait(lambda: world.carrying() == ["t0"], "t0 carries")
        yield world, cables
        for cable in cables:
            os.close(cable)


@pytest.mark.alone
@pytest.mark.parametrize("lost", [1, 2])
def test_the_time_from_lost_carriers_to_the_next_active_port(
    nics: tuple[World, list[int]], lost: int
) -> None:
    world, cables = nics

    def taken_ms() -> float:
        world.events.clear()
        start_ns = time.monotonic_ns()
        for cable in cables[:lost]:
            set_tap_carrier(cable, False)
        end_ns = world.wait_event("active-port", f"t{lost}").time_ns
        for cable in cables[:lost]:
            set_tap_carrier(cable, True)
        world.wait(lambda: world.carrying() == ["t0"], "t0 carries again")
        return (end_ns - start_ns) / 1e6

    def usual_ms() -> list[float]:
        times = [taken_ms() for _ in range(30)]
        print(f"{lost} lost: median {statistics.median(times):.2f} ms of", end=" ")
        print(f"{min(times):.2f} ... {max(times):.2f} ms")
        return [statistics.median(times)]

    in_time(usual_ms, NOTICED_MS_MAX)
