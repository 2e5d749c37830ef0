# SPDX-License-Identifier: BSD-2-Clause
"""The programs in examples/, run as their first lines say."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.tree import ROOT

EXAMPLES = ROOT / "examples"


def run(*command: str) -> str:
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tools")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("proto", ["loadbalance", "roundrobin", "broadcast"])
def test_crafted_flows_go_where_laggd_counts_them(proto: str) -> None:
    printed = run(sys.executable, str(EXAMPLES / "crafted_flows.py"), "--proto", proto)
    assert "they agree" in printed


def test_two_daemons_stay_partners() -> None:
    printed = run(sys.executable, str(EXAMPLES / "two_daemons.py"))
    assert printed.count("corrupt 0") == 8


@pytest.mark.skipif(not shutil.which("ping"), reason="there is no ping here")
def test_the_walk_through_by_hand_works() -> None:
    # Its namespaces have names of their own, so only one can be up at a time.
    printed = run(str(EXAMPLES / "netns_demo.sh"))
    # Before, just after a cable was pulled, and after another protocol was set.
    before, just_after, at_last = re.findall(r"transmitted, (\d) received", printed)
    assert (before, at_last) == ("3", "3")
    assert int(just_after) >= 2  # what was on its way by that cable is lost
