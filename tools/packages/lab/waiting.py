# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for a condition: the only place in the lab that sleeps."""

import time
from collections.abc import Callable

POLL_S = 0.002


def wait_until(predicate: Callable[[], object], deadline_s: float, what: str) -> float:
    """Polls until `predicate()` is true; returns the seconds that it took.

    TimeoutError with `what` after `deadline_s`.  The predicate is asked once more at
    the deadline, so that a machine that was asleep does not fail what did happen.
    """
    start = time.monotonic()
    while True:
        late = time.monotonic() - start >= deadline_s
        if predicate():
            return time.monotonic() - start
        if late:
            raise TimeoutError(f"not within {deadline_s} s: {what}")
        time.sleep(POLL_S)
