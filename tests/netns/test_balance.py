# SPDX-License-Identifier: BSD-2-Clause
"""An elephant and 200 mice on three ports: mice leave it, and no frame is lost.

What each flow is to send is known, and so what each port carries by the deal alone: how
busy the machine is does not count.
"""

from collections import Counter
from collections.abc import Mapping

import pytest

from lab import Lab, Stream, wait_until
from lab.stream import PORT
from lagg.plan.balance import MOVES_MAX
from tests.netns.moving import (
    ENDS,
    PORTS,
    Arrivals,
    Moving,
    by_flow,
    datagram,
    is_in_order,
)
from tests.netns.partners import lost_nothing
from tests.netns.steer import DEADLINE_S, Tally

MICE = 200
MICE_RATE, MICE_BYTES = 4000, 200
ELEPHANT_PORT = PORT + 1
ELEPHANT_RATE, ELEPHANT_BYTES = 673, 1000
OVERHEAD_BYTES = 14 + 20 + 8
ELEPHANT = ELEPHANT_RATE * (ELEPHANT_BYTES + OVERHEAD_BYTES)
"""Bytes a second; 42 % of all."""
MOUSE = MICE_RATE * (MICE_BYTES + OVERHEAD_BYTES) // MICE
INTERVAL_MS = 1000
AFTER = MICE_RATE // 2
"""Frames that are still sent when all is well."""


@pytest.mark.alone
@pytest.mark.parametrize("proto", ["loadbalance", "lacp"])
def test_mice_leave_an_elephant_and_no_frame_is_lost_or_overtaken(proto: str) -> None:
    with Lab() as lab:
        world = Moving(lab, proto)
        tallies = [Tally(steer) for steer in world.steers]
        a, b = world.pair.ends
        with Arrivals(b.host, ENDS) as arrivals:
            streams = [
                Stream(a.host, b.host, b.address, rate=rate, port=port, **shape)
                for rate, port, shape in (
                    (MICE_RATE, PORT, {"flows": MICE, "payload_bytes": MICE_BYTES}),
                    (ELEPHANT_RATE, ELEPHANT_PORT, {"payload_bytes": ELEPHANT_BYTES}),
                )
            ]
            load = load_by_bucket(world, arrivals)
            ((elephant, _),) = load.most_common(1)
            home = crowd(world, load, elephant)
            told, deal = world.ask("Balance", look_ms=100)["balance"], world.deal()
            assert [port["port"] for port in told["ports"]] == [*PORTS]
            assert sum(port["buckets"] for port in told["ports"]) == len(deal)
            assert deal == world.deal(), "it only looks"
            world.a.set(balance_interval_ms=INTERVAL_MS)

            def is_even() -> bool:
                assert arrivals.seen
                return busiest(world, load) <= 0.45

            wait_until(is_even, DEADLINE_S, "mice leave")
            wait_until(world.taken(AFTER), DEADLINE_S, "frames flow")
            world.a.set(balance_interval_ms=0)
            for stream in streams:
                stream.stop()
            results = [stream.result() for stream in streams]
            seen = arrivals.seen
        record = world.a.record()
        print(*results, record["balance_moves"], sep="\n")
        lost_nothing(tallies, *results)
        flows = [by_flow(seen, port) for port in (PORT, ELEPHANT_PORT)]
        assert [len(each) for each in flows] == [MICE, 1]
        assert all(is_in_order(flow) for each in flows for flow in each.values())
        assert world.deal()[elephant] == home
        assert 0 < record["balance_moves"] <= 3 * MOVES_MAX
        world.close()


def load_by_bucket(world: Moving, arrivals: Arrivals) -> Counter[int]:
    """What each bucket is to send, when a frame of each flow was seen."""
    first: dict[tuple[int, int], bytes] = {}

    def complete() -> bool:
        for _, frame in arrivals.seen:
            read = datagram(frame)
            if read is not None:
                first.setdefault(read[:2], frame)
        return len(first) == MICE + 1

    wait_until(complete, DEADLINE_S, "a frame of each flow comes")
    found: Counter[int] = Counter()
    for (port, _), frame in first.items():
        told = world.ask("Explain", frame=frame.hex())["explanation"]
        found[told["bucket"]] += MOUSE if port == PORT else ELEPHANT
    return found


def crowd(world: Moving, load: Mapping[int, int], elephant: int) -> str:
    """Moves mice to the elephant's port until it is far too busy; that port."""
    deal = world.deal()
    home = deal[elephant]
    for bucket in load:
        if busiest(world, load) > 0.6 and world.deal()[elephant] == home:
            break
        if deal[bucket] != home:
            world.ask("Move", bucket=bucket, port=home)
            wait_until(world.taken(MICE // 10), DEADLINE_S, "frames flow")
    assert share(world, load, home) > 0.6
    return home


def busiest(world: Moving, load: Mapping[int, int]) -> float:
    return max(share(world, load, port) for port in PORTS)


def share(world: Moving, load: Mapping[int, int], port: str) -> float:
    deal = world.deal()
    mine = sum(size for bucket, size in load.items() if deal[bucket] == port)
    return mine / sum(load.values())
