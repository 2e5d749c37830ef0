# SPDX-License-Identifier: BSD-2-Clause
"""CPU: what processes and the whole machine took, and where processes may run."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

OTHER_CPU, CLIENT_CPU = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
"""Generators run on the second, and clients whose place matters; who polls, on the
first."""

ANY_CPU = -1
"""Wherever the scheduler wants."""

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_IDLE, _IOWAIT = 3, 4
_COUNTED = 8  # columns of /proc/stat; guests are in user already


def taken_ns(pids: Sequence[int]) -> int:
    """All threads of these processes, so far."""
    return sum(_thread_ns(task) for task in _tasks(pids))


def _thread_ns(task: Path) -> int:
    try:
        return int((task / "schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has ended


def busy_ns() -> int:
    """All CPUs but for their idling, so far; in steps of a clock tick."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    columns = list(map(int, line.split()[1 : 1 + _COUNTED]))
    return (sum(columns) - columns[_IDLE] - columns[_IOWAIT]) * _TICK_NS


def busy_percent(seconds: float) -> float:
    """The load of all CPUs together, for so long from now on."""
    before, start_ns = busy_ns(), time.monotonic_ns()
    time.sleep(seconds)
    every_ns = (time.monotonic_ns() - start_ns) * (os.cpu_count() or 1)
    return 100 * (busy_ns() - before) / every_ns


@contextmanager
def pinned(pids: Sequence[int], cpu: int) -> Iterator[None]:
    """All threads of these processes run on one CPU while the block does, or on any."""
    tasks = map(_tid, _tasks(pids)) if cpu != ANY_CPU else ()
    before = {task: _affinity(task) for task in tasks}
    for task in before:
        _set_affinity(task, {cpu})
    try:
        yield
    finally:
        for task, cpus in before.items():
            _set_affinity(task, cpus)


def _tasks(pids: Sequence[int]) -> list[Path]:
    return [task for pid in pids for task in Path(f"/proc/{pid}/task").glob("*")]


def _tid(task: Path) -> int:
    return int(task.name)


def _affinity(task: int) -> set[int]:
    with suppress(ProcessLookupError):
        return os.sched_getaffinity(task)
    return set()


def _set_affinity(task: int, cpus: set[int]) -> None:
    with suppress(ProcessLookupError):
        os.sched_setaffinity(task, cpus or os.sched_getaffinity(0))
