# SPDX-License-Identifier: BSD-2-Clause
"""laggctl: commands in, calls to laggd's socket, pages or JSON out.

Owns how a command's end becomes an exit code.  The commands are a table in parser.py;
each one's module is loaded when it runs.  Knows no rule about values: laggd checks
them, and `check` uses laggd's own reader.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import cast

from lagg.cli.output import (
    DONE,
    IFCONFIG,
    NO_DAEMON,
    REFUSED,
    USAGE,
    UsageError,
    abandon_stdout,
    complain,
    finish,
    open_streams,
    run_as_ifconfig,
    say_refusal,
)
from lagg.cli.parser import parsed
from lagg.control.client import NoDaemonError
from lagg.errors import LaggError


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    open_streams()
    line = _line(words)
    try:
        return _run(line)
    except LaggError as error:
        return _refused(line, error, REFUSED)
    except UsageError as error:
        told = LaggError("laggctl", str(error), errno.EINVAL)
        return _refused(line, told, USAGE, str(error))
    except NoDaemonError as error:
        told = LaggError("laggd", str(error), errno.ECONNREFUSED)
        return _refused(line, told, NO_DAEMON, str(error))
    except KeyboardInterrupt:
        return DONE
    except BrokenPipeError:
        abandon_stdout()  # `laggctl show | head -1` is no error
        return DONE


def _refused(
    line: Sequence[str], error: LaggError, code: int, words: str | None = None
) -> int:
    """Says why on stderr, and to a program on stdout, too; answers the exit code."""
    if "--json" in line:
        say_refusal(error)
    return complain(str(error) if words is None else words, code)


def _run(line: Sequence[str]) -> int:
    try:
        arguments = parsed(line)
    finally:
        finish()  # for --help, which prints and leaves
    code = cast(int, arguments.run(arguments))
    finish()
    return code


def _line(words: Sequence[str] | None) -> Sequence[str]:
    """The words, with `ifconfig` before them when a link of that name was run."""
    if words is not None:
        return words
    return [IFCONFIG, *sys.argv[1:]] if run_as_ifconfig() else sys.argv[1:]
