# SPDX-License-Identifier: BSD-2-Clause
"""A lagg without ports, and one that loses and gets its only port under load.

Here lagg(4) divides by zero.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from typing import Any

import pytest

from lab import OVERLOAD, Lab, Stream, StreamResult, wait_until
from tests.netns.bare import ENDS, PORTS, Bare, silence
from tests.netns.frames import ether
from tests.netns.partners import WAYS, know
from tests.netns.steer import DEADLINE_S, LAGG, Steer, Tally

PROTOCOLS = {**WAYS, "none": {"proto": "none"}}

FLOOD = 50_000
"""Frames as fast as a process can send them: a quarter of a second."""

CYCLES, CYCLES_LONG = 40, 200
"""In each way to carry frames: 200 in all, or 1000."""

RATE = 5_000
NEAR, FAR = "10.78.0.1", "10.78.0.2"
STREAM_ENDS = 5
"""What a sender adds to say that it has ended."""

DISCARDED = 1
"""Frames that the kernel may have counted nowhere when a carrier went: ADR 8."""


@pytest.fixture(params=PROTOCOLS)
def way(bare: Bare, request: pytest.FixtureRequest) -> str:
    bare.steer.set(**PROTOCOLS[request.param])
    return str(request.param)


def flood(bare: Bare) -> Tally:
    """Sends the frames; what became of them, once all have been counted."""
    tally = Tally(bare.steer)
    frame = ether(bytes(46))
    for _ in range(FLOOD):
        bare.into.send(frame)
    # The kernel drops some, and laggd reads those that came before the carrier went.
    wait_until(lambda: tally["tx_in"] >= FLOOD, DEADLINE_S, "all are counted")
    return tally


def test_without_ports_every_frame_of_a_flood_is_counted(bare: Bare, way: str) -> None:
    bare.steer.detach(*PORTS)
    tally = flood(bare)
    assert tally.drops == {"no-port": tally["tx_in"]} == {"no-port": FLOOD}
    assert not bare.near.link(LAGG).carrier
    assert bare.laggd.running
    bare.steer.attach(*PORTS)
    assert bare.near.link(LAGG).carrier == (way != "none")


def test_without_an_active_port_every_frame_of_a_flood_is_counted(
    bare: Bare, way: str
) -> None:
    for number in range(len(PORTS)):
        bare.cut(number)
    tally = flood(bare)
    why = "proto-none" if way == "none" else "no-active-port"
    assert tally.drops == {why: tally["tx_in"]} == {why: FLOOD}
    assert not bare.near.link(LAGG).carrier
    assert bare.laggd.running


# ---- one port, none, one port --------------------------------------------------------


class Lone:
    """A laggd whose lagg0 has one port, and a stream through it."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.near, self.far = lab.host(f"near-{name}"), lab.host(f"far-{name}")
        for host in (self.near, self.far):
            silence(host)
        lab.cable(self.near, PORTS[0], self.far, ENDS[0])
        self.laggd = lab.daemon(self.near, log_level="info")
        self.laggd.ctl("create", LAGG, "--port", PORTS[0])
        self.steer = Steer(self.laggd)
        self.near.add_address(LAGG, f"{NEAR}/24")
        self.far.add_address(ENDS[0], f"{FAR}/24")
        know(self.near, LAGG, FAR, self.far.link(ENDS[0]).mac)

    def cycle(self, way: dict[str, Any], cycles: int) -> tuple[StreamResult, Tally]:
        """The only port goes and comes, so many times, under load."""
        self.steer.set(**way)
        tally = Tally(self.steer)
        stream = Stream(self.near, self.far, FAR, rate=RATE)
        for _ in range(cycles):
            self.steer.detach(PORTS[0])
            self.steer.attach(PORTS[0])
        stream.stop()
        return stream.result(), tally


def reaches(tally: Tally, frames: int) -> bool:
    return tally["tx_in"] >= frames


def test_the_only_port_comes_and_goes_many_times_under_load(long_run: bool) -> None:
    cycles = CYCLES_LONG if long_run else CYCLES
    # Side by side: most of a change's time the kernel waits for its readers.
    with Lab() as lab, ThreadPoolExecutor(len(WAYS)) as threads:
        lones = [Lone(lab, name) for name in WAYS]
        results = list(threads.map(Lone.cycle, lones, WAYS.values(), repeat(cycles)))
        for lone, (result, tally) in zip(lones, results, strict=True):
            print(result, tally.drops)
            assert lone.laggd.running
            assert result.errors == result.corrupt == result.duplicated == 0
            # Each frame was sent once or counted as dropped once: Tally looks.  The
            # receiver ends with the first of the ends, before the worker may have all.
            least = result.sent + STREAM_ENDS - DISCARDED
            wait_until(partial(reaches, tally, least), DEADLINE_S, "all are counted")
            others = tally["tx_in"] - least
            # A lagg that carries again is announced as far as that can be done in time.
            assert 0 <= others <= DISCARDED + cycles
            came = result.received + result.overflows
            assert 0 <= tally["tx_out"] - came <= STREAM_ENDS + others
            # After an attachment the kernel takes a moment to see the carrier.
            assert tally.drops["no-port"] > 0
            assert tally.drops.keys() <= {"no-port", *OVERLOAD}
            lone.steer.close()
