# SPDX-License-Identifier: BSD-2-Clause
"""A lagg outlives whoever decides about it: frames go on, and none is unaccounted for.

A real TAP and real cables in a namespace; the forwarder itself is outside of it, for it
opens nothing.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import Namespace
from lagg.errors import LaggError
from tests.forwarder.carried import ID, SLOTS, Half, Wires, begin
from tests.forwarder.world import DEADLINE_S, Running, listed, refusal, same
from tests.tree import ROOT
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes interfaces")

PASS = 150
"""Frames of one pass_frames(): 50 out, 50 in by each port."""

LAGGD = """
import sys
from pathlib import Path
from lagg.forwarder.client import ForwarderClient
from tests.forwarder.carried import begin

path, *words = sys.argv[1:]
client = ForwarderClient(Path(path))
client.claim()
client.commit()
begin(client, {name: int(fd) for name, fd in (word.split("=") for word in words)})
print("running", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def near() -> Iterator[Namespace]:
    with Namespace() as namespace:
        yield namespace


@pytest.fixture
def wires(near: Namespace) -> Iterator[Wires]:
    made = Wires(near)
    yield made
    made.close()


@pytest.fixture
def half(near: Namespace, wires: Wires) -> Half:
    made = Half.make(near)
    wires.open_ends()
    made.publish(*SLOTS.values())
    return made


def test_frames_pass_and_go_on_when_laggd_is_killed(
    forwarder: Running, near: Namespace, half: Half, wires: Wires
) -> None:
    kept = half.descriptors()
    words = [f"{name}={fd}" for name, fd in kept.items()]
    laggd = subprocess.Popen(
        [sys.executable, "-c", LAGGD, str(forwarder.path), *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tools/packages'}"},
        pass_fds=list(kept.values()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert laggd.stdout is not None
    assert laggd.stdout.readline() == b"running\n"
    wires.pass_frames()
    laggd.kill()
    laggd.communicate()
    wires.pass_frames()

    newcomer = forwarder.client()
    with listed(newcomer) as found:
        assert found.keys() == kept.keys()
        assert all(same(fd, kept[name]) for name, fd in found.items())
    half.close()
    wires.pass_frames()
    adopted = Half.adopt(near, newcomer.list())
    adopted.assert_conserved(3 * PASS)
    newcomer.claim()
    newcomer.commit()
    adopted.publish(SLOTS["p0"])
    adopted.publish(*SLOTS.values())
    wires.pass_frames()
    adopted.assert_conserved(4 * PASS)
    adopted.close()


def test_the_standby_goes_on_where_one_died(
    forwarder: Running, half: Half, wires: Wires
) -> None:
    kept = half.descriptors()
    begin(forwarder.owner(), kept)
    wires.pass_frames()
    forwarder.kill()
    begin(forwarder.owner(), kept, again=True)
    wires.pass_frames()
    half.assert_conserved(2 * PASS)
    half.close()


def test_workers_stop_and_what_waits_meanwhile_passes_when_they_run(
    forwarder: Running, half: Half, wires: Wires
) -> None:
    owner = forwarder.owner()
    begin(owner, half.descriptors())
    for _ in range(3):
        wires.pass_frames()
        owner.stop(ID)
        owner.run(ID, 50)
    wires.pass_frames()
    half.assert_conserved(4 * PASS)
    half.close()


def test_a_port_that_a_plan_names_is_not_let_go(
    forwarder: Running, half: Half, wires: Wires
) -> None:
    owner = forwarder.owner()
    begin(owner, half.descriptors())
    slot = SLOTS["p1"]
    acts: tuple[Callable[[], object], ...] = (
        lambda: owner.unmap(ID, slot),
        lambda: owner.drain(ID, slot, 0),
        lambda: owner.close(ID),
    )
    for act in acts:
        with pytest.raises(LaggError) as error:
            act()
        assert error.value.errno_name == "EBUSY"
    wires.pass_frames()
    half.assert_conserved(PASS)
    half.close()


def test_a_plan_whose_port_is_not_mapped_is_not_carried(
    forwarder: Running, half: Half
) -> None:
    owner = forwarder.owner()
    for name, fd in half.descriptors().items():
        owner.put(name, fd)
    owner.open(ID)
    owner.map(ID, SLOTS["p0"])
    with pytest.raises(LaggError) as error:
        owner.run(ID)
    assert refusal(error.value) == (f"RUN lagg {ID}", "ENOENT")
    half.close()


def test_asked_to_end_it_stops_between_two_bursts_and_its_owner_goes_on(
    forwarder: Running, half: Half, wires: Wires, tmp_path: Path
) -> None:
    kept = half.descriptors()
    begin(forwarder.owner(), kept)
    wires.pass_frames()
    os.kill(forwarder.process.pid, signal.SIGTERM)
    assert forwarder.wait_ended() == 0

    second = Running(tmp_path)
    begin(second.owner(), kept, again=True)
    wires.pass_frames()
    half.assert_conserved(2 * PASS)
    half.close()
    second.close()


def test_asked_to_end_while_nobody_owns_it_it_waits_for_an_owner(
    forwarder: Running, half: Half, wires: Wires
) -> None:
    kept = half.descriptors()
    owner = forwarder.owner()
    begin(owner, kept)
    owner.disconnect()
    os.kill(forwarder.process.pid, signal.SIGTERM)
    wires.pass_frames()
    half.assert_conserved(PASS)
    forwarder.owner()
    assert forwarder.wait_ended() == 0
    half.close()


def test_the_end_takes_the_lagg_away(
    forwarder: Running, near: Namespace, half: Half, wires: Wires
) -> None:
    owner = forwarder.owner()
    begin(owner, half.descriptors())
    wires.pass_frames()
    half.close()
    assert near.has_link("lagg0")
    owner.end()
    assert forwarder.wait_ended() == 0
    wait_until(lambda: not near.has_link("lagg0"), DEADLINE_S, "lagg0 is gone")
