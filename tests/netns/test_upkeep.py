# SPDX-License-Identifier: BSD-2-Clause
"""What laggd does beside operations goes on, whatever happens to it once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.netlink.watch import Watch
from tests.netns.driver_world import World

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
    return world.driver.health().ailments


def test_after_one_failure_the_kernel_is_followed_again_and_nothing_was_missed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, failures = Watch._take, [ValueError("4 is not a valid AddrGenMode")]

    def fail_once(watch: Watch, datagrams_max: int) -> int:
        taken = take(watch, datagrams_max)
        if taken and failures:
            watch._aside.clear()  # what it read is lost
            raise failures.pop()
        return taken

    monkeypatch.setattr(Watch, "_take", fail_once)
    world.carrier(0, up=False)
    world.wait(lambda: world.carrying() == ["p1"], "the lost event was acted upon")
    assert not failures
    assert ailments(world) == (
        "following the kernel's events ended: 4 is not a valid AddrGenMode",
    )
    world.carrier(0, up=True)
    world.wait(lambda: world.carrying() == ["p0"], "a later one is told")
    world.wait(lambda: ailments(world) == (), "laggd is well again")


@pytest.mark.parametrize("failing", ["spare_sniffers", "listen_all"])
def test_after_one_failure_groups_are_looked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    failures = [RuntimeError("for a test")]
    fleet = world.driver._fleet
    works = getattr(fleet, failing)

    def fail_once() -> None:
        if failures:
            raise failures.pop()
        works()

    monkeypatch.setattr(fleet, failing, fail_once)
    world.wait(lambda: not failures, "the poll failed")
    ailing = ("looking for groups and sniffers ended: for a test",)
    world.wait(lambda: ailments(world) == ailing, "it is known")
    world.ip(f"maddr add {GROUP} dev lagg0")
    world.wait(lambda: GROUP_MAC in world.groups("p0"), "the port hears the group")
