# SPDX-License-Identifier: BSD-2-Clause
"""LACP under faults: the rules hold at every step, and both ends agree afterwards.

A step is a frame that arrives, a timer that runs out, or a fault; there are a million
with `--long`.  LAGG_SIM_STEPS says how many in all; a failure names the call that
replays it.
"""

import os
import random

import pytest

from tests.sim.world import SECOND, World

pytestmark = pytest.mark.slow

STEPS, STEPS_LONG = 40_000, 1_000_000
SHARDS = 8
FAULTS_PER_SECOND = 0.7
STORM_S = 60
AGREE_S = 10


def simulate(seed: str, calm: bool = False) -> World:
    """One world: a storm of faults, then peace in which both ends must agree.

    A calm one has plain settings, and no fault that takes the ends' time to trust
    each other again: there every wire must carry in the end.
    """
    world = World(random.Random(seed), calm=calm)
    try:
        world.run(STORM_S * SECOND, FAULTS_PER_SECOND)
        world.heal()
        world.run(AGREE_S * SECOND)
        assert world.disagreements() == []
        assert not calm or world.idle() == []
    except AssertionError as error:
        error.add_note(f"replay: simulate({seed!r}, calm={calm})")
        raise
    return world


@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_rules_hold_in_every_step_and_both_ends_agree_within_10_s(
    shard: int, rng: random.Random, long_run: bool
) -> None:
    usual = STEPS_LONG if long_run else STEPS
    wanted = int(os.environ.get("LAGG_SIM_STEPS", usual))
    steps = worlds = 0
    while steps < wanted // SHARDS:
        seed = str(rng.randrange(2**32))
        steps += simulate(seed, calm=worlds % 4 == 3).steps
        worlds += 1
    print(f"{steps} steps in {worlds} worlds")


def test_a_world_is_the_same_whenever_its_seed_is() -> None:
    first, second = simulate("twice"), simulate("twice")
    assert first.steps == second.steps > 0
    assert first.digest.digest() == second.digest.digest()
