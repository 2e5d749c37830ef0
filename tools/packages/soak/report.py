# SPDX-License-Identifier: BSD-2-Clause
"""What a run shows: how often each action came about, what was refused, the faults.

Owns the table that is printed.  Pure.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from soak.actors import Actor, Outcome

Outcomes = dict[tuple[str, str], Outcome]  # by kind of actor and action


def outcomes(actors: Sequence[Actor]) -> Outcomes:
    """What they did, those of one kind together."""
    found: Outcomes = {}
    for actor in actors:
        for what, new in actor.outcomes.items():
            key = (actor.kind, what)
            found[key] = found.get(key, Outcome()) + new
    return found


def idle(found: Outcomes) -> list[str]:
    """Actions that never succeeded: of these a run shows nothing."""
    return [" ".join(key) for key, outcome in found.items() if not outcome.done]


@dataclass(slots=True)
class Report:
    """What ran, and what was wrong."""

    seed: int
    outcomes: Outcomes = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    readings: int = 0
    frames: dict[str, dict[str, int]] = field(default_factory=dict)  # by lagg
    numbers: dict[str, object] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def idle(self) -> list[str]:
        """Actions that never succeeded: of these the run shows nothing."""
        return idle(self.outcomes)

    def __str__(self) -> str:
        lines = [
            f"{'who':8}{'what':18}{'done':>8}{'refused':>8}{'mean ms':>9}{'max':>8}"
        ]
        for (who, what), found in self.outcomes.items():
            mean_ms = 1000 * found.seconds / ((found.done + found.refused) or 1)
            counts = f"{found.done:8}{found.refused:8}"
            times = f"{mean_ms:9.1f}{1000 * found.slowest_s:8.0f}"
            lines.append(f"{who:8}{what:18}{counts}{times}")
        lines += [f"{name}: {value}" for name, value in self.numbers.items()]
        lines += [f"never succeeded: {each}" for each in self.idle]
        lines += [f"FAULT (seed {self.seed}): {each}" for each in self.faults]
        return "\n".join(lines)
