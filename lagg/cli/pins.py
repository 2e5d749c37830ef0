# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl pin`, `unpin`, `pins` and `move`: which port a bucket is on.

Owns how a bucket is named (by its number, or a flow in it), and the lines.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from lagg.cli.daemon import laggd_of
from lagg.cli.explain import HEAD_BYTES, frame_given, frame_in
from lagg.cli.flow import parse_fields
from lagg.cli.output import DONE, UsageError, say, warn
from lagg.cli.show import laggs_of
from lagg.cli.show_page import pin_line
from lagg.cli.words import whole

if TYPE_CHECKING:
    import argparse

    from lagg.control.client import Client
    from lagg.control.messages import PlacedJson


def pin(arguments: argparse.Namespace) -> int:
    """Keeps a bucket on a port while that carries."""
    for_s: float | None = arguments.for_s
    for_ms = None if for_s is None else round(1000 * for_s)
    found = _asked(arguments, "Pin", port=arguments.port, for_ms=for_ms)
    words = f"is pinned to {arguments.port}"
    if found["port"] != arguments.port:
        words += f", which carries nothing now{_carried(found)}"
    return _said(arguments, found, words)


def unpin(arguments: argparse.Namespace) -> int:
    """Keeps a bucket nowhere."""
    found = _asked(arguments, "Unpin")
    return _said(arguments, found, f"is not pinned any more{_carried(found)}")


def move(arguments: argparse.Namespace) -> int:
    """Moves a bucket once."""
    found = _asked(arguments, "Move", port=arguments.port)
    words = "until ports come or go, or their weights change: pin it to have it stay"
    return _said(arguments, found, f"is on {arguments.port} {words}")


def pins(arguments: argparse.Namespace) -> int:
    """Prints which buckets are pinned."""
    (lagg,) = laggs_of(arguments)
    if arguments.json:
        say(json.dumps(lagg["pins"]))
    else:
        lines = [pin_line(each) for each in lagg["pins"]]
        say("\n".join(lines) or f"{lagg['name']}: no bucket is pinned")
    return DONE


def _asked(arguments: argparse.Namespace, method: str, **words: object) -> PlacedJson:
    named = _named(arguments.flow)
    with laggd_of(arguments) as laggd:
        spot = _spot(laggd, arguments.name, named)
        reply = laggd.call(method, name=arguments.name, **spot, **words)
    return cast("PlacedJson", reply["placed"])


def _named(words: list[str]) -> int | bytes | dict[str, str]:
    """A bucket's number, a frame of a flow in it, or such a flow's fields."""
    bucket = _bucket(words)
    if bucket is not None:
        return bucket
    return parse_fields(words) if any("=" in w for w in words) else frame_given(words)


def _spot(
    laggd: Client, name: str, named: int | bytes | dict[str, str]
) -> dict[str, object]:
    """As a request says it."""
    match named:
        case int():
            return {"bucket": named}
        case bytes():
            return {"frame": named[:HEAD_BYTES].hex()}
    frame, note = frame_in(laggd, name, named)
    if note:
        warn(note)
    return {"frame": frame.hex()}


def _bucket(words: list[str]) -> int | None:
    """By its number; None when it is named by a flow in it."""
    field, _, value = words[0].partition("=")
    if field != "bucket" or len(words) > 1:
        return None
    try:
        return whole(value)
    except ValueError:
        raise UsageError(f"bucket: {value!r} is no number") from None


def _carried(found: PlacedJson) -> str:
    return f": {found['port'] or 'nobody'} carries it"


def _said(arguments: argparse.Namespace, found: PlacedJson, words: str) -> int:
    if arguments.json:
        say(json.dumps(found))
        return DONE
    say(f"{arguments.name}: bucket {found['bucket']} {words}")
    if not arguments.flow[0].startswith("bucket="):
        share = f"1 of {found['buckets']}"
        say(f"  and with it every other flow of this bucket, {share} of all flows")
    return DONE
