# SPDX-License-Identifier: BSD-2-Clause
"""What runs for long outlives laggd: killed, and begun anew with its configuration."""

import itertools
import json
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from lab import Lab, wait_until
from lab.daemon import LAGGCTL
from tests.netns.bare import silence
from tests.netns.frames import ether
from tests.netns.test_capture import Packet, packets

DEADLINE_S = 60.0
CONFIG = '[[lagg]]\nname = "lagg0"\nports = ["p0"]\nannounce_count = 0\n'
SAID = "laggctl: laggd is gone; waiting\nlaggctl: laggd is back\n"


class World:
    """A lagg0 of a file, its one cable, and a laggd that can be killed."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.near, self.far = lab.host("near"), lab.host("far")
        for host in (self.near, self.far):
            silence(host)
        lab.cable(self.near, "p0", self.far, "q0")
        config = directory / "laggd.toml"
        config.write_text(CONFIG)
        self.laggd = lab.daemon(self.near, config=config)
        self.said = directory / "said"

    @contextmanager
    def following(
        self, *words: str, out: IO[bytes] | int = subprocess.PIPE, name: str = "said"
    ) -> Iterator["subprocess.Popen[str]"]:
        """laggctl beside it, which ends with the block; `name`: of what it says."""
        base = (LAGGCTL, "--socket", self.laggd.socket)
        with self.said.with_name(name).open("wb") as said:
            process = self.near.popen(*base, *words, stdout=out, stderr=said)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """Kills laggd and lagg0; returns when whoever follows has noticed."""
        self.laggd.kill()
        self.laggd.kill_forwarder()
        wait_until(lambda: "gone" in self.told(), DEADLINE_S, "it is noticed")

    def told(self, name: str = "said") -> str:
        return self.said.with_name(name).read_text()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Lab() as lab:
        yield World(lab, tmp_path)


def told_of(process: "subprocess.Popen[str]", event: str) -> None:
    """Reads what is printed until it tells of such an event."""
    assert process.stdout is not None
    while json.loads(process.stdout.readline())["event"] != event:
        pass


def change(world: World, process: "subprocess.Popen[str]") -> None:
    """Changes lagg0 until there is something to read, and takes that."""
    assert process.stdout is not None
    printed, limits = process.stdout, itertools.cycle(("2", "3"))

    def is_told() -> bool:
        world.laggd.ctl("set", "lagg0", "--rr-limit", next(limits))
        return bool(select.select([printed], [], [], 0.1)[0])

    wait_until(is_told, DEADLINE_S, "an event is printed")
    told_of(process, "option")


def end(process: "subprocess.Popen[str]") -> int:
    process.send_signal(signal.SIGINT)
    return process.wait(DEADLINE_S)


def test_monitor_tells_of_the_next_laggd_and_that_events_were_lost(
    world: World,
) -> None:
    with world.following("--json", "monitor") as following:
        change(world, following)
        world.kill()
        world.laggd.start()
        told_of(following, "events-lost")
        change(world, following)
        assert end(following) == 0
    assert world.told() == SAID


def test_top_goes_on_with_the_next_laggd(world: World) -> None:
    with world.following("--json", "top", "--interval", "0.1") as following:
        assert following.stdout is not None
        shown = [following.stdout.readline()]
        world.kill()
        world.laggd.start()
        wait_until(lambda: "back" in world.told(), DEADLINE_S, "laggd is back")
        shown += [following.stdout.readline() for _ in range(3)]
        assert end(following) == 0
    assert [[lagg["name"] for lagg in json.loads(line)] for line in shown] == (
        4 * [["lagg0"]]
    )
    assert world.told() == SAID


def test_capture_goes_on_at_the_lagg_that_is_made_anew(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "in.pcapng"
    first, second = (ether(bytes([number]) * 46) for number in (1, 2))

    def laggs_known() -> int:
        return path.read_bytes().count(b"the lagg, laggproto failover")

    with (
        path.open("wb") as out,
        world.following("capture", "lagg0", "--count", "4", out=out) as following,
        world.far.packet_socket("q0") as sending,
    ):
        wait_until(lambda: laggs_known() == 1, DEADLINE_S, "the capture begins")
        sending.send(first)
        wait_until(lambda: path.read_bytes().count(first) == 2, DEADLINE_S, "both ways")
        world.kill()
        world.laggd.start()
        wait_until(lambda: laggs_known() == 2, DEADLINE_S, "the next lagg0 is known")
        sending.send(second)
        assert following.wait(DEADLINE_S) == 0
    assert sorted(packets(path)) == sorted(
        Packet(frame, place, comment)
        for frame in (first, second)
        for place, comment in (
            ("lagg0", "in: to lagg0"),
            ("p0", "in: by p0, accepted"),
        )
    )
    assert world.told() == SAID


def test_who_follows_a_laggd_that_is_replaced_goes_on_and_says_so_once(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "in.pcapng"
    first, second = (ether(bytes([number]) * 46) for number in (1, 2))
    with (
        path.open("wb") as out,
        world.far.packet_socket("q0") as sending,
        world.following("--json", "monitor", name="monitor") as monitor,
        world.following("--json", "top", "--interval", "0.1", name="top") as top,
        world.following(
            "capture", "lagg0", "--count", "4", out=out, name="capture"
        ) as capture,
    ):
        wait_until(lambda: path.stat().st_size > 0, DEADLINE_S, "the capture begins")
        change(world, monitor)
        assert top.stdout is not None
        top.stdout.readline()
        sending.send(first)
        wait_until(lambda: path.read_bytes().count(first) == 2, DEADLINE_S, "both ways")
        world.laggd.restart()
        told_of(monitor, "events-lost")
        change(world, monitor)
        wait_until(lambda: told_all(world) == {SAID}, DEADLINE_S, "all go on")
        sending.send(second)
        assert capture.wait(DEADLINE_S) == 0
        assert json.loads(top.stdout.readline())[0]["name"] == "lagg0"
        assert (end(monitor), end(top)) == (0, 0)
    assert [packet.frame for packet in sorted(packets(path))] == 2 * [first] + 2 * [
        second
    ]
    assert path.read_bytes().count(b"the lagg, laggproto failover") == 1  # the same one
    assert told_all(world) == {SAID}


def told_all(world: World) -> set[str]:
    return {world.told(name) for name in ("monitor", "top", "capture")}


def test_a_change_under_way_when_laggd_is_killed_is_in_doubt(world: World) -> None:
    world.laggd.send(signal.SIGSTOP)
    with world.following("set", "lagg0", "--rr-limit", "2") as asking:
        wait_until(lambda: waits_for_laggd(asking.pid), DEADLINE_S, "it is asked")
        world.laggd.kill()
        assert asking.wait(DEADLINE_S) == 3
    assert world.told() == (
        f"laggctl: {world.laggd.socket}: laggd died or was replaced before it"
        " answered: set may be done or not, see laggctl show\n"
    )


def waits_for_laggd(pid: int) -> bool:
    """Whether a laggctl sleeps in recv(2) on its connection."""
    return "unix_stream" in Path(f"/proc/{pid}/wchan").read_text()
