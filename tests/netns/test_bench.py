# SPDX-License-Identifier: BSD-2-Clause
"""tools/bench, as a person runs it, as briefly as it goes: no number is judged."""

import re
import subprocess

import pytest

from lab import abandoned
from lab.host import NETNS_DIRECTORY
from tests.tree import ROOT

BENCH_SECONDS = 120
SHORT = ("--rounds", "1", "--seconds", "0.3")

RUNS = {
    "bench": ((*SHORT, "--proto", "failover"), "| failover |"),
    "reconfigure": (
        ("reconfigure", *SHORT, "--count", "2"),
        "| laggd: protocol switch |",
    ),
}
"""Label of its lab: options, and a row of its table."""


def left(label: str) -> set[str]:
    """Namespaces of labs of that name, and directories."""
    found = {path.name for path in NETNS_DIRECTORY.glob(f"lagg-{label}-*")}
    return found | {name for name in abandoned() if label in name}


@pytest.mark.alone
@pytest.mark.parametrize("label", RUNS)
def test_it_prints_a_table_and_leaves_nothing(label: str) -> None:
    options, row = RUNS[label]
    before = left(label)
    done = subprocess.run(
        [ROOT / "tools" / "bench", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=BENCH_SECONDS,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert row in done.stdout
    assert re.search(r"^\|(---\|)+", done.stdout, re.MULTILINE)
    assert left(label) <= before
