# SPDX-License-Identifier: BSD-2-Clause
"""tools/demo, as a person runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab import abandoned
from lab.host import NETNS_DIRECTORY
from tests.tree import ROOT

DEMO_SECONDS = 300
"""60 are promised, but on a machine that does nothing else."""

WHOLE = (ROOT / "tools" / "demo",)
FIRST_CHAPTER = """
import sys
from demo import __main__ as demo
demo.Demo.run = demo.Demo._pings
sys.exit(demo.main())
"""
BRIEF = (sys.executable, "-c", FIRST_CHAPTER)
"""As it begins and ends; what is between, the whole one shows."""


def run_demo(
    *options: str, program: tuple[str | Path, ...] = WHOLE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program, *options],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tools" / "packages")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEMO_SECONDS,
    )


def labs() -> set[str]:
    return {path.name for path in NETNS_DIRECTORY.glob("lagg-demo-*")}


@pytest.mark.alone
def test_the_demo_holds_what_it_claims_and_leaves_nothing() -> None:
    before = labs()
    done = run_demo()
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert "Everything held" in done.stdout
    assert labs() <= before
    # Each of the changes that may lose nothing, in both directions.
    assert len(re.findall(r"lost 0 a to b, 0 b to a", done.stdout)) >= 6


@pytest.mark.alone
def test_a_kept_demo_stays_until_it_is_removed(long_run: bool) -> None:
    before = set(abandoned(kept=True))
    done = run_demo("--keep", program=WHOLE if long_run else BRIEF)
    print(done.stdout, done.stderr)
    (name,) = set(abandoned(kept=True)) - before
    shown = re.findall(r"\S+laggctl --socket \S+ show", done.stdout)
    try:
        assert len(shown) == 2
        for command in shown:
            page = subprocess.run(
                command.split(), capture_output=True, text=True, check=True
            )
            assert page.stdout.startswith("lagg0: ")
    finally:
        removed = run_demo("--remove")
    assert f"{name} removed" in removed.stdout
    assert labs() & {f"{name}-a", f"{name}-b"} == set()
