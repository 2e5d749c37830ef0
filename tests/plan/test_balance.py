# SPDX-License-Identifier: BSD-2-Clause
"""Which buckets move for their load: what is evened out, what is left alone, bounds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log2
from random import Random

import pytest

from lagg.model import BUCKETS, PortOptions, Proto
from lagg.plan.balance import (
    HOT_PERCENT,
    MOVES_MAX,
    NOISE_BYTES,
    REST_MAX,
    REST_MIN,
    FlowLoad,
    Memory,
    capacities,
    moves,
    step,
)
from tests.plan.test_election import SPEEDS, shape_of

MB = 1 << 20
EVEN = dict.fromkeys(range(3), 1000)
FAIR = tuple(bucket % 3 for bucket in range(BUCKETS))
NOTHING = (0,) * BUCKETS


def sizes_of(some: Mapping[int, int]) -> list[int]:
    return [some.get(bucket, 0) for bucket in range(BUCKETS)]


def by_port(sizes: Mapping[int, int]) -> list[int]:
    """Each port has these bytes, in all of its buckets alike."""
    count = Counter(FAIR)
    return [sizes.get(slot, 0) // count[slot] for slot in FAIR]


class Run:
    """Intervals one after another, each under the deal that the last one left."""

    def __init__(self, deal: Sequence[int] = FAIR) -> None:
        ports = dict.fromkeys({*deal}, 1000)
        self.load = FlowLoad(NOTHING, deal, ports)
        self.memory = Memory()
        self.moved: list[dict[int, int]] = []

    def interval(self, sizes: Sequence[int]) -> dict[int, int]:
        self.load = replace(self.load, sizes=sizes)
        self.memory, found = step(self.memory, self.load)
        deal = self.load.after(found).deal
        self.load = replace(self.load, deal=deal)
        self.moved.append(found)
        return found

    def judged(self, sizes: Sequence[int]) -> FlowLoad:
        """The load that the next interval is judged by."""
        pairs = zip(self.memory.sizes or sizes, sizes, strict=True)
        return replace(self.load, sizes=[(a + b) // 2 for a, b in pairs])

    @property
    def busiest(self) -> float:
        """Its part of all that was sent, had it been sent under the deal of now."""
        sent = self.load.sent
        return max(sent.values()) / sum(sent.values())


def peak(load: FlowLoad) -> float:
    return max(load.levels.values())


# ---- an elephant and mice ----------------------------------------------------------

MICE = 200
MOUSE_BYTES = 100_000
ELEPHANT_PART = 0.42


class Traffic:
    """Mice in random buckets, and an elephant on the port that has most of them.

    Each sends now a little more, now a little less.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.mice = [rng.randrange(BUCKETS) for _ in range(MICE)]
        ((most, _),) = Counter(FAIR[b] for b in self.mice).most_common(1)
        self.elephant = rng.choice([b for b in range(BUCKETS) if FAIR[b] == most])
        all_mice = MICE * MOUSE_BYTES
        self.elephant_bytes = int(all_mice * ELEPHANT_PART / (1 - ELEPHANT_PART))

    def interval(self) -> list[int]:
        sizes = [0] * BUCKETS
        for bucket in self.mice:
            sizes[bucket] += int(MOUSE_BYTES * self._rng.uniform(0.8, 1.2))
        sizes[self.elephant] += int(self.elephant_bytes * self._rng.uniform(0.97, 1.03))
        return sizes


@pytest.mark.parametrize("number", range(100))
def test_mice_leave_an_elephant_within_three_intervals_and_then_nothing_moves(
    number: int,
) -> None:
    run, traffic = Run(), Traffic(Random(number))
    run.load = replace(run.load, sizes=traffic.interval())
    assert run.busiest > 0.6
    for _ in range(3):
        assert len(run.interval(traffic.interval())) <= MOVES_MAX
    assert run.busiest <= 0.45
    for _ in range(20):
        assert run.interval(traffic.interval()) == {}
    assert run.busiest <= 0.45
    assert all(traffic.elephant not in found for found in run.moved)


def test_all_in_one_bucket_stays() -> None:
    run = Run()
    for _ in range(50):
        assert run.interval(sizes_of({17: 100 * MB})) == {}


def test_of_two_heavy_buckets_the_lighter_one_moves_and_no_light_one() -> None:
    sizes = sizes_of({0: 40 * MB, 3: 30 * MB, 1: 25 * MB, 2: MB, 4: MB})
    assert moves(FlowLoad(sizes, FAIR, EVEN)) == {3: 2}


# ---- what is left alone ------------------------------------------------------------


def test_a_port_less_than_so_far_above_its_share_keeps_all() -> None:
    above, fair = 100 + HOT_PERCENT - 1, 100
    rest = (3 * fair - above) // 2
    load = by_port({0: above * MB, 1: rest * MB, 2: rest * MB})
    assert moves(FlowLoad(load, FAIR, EVEN)) == {}
    above += 2
    load = by_port({0: above * MB, 1: (rest - 1) * MB, 2: (rest - 1) * MB})
    assert moves(FlowLoad(load, FAIR, EVEN)) != {}


def test_next_to_nothing_and_nothing_at_all_move_nothing() -> None:
    assert moves(FlowLoad(by_port({0: NOISE_BYTES}), FAIR, EVEN)) == {}
    assert moves(FlowLoad(NOTHING, FAIR, EVEN)) == {}
    assert moves(FlowLoad([MB] * BUCKETS, [0] * BUCKETS, {0: 1000})) == {}


def test_what_is_pinned_stays_and_the_others_move() -> None:
    pinned = frozenset(b for b in range(200) if FAIR[b] == 0)
    found = moves(FlowLoad(by_port({0: 100 * MB}), FAIR, EVEN, pinned))
    assert found
    assert not pinned & {*found}


# ---- shares ------------------------------------------------------------------------


def test_a_port_is_to_carry_by_its_speed_and_its_weight() -> None:
    shape = replace(
        shape_of(Proto.LOADBALANCE),
        port_options={"eth1": PortOptions(weight=3), "eth2": PortOptions(weight=0)},
    )
    wanted = {0: SPEEDS[0], 1: 3 * SPEEDS[1], 2: SPEEDS[2]}
    assert capacities(shape, shape.ports) == wanted
    slow = replace(shape.ports[0], modes=replace(shape.ports[0].modes, speed_mbps=0))
    assert capacities(shape, [slow]) == {0: 1000}


def test_an_even_deal_becomes_one_by_shares() -> None:
    run = Run()
    run.load = replace(run.load, capacities={0: 1000, 1: 3000, 2: 6000})
    for _ in range(10):
        run.interval([MB] * BUCKETS)
    assert max(run.load.levels.values()) < 1 + HOT_PERCENT / 100
    sent = run.load.sent
    assert sent[2] > sent[1] > sent[0] > 0


# ---- adversaries -------------------------------------------------------------------


def test_a_load_that_alternates_at_the_intervals_rate_moves_only_for_the_first() -> (
    None
):
    run = Run()
    loads = [by_port({slot: 200 * MB, 2: 100 * MB}) for slot in range(2)]
    for number in range(40):
        run.interval(loads[number % 2])
    assert all(len(found) <= MOVES_MAX for found in run.moved)
    assert sum(map(len, run.moved[10:])) == 0, [len(found) for found in run.moved]


def test_a_bucket_that_has_to_move_again_and_again_moves_ever_more_seldom() -> None:
    """An adversary loads whatever port has the heavy bucket, and no other."""
    run, heavy, times = Run(), 0, 0
    intervals = 4 * REST_MAX
    for _ in range(intervals):
        slot = run.load.deal[heavy]
        beside = [b for b, s in enumerate(run.load.deal) if s == slot and b != heavy]
        sizes = dict.fromkeys(beside, 80 * MB // max(1, len(beside)))
        times += heavy in run.interval(sizes_of({**sizes, heavy: 20 * MB}))
    assert 0 < times <= log2(REST_MAX / REST_MIN) + 1 + intervals / REST_MAX


@pytest.mark.parametrize("ports", range(1, 6))
def test_whatever_the_load_few_move_and_no_port_gets_hotter_than_the_hottest_was(
    rng: Random, ports: int
) -> None:
    for _ in range(20):
        run = Run([bucket % ports for bucket in range(BUCKETS)])
        counts: Counter[int] = Counter()
        for _ in range(25):
            odds = rng.choices(range(1, 9), k=4)
            sizes = rng.choices((0, 1000, MB, 40 * MB), odds, k=BUCKETS)
            before = run.judged(sizes)
            found = run.interval(sizes)
            assert len(found) <= MOVES_MAX
            assert peak(before.after(found)) <= peak(before) + 1e-9
            assert all(before.deal[bucket] != slot for bucket, slot in found.items())
            counts.update(found.keys())
        assert max(counts.values(), default=0) <= 1 + 25 // REST_MIN


def test_a_rebased_memory_judges_by_the_new_interval_alone() -> None:
    memory, _ = step(Memory(), FlowLoad([9 * MB] * BUCKETS, FAIR, EVEN))
    load = FlowLoad(by_port({0: 100 * MB}), FAIR, EVEN)
    assert step(memory, load)[1] != moves(load)
    assert step(memory.rebased(), load)[1] == moves(load)
