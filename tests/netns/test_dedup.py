# SPDX-License-Identifier: BSD-2-Clause
"""`dedup`: of broadcast's copies one goes up, by whichever ports they come."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from random import Random

import pytest

from lab import Lab, wait_until
from tests.netns.bare import ENDS, PORTS, Bare
from tests.netns.flows import random_flows
from tests.netns.frames import Capture, ether
from tests.netns.steer import DEADLINE_S, LAGG, Tally

FRAMES = 20
SOON_S = 0.05
"""Half of the time for which a copy is known: who was slower proves nothing."""

ATTEMPTS = 50
NUMBERS = count()


@pytest.fixture
def broadcast(bare: Bare) -> None:
    bare.steer.set(proto="broadcast", dedup=True)


def numbered() -> list[bytes]:
    return [ether(next(NUMBERS).to_bytes(4, "big")) for _ in range(FRAMES)]


def copies(ends: Sequence[int], frames: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each frame by each end, each end some frames behind the one before."""
    rows = [
        (place + 4 * behind, end, frame)
        for behind, end in enumerate(ends)
        for place, frame in enumerate(frames)
    ]
    return ((end, frame) for _, end, frame in sorted(rows, key=lambda row: row[0]))


def gone_up(bare: Bare, sent: Sequence[tuple[int, bytes]]) -> tuple[list[bytes], float]:
    """What of these frames, each by a far end, goes up; and how long all took, in s."""
    tally = Tally(bare.steer)
    wires = [bare.far.packet_socket(end) for end in ENDS]
    with Capture(bare.near, LAGG) as above:
        since = time.monotonic()
        for end, frame in sent:
            wires[end].send(frame)
        wait_until(lambda: tally["rx_in"] == len(sent), DEADLINE_S, "all are taken")
        took = time.monotonic() - since
        seen = [each.wire for each in above.take()]
    for wire in wires:
        wire.close()
    late = len(sent) - len(seen)
    assert tally.drops == ({"duplicate": late} if late else {})
    return seen, took


def each_once(
    bare: Bare, ends: Sequence[int], some: Callable[[], list[bytes]] = numbered
) -> None:
    """Sends frames by these ends, all in time, and asserts that each goes up once."""
    for _ in range(ATTEMPTS):
        frames = some()
        seen, took = gone_up(bare, [*copies(ends, frames)])
        assert {*seen} == {*frames}
        if took < SOON_S:
            assert sorted(seen) == sorted(frames)
            return
    pytest.fail("this machine never was fast enough")


@pytest.mark.usefixtures("broadcast")
def test_each_frame_goes_up_once_whichever_ports_bring_it(bare: Bare) -> None:
    each_once(bare, (0, 1, 2))
    each_once(bare, (2, 1, 0))
    bare.cut(0)
    each_once(bare, (1, 2))
    bare.mend(0)
    each_once(bare, (1, 0, 2, 3))
    bare.steer.detach(PORTS[1])
    each_once(bare, (2, 0))


@pytest.mark.usefixtures("broadcast")
def test_equal_frames_of_one_port_all_go_up(bare: Bare) -> None:
    (frame, *_) = numbered()
    sent = [(0, frame)] * FRAMES
    assert gone_up(bare, sent)[0] == [frame] * FRAMES
    for _ in range(ATTEMPTS):
        (frame, *_) = numbered()
        equal = [frame] * FRAMES
        seen, took = gone_up(bare, [*copies((0, 1), equal)])
        if took < SOON_S:
            assert seen == equal
            return
    pytest.fail("this machine never was fast enough")


@pytest.mark.usefixtures("broadcast")
def test_other_protocols_deliver_what_comes(bare: Bare) -> None:
    bare.steer.set(proto="roundrobin")
    frames = numbered()
    seen, _ = gone_up(bare, [*copies((0, 1), frames)])
    assert sorted(seen) == sorted(2 * frames)


def test_the_kernel_gives_all_copies_to_one_of_several_workers(rng: Random) -> None:
    def of_many_flows() -> list[bytes]:
        number = next(NUMBERS)
        return [flow.frame(number) for flow in random_flows(rng, FRAMES)]

    with Lab() as lab:
        bare = Bare(lab, "--workers", "3")
        bare.steer.set(proto="broadcast", dedup=True)
        for ends in ((0, 1, 2), (3, 1), (2, 3, 0, 1)):
            each_once(bare, ends, of_many_flows)
        bare.near.set_link(PORTS[0], state="down")
        bare.steer.wait_link(PORTS[0], up=False)
        bare.near.set_link(PORTS[0], state="up")
        bare.steer.wait_link(PORTS[0], up=True)
        each_once(bare, (0, 1, 2), of_many_flows)
        bare.close()
