# SPDX-License-Identifier: BSD-2-Clause
"""A pulled cable of the kind that the kernel is slow to tell of."""

from collections.abc import Callable

import pytest

from lab import Lab, Pair, wait_until

FRAMES = 2_000


@pytest.mark.alone
def test_a_pull_the_kernel_holds_back_is_noticed_while_frames_flow() -> None:
    """Every NIC's carrier loss is told at most once a second over all namespaces."""
    with Lab() as lab:
        pair = Pair(lab, options=("--failover-rx-all",), like_hardware=True)
        for _ in range(3):  # the second and the third are within that second
            with pair.streaming(rate=10_000, flows=4) as run:
                wait_until(flowing(pair), 5, "frames flow")
                pair.cables[0].cut()
                wait_until(lambda: active(pair) == "p1", 5, "p1 carries")
                pair.cables[0].mend()
                wait_until(lambda: active(pair) == "p0", 5, "p0 carries again")
            assert run.there.outage_ms_max < 200, run.there
            pair.conserved()


def flowing(pair: Pair) -> Callable[[], bool]:
    begun = pair.a.record()["counters"]["tx_in"]
    return lambda: bool(pair.a.record()["counters"]["tx_in"] > begun + FRAMES)


def active(pair: Pair) -> str | None:
    ports = pair.a.record()["ports"]
    return next((p["name"] for p in ports if "ACTIVE" in p["flags"]), None)
