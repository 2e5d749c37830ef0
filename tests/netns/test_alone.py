# SPDX-License-Identifier: BSD-2-Clause
"""A port dies while laggd is away or stands still: the others carry its share.

Under numbered frames, so no other test runs.  Nobody is there to make another plan;
what is lost is what was sent until the forwarder looked.
"""

from collections.abc import Callable, Iterator

import pytest

from lab import wait_until
from tests.forwarder.world import stopped
from tests.netns.outliving import CABLES, PROTOS, Outliving, outliving
from tests.netns.steer import DEADLINE_S, Tally

pytestmark = pytest.mark.alone

RATE = 10_000
FLOWS = 16
BEFORE, AFTER = RATE // 20, 2 * RATE
"""Frames each way before the death and after it: two seconds, of which the dead port
would have lost its share; the forwarder looks ten times a second."""


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[Outliving]:
    """The pair; a test is run with a protocol."""
    with outliving(request.param) as made:
        yield made


def pulled(world: Outliving) -> None:
    world.pair.b.host.set_link("q0", state="down")


def set_down(world: Outliving) -> None:
    world.host.set_link("p0", state="down")


def deleted(world: Outliving) -> None:
    world.host.run("ip", "link", "delete", "p0")


@pytest.mark.parametrize(
    ("world", "end"),
    [
        *((proto, pulled) for proto in PROTOS),
        ("loadbalance", set_down),
        ("loadbalance", deleted),
    ],
    indirect=["world"],
)
def test_a_port_that_dies_while_nobody_controls_keeps_no_share(
    world: Outliving, end: Callable[[Outliving], None]
) -> None:
    tallies = [Tally(steer) for steer in world.steers]
    with world.pair.streaming(rate=RATE, flows=FLOWS) as run:
        world.kill()
        world.passed(BEFORE)
        end(world)
        world.passed(AFTER)
    with world.pair.streaming(rate=RATE, flows=FLOWS) as afterwards:
        world.passed(BEFORE)
    print(*run.results, *afterwards.results, sep="\n")
    world.start()
    overload = sum(tally.overload for tally in tallies)
    for result in run.results:
        assert result.lost < overload + AFTER / share(world)
    for result in afterwards.results:
        assert result.received >= BEFORE
        assert result.lost <= overload


@pytest.mark.parametrize("world", ["failover"], indirect=True)
def test_a_port_that_dies_while_laggd_stands_still_is_stood_in_for(
    world: Outliving,
) -> None:
    """No supervisor is here that would end it."""
    with world.pair.streaming(rate=RATE, flows=FLOWS):
        with stopped(world.pair.a.laggd.pid):
            pulled(world)
            world.passed(AFTER)
        world.passed(BEFORE)
    wait_until(lambda: world.a.record()["active"] == "p1", DEADLINE_S, "it goes on")


def share(world: Outliving) -> int:
    """One frame in so many is for the port that dies."""
    return 1 if world.proto == "failover" else CABLES
