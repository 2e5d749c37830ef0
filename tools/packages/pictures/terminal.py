# SPDX-License-Identifier: BSD-2-Clause
"""laggctl on a terminal of some size, inside a host: what stands there, with colours.

Owns the terminal.  Its lines have the SGR codes that screen.py knows.
"""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

import pyte

from lab.daemon import LAGGCTL
from lab.pair import End
from lagg.cli.said import BOLD, coloured
from lagg.cli.top_view import REVERSE
from pictures.screen import last_page

SIZE = (50, 130)  # lines, columns
END_S = 60
_CODES = {"red": "31", "green": "32", "brown": "33"}


def on_terminal(end: End, *words: str, columns: int = SIZE[1]) -> str:
    """All that it writes until it ends."""
    with _started(end, words, (SIZE[0], columns)) as (terminal, _):
        return last_page(_all(terminal).decode())


def screen_after(
    end: End, *words: str, seconds: float, size: tuple[int, int] = SIZE
) -> str:
    """The screen of one that draws on it, after so long; it is ended by q."""
    lines, columns = size
    screen = pyte.Screen(columns, lines)
    stream = pyte.ByteStream(screen)
    with _started(end, words, size) as (terminal, process):
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            if select.select([terminal], [], [], left_s)[0]:
                stream.feed(os.read(terminal, 65536))
        drawn = [_line(screen.buffer[y], columns) for y in range(lines)]
        os.write(terminal, b"q")
        _all(terminal)
        process.wait(END_S)
    return "\n".join(drawn)


def _line(cells: dict[int, pyte.screens.Char], columns: int) -> str:
    """A row of the screen, with a code around each run of cells that has one."""
    row = [cells[x] for x in range(columns)]
    return "".join(
        coloured("".join(cell.data for cell in run), code)
        for code, run in groupby(row, _code)
    ).rstrip()


def _code(cell: pyte.screens.Char) -> str | None:
    if cell.reverse:
        return REVERSE
    return BOLD if cell.bold else _CODES.get(cell.fg)


@contextmanager
def _started(
    end: End, words: tuple[str, ...], size: tuple[int, int]
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    unset = ("NO_COLOR", "LINES", "COLUMNS")
    environment = {k: each for k, each in os.environ.items() if k not in unset}
    environment |= {"TERM": "xterm", "LC_ALL": "C.UTF-8"}
    environment |= {"LAGGD_SOCKET": str(end.laggd.socket)}
    command = end.host.command(LAGGCTL, *words)
    try:
        with subprocess.Popen(
            command, stdin=its, stdout=its, env=environment, start_new_session=True
        ) as process:
            os.close(its)
            yield ours, process
    finally:
        os.close(ours)


def _all(terminal: int) -> bytes:
    """Until its other end is closed, which reads as EIO."""
    found = b""
    while True:
        try:
            found += os.read(terminal, 65536)
        except OSError:
            return found
