# SPDX-License-Identifier: BSD-2-Clause
"""What a command leaves behind: an exit code, lines on stdout, a complaint on stderr.

Owns the exit codes and when a page has colours.  Knows no command.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from lagg.show import Paint, coloured, plain

if TYPE_CHECKING:  # at run time it would cost a command a tenth of its start-up
    import argparse

DONE = 0
REFUSED = 1
USAGE = 2
NO_DAEMON = 3


IFCONFIG = "ifconfig"
"""The name of a link to laggctl under which it speaks FreeBSD's grammar alone."""


class UsageError(Exception):
    """A command that cannot be meant; argparse did not notice."""


def say(text: str) -> None:
    """A line or page on stdout, at once: who reads a pipe waits for it."""
    print(text, flush=True)


def complain(line: str, code: int) -> int:
    """The one line that says why, on stderr; answers the exit code."""
    program = IFCONFIG if run_as_ifconfig() else "laggctl"
    print(f"{program}: {line}", file=sys.stderr)
    return code


def run_as_ifconfig() -> bool:
    """Whether this program was started by such a link."""
    return os.path.basename(sys.argv[0]) == IFCONFIG


def done(arguments: argparse.Namespace) -> int:
    """A change that is done says nothing, unless a program reads."""
    if arguments.json:
        say(json.dumps({"name": arguments.name, "done": arguments.command}))
    return DONE


def paint() -> Paint:
    """Colours for a person's terminal only (https://no-color.org)."""
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return coloured if sys.stdout.isatty() and not unwanted else plain
