# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl balance`: each port's load beside its share, and what would move for it.

Owns the page.  It only looks: what moves, and when, is balance_interval_ms's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from lagg.cli.daemon import laggd_of
from lagg.cli.output import DONE, paint, say
from lagg.cli.said import BOLD, byte_words, columns, speed_words

if TYPE_CHECKING:
    import argparse

    from lagg.cli.said import Paint
    from lagg.control.messages import BalanceJson, PortLoadJson

_HEAD = ("port", "speed", "weight", "share", "load", "part", "buckets", "heaviest")


def balance(arguments: argparse.Namespace) -> int:
    """Looks for a second, and prints."""
    with laggd_of(arguments) as laggd:
        found = cast(
            "BalanceJson", laggd.call("Balance", name=arguments.name)["balance"]
        )
    if arguments.json:
        say(json.dumps(found))
    else:
        say(balance_page(arguments.name, found, paint(), dry_run=arguments.dry_run))
    return DONE


def balance_page(name: str, found: BalanceJson, paint: Paint, *, dry_run: bool) -> str:
    """The ports; with `dry_run` what would move, and the spread before and after."""
    total = sum(port["bytes"] for port in found["ports"])
    rows = [_HEAD, *(_port_row(port, total, found["ms"]) for port in found["ports"])]
    lines = [
        f"{paint(name, BOLD)}: {_rate(total, found['ms'])} by all ports",
        *columns(rows, lambda _: None, paint),
    ]
    if dry_run:
        lines += _move_lines(found)
    return "\n".join(lines)


def _port_row(port: PortLoadJson, total: int, ms: int) -> tuple[str, ...]:
    heaviest = (f"{b['bucket']} ({_part(b['bytes'], total)})" for b in port["heaviest"])
    return (
        port["port"],
        speed_words(port["speed_mbps"]),
        str(port["weight"] or "speed"),
        f"{port['share']:.1%}",
        _rate(port["bytes"], ms),
        _part(port["bytes"], total),
        str(port["buckets"]),
        ", ".join(heaviest),
    )


def _move_lines(found: BalanceJson) -> Sequence[str]:
    if not found["moves"]:
        return ["  nothing would move"]
    count = len(found["moves"])
    peaks = f"{found['peak_after']:.2f} times its share in place of {found['peak']:.2f}"
    moves = (
        f"    bucket {each['bucket']} to {each['port']},"
        f" {_rate(each['bytes'], found['ms'])}"
        for each in found["moves"]
    )
    return [
        f"  {count} bucket{'s' * (count > 1)} would move, and the busiest port carry",
        f"  {peaks}:",
        *moves,
    ]


def _rate(size: int, ms: int) -> str:
    return f"{byte_words(round(1000 * size / ms))}/s"


def _part(size: int, total: int) -> str:
    return f"{size / total if total else 0.0:.1%}"
