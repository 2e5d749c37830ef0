# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl top` on a terminal: its alternate screen, by curses.

Owns the rhythm, the terminal, and that it is left as it was found whatever ends us.
Knows no page: top_view.py has its lines and what keys mean.
"""

from __future__ import annotations

import curses
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn, cast

from lagg.cli.fold import runs
from lagg.cli.output import STAND_IN_ERRORS, paint
from lagg.cli.top_rates import History
from lagg.cli.top_view import Screen, pressed, room_of, screen_lines
from lagg.control.client import START_S, Client, NoDaemonError

if TYPE_CHECKING:
    from lagg.records import LaggRecord

_KEYS = {
    curses.KEY_UP: "up",
    curses.KEY_DOWN: "down",
    curses.KEY_PPAGE: "page up",
    curses.KEY_NPAGE: "page down",
    curses.KEY_HOME: "home",
    curses.KEY_END: "end",
}

_COLOURS = {"31": curses.COLOR_RED, "32": curses.COLOR_GREEN, "33": curses.COLOR_YELLOW}

_STOPPED = 128
"""A shell's exit code for a program that a signal ended, less the signal."""


def can_draw() -> bool:
    """Whether both ends are a terminal that can be drawn on."""
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    try:
        curses.setupterm()
    except curses.error:
        return False
    return bool(curses.tigetstr("cup") and curses.tigetstr("clear"))


def run(socket: str, name: str | None, interval_s: float, count: int | None) -> None:
    """Until q, or for `count` pages.  NoDaemonError at first, LaggError at any time."""
    watched = _Watched(socket, name)
    watched.look()  # before the screen is taken: a refusal is a line
    with _screen() as window:
        _loop(window, watched, interval_s, count)


class _Watched:
    """The records, by one laggd after another."""

    def __init__(self, socket: str, name: str | None) -> None:
        self.history = History()
        self.missing = ""  # why there are no new ones, in words
        self._socket = socket
        self._name = name
        self._client: Client | None = Client(socket, START_S)

    def look(self) -> None:
        """Reads them anew; without a laggd all stays, and `missing` says so."""
        try:
            if self._client is None:
                self._client = Client(self._socket)
            found = self._client.call("List", name=self._name)["laggs"]
        except NoDaemonError:
            self._client = None
            self.missing = "laggd is gone; waiting"
            return
        self.missing = ""
        self.history.add(cast("list[LaggRecord]", found), time.monotonic_ns())


def _loop(
    window: curses.window, watched: _Watched, interval_s: float, count: int | None
) -> None:
    screen, shown, due = Screen(), 0, time.monotonic() + interval_s
    pen = _Pen(window)
    while True:
        clock, size = time.strftime("%H:%M:%S"), window.getmaxyx()
        lines, screen = screen_lines(
            watched.history, screen, clock, size, pen.paint, watched.missing
        )
        pen.write(lines)
        if shown == count:
            return
        key = _key_until(window, due)
        if key is not None:
            screen = pressed(screen, key, room_of(size[0]))
        if screen.ended:
            return
        if time.monotonic() >= due:
            due, shown = time.monotonic() + interval_s, shown + 1
            if not screen.still:
                watched.look()


def _key_until(window: curses.window, due: float) -> str | None:
    """The name of the next one; None: it is time, or the terminal has another size."""
    window.timeout(max(round(1000 * (due - time.monotonic())), 0))
    key = window.getch()
    if key < 0 or key == curses.KEY_RESIZE:
        return None
    return _KEYS.get(key, chr(key) if key < curses.KEY_MIN else "")


class _Pen:
    """Writes lines with colours to the screen."""

    def __init__(self, window: curses.window) -> None:
        self.paint = paint()
        self._window = window
        self._codes: Mapping[str, int] = _attributes()

    def write(self, lines: list[str]) -> None:
        """These are the screen's; what is as before costs nothing."""
        self._window.erase()
        for y, line in enumerate(lines):
            x = 0
            for code, text in runs(line):
                # The last cell of all cannot be written without moving on.
                with suppress(curses.error):
                    self._window.addstr(
                        y, x, self._known(text), self._codes.get(code, 0)
                    )
                x += len(text)
        self._window.refresh()

    def _known(self, text: str) -> str:
        """As the locale can write it, a stand-in for each character that it cannot."""
        encoding = self._window.encoding
        return text.encode(encoding, STAND_IN_ERRORS).decode(encoding)


def _attributes() -> dict[str, int]:
    found = {"1": curses.A_BOLD, "7": curses.A_REVERSE}
    if curses.has_colors():
        curses.use_default_colors()
        for number, (code, colour) in enumerate(_COLOURS.items(), 1):
            curses.init_pair(number, colour, -1)
            found[code] = curses.color_pair(number)
    return found


@contextmanager
def _screen() -> Iterator[curses.window]:
    """The alternate screen; SIGTERM and SIGHUP leave it, too."""
    window = curses.initscr()
    try:
        with _ended_by(signal.SIGTERM, signal.SIGHUP):
            curses.noecho()
            curses.cbreak()
            window.keypad(True)
            with suppress(curses.error):
                curses.start_color()
            with suppress(curses.error):  # a terminal without it keeps its cursor
                curses.curs_set(0)
            yield window
    finally:
        curses.endwin()


@contextmanager
def _ended_by(*numbers: signal.Signals) -> Iterator[None]:
    def end(number: int, _: object) -> NoReturn:
        raise SystemExit(_STOPPED + number)

    before: dict[signal.Signals, Callable[..., object] | int | None] = {
        number: signal.signal(number, end) for number in numbers
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
