# SPDX-License-Identifier: BSD-2-Clause
"""tools/bench, as a person runs it, as briefly as it goes: no number is judged."""

import re
import subprocess
from pathlib import Path
from tempfile import gettempdir

import pytest

from bench.peers import PEERS
from lab import abandoned
from lab.host import NETNS_DIRECTORY
from tests.tree import ROOT

BENCH_SECONDS = 300
SHORT = ("--rounds", "1", "--seconds")
METRICS = ("frames", "lossless", "gso", "latency", "workers", "instructions")

RUNS = {
    "bench": (
        (
            *(*SHORT, "0.1", "--proto", "failover", "--beside=--no-xdp", "--no-peers"),
            *(f"--only={metric}" for metric in METRICS),
        ),
        "| failover --no-xdp |",
    ),
    "peers": (
        (*SHORT, "0.1", "--proto", "failover", "--only", "latency"),
        "| failover |",
    ),
    "reconfigure": (
        ("reconfigure", *SHORT, "0.3", "--count", "2"),
        "| laggd: protocol switch |",
    ),
    "start": (("start", "--rounds", "1"), "| ready |"),
    "restart": (
        ("restart", "--case", "lacp", "--count", "1", "--rate", "100"),
        "| lacp | SIGKILL forwarder |",
    ),
    "announce": (("announce", "--count", "1"), "| primary deleted |"),
}
"""Options, and a row of its table."""


def left() -> set[str]:
    """Benches in which nobody works any more, by a directory or by a namespace."""
    labels = ("bench", "reconfigure", "start", "restart", "announce")
    spaces = (NETNS_DIRECTORY.glob(f"lagg-{label}-*") for label in labels)
    owners = {"-".join(path.name.split("-")[:3]) for each in spaces for path in each}
    orphans = {name for name in owners if not Path(gettempdir(), name).exists()}
    return orphans | {
        name for name in abandoned() if any(each in name for each in labels)
    }


@pytest.mark.parametrize("run", RUNS)
def test_it_prints_a_table_and_leaves_nothing(run: str) -> None:
    options, row = RUNS[run]
    before = left()
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
    for peer in PEERS if run == "peers" else ():
        assert f"| {peer} |" in done.stdout or f"Not here: {peer} (" in done.stdout
    assert re.search(r"^\|( ?--- ?\|)+", done.stdout, re.MULTILINE)
    assert left() <= before
