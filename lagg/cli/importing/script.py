# SPDX-License-Identifier: BSD-2-Clause
"""Shell scripts that set up laggs or bonds: of sysrc(8), ifconfig(8), ip(8), sysfs.

Owns which reader a command is for, and the files that a script writes.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lagg.cli.importing import rc_conf
from lagg.cli.importing.bonding import Bonds
from lagg.cli.importing.draft import Drafts
from lagg.cli.importing.linux import CommandReader, plain
from lagg.cli.importing.shell import KEYWORDS, ShellCommand, assignment, commands
from lagg.cli.importing.text import Source

_HEADS = frozenset(("ip", "ifenslave", "sysrc", "ifconfig"))
_WRITERS = frozenset(("cat", "tee"))
_SYSFS = "/sys/class/net/"


def is_script(source: Source) -> bool:
    """Whether one of its lines begins with such a command."""
    begun = ((_head(text), text) for text in _parts(source))
    sets_up = any(h in _HEADS or (h == "echo" and _SYSFS in t) for h, t in begun)
    return sets_up or writes_files(source)


def writes_files(source: Source) -> bool:
    """Whether it has files in it, as here-documents."""
    return any(_head(text) in _WRITERS and "<<" in text for text in _parts(source))


def _parts(source: Source) -> Iterator[str]:
    """Roughly its commands."""
    for line in source.text.splitlines():
        yield from re.split(r"[;&|]+", line)


def _head(text: str) -> str:
    """The command's name; empty where it has no word beside."""
    words = text.split()
    while words and words[0] in KEYWORDS:
        words = words[1:]
    words = plain(words)
    return words[0].rpartition("/")[2] if len(words) > 1 else ""


def files_of(source: Source) -> list[Source]:
    """The files that a script writes from its lines: `cat > /etc/rc.conf << EOF`."""
    return [
        Source(name, command.here)
        for command in commands(source.text)
        for name in _written(command)
        if command.here is not None
    ]


def _written(command: ShellCommand) -> list[str]:
    words = plain(command.words)
    if words[:1] == ["cat"] and command.target:
        return [command.target]
    if words[:1] == ["tee"]:
        return [word for word in words[1:] if not word.startswith("-")][:1]
    return []


def read(sources: Sequence[Source], bonds: Bonds, drafts: Drafts) -> None:
    """Each command by the reader that knows it."""
    variables, linux = rc_conf.Variables(), CommandReader(bonds)
    for source in sources:
        for command in commands(source.text):
            sets_variables = all(map(assignment, command.words))
            if not sets_variables and not variables.take(command):
                linux.take(command, f"{source.base} line {command.line}")
    linux.finish(drafts)
    if variables.values:
        rc_conf.add_laggs(variables, drafts)
