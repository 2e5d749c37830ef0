# SPDX-License-Identifier: BSD-2-Clause
"""What came of a change that was asked for, or would come of it.

Owns nothing but the form of the answer.  Pure.
"""

from lagg.frozen import dataclass
from lagg.plan.shift import Shift
from lagg.records import TrialRecord


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to whoever asked for a change, made or rehearsed."""

    lines: tuple[str, ...] = ()  # each change, in words; of one that was made: reloads
    trial: TrialRecord | None = None  # until when it is to be confirmed
    shifts: tuple[Shift, ...] = ()  # of one that was rehearsed
