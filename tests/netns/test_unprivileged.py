# SPDX-License-Identifier: BSD-2-Clause
"""laggd as its unit starts it: no root, two capabilities, system calls filtered.

The environment variable LAGG_AS_USER=1 starts every laggd of the netns suite so.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab, Pair, wait_until
from lab.daemon import AS_USER, LAGGD, UNPRIVILEGED
from tests.leftovers import nft_tables
from tests.netns.ethtool import features, set_feature
from tests.netns.partners import Steered, lost_nothing
from tests.netns.steer import Tally
from tests.tree import ROOT

PROTOS = ("roundrobin", "broadcast", "loadbalance", "failover")
DEADLINE_S = 60

CORE = ("test_spreads.py", "test_events.py")
"""Every protocol by its frames; whatever the kernel or a user does to lagg and port."""


def may_run() -> bool:
    """Whether somebody else may execute the laggd of this tree at all."""
    words = ["setpriv", f"--reuid={UNPRIVILEGED}", "--clear-groups"]
    done = subprocess.run([*words, LAGGD, "--help"], capture_output=True, check=False)
    return done.returncode == 0


pytestmark = pytest.mark.skipif(
    not may_run(), reason="another user may not read the directory of this tree"
)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    os.environ[AS_USER] = "1"
    try:
        with Lab() as lab:
            options = ("--failover-rx-all",)
            yield Pair(lab, cables=3, patched=True, options=options)
    finally:
        del os.environ[AS_USER]


def status_of(path: Path) -> dict[str, str]:
    rows = (line.partition(":") for line in path.read_text().splitlines())
    return {name: value.strip() for name, _, value in rows}


def tasks_of(pid: int) -> list[dict[str, str]]:
    return [status_of(each / "status") for each in Path(f"/proc/{pid}/task").iterdir()]


def test_it_is_nobody_with_two_capabilities_and_its_workers_have_none(
    pair: Pair,
) -> None:
    laggd = pair.a.laggd
    control = status_of(Path(f"/proc/{laggd.pid}/status"))
    assert set(control["Uid"].split()) == {str(UNPRIVILEGED)}
    assert control["Groups"] == ""
    assert int(control["CapEff"], 16) == int(control["CapPrm"], 16) == 0x3000
    assert (control["NoNewPrivs"], control["Seccomp"]) == ("1", "2")
    tasks = {pid: tasks_of(pid) for pid in (laggd.pid, laggd.carrier)}
    every = [task for those in tasks.values() for task in those]
    assert {(each["NoNewPrivs"], each["Seccomp"]) for each in every} == {("1", "2")}
    assert len(tasks[laggd.carrier]) > 1  # lagg0's worker
    assert {int(each["CapPrm"], 16) for each in tasks[laggd.carrier]} == {0}


def test_everything_is_changed_under_traffic_and_nothing_is_lost(pair: Pair) -> None:
    steered = Steered(pair)
    tallies = [Tally(steer) for steer in steered.steers]
    with pair.streaming(rate=4_000, flows=8) as run:
        for proto in PROTOS:
            pair.ctl("set", "--proto", proto, "--mtu", "1400")
        for end, port in zip(pair.ends, ("p2", "q2"), strict=True):  # it is idle
            end.laggd.ctl("detach", "lagg0", port)
            end.laggd.ctl("attach", "lagg0", port)
    lost_nothing(tallies, *run.results)
    steered.close()
    pair.conserved()


def test_a_cable_is_cut_and_the_lagg_goes_on(pair: Pair) -> None:
    pair.ctl("set", "--proto", "loadbalance")
    pair.cables[0].cut()
    pair.wait_until_links(2)
    assert pair.ping().lost == 0
    pair.cables[0].mend()
    pair.wait_until_links(3)


def test_a_mac_is_set_on_the_lagg_and_all_its_ports(pair: Pair) -> None:
    host, mac = pair.a.host, "02:00:5e:00:53:77"
    before = host.link("lagg0").mac
    pair.a.laggd.ctl("set", "lagg0", "--mac", mac)
    assert {host.link(name).mac for name in ("lagg0", "p0", "p1", "p2")} == {mac}
    pair.a.host.set_link("lagg0", mtu=1300)
    wait_until(lambda: host.link("p1").mtu == 1300, DEADLINE_S, "the ports follow")
    pair.a.laggd.ctl("set", "lagg0", "--mac", before)  # its neighbour has it by heart


def test_a_port_is_deaf_and_is_put_back(pair: Pair) -> None:
    laggd, host = pair.b.laggd, pair.b.host
    assert host.inside(nft_tables), "its ports are deaf"
    laggd.ctl("detach", "lagg0", "q1")
    assert host.link("q1").mtu == 1500
    assert host.link("q1").mac != host.link("lagg0").mac
    laggd.ctl("attach", "lagg0", "q1")


def test_an_offload_of_a_port_is_off_and_is_put_back(pair: Pair) -> None:
    laggd, host, offload = pair.b.laggd, pair.b.host, "rx-gro-list"
    laggd.ctl("detach", "lagg0", "q1")
    host.inside(set_feature, "q1", offload, on=True)
    laggd.ctl("attach", "lagg0", "q1")
    assert offload not in host.inside(features, "q1")
    laggd.ctl("detach", "lagg0", "q1")
    assert offload in host.inside(features, "q1")
    host.inside(set_feature, "q1", offload, on=False)
    laggd.ctl("attach", "lagg0", "q1")


def test_after_sigkill_the_next_one_goes_on(pair: Pair) -> None:
    laggd, host = pair.a.laggd, pair.a.host
    held = host.ifindex("lagg0")
    laggd.kill()
    laggd.start()
    assert [port["name"] for port in laggd.record()["ports"]] == ["p0", "p1", "p2"]
    assert host.ifindex("lagg0") == held
    assert pair.ping().lost == 0


def test_after_sigkill_of_both_the_next_start_puts_back_and_takes_over(
    pair: Pair,
) -> None:
    laggd, host = pair.a.laggd, pair.a.host
    taken = host.link("p1").mac
    laggd.kill()
    laggd.kill_forwarder()
    wait_until(lambda: not host.has_link("lagg0"), DEADLINE_S, "the TAP is gone")
    remembered = laggd.state_dir / "ports.json"
    assert remembered.stat().st_uid == UNPRIVILEGED
    assert host.link("p1").mac == taken  # nobody was there to put it back
    laggd.start()
    wait_until(lambda: host.link("p1").mac != taken, DEADLINE_S, "its MAC is put back")
    wait_until(lambda: host.link("p1").mtu == 1500, DEADLINE_S, "its MTU is put back")
    laggd.ctl("create", "lagg0", "--port", "p0", "--port", "p1", "--port", "p2")
    assert laggd.stop() == 0, laggd.log_tail()
    assert not remembered.exists()


@pytest.mark.long
def test_the_core_of_the_suite_passes_so() -> None:
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        + [str(here / name) for name in CORE],
        cwd=ROOT,
        env=os.environ | {AS_USER: "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 20
