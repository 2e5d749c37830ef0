# SPDX-License-Identifier: BSD-2-Clause
"""The programs in examples/, run as their first lines say."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab import Daemon, Host, Lab, ping
from tests.tree import ROOT
from tests.waiting import in_time

EXAMPLES = ROOT / "examples"
SECONDS = 300
"""Far longer than any takes; reached only by what never ends."""


def run(*command: str) -> str:
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tools" / "packages")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=SECONDS,
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


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host, Daemon]]:
    """near: eth1 eth2  ----  far: a lagg of its own over both."""
    with Lab() as lab:
        near, far = lab.host("near"), lab.host("far")
        for number in (1, 2):
            lab.cable(near, f"eth{number}", far, f"far{number}")
        beyond = lab.daemon(far)
        beyond.ctl("create", "lagg9", "--port", "far1", "--port", "far2")
        beyond.ctl("set", "lagg9", "--failover-rx-all")
        far.add_address("lagg9", "192.0.2.20/24")
        yield near, far, lab.daemon(near)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("first_lagg.sh", "lagg0: failover: eth1\n  the primary carries all"),
        ("with_ifconfig.sh", "\tlaggport: eth1 flags=5<MASTER,ACTIVE>"),
        ("with_ip.sh", "Bonding Mode: fault-tolerance (active-backup)"),
    ],
)
def test_each_way_in_ends_with_a_lagg_that_works(
    hosts: tuple[Host, Host, Daemon], script: str, says: str
) -> None:
    near, _, laggd = hosts
    environment = f"LAGGD_SOCKET={laggd.socket}"
    command = ("env", environment, EXAMPLES / script, "eth1", "eth2")
    done = near.run(*command, timeout_s=SECONDS)
    assert says in done.stdout
    assert done.stderr == ""
    assert [port["name"] for port in laggd.record()["ports"]] == ["eth1", "eth2"]
    assert ping(near, "192.0.2.20").lost == 0


@pytest.mark.parametrize("script", ["first_lagg", "with_ifconfig", "with_ip"])
def test_a_way_in_says_how_it_is_taken(script: str) -> None:
    command = [str(EXAMPLES / f"{script}.sh")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"sudo examples/{script}.sh eth1 eth2" in done.stdout


@pytest.mark.skipif(not shutil.which("ping"), reason="there is no ping here")
def test_the_walk_through_by_hand_works() -> None:
    in_time(lost_just_after, 2)  # what was on its way by that cable is lost


def lost_just_after() -> list[float]:
    """Pings, when a cable was pulled; before and after another protocol was set none.

    Its namespaces have names of their own, so only one can be up at a time.
    """
    printed = run(str(EXAMPLES / "netns_demo.sh"))
    found = re.findall(r"(\d+) packets transmitted, (\d+) received", printed)
    before, just_after, at_last = (int(sent) - int(came) for sent, came in found)
    assert (before, at_last) == (0, 0)
    return [just_after]
