# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for a condition: the only place in the lab that sleeps.

Owns how slow this machine is.
"""

import os
import time
from collections.abc import Callable

POLL_S, POLL_MOST_S = 0.002, 0.1
REST_SHARE = 3
"""How many times as long as a look takes nobody looks: one that starts processes, in a
row, would take a core from what it waits for."""

SLOWNESS = float(os.environ.get("LAGG_SLOWNESS", "1"))
"""By how much all takes longer than usual here, as where a processor is emulated:
deadlines are as many times later, looks as many times rarer, and streams thinner."""


def wait_until(predicate: Callable[[], object], deadline_s: float, what: str) -> float:
    """Polls until `predicate()` is true; returns the seconds that it took.

    TimeoutError with `what` after `deadline_s`, of a machine that is not slow.  The
    predicate is asked once more at the deadline, so that a machine that was asleep does
    not fail what did happen.
    """
    start = time.monotonic()
    deadline_s *= SLOWNESS
    while True:
        looked = time.monotonic()
        late = looked - start >= deadline_s
        if predicate():
            return time.monotonic() - start
        if late:
            raise TimeoutError(f"not within {deadline_s} s: {what}")
        rest_s = REST_SHARE * (time.monotonic() - looked)
        time.sleep(min(max(rest_s, POLL_S), POLL_MOST_S) * SLOWNESS)
