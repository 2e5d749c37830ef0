# SPDX-License-Identifier: BSD-2-Clause
"""laggd or its forwarder is killed under numbered frames, and the next one goes on.

While streams of thousands of frames a second are counted, no other test runs.
"""

import asyncio
import json
import operator
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab import StreamResult, wait_until
from lagg import __version__
from lagg.forwarder import process
from lagg.forwarder.keeper import Keeper
from lagg.paths import forwarder_program
from tests.netns.outliving import (
    PROTOS,
    Conversation,
    Outliving,
    Sniffer,
    facts,
    furnish,
    outliving,
    steady,
)
from tests.netns.steer import DEADLINE_S, Tally

RATE = 10_000
FLOWS = 16
BETWEEN = RATE // 20
"""Frames each way from one event to the next: 50 ms."""

TRICKLE = RATE // 10
KILLS, KILLS_LONG = 1, 3
FORWARDER_KILLS_LONG = 20
IN_HAND = 1
"""Frames that a worker is about to take or to hand over: what a death may cost."""


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[Outliving]:
    """The pair; a test is run with a protocol."""
    with outliving(request.param) as made:
        yield made


@pytest.mark.alone
@pytest.mark.parametrize("world", PROTOS, indirect=True)
def test_laggd_is_killed_and_followed_and_no_frame_is_lost(
    world: Outliving, long_run: bool
) -> None:
    with outlived(world, lossless) as conversation:
        for _ in range(KILLS_LONG if long_run else KILLS):
            world.passed(BETWEEN)
            world.kill()
            world.passed(BETWEEN)
            world.start()
            conversation.go_on()
        world.passed(BETWEEN)


@pytest.mark.alone
@pytest.mark.parametrize("world", PROTOS, indirect=True)
def test_the_forwarder_is_killed_and_followed_and_costs_a_frame_at_most(
    world: Outliving, long_run: bool
) -> None:
    kills = FORWARDER_KILLS_LONG if long_run else KILLS
    with outlived(world, partial(but_for_one_each, kills)) as conversation:
        for _ in range(kills):
            world.passed(BETWEEN)
            world.kill_forwarder()
            conversation.go_on()
        world.passed(BETWEEN)


@pytest.mark.parametrize("world", ["loadbalance", "lacp"], indirect=True)
def test_a_forwarder_of_another_version_is_followed_and_no_frame_is_lost(
    world: Outliving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = world.forwarder
    with outlived(world, lossless) as conversation:
        world.passed(BETWEEN)
        world.kill()
        with monkeypatch.context() as patch:
            patch.setattr(process, "forwarder_program", lambda: other_version(tmp_path))
            asyncio.run(renew(world.forwarder_socket))
        other = world.forwarder
        world.passed(BETWEEN)
        world.start()
        conversation.go_on()
        world.passed(BETWEEN)
    status = json.loads(world.pair.a.laggd.ctl("--json", "status"))
    assert status["forwarder"]["version"] == __version__
    assert len({begun, other, world.forwarder}) == 3
    wait_until(lambda: not alive(begun) and not alive(other), DEADLINE_S, "both end")


def other_version(directory: Path) -> Path:
    """The program that is installed, but for the version that it says."""
    program = forwarder_program().read_bytes()
    said = f"\0{__version__}\0".encode()
    assert program.count(said) == 1
    other = directory / "lagg-forwarder"
    other.write_bytes(program.replace(said, said.replace(b"0", b"9")))
    other.chmod(0o755)
    return other


async def renew(path: Path) -> None:
    """As a laggd does it that has adopted all, and dies then."""
    keeper = Keeper.open(path)
    keeper.claim()
    keeper.commit()
    for lagg, slots in carried(keeper.left).items():
        keeper.resume(lagg, slots, 0)
    keeper.watch()
    begun_s = time.monotonic()
    keeper.renew()
    print(f"renewed within {(time.monotonic() - begun_s) * 1000:.1f} ms")
    keeper.close()
    for fd in keeper.left.values():
        os.close(fd)


def carried(names: Iterable[str]) -> dict[int, set[int]]:
    """The slots of each lagg of which something is kept."""
    found: dict[int, set[int]] = {}
    for lagg, slot, *_ in (f"{name}//".split("/") for name in names):
        if lagg.isdecimal():
            slots = found.setdefault(int(lagg), set())
            slots.update([int(slot)] if slot.isdecimal() else [])
    return found


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


RESTARTS, RESTARTS_LONG = 30, 1000


@pytest.mark.parametrize("world", ["loadbalance"], indirect=True)
def test_many_restarts_cost_no_frame_no_descriptor_no_mapping_and_no_byte(
    world: Outliving, long_run: bool
) -> None:
    tallies = [Tally(steer) for steer in world.steers]
    with world.pair.streaming(rate=TRICKLE, flows=FLOWS) as run:
        world.kill()
        world.start()
        begun = world.held()  # or one descriptor more, which is open for a moment
        for _ in range(RESTARTS_LONG if long_run else RESTARTS):
            world.kill()
            world.start()
        wait_until(
            lambda: all(map(operator.le, world.held(), begun)),
            DEADLINE_S,
            f"no more than {begun}",
        )
    for result in run.results:
        lossless(world, result, sum(tally.overload for tally in tallies))


Judge = Callable[[Outliving, StreamResult, int], None]
"""Judges a stream; the number is of frames dropped for want of CPU."""


@contextmanager
def outlived(world: Outliving, judge: Judge) -> Iterator[Conversation]:
    """Under streams both ways: what is on lagg0 and what laggd says of it stay."""
    furnish(world.host)
    conversation = Conversation(world.pair)
    tallies = [Tally(steer) for steer in world.steers]
    before, held = records(world), facts(world.host)
    with (
        Sniffer(world.host) as sniffer,
        world.pair.streaming(rate=RATE, flows=FLOWS) as run,
    ):
        yield conversation
        sniffer.require_alive()
    assert facts(world.host) == held
    after = records(world)
    assert [*map(steady, after)] == [*map(steady, before)]
    for one, other in zip(before, after, strict=True):
        assert (
            one["generation"] <= other["generation"] <= one["generation"] + KILLS_LONG
        )
    overload = sum(tally.overload for tally in tallies)
    print(*run.results, sep="\n")
    for result in run.results:
        judge(world, result, overload)
    conversation.close()


def records(world: Outliving) -> list[dict[str, Any]]:
    return [steer.record() for steer in world.steers]


def lossless(world: Outliving, result: StreamResult, overload: int) -> None:
    """Every frame came, as often as it is to."""
    assert result.lost <= overload
    assert result.duplicated <= world.copies * result.received
    in_order(world, result, overload)


def but_for_one_each(
    kills: int, world: Outliving, result: StreamResult, overload: int
) -> None:
    """Each death may lose a frame, which is counted, or have it come twice."""
    twice = max(0, result.duplicated - world.copies * result.received)
    print(f"{result.lost} lost, {twice} twice, of {kills} deaths, {overload} overload")
    assert result.lost + twice <= overload + kills * IN_HAND
    in_order(world, result, overload)


def in_order(world: Outliving, result: StreamResult, overload: int) -> None:
    """Whatever has come is as it was sent; roundrobin has no order to keep.

    Of a broadcast frame whose first copy was dropped another one comes, and later.
    """
    assert result.corrupt == result.errors == 0
    late = overload if world.proto == "broadcast" else 0
    assert world.proto == "roundrobin" or result.reordered <= late
