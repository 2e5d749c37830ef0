# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl import`: another system's configuration as a laggd.toml on stdout.

Owns how a kind of file is told from the others.  What has no equivalent becomes a
comment that says so; nothing is applied.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lagg.cli.import_bonding import from_commands, from_ifcfg, from_ifupdown
from lagg.cli.import_others import from_rc_conf, from_teamd
from lagg.cli.imported import Laggs
from lagg.cli.output import DONE, UsageError, say
from lagg.cli.reading import read_file
from lagg.files import FILE_BYTES_MAX

if TYPE_CHECKING:
    import argparse

_SIGNS = {
    "rc.conf": r"^\s*cloned_interfaces=",
    "ifupdown": r"^\s*iface\s",
    "ifcfg": r"^\s*(?:BONDING_\w+|MASTER)=",
    "ip": r"^\s*(?:sudo\s+)?ip\s+l(?:ink)?\s",
}


def import_(arguments: argparse.Namespace) -> int:
    """The files, which belong together, as one."""
    texts = {name: _read(name) for name in arguments.files}
    laggs = list(converted(texts))
    if not laggs:
        raise UsageError(f"{' '.join(texts)}: no bond, team or lagg is in there")
    head = f"# From {', '.join(texts)} by laggctl import; see laggd.toml(5).\n"
    toml = "\n".join([head, *(lagg.toml() for lagg in laggs)])
    say(json.dumps({"toml": toml}) if arguments.json else toml.rstrip("\n"))
    return DONE


def converted(texts: Mapping[str, str]) -> Laggs:
    """The laggs of files, by file name.  UsageError when it is of no known kind."""
    try:
        return _converted(texts)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # Somebody's file, whose every way to be broken nobody lists.
        raise UsageError(f"{' '.join(texts)}: not understood: {error}") from error


def _converted(texts: Mapping[str, str]) -> Laggs:
    whole = "\n".join(texts.values())
    if whole.lstrip().startswith("{"):
        return from_teamd(json.loads(whole))
    for kind, sign in _SIGNS.items():
        if re.search(sign, whole, re.MULTILINE):
            return _CONVERTERS[kind](texts)
    known = "rc.conf, teamd's JSON, /etc/network/interfaces, ifcfg files, ip commands"
    raise UsageError(f"{' '.join(texts)}: none of {known}")


_CONVERTERS: dict[str, Callable[[Mapping[str, str]], Laggs]] = {
    "rc.conf": lambda texts: from_rc_conf("\n".join(texts.values())),
    "ifupdown": lambda texts: from_ifupdown("\n".join(texts.values())),
    "ifcfg": from_ifcfg,
    "ip": lambda texts: from_commands("\n".join(texts.values())),
}


def _read(name: str) -> str:
    return read_file(name, most=FILE_BYTES_MAX).decode("utf-8", "replace")
