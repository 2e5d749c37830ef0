# SPDX-License-Identifier: BSD-2-Clause
"""With real partners: laggd is replaced and killed, its forwarder is killed.

The partner goes on as if nothing had happened, and so do numbered frames.
"""

import json
import os
import signal
from collections.abc import Callable

import pytest

from lab import Stream, conserved, overload, wait_until
from lab.ear import Ears
from lab.partner import Lacp
from tests.interop.world import ADDRESS, ENDS, World, octet

FAST, SLOW = Lacp(fast=True), Lacp(fast=False)
PORTS = 2
FLOWS = 8
SHORT_S = 3.0
"""Short_Timeout: a partner that asks for a PDU each second leaves after so long."""

BEATS_S = 1.0
DEADLINE_S = 60.0
"""Far longer than anything takes; reached only by what never happens."""


def restart(world: World) -> None:
    world.laggd.restart()
    world.reconnect()


def kill(world: World) -> None:
    world.laggd.kill()
    world.laggd.start()
    world.reconnect()


def kill_forwarder(world: World) -> None:
    pid = forwarder(world)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: forwarder(world) != pid, DEADLINE_S, "another forwarder")


def forwarder(world: World) -> int:
    """The pid of the one that serves."""
    return int(json.loads(world.laggd.ctl("--json", "status"))["forwarder"]["pid"])


EVENTS: tuple[tuple[Callable[[World], None], int], ...] = (
    (restart, 0),
    (kill, 0),
    (kill_forwarder, 1),
)
"""Each, and how many frames it may cost, either way: the one that is in hand."""


def flowed(world: World, frames: int = 100) -> None:
    """Until so many more have gone out and come in."""
    begun = world.record()["counters"]

    def enough() -> bool:
        now = world.record()["counters"]
        return all(now[key] - begun[key] >= frames for key in ("tx_in", "rx_in"))

    wait_until(enough, DEADLINE_S, "frames flow both ways")


@pytest.mark.alone
@pytest.mark.parametrize("lacp", [FAST, SLOW], ids=["fast", "slow"])
def test_the_partner_sees_one_actor_in_one_state_and_every_frame_comes(
    world: World, lacp: Lacp
) -> None:
    world.form(ours=lacp, theirs=lacp, ports=PORTS)
    world.wait_until_agreed()
    begun, rate = world.record(), world.partner.frames_per_s
    there, back = world.near, world.partner.place
    with Ears(world.far, ENDS[:PORTS]) as ears:
        streams = (
            Stream(there, back, world.partner.address, rate=rate, flows=FLOWS),
            Stream(back, there, ADDRESS, rate=rate // 4, flows=FLOWS, port=5002),
        )
        for event, _ in EVENTS:
            flowed(world)
            event(world)
            assert world.is_agreed(), world.states()
        flowed(world)
        for stream in streams:
            stream.stop()
        results = [stream.result() for stream in streams]
        heard = ears.heard()
    print(world.partner.version, heard.pause_s_max, *results, sep="\n")
    record, costs = world.record(), sum(cost for _, cost in EVENTS)
    conserved(record)
    dropped = overload(record["counters"]["drops"])
    for result in results:
        assert result.lost <= dropped + costs
        assert result.duplicated <= costs
        assert result.corrupt == result.reordered == result.errors == 0
    assert heard.states <= {octet(lacp)}
    assert len({(actor.system, actor.key) for actor in heard.actors}) <= 1
    assert not lacp.fast or (heard.pause_s_max or DEADLINE_S) < SHORT_S
    assert world.flaps() == [0] * PORTS
    assert record["lacp"]["flapping"] == begun["lacp"]["flapping"]
    adoptions = record["generation"] - begun["generation"]
    assert adoptions <= len(EVENTS) - 1  # each publishes what was there, once
