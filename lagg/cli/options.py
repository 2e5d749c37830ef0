# SPDX-License-Identifier: BSD-2-Clause
"""lagg(4)'s options as words of the command line, and as a request.

Owns how a value is written; whether it is allowed is for laggd to say.  The words
themselves are of the rows in lagg/options.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from lagg.cli.output import UsageError
from lagg.cli.words import SECONDS_RANGE, listed, number, seconds
from lagg.option_row import Kind, Option, Whole
from lagg.options import OPTIONS
from lagg.port_options import PORT_OPTIONS

_LISTS = (Kind.LAYERS, Kind.NAMES, Kind.PINS)

PROTO_WORDS = (
    "failover (a new lagg's), roundrobin, loadbalance, lacp, broadcast, tlb, alb, none"
)


def add_lagg_options(command: argparse.ArgumentParser) -> None:
    """What `create` and `set` have in common."""
    command.add_argument("--proto", metavar="P", help=PROTO_WORDS)
    command.add_argument(
        "--mac", metavar="M", help="as 02:00:5e:00:53:01; a port's unless given"
    )
    command.add_argument(
        "--mtu",
        metavar="N",
        type=number,
        help="in bytes, 68 to 65521; the first port's unless given",
    )
    for row in OPTIONS:
        _add(command, row)


def add_port_options(command: argparse.ArgumentParser) -> None:
    """What only `set` has: who is to carry, and the options of one port."""
    command.add_argument(
        "--active",
        metavar="IF",
        help="failover, tlb, alb: this port is active, until it fails; '': any",
    )
    command.add_argument(
        "--port",
        metavar="IF",
        help="the port whose priority, weight, hold, ... is set",
    )
    for row in PORT_OPTIONS:
        _add(command, row)
    command.add_argument(
        "--hold-for",
        metavar="S",
        type=seconds,
        help=f"hold the port for S seconds, {SECONDS_RANGE}",
    )


def _add(command: argparse.ArgumentParser, row: Option) -> None:
    if row.value is Kind.SWITCH:
        command.add_argument(
            row.flag, action=argparse.BooleanOptionalAction, help=_help(row)
        )
        return
    # Of a list of watches the flag has one; the others give the whole.
    action = "append" if row.value is Kind.WATCHES else "store"
    command.add_argument(
        row.flag,
        metavar=row.metavar,
        type=_reader(row),
        help=_help(row),
        action=action,
    )


def _help(row: Option) -> str:
    """Its line, with what a number may be, and what it is by default."""
    notes = []
    if isinstance(row.value, Whole):
        least, most, zero = row.value
        notes.append(f"1 to {most}, or {zero}" if zero else f"{least} to {most}")
    if row.usual not in (None, ()):
        notes.append(f"default {option_words(row.usual)}")
    return f"{row.help} ({'; '.join(notes)})" if notes else row.help


def option_words(value: object) -> str:
    """A value as pages and --help have it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(value) if isinstance(value, list | tuple) else str(value)


def _reader(row: Option) -> Callable[[str], object]:
    """What makes of a word what a request has; laggd looks at it."""
    if isinstance(row.value, Whole):
        zero = row.value.zero
        return lambda word: 0 if word and word == zero else number(word)
    return listed if row.value in _LISTS else str


def wanted(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parameters that Create and Set have in common."""
    return {
        "name": arguments.name,
        "proto": arguments.proto,
        "mac": arguments.mac,
        "mtu": arguments.mtu,
        "options": _chosen(arguments, OPTIONS) or None,
    }


def state_wanted(arguments: argparse.Namespace) -> dict[str, Any]:
    """What Set takes beside options: who carries, and who is held for how long."""
    seconds, port = arguments.hold_for, arguments.port
    times_ms = None if seconds is None else {port: round(1000 * seconds)}
    return {"active": arguments.active, "hold_for_ms": times_ms}


def wanted_of_port(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The options of the one port that `set --port` names; None without any."""
    chosen = _chosen(arguments, PORT_OPTIONS)
    says = bool(chosen) or arguments.hold_for is not None
    if says != (arguments.port is not None):
        flags = ", ".join(row.flag for row in PORT_OPTIONS)
        raise UsageError(f"--port needs one of {flags}, --hold-for, and they need it")
    if "hold" in chosen and arguments.hold_for is not None:
        raise UsageError("--hold-for is a hold: leave --hold or --no-hold out")
    return {arguments.port: chosen} if chosen else None


def _chosen(arguments: argparse.Namespace, rows: Iterable[Option]) -> dict[str, Any]:
    given = {row.key: getattr(arguments, row.key) for row in rows}
    if given.get("watch") is not None:
        given["watch"] = [each for each in given["watch"] if each]  # '': none
    return {key: value for key, value in given.items() if value is not None}
