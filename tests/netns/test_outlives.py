# SPDX-License-Identifier: BSD-2-Clause
"""laggd is killed while numbered frames flow both ways, and the next goes on.

The streams are measured, so no other test runs.
"""

from collections.abc import Iterator

import pytest

from lab import Lab, Streaming
from tests.netns.outliving import (
    CABLES,
    PROTOS,
    Conversation,
    Outliving,
    facts,
    furnish,
    steady,
)
from tests.netns.partners import lost_nothing
from tests.netns.steer import Tally

pytestmark = pytest.mark.alone

RATE = 10_000
FLOWS = 16
BETWEEN = RATE // 20
"""Frames each way from one event to the next: 50 ms."""

KILLS = 3


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[Outliving]:
    """The pair; a test is run with a protocol."""
    with Lab() as lab:
        made = Outliving(lab, request.param)
        yield made
        made.close()


@pytest.mark.parametrize("world", PROTOS, indirect=True)
def test_laggd_is_killed_and_followed_and_no_frame_is_lost(world: Outliving) -> None:
    furnish(world.host)
    conversation = Conversation(world.pair)
    tallies = [Tally(steer) for steer in world.steers]
    before = [steer.record() for steer in world.steers]
    held = facts(world.host)
    with world.pair.streaming(rate=RATE, flows=FLOWS) as run:
        for _ in range(KILLS):
            world.passed(BETWEEN)
            world.kill()
            world.passed(BETWEEN)
            world.start()
            conversation.go_on()
        world.passed(BETWEEN)
    assert facts(world.host) == held
    after = [steer.record() for steer in world.steers]
    assert [*map(steady, after)] == [*map(steady, before)]
    near, far = (each["generation"] for each in before)
    # Each laggd that adopts publishes the same plan again.
    assert [each["generation"] for each in after] == [near + KILLS, far]
    whole(tallies, run, world.proto)
    conversation.close()


def whole(tallies: list[Tally], run: Streaming, proto: str) -> None:
    """Every frame came, as often as it is to, and in order where a flow has a port."""
    print(*run.results, sep="\n")
    lost_nothing(tallies, *run.results)
    copies = CABLES if proto == "broadcast" else 1
    for result in run.results:
        assert result.corrupt == result.errors == 0
        assert result.duplicated <= (copies - 1) * result.received
        assert proto == "roundrobin" or result.reordered == 0
