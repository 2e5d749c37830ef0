# SPDX-License-Identifier: BSD-2-Clause
"""`top` on a whole screen, less the terminal: keys, scrolling, help, a laggd gone."""

import pytest

from lagg.cli.fold import columns_of
from lagg.cli.said import coloured, plain
from lagg.cli.top_page import Order, Scale
from lagg.cli.top_rates import History
from lagg.cli.top_view import HELP, Screen, pressed, room_of, screen_lines
from lagg.model import LaggConfig
from tests.control.world import record_of

PAGE = 10


@pytest.fixture
def eight() -> History:
    """Eight laggs of eight ports."""
    found = History()
    ports = [[f"e{lagg}p{port}" for port in range(8)] for lagg in range(8)]
    configs = [LaggConfig(f"lagg{at}", ports=tuple(ports[at])) for at in range(8)]
    found.add([record_of(config) for config in configs], 1)
    return found


def after(*keys: str, screen: Screen | None = None) -> Screen:
    found = screen or Screen()
    for key in keys:
        found = pressed(found, key, PAGE)
    return found


def test_each_key_changes_what_it_says() -> None:
    assert after("q").ended
    assert after(" ").still
    assert not after(" ", " ").still
    assert after("o").view.order is Order.OUT
    assert after(*"ooooo").view.order is Order.SLOT
    assert after("s").view.scale is Scale.PORT
    assert after("r").view.backwards
    assert not after("p").view.ports
    assert after("down", "down", "up").at == 1
    assert after("up").at == 0
    assert after("page down", "page down", "page up").at == PAGE
    assert after("end", "home") == Screen()
    assert after("x", "", "\x1b") == Screen()


def test_help_is_shown_until_any_key(eight: History) -> None:
    screen = after("h")
    lines, _ = screen_lines(eight, screen, "", (30, 100), plain)
    assert lines[2 : 2 + len(HELP)] == list(HELP)
    assert after("x", screen=screen) == Screen()
    assert after("q", screen=screen).ended


@pytest.mark.parametrize("size", [(40, 120), (24, 60), (5, 80), (2, 20), (1, 1)])
def test_the_screen_is_as_large_as_the_terminal(
    eight: History, size: tuple[int, int]
) -> None:
    lines, _ = screen_lines(eight, Screen(), "12:00:00", size, coloured)
    assert len(lines) == size[0]
    assert max(map(columns_of, lines)) <= size[1]


def test_eight_laggs_of_eight_ports_are_reached_on_forty_lines(eight: History) -> None:
    found: list[str] = []
    screen = Screen()
    for _ in range(3):
        lines, screen = screen_lines(eight, screen, "", (40, 100), plain)
        assert lines[0].startswith("laggd ")
        assert lines[1].startswith("  port")
        assert "q end" in lines[-1]
        found += [line.split()[0] for line in lines[2:-1] if line]
        screen = pressed(screen, "page down", room_of(40))
    names = {name for at in range(8) for name in (f"lagg{at}", *ports_of(at))}
    assert set(found) == names
    lines, screen = screen_lines(eight, after("end"), "", (40, 100), plain)
    assert screen.at == 72 - 37
    assert lines[-1].startswith("36-72 of 72  q end")


def ports_of(lagg: int) -> list[str]:
    return [f"e{lagg}p{port}" for port in range(8)]


def test_it_says_that_nothing_new_comes_and_why(eight: History) -> None:
    lines, _ = screen_lines(eight, after(" "), "now", (9, 120), plain, "laggd is gone")
    head = "laggd  now  8 laggs  laggd is gone  order as they are"
    assert lines[0].startswith(head)
    assert lines[0].endswith("held still")
