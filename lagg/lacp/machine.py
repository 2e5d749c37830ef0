# SPDX-License-Identifier: BSD-2-Clause
"""A state machine of 802.1AX as a table: rows of a guard and a state, and entries.

Owns how a table is walked.  A machine moves along the first row whose guard holds, runs
the entry of the new state, and looks again, until nothing moves.  Knows no table.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Generic, TypeVar

from lagg.frozen import dataclass
from lagg.lacp.port import Port
from lagg.lacp.values import Instant

S = TypeVar("S", bound=Enum)

Guard = Callable[[Port, Instant], bool]
Entry = Callable[[Port, Instant], None]
Row = tuple[Guard, S]


@dataclass(frozen=True, slots=True)
class Machine(Generic[S]):
    """One figure of the standard.  Rows and entries are keyed by every state of it."""

    figure: str
    start: S
    rows: Mapping[S, tuple[Row[S], ...]]
    entries: Mapping[S, Entry]
    always: tuple[Row[S], ...] = ()  # from any other state, before its rows

    def begin(self, port: Port, now: Instant) -> S:
        """Enter the start state."""
        self.entries[self.start](port, now)
        return self.start

    def settle(self, state: S, port: Port, now: Instant) -> S:
        """The state in which no guard holds any more; their entries have run."""
        for _ in range(len(self.rows) + 1):
            target = self._next(state, port, now)
            if target is None:
                return state
            state = target
            self.entries[state](port, now)
        raise AssertionError(f"{self.figure} does not settle: {port}")

    def _next(self, state: S, port: Port, now: Instant) -> S | None:
        for guard, target in self.always:
            if target is not state and guard(port, now):
                return target
        for guard, target in self.rows[state]:
            if guard(port, now):
                return target
        return None


def always(_port: Port, _now: Instant) -> bool:
    """Holds: the standard's UCT."""
    return True
