# SPDX-License-Identifier: BSD-2-Clause
"""Instructions of the hot path for a frame, in user space: noise does not move them.

Owns how they are counted: callgrind runs a worker over frames that wait for it, twice,
and what the larger number takes more is divided by the frames it has more.
"""

import re
import shutil
from pathlib import Path

from bench.systems import hosts
from lab.host import Host
from lab.lab import Lab
from lab.program import build

HERE = Path(__file__).parent
FEW, MANY = 64, 320  # whole bursts, and less than a TAP's queue has room for
WAYS = ("out", "in")
COLLECTED = re.compile(r"Collected *: *(\d+)")


def lacking() -> str | None:
    """Why they cannot be counted here; None when they can."""
    return None if shutil.which("valgrind") else "no valgrind: install valgrind"


def count(lab: Lab) -> dict[str, float]:
    """By way, a frame of 60 bytes through one port under loadbalance."""
    near, _ = hosts(lab, "count", ports=0)
    lab.cable(near, "p0", near, "q0")
    return {
        way: (_all(near, way, MANY) - _all(near, way, FEW)) / (MANY - FEW)
        for way in WAYS
    }


def _all(near: Host, way: str, frames: int) -> int:
    program = build("hotpath", HERE, native=True)
    only = ("--toggle-collect=carry", "--callgrind-out-file=/dev/null")
    done = near.run("valgrind", "--tool=callgrind", *only, program, way, str(frames))
    found = COLLECTED.search(done.stderr)
    assert found is not None, done.stderr
    return int(found[1])
