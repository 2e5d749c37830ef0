# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl sysctl`: FreeBSD's net.link.lagg knobs, where they mean something here.

Which option a knob is, says its row in lagg/options.py.  A default counts for laggs
created after it was set (not for those of a configuration file, which says all) until
laggd ends; what lagg(4) has for all laggs at once is set on every lagg there is, too.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, cast

from lagg.cli.daemon import laggd_of
from lagg.cli.output import DONE, UsageError, say
from lagg.cli.words import whole
from lagg.control.client import Client
from lagg.errors import LaggError
from lagg.option_row import Kind
from lagg.options import OPTIONS

if TYPE_CHECKING:
    import argparse

TREE = "net.link.lagg"


KNOBS = {
    f"{TREE}.{row.freebsd.knob}": row
    for row in sorted(OPTIONS, key=lambda row: not row.freebsd.every_lagg)
    if row.freebsd.knob
}
"""Their options; what is of every lagg at once stands first."""

MEANINGLESS = {
    f"{TREE}.default_use_numa": "laggd knows no NUMA domains",
    f"{TREE}.lacp.debug": "laggd --log-level debug logs what LACP does",
}


def sysctl(arguments: argparse.Namespace) -> int:
    """Reads and sets in the order given; what is not right is refused beforehand."""
    with laggd_of(arguments) as laggd:
        known = laggd.call("Defaults")["options"].keys()
        wanted = [_parsed(word) for word in _expanded(arguments.knobs, known)]
        found = {name: _done(laggd, name, value) for name, value in wanted}
    if arguments.json:
        say(json.dumps({name: pair[1] for name, pair in found.items()}))
        return DONE
    for name, (before, after) in found.items():
        change = f"{after}" if before is None else f"{before} -> {after}"
        say(str(after) if arguments.bare else f"{name}: {change}")
    return DONE


def _expanded(words: list[str], known: Collection[str]) -> list[str]:
    """A part of the tree as the knobs below it whose options this laggd knows."""
    found: list[str] = []
    for word in words:
        below = (name for name in KNOBS if name.startswith(f"{word}."))
        inside = [name for name in below if KNOBS[name].key in known]
        found += inside or [word]
    return found


def _parsed(word: str) -> tuple[str, int | None]:
    name, equals, value = word.partition("=")
    if name in MEANINGLESS:
        raise LaggError(name, MEANINGLESS[name], errno.EOPNOTSUPP)
    if name not in KNOBS:
        known = ", ".join(KNOBS)
        raise LaggError(name, f"no such knob; one of {known}", errno.ENOENT)
    if not equals:
        return name, None
    try:
        return name, whole(value)
    except ValueError:
        raise UsageError(f"{name}: {value!r} is not a whole number") from None


def _done(laggd: Client, name: str, value: int | None) -> tuple[int | None, int]:
    """The value before, if it was set now, and the value."""
    option = KNOBS[name]
    switch = option.value is Kind.SWITCH
    before = _read(laggd, name)
    if value is None:
        return None, before
    if switch and value not in (0, 1):
        raise LaggError(name, f"{value} is neither 0 nor 1", errno.EINVAL)
    options = {option.key: bool(value) if switch else value}
    laggd.call("Defaults", options=options)
    if option.freebsd.every_lagg:
        for lagg in laggd.call("List")["laggs"]:
            laggd.call("Set", name=lagg["name"], options=options)
    return before, _read(laggd, name)


def _read(laggd: Client, name: str) -> int:
    options = cast("dict[str, Any]", laggd.call("Defaults")["options"])
    key = KNOBS[name].key
    if key not in options:
        raise LaggError(name, "this laggd does not know it", errno.EOPNOTSUPP)
    return int(options[key])
