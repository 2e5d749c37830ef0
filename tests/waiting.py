# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for a condition, never for a time: the lab's, for every test.

And times that are asserted all the same, on a machine that does other things, too.
"""

from collections.abc import Callable, Sequence

from lab.waiting import SLOWNESS, wait_until

__all__ = ["in_time", "wait_until"]

ATTEMPTS = 5


def in_time(measure: Callable[[], Sequence[float]], *bounds: float) -> None:
    """Asserts that once of ATTEMPTS times all that is measured is below its bound.

    A machine that is said to be slow has as many times as long.

    What else runs on the machine only adds to a time; what laggd takes is in each.
    """
    seen: list[Sequence[float]] = []
    while len(seen) < ATTEMPTS:
        seen.append(measure())
        if all(
            took < most * SLOWNESS for took, most in zip(seen[-1], bounds, strict=True)
        ):
            return
        print(f"attempt {len(seen)}: {seen[-1]}, not below {bounds}")
    raise AssertionError(f"never below {bounds}: {seen}")
