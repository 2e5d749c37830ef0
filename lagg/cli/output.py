# SPDX-License-Identifier: BSD-2-Clause
"""What a command leaves behind: an exit code, lines on stdout, a complaint on stderr.

Owns the exit codes, when a page has colours, and both streams: nothing else under
lagg/cli writes, so that a full disk, a closed descriptor, a reader that left or a
locale without our characters is met in one place.  Knows no command.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from lagg.cli.said import Paint, coloured, plain
from lagg.errors import LaggError
from lagg.streams import fill_closed

if TYPE_CHECKING:  # at run time it would cost a command a tenth of its start-up
    import argparse

DONE = 0
REFUSED = 1
USAGE = 2
NO_DAEMON = 3


IFCONFIG = "ifconfig"
"""The name of a link to laggctl under which it speaks FreeBSD's grammar alone."""

STAND_INS = dict(zip("▁▂▃▄▅▆▇█├└─│", ".:-=+*#@|`-|", strict=True))
"""For the characters of a page that a locale lacks: bars and branches, in ASCII."""

STAND_IN_ERRORS = "laggctl"


class UsageError(Exception):
    """A command that cannot be meant; argparse did not notice."""


# ---- the streams -------------------------------------------------------------------


def open_streams() -> None:
    """To be called once, before anything is opened or said."""
    fill_closed()
    codecs.register_error(STAND_IN_ERRORS, _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=STAND_IN_ERRORS)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """What the locale cannot write: as ASCII, a foreign name by its escapes."""
    assert isinstance(error, UnicodeEncodeError), "of a stream that is written"
    missing = error.object[error.start : error.end]
    known = (STAND_INS.get(each) or _escaped(each) for each in missing)
    return "".join(known), error.end


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")


def say(text: str) -> None:
    """A line or page on stdout, at once: who reads a pipe waits for it.

    LaggError when it cannot be written; BrokenPipeError when the reader has left.
    """
    _write(f"{text}\n")


def say_file(text: str) -> None:
    """Writes a file's text to stdout, as UTF-8 in any locale.  Raises as say()."""
    say_bytes(f"{text}\n".encode())


def say_bytes(data: bytes) -> None:
    """Writes bytes to stdout.  Raises as say()."""
    _write(data)


def finish() -> None:
    """Writes what argparse left in the buffer.  Raises as say()."""
    if sys.stdout is not None:
        _write("")


def _write(what: str | bytes) -> None:
    if sys.stdout is None:
        raise LaggError("stdout", "it is closed", errno.EBADF)
    try:
        if isinstance(what, bytes):
            sys.stdout.buffer.write(what)
        else:
            sys.stdout.write(what)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise LaggError.of_os("stdout", "write", error) from error


def abandon_stdout() -> None:
    """What is in the buffer goes nowhere; else Python would try again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def warn(line: str) -> None:
    """A line on stderr.  Where that cannot be written, the exit code has to do."""
    if sys.stderr is None:
        return
    program = IFCONFIG if run_as_ifconfig() else "laggctl"
    try:
        print(f"{program}: {line}", file=sys.stderr)
    except OSError:
        return  # there is no other place to say so


def complain(line: str, code: int) -> int:
    """The one line that says why, on stderr; answers the exit code."""
    warn(line)
    return code


def say_refusal(error: LaggError, **more: object) -> None:
    """For a program, on stdout if that can be written."""
    told = {"thing": error.thing, "cause": error.cause, "errno": error.code}
    with suppress(LaggError, BrokenPipeError):
        say(json.dumps({"error": told | more}))


def run_as_ifconfig() -> bool:
    """Whether this program was started by such a link."""
    return os.path.basename(sys.argv[0]) == IFCONFIG


def done(arguments: argparse.Namespace) -> int:
    """A change that is done says nothing, unless a program reads."""
    if arguments.json:
        say(json.dumps({"name": arguments.name, "done": arguments.command}))
    return DONE


def on_terminal() -> bool:
    """Whether a person's terminal is what we write to."""
    return sys.stdout is not None and sys.stdout.isatty()


def width() -> int | None:
    """Characters in a line of that terminal; None without one."""
    return os.get_terminal_size(sys.stdout.fileno()).columns if on_terminal() else None


def clock(at: str) -> str:
    """RFC 3339 as the clock on the wall here shows it; with its date if not today's."""
    from datetime import datetime  # of no use to most commands

    when = datetime.fromisoformat(at).astimezone()
    is_today = when.date() == datetime.now(when.tzinfo).date()
    return when.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def paint() -> Paint:
    """Colours for a person's terminal only (https://no-color.org)."""
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return coloured if on_terminal() and not unwanted else plain
