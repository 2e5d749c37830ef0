# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl top`: the rates of every port, anew each second, until ^C.

Owns the rhythm and the terminal; the page is top_page.py's.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, cast

from lagg.cli.follower import Follower
from lagg.cli.output import DONE, on_terminal, paint, say, width
from lagg.cli.top_page import History, rates_json, top_page

if TYPE_CHECKING:
    import argparse

    from lagg.records import LaggRecord

_HOME_AND_CLEAR = "\033[H\033[J"
_WIDTH_WITHOUT_TERMINAL = 120


def top(arguments: argparse.Namespace) -> int:
    """Pages, the first after one interval: a rate needs two records."""
    history, shown = History(), 0
    with Follower(arguments.socket) as laggd:
        _read(history, laggd, arguments.name)
        while shown != arguments.count:
            time.sleep(arguments.interval)
            _read(history, laggd, arguments.name)
            _show(history, as_json=arguments.json)
            shown += 1
    return DONE


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
