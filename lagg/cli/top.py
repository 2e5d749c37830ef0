# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl top`: the rates of every port, anew each second, until q or ^C.

Owns the choice between a whole screen, which top_screen.py draws on a terminal that can
be drawn on, and one page after another for everything else.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, cast

from lagg.cli.follower import Follower
from lagg.cli.output import DONE, on_terminal, paint, say, width
from lagg.cli.top_page import top_page
from lagg.cli.top_rates import History, rates_json

if TYPE_CHECKING:
    import argparse

    from lagg.records import LaggRecord

_HOME_AND_CLEAR = "\033[H\033[J"
_WIDTH_WITHOUT_TERMINAL = 120


def top(arguments: argparse.Namespace) -> int:
    """The first page comes after one interval: a rate needs two records."""
    if arguments.json or not _on_screen(arguments):
        _pages(arguments)
    return DONE


def _on_screen(arguments: argparse.Namespace) -> bool:
    """Runs there, if there is a screen; answers whether."""
    if not on_terminal() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    try:
        from lagg.cli import top_screen  # a Python may be without curses
    except ImportError:
        return False
    if not top_screen.can_draw():
        return False
    top_screen.run(
        arguments.socket, arguments.name, arguments.interval, arguments.count
    )
    return True


def _pages(arguments: argparse.Namespace) -> None:
    history, shown = History(), 0
    with Follower(arguments.socket) as laggd:
        _read(history, laggd, arguments.name)
        while shown != arguments.count:
            time.sleep(arguments.interval)
            _read(history, laggd, arguments.name)
            _show(history, as_json=arguments.json)
            shown += 1


def _read(history: History, laggd: Follower, name: str | None) -> None:
    laggs = cast("list[LaggRecord]", laggd.call("List", name=name)["laggs"])
    history.add(laggs, time.monotonic_ns())


def _show(history: History, *, as_json: bool) -> None:
    if as_json:
        say(json.dumps(rates_json(history)))
        return
    columns = width() or _WIDTH_WITHOUT_TERMINAL
    page = top_page(history, time.strftime("%H:%M:%S"), columns, paint())
    say(f"{_HOME_AND_CLEAR}{page}" if on_terminal() else page)
