# SPDX-License-Identifier: BSD-2-Clause
"""A change that is tried first: --dry-run, --confirm, and the command confirm.

Owns what is printed of it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lagg.cli.daemon import laggd_of
from lagg.cli.output import DONE, clock, done, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from lagg.control.messages import ShiftJson
    from lagg.records import TrialRecord


def asked_in(arguments: argparse.Namespace) -> dict[str, Any]:
    """What laggd is told of the manner; nothing of a change for good."""
    return {
        "dry_run": arguments.dry_run or None,
        "confirm_ms": getattr(arguments, "confirm_ms", None),
    }


def told(arguments: argparse.Namespace, outcome: Mapping[str, Any]) -> int:
    """Prints what came of a change, or would come of it."""
    trial: TrialRecord | None = outcome["trial"]
    if arguments.dry_run:
        shown = {key: outcome[key] for key in ("changes", "shifts")}
        say(json.dumps(shown) if arguments.json else _dry_page(outcome))
    elif getattr(arguments, "confirm_ms", None) is None:
        return done(arguments)
    elif arguments.json:
        say(json.dumps({"changes": outcome["changes"], "trial": trial}))
    else:
        reload = arguments.command == "reload"
        say("\n".join((*outcome["changes"], *_trial_lines(trial, reload=reload))))
    return DONE


def confirm(arguments: argparse.Namespace) -> int:
    """Keeps what was changed, or takes it back at once."""
    with laggd_of(arguments) as laggd:
        revert = arguments.revert or None
        laggs = laggd.call("Confirm", name=arguments.name, revert=revert)["laggs"]
    did = "reverted" if arguments.revert else "confirmed"
    if arguments.json:
        say(json.dumps({"laggs": laggs, "done": did}))
    else:
        say(f"{', '.join(laggs)}: {did}")
    return DONE


def _trial_lines(trial: TrialRecord | None, *, reload: bool) -> Iterator[str]:
    if trial is None:
        yield "nothing has changed, and nothing is to be confirmed"
        return
    names = trial["laggs"]
    name = f" {names[0]}" if len(names) == 1 else ""
    at = clock(trial["until"])
    yield f"{', '.join(names)}: reverts at {at} unless: laggctl confirm{name}"
    if reload:
        yield "the files stay as they are: after a revert they say what does not run"


def _dry_page(outcome: Mapping[str, Any]) -> str:
    lines = [*outcome["changes"]] or ["nothing would change"]
    for each in outcome["shifts"]:
        lines += _shift_lines(each)
    if not any(each["moves"] or each["anew"] for each in outcome["shifts"]):
        lines.append("no flow moves from a port to another")
    return "\n".join((*lines, "nothing was done: --dry-run"))


def _shift_lines(shift: ShiftJson) -> Iterator[str]:
    name = shift["lagg"]
    for move in shift["moves"]:
        many = f"{move['buckets']} buckets, " if move["buckets"] else ""
        words = f"{many}{_percent(move['share'])} of its flows"
        yield f"{name}: {move['from']} -> {move['to']}: {words}"
    if shift["anew"]:
        yield f"{name}: all flows are spread anew, by another rule"
    for port in shift["ports"]:
        was, now = _percent(port["share"]), _percent(port["share_after"])
        if was != now:
            yield f"{name}: port {port['port']}: carries {was} -> {now}"
    for each in shift["unagreed"]:
        yield f"{name}: port {each}: carries once its partner agrees"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
