# SPDX-License-Identifier: BSD-2-Clause
"""The commands that only look: show, picture, stats, status, monitor.

Owns which call each makes; the pages are lagg/cli/show_page.py's.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, cast

from lagg.cli.daemon import laggd_of
from lagg.cli.fold import fold
from lagg.cli.lines import event_line, status_line
from lagg.cli.output import DONE, UsageError, clock, paint, say, say_file, width
from lagg.cli.show_page import counter_part, show_page, stats_page

if TYPE_CHECKING:
    import argparse

    from lagg.control.messages import BucketJson
    from lagg.records import DaemonRecord, LaggRecord


def show(arguments: argparse.Namespace) -> int:
    """Prints each lagg, its ports and its traffic; of several a line each."""
    laggs = laggs_of(arguments)
    if arguments.openconfig:
        from lagg.cli.openconfig_page import openconfig  # of no use to the usual `show`

        say(json.dumps(openconfig(laggs), indent=None if arguments.json else 2))
    elif arguments.json:
        say(json.dumps(laggs))
    elif arguments.bonding:
        from lagg.cli.bonding import bonding_page  # as --openconfig's

        say("\n\n".join(map(bonding_page, laggs)) or "no laggs")
    elif arguments.tree or (len(laggs) > 1 and not arguments.verbose):
        say(_at_a_glance(laggs, tree=arguments.tree))
    else:
        if arguments.verbose:
            say(fold(f"{status_line(_status(arguments))}\n", width()))
        verbose: bool = arguments.verbose
        page = show_page(laggs, paint(), verbose=verbose, width=width(), clock=clock)
        say(page)
    return DONE


def _at_a_glance(laggs: list[LaggRecord], *, tree: bool) -> str:
    from lagg.cli.brief_page import brief_page, tree_page  # as --openconfig's

    if tree:
        return tree_page(os.uname().nodename, laggs, width(), paint())
    return brief_page(laggs, width(), paint())


def picture(arguments: argparse.Namespace) -> int:
    """Writes an SVG of what `show --tree` draws."""
    from lagg.cli.picture_page import picture_page  # as --openconfig's

    drawn = picture_page(os.uname().nodename, laggs_of(arguments))
    if arguments.json:
        say(json.dumps({"svg": drawn}))
    else:
        say_file(drawn)
    return DONE


def status(arguments: argparse.Namespace) -> int:
    """Prints what laggd is there, and since when."""
    found = _status(arguments)
    say(json.dumps(found) if arguments.json else fold(status_line(found), width()))
    return DONE


def stats(arguments: argparse.Namespace) -> int:
    """Prints the counters alone."""
    if arguments.buckets:
        return _buckets(arguments)
    laggs = laggs_of(arguments)
    if arguments.json:
        say(json.dumps([counter_part(lagg) for lagg in laggs]))
    else:
        say(fold(stats_page(laggs, paint()), width()))
    return DONE


def _buckets(arguments: argparse.Namespace) -> int:
    from lagg.cli.buckets import buckets_page  # of no use to the usual `stats`

    name: str | None = arguments.name
    if name is None:
        raise UsageError("stats: --buckets is of one lagg: give its NAME")
    with laggd_of(arguments) as laggd:
        found = cast("list[BucketJson]", laggd.call("Buckets", name=name)["buckets"])
    say(json.dumps(found) if arguments.json else buckets_page(name, found, paint()))
    return DONE


def monitor(arguments: argparse.Namespace) -> int:
    """Prints events, a line each, of one laggd after another, until the reader goes."""
    from lagg.cli.follower import Follower  # of no use to who only looks once

    colours = paint()
    with Follower(arguments.socket) as laggd:
        while True:
            event = laggd.next_event()
            if arguments.json:
                say(json.dumps(event))
            else:
                say(event_line(event, clock(event["at"]), colours))


def _status(arguments: argparse.Namespace) -> DaemonRecord:
    with laggd_of(arguments) as laggd:
        return cast("DaemonRecord", laggd.call("Status")["laggd"])


def laggs_of(arguments: argparse.Namespace) -> list[LaggRecord]:
    """The record of the lagg that was named, or of all."""
    with laggd_of(arguments) as laggd:
        return cast(
            "list[LaggRecord]", laggd.call("List", name=arguments.name)["laggs"]
        )
