# SPDX-License-Identifier: BSD-2-Clause
"""What the client says of a lagg under LACP, and what its frames then do."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from random import Random

import pytest

from lab import Lab, Pair, wait_until
from lagg.control.client import Client
from tests.netns.flows import random_flows
from tests.netns.frames import Capture
from tests.netns.steer import DEADLINE_S, LAGG

FLOWS = 60
ENDS = ("q0", "q1", "q2")


@pytest.fixture(scope="module")
def world() -> Iterator[Pair]:
    """Two laggs under LACP, three cables."""
    with Lab() as lab:
        yield Pair(lab, cables=len(ENDS), proto="lacp", patched=True)


@pytest.fixture
def pair(world: Pair) -> Pair:
    """All cables whole, and both ends know it."""
    world.cables[2].mend()
    world.wait_until_agreed(len(ENDS))
    return world


def frames_of(rng: Random) -> list[bytes]:
    """To a MAC that is nobody's: the far host has no answer to them."""
    flows = random_flows(rng, FLOWS)
    return [flow.frame(number) for number, flow in enumerate(flows)]


def told(pair: Pair, frames: Sequence[bytes]) -> list[str]:
    """The far end of the port that each is said to take."""
    with Client(str(pair.a.laggd.socket)) as client:
        said = [
            client.call("Explain", name=LAGG, frame=frame.hex())["explanation"]
            for frame in frames
        ]
    return [each["choice"]["ports"][0].replace("p", "q") for each in said]


def taken(pair: Pair, frames: Sequence[bytes]) -> list[str]:
    """The far end at which each came out."""
    found: dict[bytes, str] = {}
    with ExitStack() as opened:
        ends = {end: opened.enter_context(Capture(pair.b.host, end)) for end in ENDS}

        def complete() -> bool:
            for end, capture in ends.items():
                found.update({seen.wire: end for seen in capture.take()})
            return found.keys() >= {*frames}

        with pair.a.host.packet_socket(LAGG) as into:
            for frame in frames:
                into.send(frame)
        wait_until(complete, DEADLINE_S, "all frames arrive")
    return [found[frame] for frame in frames]


def test_under_lacp_a_flow_takes_the_port_that_explain_names(
    pair: Pair, rng: Random
) -> None:
    frames = frames_of(rng)
    said = told(pair, frames)
    assert taken(pair, frames) == said
    assert {*said} == {*ENDS}


def test_ifconfig_shows_the_parties_that_the_partner_shows(pair: Pair) -> None:
    lag_ids = []
    for end in pair.ends:
        page = end.laggd.ctl("ifconfig", "-v", LAGG)
        ours, theirs = page.partition("\tlag id: [")[2].splitlines()[:2]
        lag_ids.append((ours.rstrip(","), theirs.strip().rstrip("]")))
        assert page.count("state=3d<ACTIVITY,AGGREGATION,SYNC,COLLECTING,DIST") == 3
        assert "\t\tactive ports: 3\n" in page
    systems = [[party.split(",")[1] for party in lag_id] for lag_id in lag_ids]
    assert systems[0] == systems[1][::-1]
    assert "Number of ports: 3" in pair.a.laggd.ctl("show", "--bonding")


def test_the_strict_mode_of_new_laggs_is_a_sysctl(pair: Pair) -> None:
    knob = "net.link.lagg.lacp.default_strict_mode"
    laggd = pair.a.laggd
    try:
        assert laggd.ctl("sysctl", f"{knob}=0") == f"{knob}: 1 -> 0\n"
        laggd.ctl("ifconfig", "lagg7", "create")
        assert laggd.record("lagg7")["options"]["lacp_strict"] is False
    finally:
        laggd.ctl("sysctl", f"{knob}=1")
        laggd.ctl("destroy", "lagg7")
    assert laggd.record(LAGG)["options"]["lacp_strict"] is True


def test_when_a_cable_is_cut_explain_and_the_frames_agree_again(
    pair: Pair, rng: Random
) -> None:
    pair.cables[2].cut()
    pair.wait_until_agreed(2)
    frames = frames_of(rng)
    said = told(pair, frames)
    assert taken(pair, frames) == said
    assert {*said} == {"q0", "q1"}
