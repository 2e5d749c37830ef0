# SPDX-License-Identifier: BSD-2-Clause
"""What FakeCommands say of a change that is rehearsed or on trial; nothing reverts."""

import errno
from collections.abc import Collection

from lagg.errors import LaggError
from lagg.model import Manner
from lagg.plan.outcome import Outcome
from lagg.plan.shift import Move, PortShift, Shift
from lagg.records import TrialRecord

AT = "2026-01-02T03:04:05.000006Z"

DONE: dict[str, object] = {"changes": [], "trial": None, "shifts": []}
"""What a change that is made for good answers, but for a reload's lines."""


class FakeTrials:
    """Changes that nobody has confirmed yet."""

    def __init__(self) -> None:
        self.tried: list[TrialRecord] = []

    def outcome(
        self, name: str, manner: Manner, lines: Collection[str] = ()
    ) -> Outcome:
        """What a rehearsal would move is of no interest here, and made up."""
        if manner.rehearsed:
            ports = (PortShift("p0", 1.0, 0.5, 256, 128),)
            moves = (Move("p0", "p1", 128, 0.5),)
            return Outcome(("a line",), shifts=(Shift(name, ports, moves),))
        if manner.confirm_ms is None:
            return Outcome(tuple(lines))
        trial = TrialRecord(laggs=[name], until=AT, left_ms=manner.confirm_ms)
        self.tried.append(trial)
        return Outcome(tuple(lines), trial=trial)

    def end(self, name: str | None) -> tuple[str, ...]:
        """Ends the trial of a lagg, or all; the names of their laggs."""
        found = [each for each in self.tried if name in (None, *each["laggs"])]
        if not found:
            raise LaggError(name or "laggd", "nothing on trial", errno.ENOENT)
        self.tried = [each for each in self.tried if each not in found]
        return tuple(lagg for each in found for lagg in each["laggs"])
