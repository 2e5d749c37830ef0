# SPDX-License-Identifier: BSD-2-Clause
"""Files that a command is given, or the kernel's: read whole, with a bound.

Owns what happens with a file that does not end, as /dev/zero, and with one that cannot
be read.  Knows no format.
"""

from __future__ import annotations

import sys

from lagg.cli.output import UsageError

STDIN = "-"
"""The name under which a command takes its standard input."""


def read_file(name: str, *, most: int) -> bytes:
    """At most `most` bytes of the file, or of stdin.  UsageError names it."""
    try:
        data = _read(name, most + 1)
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error
    except ValueError as error:  # of a name that no file can have
        raise UsageError(f"{name!r}: {error}") from error
    if len(data) > most:
        raise UsageError(f"{name}: has more than {most} bytes")
    return data


def _read(name: str, most: int) -> bytes:
    if name != STDIN:
        with open(name, "rb") as opened:
            return opened.read(most)
    if sys.stdin is None:
        raise UsageError(f"{name}: the standard input is closed")
    return sys.stdin.buffer.read(most)
