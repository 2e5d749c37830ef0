# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl top` on a real terminal: what a person sees there, and what keys do."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyte
import pytest

from tests.control.world import World, world_at
from tests.tree import ROOT
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

DEADLINE_S = 60
ALTERNATE, NORMAL = b"\x1b[?1049h", b"\x1b[?1049l"


class Terminal:
    """A terminal of some size with laggctl top on it."""

    def __init__(self, path: str, lines: int, columns: int, **extra: str) -> None:
        self.written = b""
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, its = pty.openpty()
        termios.tcsetwinsize(its, (lines, columns))
        unset = ("NO_COLOR", "LINES", "COLUMNS")
        environment = {k: v for k, v in os.environ.items() if k not in unset}
        environment |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | extra
        words = ("--socket", path, "top", "--interval", "0.1")
        self.program = subprocess.Popen(
            [sys.executable, "-m", "lagg", *words],
            cwd=ROOT,
            stdin=its,
            stdout=its,
            stderr=its,
            env=environment,
            start_new_session=True,
        )
        os.close(its)

    def close(self) -> None:
        self.program.kill()
        self.program.wait()
        os.close(self._ours)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def resize(self, lines: int, columns: int) -> None:
        self.screen.resize(lines, columns)
        termios.tcsetwinsize(self._ours, (lines, columns))
        self.program.send_signal(signal.SIGWINCH)  # it is no session's terminal

    def read(self) -> None:
        """What has come so far."""
        while select.select([self._ours], [], [], 0.02)[0]:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # its other end is closed
                return
            self.written += piece
            self._stream.feed(piece)

    def wait(self, holds: Callable[[list[str]], bool], what: str) -> list[str]:
        """The lines, once they are as is wanted."""

        def looks() -> bool:
            self.read()
            return holds(self.lines)

        wait_until(looks, DEADLINE_S, f"{what}\n{self}")
        return self.lines

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    def ended(self) -> int:
        """Its exit code, once it has one."""

        def has() -> bool:
            self.read()
            return self.program.poll() is not None

        wait_until(has, DEADLINE_S, "it ends")
        self.read()
        return self.program.wait()


@contextmanager
def terminal(
    path: str, lines: int = 40, columns: int = 120, **extra: str
) -> Iterator[Terminal]:
    found = Terminal(path, lines, columns, **extra)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def eight(world: World) -> World:
    """Eight laggs of eight ports."""
    for at in range(8):
        ports = [f"e{at}p{port}" for port in range(8)]
        world.call("Create", name=f"lagg{at}", proto="loadbalance", ports=ports)
    return world


def is_whole(lines: list[str]) -> bool:
    return lines[0].startswith("laggd ") and "q end" in lines[-1]


def test_it_draws_scrolls_helps_and_ends(eight: World) -> None:
    with terminal(eight.path) as top:
        lines = top.wait(is_whole, "the page")
        assert "8 laggs" in lines[0]
        assert lines[2].startswith("lagg0")
        assert lines[-1].startswith("1-37 of 72")
        assert top.written.count(ALTERNATE) == 1
        top.press("\x1bOF")  # End, of a keypad in application mode
        lines = top.wait(lambda lines: lines[-1].startswith("36-72 of 72"), "the end")
        assert lines[-2].startswith("  e7p7")
        assert lines[0].startswith("laggd ")
        top.press("h")
        top.wait(lambda lines: "by a line" in "".join(lines), "help")
        top.press("xp")
        top.wait(lambda lines: lines[9].startswith("lagg7") and not lines[10], "laggs")
        top.press("q")
        assert top.ended() == 0
        assert top.written.count(NORMAL) == 1
        assert top.written.index(ALTERNATE) < top.written.index(NORMAL)


def test_it_fits_a_terminal_that_gets_another_size(eight: World) -> None:
    with terminal(eight.path) as top:
        top.wait(is_whole, "the page")
        for lines, columns in ((20, 60), (50, 150)):
            top.resize(lines, columns)
            top.wait(lambda seen: is_whole(seen) and bool(seen[-2]), "all of it")
            assert len(top.lines) == lines
            assert max(map(len, top.lines)) <= columns


def test_colours_are_left_out_where_they_are_not_wanted(eight: World) -> None:
    with terminal(eight.path, NO_COLOR="1") as top:
        top.wait(is_whole, "the page")
        top.press("q")
        assert top.ended() == 0
        assert b"\x1b[32m" not in top.written
        assert ALTERNATE in top.written


def test_a_dumb_terminal_gets_one_page_after_another(eight: World) -> None:
    with terminal(eight.path, TERM="dumb") as top:
        top.wait(lambda _: top.written.count(b"8 laggs") > 1, "two pages")
        assert ALTERNATE not in top.written
        assert b"\x1b[3" not in top.written


@pytest.mark.usefixtures("busy")
def test_a_locale_without_bars_gets_stand_ins(world: World) -> None:
    world.call("Create", name="lagg0", ports=["eth0"])
    with terminal(
        world.path, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0"
    ) as top:
        top.wait(lambda lines: bool(set("=+*#@") & set(lines[3])), "bars")
        top.press("q")
        assert top.ended() == 0
        assert top.written.isascii()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whatever_ends_it_the_terminal_is_as_it_was(
    eight: World, number: signal.Signals
) -> None:
    with terminal(eight.path) as top:
        top.wait(is_whole, "the page")
        top.program.send_signal(number)
        assert top.ended() == (0 if number is signal.SIGINT else 128 + number)
        assert top.written.rindex(NORMAL) > top.written.index(ALTERNATE)
        assert b"Traceback" not in top.written


@pytest.fixture
def left(tmp_path: Path) -> Iterator[tuple[Terminal, str]]:
    """One whose laggd is gone, and where the next one is to listen."""
    path = str(tmp_path / "laggd.sock")
    with ExitStack() as ends:
        with world_at(path) as first:
            first.call("Create", name="lagg0", ports=["eth0"])
            top = ends.enter_context(terminal(path, 24, 120))
            top.wait(is_whole, "the page")
        os.unlink(path)
        yield top, path


def test_it_waits_for_the_next_laggd_and_keys_work_meanwhile(
    left: tuple[Terminal, str],
) -> None:
    top, path = left
    top.wait(lambda lines: "laggd is gone; waiting" in lines[0], "it is gone")
    assert top.lines[2].startswith("lagg0")
    top.press("h")
    top.wait(lambda lines: lines[2].startswith("q "), "help")
    top.press("x")
    with world_at(path) as second:
        second.call("Create", name="lagg9")
        top.wait(lambda lines: lines[2].startswith("lagg9"), "the next one")
        assert "gone" not in top.lines[0]
        top.press("q")
        assert top.ended() == 0


def test_without_a_daemon_a_line_says_so_and_no_screen_is_taken(tmp_path: Path) -> None:
    with terminal(str(tmp_path / "none.sock")) as top:
        assert top.ended() == 3
        assert ALTERNATE not in top.written
        assert b"laggctl: " in top.written
