# SPDX-License-Identifier: BSD-2-Clause
"""What a laggd costs while there is nothing to do."""

import time
from collections.abc import Sequence
from pathlib import Path

from lab import Daemon, wait_until
from tests.netns.bare import PORTS, Bare
from tests.netns.partners import Partners
from tests.netns.steer import DEADLINE_S

SECONDS = 2.0
SHARE_MAX = 0.005


def cpu_seconds(daemon: Daemon) -> float:
    """The CPU time of all threads; /proc/PID/stat's ticks are too coarse."""
    pids = {daemon.pid, daemon.carrier}
    tasks = (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def shares(daemons: Sequence[Daemon]) -> list[float]:
    """The share of a CPU that each takes from now on, for SECONDS."""
    before = [cpu_seconds(daemon) for daemon in daemons]
    start = time.monotonic()
    wait_until(lambda: time.monotonic() - start >= SECONDS, 2 * SECONDS, "time passes")
    seconds = time.monotonic() - start
    after = [cpu_seconds(daemon) for daemon in daemons]
    return [(end - begin) / seconds for begin, end in zip(before, after, strict=True)]


def await_idleness(*daemons: Daemon) -> None:
    """Until none takes more than it may; what happened before may take a moment."""
    seen: list[list[float]] = []

    def idle() -> bool:
        seen.append(shares(daemons))
        return max(seen[-1]) < SHARE_MAX

    wait_until(idle, DEADLINE_S, "laggd is idle")
    print(seen)


def test_idle_laggds_take_no_cpu(partners: Partners) -> None:
    await_idleness(*(end.laggd for end in partners.pair.ends))


def test_a_pulled_cable_does_not_keep_a_worker_busy(bare: Bare) -> None:
    for number in range(len(PORTS)):
        bare.cut(number)
    await_idleness(bare.laggd)


def test_a_port_that_is_set_down_does_not_keep_a_worker_busy(bare: Bare) -> None:
    """Each socket of a port that goes down reports an error until it is read."""
    for port in PORTS[:2]:
        bare.near.set_link(port, state="down")
    bare.steer.wait_link(*PORTS[:2], up=False)
    await_idleness(bare.laggd)
    bare.near.set_link(PORTS[0], state="up")
    bare.steer.wait_link(PORTS[0], up=True)
    assert bare.ways([bytes(60)]) == [(0,)]
