# SPDX-License-Identifier: BSD-2-Clause
"""laggctl: commands in, calls to laggd's socket, pages or JSON out.

Owns how a command's end becomes an exit code.  The commands are a table in parser.py;
each one's module is loaded when it runs.  Knows no rule about values: laggd checks
them, and `check` uses laggd's own reader.
"""

from __future__ import annotations

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
)
from lagg.cli.parser import make_parser
from lagg.control.client import NoDaemonError
from lagg.errors import LaggError


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    open_streams()
    try:
        return _run(_line(words))
    except LaggError as error:
        return complain(str(error), REFUSED)
    except UsageError as error:
        return complain(str(error), USAGE)
    except NoDaemonError as error:
        return complain(str(error), NO_DAEMON)
    except KeyboardInterrupt:
        return DONE
    except BrokenPipeError:
        abandon_stdout()  # `laggctl show | head -1` is no error
        return DONE


def _run(line: Sequence[str]) -> int:
    try:
        arguments = make_parser(line).parse_args(line)
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
