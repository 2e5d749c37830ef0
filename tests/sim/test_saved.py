# SPDX-License-Identifier: BSD-2-Clause
"""An engine that is saved, and restored elsewhere, goes on as if nothing had been.

In a storm of faults engines are replaced at random instants by what their saved values
make of them, as JSON text in between; a world of the same seed has none replaced.
"""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import fields, replace
from enum import Enum

import pytest

from lagg.codec import dumps, loads
from lagg.lacp.engine import Engine
from lagg.lacp.saved import SavedEngine, SavedPort
from lagg.lacp.values import Settings
from tests.sim.test_sim import FAULTS_PER_SECOND
from tests.sim.world import SECOND, World

pytestmark = pytest.mark.slow

STORM_S = 60
WORLDS, WORLDS_LONG = 12, 400
WORLDS_MAX = 120
REPLACED_SHARE = 0.2
"""How many events of an engine are followed by its replacement."""


class Observed(World):
    """Puts what can be seen of an engine after each of its events in the digest, too.

    Has each event of an engine followed by replaced(), which may give another.
    """

    replacements = 0

    def _after(self, index: int) -> None:
        super()._after(index)
        engine = self.engines[index]
        self.engines[index] = self.replaced(engine)
        seen = self.engines[index].view(), self.engines[index].deadline()
        self.digest.update(repr(seen).encode())

    def replaced(self, engine: Engine) -> Engine:
        return engine


class Replacing(Observed):
    """Replaces engines by what their saved values make of them."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(f"{seed}: replace")
        super().__init__(random.Random(seed))

    def replaced(self, engine: Engine) -> Engine:
        if self.chance.random() >= REPLACED_SHARE:
            return engine
        self.replacements += 1
        text = dumps(self.altered(engine.saved()))
        successor = Engine.restored(loads(SavedEngine, text), self.now)
        assert state_of(successor) == state_of(engine)
        return successor

    def altered(self, saved: SavedEngine) -> SavedEngine:
        return saved


def state_of(thing: object) -> object:
    """All variables of an object, and of the objects in it, as values."""
    match thing:
        case Enum() | int() | str() | bytes() | None:
            return thing
        case tuple() | list() | deque():
            return [state_of(each) for each in thing]
        case dict():
            return {key: state_of(value) for key, value in thing.items()}
    names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
    assert names, f"{thing!r} has no variables"
    return {name: state_of(getattr(thing, name)) for name in names}


def storm(world: World) -> None:
    world.run(STORM_S * SECOND, FAULTS_PER_SECOND)


def test_a_world_goes_on_as_one_in_which_no_engine_is_replaced(
    rng: random.Random, long_run: bool
) -> None:
    replacements = 0
    for _ in range(WORLDS_LONG if long_run else WORLDS):
        seed = str(rng.randrange(2**32))
        print(f"seed {seed}")
        untouched, replacing = Observed(random.Random(seed)), Replacing(seed)
        storm(untouched)
        storm(replacing)
        assert replacing.steps == untouched.steps
        assert replacing.digest.digest() == untouched.digest.digest()
        replacements += replacing.replacements
    assert replacements > 100


# ---- the judge finds what is left out ----------------------------------------------

AT_REST = frozenset({"pdu", "port_moved", "ready"})
"""Ended by the machines in the step in which they begin, or with what needs them."""


def fresh_port(port: SavedPort) -> SavedPort:
    """A port of the same number that has just been added."""
    engine = Engine(Settings(port.partner.system), 0)
    engine.add_port(
        port.number, "02:00:5e:00:00:00", 1, replace(port.medium, up=False), 0
    )
    engine.take_outputs()
    return engine.saved().ports[0]


class Forgetful(Replacing):
    """Leaves one field of every port out of what is saved."""

    def __init__(self, seed: str, field: str) -> None:
        self.field = field
        super().__init__(seed)

    def altered(self, saved: SavedEngine) -> SavedEngine:
        ports = [
            replace(port, **{self.field: getattr(fresh_port(port), self.field)})
            for port in saved.ports
        ]
        return replace(saved, ports=tuple(ports))


def notice(worlds: Iterator[World]) -> None:
    """Fails unless something is wrong in one of them."""
    with pytest.raises((AssertionError, ValueError)):
        deque(map(storm, worlds), maxlen=0)


WORLD_OF = {
    "fallback": 56,
    "held": 41,
    "duplicate_of": 33,
    "goodbye": 20,
    "held_until": 10,
    "loop_while": 7,
}
"""The first world in which a field that seldom matters was missed.  No more than where
to look first: another engine may need another world."""


def worlds_of(field: str) -> list[str]:
    return [f"forget {n}" for n in (WORLD_OF.get(field, 0), *range(WORLDS_MAX))]


FORGETTABLE = [each.name for each in fields(SavedPort) if each.name != "number"]


@pytest.mark.parametrize("field", [name for name in FORGETTABLE if name not in AT_REST])
def test_a_field_that_is_left_out_is_noticed(field: str) -> None:
    notice(Forgetful(seed, field) for seed in worlds_of(field))


class Amnesic(Replacing):
    """Leaves one field of the engine out."""

    def __init__(self, seed: str, field: str) -> None:
        self.field = field
        super().__init__(seed)

    def altered(self, saved: SavedEngine) -> SavedEngine:
        fresh = Engine(replace(saved.settings, fast=False, key=9), 0, 1).saved()
        return replace(saved, **{self.field: getattr(fresh, self.field)})


@pytest.mark.parametrize("field", [each.name for each in fields(SavedEngine)])
def test_a_field_of_the_engine_that_is_left_out_is_noticed(field: str) -> None:
    notice(Amnesic(seed, field) for seed in worlds_of(field))
