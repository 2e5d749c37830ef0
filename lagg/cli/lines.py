# SPDX-License-Identifier: BSD-2-Clause
"""What is said in a line: laggd itself (`status`), and what happens (`monitor`).

Owns their wording.  Pure, as show_page.py is; knows no clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lagg.cli.said import BOLD, Paint, times

if TYPE_CHECKING:  # at run time they would cost a command a third of its start-up
    from lagg.control.messages import EventJson
    from lagg.records import DaemonRecord, HalfRecord


def status_line(status: DaemonRecord) -> str:
    """As "laggd 0.1.0, pid 4711, for 3 d 4 h", and its other half where it has one.

    Behind each what happened to it: "adopted 2 times, away 0.31 s", "died once".
    """
    words = [f"laggd {_half(status)}"]
    if status["adoptions"]:
        words.append(f"adopted {times(status['adoptions'])}")
    if status["control_away_s"] is not None:
        words.append(f"away {status['control_away_s']:.2f} s")
    words += (
        f"{', '.join(trial['laggs'])} on trial for {_lasted(trial['left_ms'] // 1000)}"
        for trial in status["trials"]
    )
    forwarder = status["forwarder"]
    if forwarder is None:
        return ", ".join(words)
    others = [f"lagg-forwarder {_half(forwarder)}"]
    if forwarder["deaths"]:
        others.append(f"died {times(forwarder['deaths'])}")
    if not forwarder["answers"]:
        others.append("does not answer")
    return f"{', '.join(words)}; {', '.join(others)}"


def _half(half: DaemonRecord | HalfRecord) -> str:
    return f"{half['version']}, pid {half['pid']}, for {_lasted(half['uptime_s'])}"


def _lasted(seconds: int) -> str:
    """The two largest units, as "3 d 4 h", or "42 s"."""
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    first = next((n for n, (_, size) in enumerate(units) if seconds >= size), 3)
    words = []
    for unit, size in units[first : first + 2]:
        count, seconds = divmod(seconds, size)
        words.append(f"{count} {unit}")
    return " ".join(words)


def event_line(event: EventJson, clock: str, paint: Paint) -> str:
    """A line of `monitor`; `clock` the time of day."""
    from lagg.events import Asker  # here: no other page is to wait for it

    place = event["lagg"] or "laggd"
    if event["port"] is not None:
        place += f" port {event['port']}"
    details = f": {event['details']}" if event["details"] else ""
    why = f" ({event['cause']})" if event["cause"] else ""
    who = f", by {Asker(**event['by'])}" if event["by"] else ""
    return f"{clock} {paint(place, BOLD)} {event['event']}{details}{why}{who}"
