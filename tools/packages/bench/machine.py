# SPDX-License-Identifier: BSD-2-Clause
"""Where and of what a bench was made: what its reader must know to compare."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.daemon import ROOT

SAME = ("commit", "kernel", "cpu", "cpus", "seconds")
"""What rounds of one table must have in common."""


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """What keeps their rounds from being put together; None: nothing."""
    apart = (key for key in SAME if one.get(key) != other.get(key))
    return next((f"{key} {one.get(key)} and {other.get(key)}" for key in apart), None)


def about(words: Sequence[str], seconds: float) -> dict[str, Any]:
    """`words` of the command line, after the command."""
    return {
        "command": " ".join(("sudo tools/bench", *words)),
        "commit": _commit(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "python": platform.python_version(),
        "seconds": seconds,
    }


def _commit() -> str:
    """The commit of the checked out tree, with a + when changed; "?" for none."""
    # Root may measure a user's clone, which git would otherwise refuse to look at.
    git = ("git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT))
    asked = ("describe", "--always", "--dirty=+", "--abbrev=7", "--exclude=*")
    done = subprocess.run((*git, *asked), capture_output=True, text=True, check=False)
    return done.stdout.strip() or "?"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
