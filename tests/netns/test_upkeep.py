# SPDX-License-Identifier: BSD-2-Clause
"""What laggd does beside operations goes on, whatever happens to it once."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab import Lab
from lagg.kernel.netlink import messages
from lagg.kernel.netlink.watch import Watch
from lagg.link import Link, LinkEvent
from lagg.operations.laggs import Laggs
from lagg.operations.rx_wanted import RxWanted
from tests.netns.commands_world import World
from tests.waiting import wait_until

GROUP, GROUP_MAC = "01:00:5e:7f:00:01", "01005e7f0001"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """lagg0 with p0 and p1."""
    with World(tmp_path) as made:
        made.plug(0, 1)
        made.start()
        made.create("lagg0", "p0", "p1")
        yield made


def ailments(world: World) -> tuple[str, ...]:
    return world.commands.health().ailments


def test_after_one_failure_the_kernel_is_followed_again_and_nothing_was_missed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, failures = Watch.events, [RuntimeError("for a test")]

    waiting: list[Watch] = []

    async def fail_once(watch: Watch) -> list[LinkEvent]:
        waiting.append(watch)
        found = await events(watch)
        if failures:
            raise failures.pop()  # what it read is lost
        return found

    monkeypatch.setattr(Watch, "events", fail_once)
    world.ip("link set lo up")  # so that it is called
    world.wait(lambda: waiting, "the next event will be lost")
    world.carrier(0, up=False)
    world.wait(lambda: world.carrying() == ["p1"], "the lost event was acted upon")
    assert not failures
    assert ailments(world) == ("following the kernel's events ended: for a test",)
    world.carrier(0, up=True)
    world.wait(lambda: world.carrying() == ["p0"], "a later one is told")
    world.wait(lambda: ailments(world) == (), "laggd is well again")


def test_a_message_that_makes_no_sense_ends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    link_of, failures = messages.link_of, [ValueError("for a test")]

    def fail_once(raw: bytes) -> Link | None:
        if failures:
            raise failures.pop()
        return link_of(raw)

    monkeypatch.setattr(messages, "link_of", fail_once)
    world.carrier(0, up=False)
    world.wait(lambda: world.carrying() == ["p1"], "the lost event was acted upon")
    assert not failures
    assert ailments(world) == ()


@pytest.mark.parametrize(
    ("owner", "step", "task"),
    [
        (Laggs, "spare_sniffers", "looking for sniffers and filters"),
        (RxWanted, "update_all", "looking for groups"),
    ],
)
def test_after_one_failure_groups_are_looked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch, owner: type, step: str, task: str
) -> None:
    failures, known = [RuntimeError("for a test")], list[tuple[str, ...]]()
    works = getattr(owner, step)

    def fail_once(*asked: object) -> object:
        if failures:
            raise failures.pop()
        known.append(ailments(world))
        return works(*asked)

    monkeypatch.setattr(owner, step, fail_once)
    world.wait(lambda: known, "the poll failed, and is repeated")
    assert known[0] == (f"{task} ended: for a test",)
    world.ip(f"maddr add {GROUP} dev lagg0")
    world.wait(lambda: GROUP_MAC in world.groups("p0"), "the port hears the group")


def test_a_while_without_descriptors_ends_nothing() -> None:
    """A port's carrier is followed meanwhile, and groups are looked for after it."""
    with Lab() as lab:
        near, far = lab.host("near"), lab.host("far")
        for number in range(2):
            lab.cable(near, f"p{number}", far, f"q{number}")
        laggd = lab.daemon(near)
        laggd.ctl("create", "lagg0", "--port=p0", "--port=p1")
        before = resource.prlimit(laggd.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(laggd.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        wait_until(lambda: laggd.log.read_text().count("open files") >= 2, 30, "2 s")
        far.set_link("q0", state="down")
        wait_until(lambda: " p1: active-port: " in laggd.log.read_text(), 30, "p1")
        resource.prlimit(laggd.pid, resource.RLIMIT_NOFILE, before)
        near.run("ip", "maddr", "add", GROUP, "dev", "lagg0")

        def heard_by() -> set[str]:
            rows = (row.split() for row in near.proc_net("dev_mcast").splitlines())
            return {row[1] for row in rows if row[4] == GROUP_MAC}

        wait_until(lambda: heard_by() == {"lagg0", "p0", "p1"}, 30, "the ports hear")
        assert "Traceback" not in laggd.log.read_text()


def test_silent_clients_leave_a_port_its_descriptors() -> None:
    with Lab() as lab, ExitStack() as crowd:
        near, far = lab.host("near"), lab.host("far")
        lab.cable(near, "p0", far, "q0")
        laggd = lab.daemon(near)
        laggd.stop()
        laggd.limit("--nofile=64")
        laggd.start()
        for _ in range(60):
            silent = crowd.enter_context(socket.socket(socket.AF_UNIX))
            silent.connect(str(laggd.socket))
        laggd.ctl("create", "lagg0", "--proto=lacp", "--port=p0")
        assert [port["name"] for port in laggd.record()["ports"]] == ["p0"]
        assert "open files" not in laggd.log.read_text()
