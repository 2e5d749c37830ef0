# SPDX-License-Identifier: BSD-2-Clause
"""The largest rate that a trial passes, by halving, as RFC 2544 (26.1) has it.

Pure: what a trial is, the caller knows.
"""

from collections.abc import Callable

Trial = Callable[[float], float | None]
"""Takes a rate to try; the rate that was really sent when all arrived, else None."""


def largest(trial: Trial, highest: float, *, steps: int, attempts: int) -> float:
    """The largest rate up to `highest` that passed; 0 when none did.

    Known to `highest` / 2 ** `steps`.  A rate fails when `attempts` trials of it do, so
    that one pause of the machine does not end a search far below.
    """
    passed, low, high = 0.0, 0.0, highest
    for step in range(steps + 1):
        rate = highest if step == 0 else (low + high) / 2
        sent = _first(trial, rate, attempts)
        if sent is None:
            high = rate
        else:
            passed, low = max(passed, sent), rate
        if low >= high:
            break
    return passed


def _first(trial: Trial, rate: float, attempts: int) -> float | None:
    """The first trial that passes."""
    for _ in range(attempts):
        sent = trial(rate)
        if sent is not None:
            return sent
    return None
