# SPDX-License-Identifier: BSD-2-Clause
"""What is told of frames that a lagg sent and that came back, and when it is again."""

import errno
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from lagg.errors import LaggError
from lagg.events import EventKind
from lagg.lacp.values import NS
from lagg.model import Drop
from lagg.operations.own_frames import SILENT_NS, OwnFrames
from lagg.plan.shape import Shape
from tests.plan.test_election import shape_of


class World:
    """A lagg whose ports bring back as many frames as a test says."""

    def __init__(self) -> None:
        self.now = NS
        self.came = [0, 0, 0]
        self.told: list[tuple[str, str]] = []
        self.shape = shape_of(loop_guard=True)
        self.refuses = False
        self.adopted = 0
        self.device = self
        self.frames = 0
        laggs = SimpleNamespace(bundles={"lagg0": self})
        self.own_frames = OwnFrames(cast(Any, laggs), lambda: self.now)

    def read(self) -> SimpleNamespace:
        drops = [SimpleNamespace(drops={Drop.OWN_SOURCE: each}) for each in self.came]
        return SimpleNamespace(ports=drops)

    def emit(
        self, event: EventKind, details: str, port: str, cause: str, *, warns: bool
    ) -> None:
        assert (event, bool(cause), warns) == (EventKind.OWN_SOURCE, True, True)
        self.told.append((port, details))

    def adopt(self, shape: Shape) -> None:
        if self.refuses:
            raise LaggError("lagg0", "no room", errno.EAGAIN)
        self.adopted += 1
        self.shape = shape

    def bring(self, slot: int, frames: int, *, after_ns: int = NS) -> None:
        self.now += after_ns
        self.frames += frames
        self.came[slot] += frames
        self.own_frames.look()

    @property
    def looped(self) -> list[int]:
        return [port.slot for port in self.shape.ports if port.looped]


def test_a_loop_is_told_once_and_again_when_it_was_quiet_for_a_minute() -> None:
    world = World()
    for _ in range(100):
        world.bring(1, 50_000)
    world.bring(0, 1)
    for _ in range(2):
        world.bring(1, 3, after_ns=SILENT_NS)
    words = "that the lagg sent came back by it"
    assert world.told == [
        ("eth1", f"50000 frames {words}"),
        ("eth0", f"1 frame {words}"),
        ("eth1", f"3 frames {words}"),
        ("eth1", f"3 frames {words}"),
    ]


def test_the_port_is_kept_out_also_when_the_workers_refused_it_before() -> None:
    world = World()
    world.refuses = True
    world.bring(1, 1)
    assert world.looped == []
    world.refuses = False
    world.bring(1, 1)
    assert world.looped == [1]


def test_where_nobody_is_kept_out_nothing_is_settled_anew() -> None:
    world = World()
    world.shape = shape_of()
    world.bring(1, 1)
    assert (len(world.told), world.adopted) == (1, 0)


def test_what_another_laggd_has_told_of_is_no_news() -> None:
    world = World()
    world.came = [7, 0, 0]
    world.own_frames.begin()
    world.bring(2, 1)
    assert [port for port, _ in world.told] == ["eth2"]


def test_what_comes_by_a_port_that_was_attached_anew_is_counted_anew() -> None:
    world = World()
    world.bring(0, 9)
    world.came[0] = 0
    world.bring(0, 2, after_ns=SILENT_NS)
    assert [details.split()[0] for _, details in world.told] == ["9", "2"]


def test_a_lagg_that_carried_nothing_is_not_read() -> None:
    world = World()
    world.bring(0, 1)
    world.read = None  # type: ignore[method-assign,assignment]
    world.own_frames.look()


def test_of_a_port_that_has_left_nothing_is_kept() -> None:
    world = World()
    world.bring(0, 5)
    world.shape = replace(world.shape, ports=world.shape.ports[1:])
    world.own_frames.look()
    left = {port.link.ifindex for port in world.shape.ports}
    assert world.own_frames._counted.keys() == left
    assert world.own_frames._came_at == {}
