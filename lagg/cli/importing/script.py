# SPDX-License-Identifier: BSD-2-Clause
"""Shell scripts that set up laggs or bonds: of sysrc(8), ifconfig(8), ip(8), sysfs.

Owns nothing but which reader a command is for.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lagg.cli.importing import rc_conf
from lagg.cli.importing.bonding import Bonds
from lagg.cli.importing.draft import Drafts
from lagg.cli.importing.linux import Commands, plain
from lagg.cli.importing.shell import KEYWORDS, assignment, commands
from lagg.cli.importing.text import Source

_HEADS = frozenset(("ip", "ifenslave", "sysrc", "ifconfig"))
_SYSFS = "/sys/class/net/"


def is_script(source: Source) -> bool:
    """Whether one of its lines begins with such a command."""
    return any(
        _is_command(part)
        for line in source.text.splitlines()
        for part in re.split(r"[;&|]+", line)
    )


def _is_command(text: str) -> bool:
    words = text.split()
    while words and words[0] in KEYWORDS:
        words = words[1:]
    words = plain(words)
    head = words[0].rpartition("/")[2] if len(words) > 1 else ""
    return head in _HEADS or (head == "echo" and _SYSFS in text)


def read(sources: Sequence[Source], bonds: Bonds, drafts: Drafts) -> None:
    """Each command by the reader that knows it."""
    variables, linux = rc_conf.Variables(), Commands(bonds)
    for source in sources:
        for command in commands(source.text):
            sets_variables = all(map(assignment, command.words))
            if not sets_variables and not variables.take(command):
                linux.take(command, f"{source.base} line {command.line}")
    linux.finish(drafts)
    if variables.values:
        rc_conf.add_laggs(variables, drafts)
