# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl explain`: which port a flow takes, why, and which if a port went down.

Owns how a flow may be given (fields, a frame in hexadecimal, a capture file) and the
page.  The answer is laggd's: of the snapshot that carries frames now.
"""

from __future__ import annotations

import json
import os
import socket
import string
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from lagg.cli.daemon import laggd_of
from lagg.cli.flow import frame_of, parse_fields
from lagg.cli.fold import fold
from lagg.cli.output import DONE, UsageError, clock, paint, say, warn, width
from lagg.cli.pcap import FormatError, frames
from lagg.cli.reading import read_file
from lagg.cli.said import BOLD
from lagg.cli.show_page import Clock, watch_words
from lagg.control.client import Client
from lagg.errors import LaggError
from lagg.kernel.proc import rows_of
from lagg.plan.plan import REFUSALS

if TYPE_CHECKING:
    import argparse

    from lagg.cli.said import Paint
    from lagg.control.messages import ChoiceJson, DeadPathJson, ExplanationJson
    from lagg.records import LaggRecord

HEAD_BYTES = 2038
"""As much of a frame as a worker looks into."""

CAPTURE_BYTES_MAX = 64 << 20
"""A capture file's limit: half a million frames of 128 bytes."""

REFUSED = tuple(drop.value for drop in REFUSALS)
_NO_MAC = "00:00:00:00:00:00"
_HEX = frozenset(string.hexdigits + ": ")


def explain(arguments: argparse.Namespace) -> int:
    """One flow as a page, a capture file as a line for each frame."""
    words: list[str] = arguments.flow
    if any("=" in word for word in words):
        return _explain_fields(arguments, parse_fields(words))
    if not _is_hex(words):
        return _explain_file(arguments, _from_file(words))
    frame = _from_hex("".join(words))
    with laggd_of(arguments) as laggd:
        _print_one(arguments, _asked(laggd, arguments.name, frame), "")
    return DONE


def _explain_fields(arguments: argparse.Namespace, fields: dict[str, str]) -> int:
    is_ours = "smac" not in fields
    with laggd_of(arguments) as laggd:
        frame, note = frame_in(laggd, arguments.name, fields)
        found = _asked(laggd, arguments.name, frame)
        note = "" if found["hash"] is None else note
        _print_one(arguments, found, note, is_ours=is_ours)
    return DONE


def _explain_file(arguments: argparse.Namespace, found: Sequence[bytes]) -> int:
    with laggd_of(arguments) as laggd:
        asked = (_asked(laggd, arguments.name, frame) for frame in found)
        _print_all(arguments, asked)
    return DONE


def _asked(laggd: Client, name: str, frame: bytes) -> ExplanationJson:
    reply = laggd.call("Explain", name=name, frame=frame[:HEAD_BYTES].hex())
    return cast("ExplanationJson", reply["explanation"])


def frame_in(laggd: Client, name: str, fields: dict[str, str]) -> tuple[bytes, str]:
    """A frame of the flow, and what about it had to be guessed."""
    lagg = cast("LaggRecord", laggd.call("List", name=name)["laggs"][0])
    fields.setdefault("smac", lagg["mac"])
    note = ""
    if "dmac" not in fields:
        hop = next_hop(fields.get("dst", ""), name, _table("route"))
        fields["dmac"] = neighbour(hop, name, _table("arp")) or _NO_MAC
        if fields["dmac"] == _NO_MAC and "l2" in lagg["options"]["lagghash"]:
            note = (
                "a guess: lagghash has l2, and the next hop's MAC is not known here:"
                " give dmac= (ip neigh)"
            )
    return frame_of(fields), note


def _table(name: str) -> Sequence[Sequence[bytes]]:
    try:
        return [*rows_of(name)]
    except LaggError:
        return ()


def next_hop(address: str, interface: str, table: Sequence[Sequence[bytes]]) -> str:
    """To whom a frame for this address goes, by the rows of /proc/net/route.

    The address itself where it is on the link, no IPv4, or routed elsewhere.
    """
    try:
        wanted = int.from_bytes(socket.inet_aton(address), sys.byteorder)
    except OSError:
        return address
    # Columns: interface, destination, gateway, flags, -, -, metric, mask; in hex.
    fitting = [
        (_bits(row[7]), -int(row[6]), row)
        for row in table[1:]
        if wanted & int(row[7], 16) == int(row[1], 16)
    ]
    _, _, best = max(fitting, default=(0, 0, None))
    if best is None or best[0] != os.fsencode(interface) or not int(best[2], 16):
        return address
    return socket.inet_ntoa(int(best[2], 16).to_bytes(4, sys.byteorder))


def _bits(mask: bytes) -> int:
    return int(mask, 16).bit_count()


def neighbour(
    address: str, interface: str, table: Sequence[Sequence[bytes]]
) -> str | None:
    """The MAC that the rows of /proc/net/arp have for an address on an interface."""
    wanted = os.fsencode(address), os.fsencode(interface)
    for columns in table[1:]:
        if (columns[0], columns[-1]) == wanted:
            mac = columns[3].decode()
            return None if mac == _NO_MAC else mac
    return None


def frame_given(words: Sequence[str]) -> bytes:
    """The one frame that is given in hexadecimal, or alone in a capture file.

    UsageError.
    """
    if _is_hex(words):
        return _from_hex("".join(words))
    found = _from_file(words)
    if len(found) != 1:
        raise UsageError(f"flow: {words[0]}: has {len(found)} frames, not one")
    return found[0]


def _is_hex(words: Sequence[str]) -> bool:
    return _HEX.issuperset("".join(words))


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace(":", ""))
    except ValueError:
        raise UsageError("flow: an odd number of hexadecimal digits") from None


def _from_file(words: Sequence[str]) -> list[bytes]:
    if len(words) != 1:
        raise UsageError("flow: write fields, one frame in hexadecimal, or one file")
    try:
        return list(frames(read_file(words[0], most=CAPTURE_BYTES_MAX)))
    except FormatError as error:
        raise UsageError(f"flow: {words[0]}: {error}") from error
    except UsageError as error:
        raise UsageError(f"flow: {error}") from error


def _print_one(
    arguments: argparse.Namespace,
    found: ExplanationJson,
    note: str,
    *,
    is_ours: bool = False,
) -> None:
    if arguments.json:
        say(json.dumps({**found, "guess": note or None}))
    else:
        page = explain_page(found, paint(), clock, note, is_ours=is_ours)
        say(fold(page, width()))
    if note:
        warn(note)


def _print_all(arguments: argparse.Namespace, found: Iterable[ExplanationJson]) -> None:
    if arguments.json:
        say(json.dumps(list(found)))
        return
    for number, each in enumerate(found, 1):
        say(f"{number:>6}  {explain_line(each)}")


def explain_line(found: ExplanationJson) -> str:
    """A frame of a capture file: bucket and port."""
    bucket = "" if found["bucket"] is None else f"bucket {found['bucket']:<3}  "
    return bucket + choice_words(found["choice"])


def explain_page(
    found: ExplanationJson,
    paint: Paint,
    clock: Clock = str,
    note: str = "",
    *,
    is_ours: bool = False,
) -> str:
    """What `explain` prints of one flow; `note`: what of it had to be guessed.

    `is_ours`: it leaves, for the lagg sends it; how it would come in is not asked.
    """
    carried = paint(choice_words(found["choice"]), BOLD)
    lines = [f"{found['lagg']}: {found['proto']}: {carried}", f"  {found['why']}"]
    lines += [f"  {note}"] if note else []
    if found["hash"] is not None:
        bucket = "none" if found["bucket"] is None else found["bucket"]
        lines.append(f"  hash {found['hash']:#010x}  bucket {bucket}")
        lines += _counted_lines(found)
    refusal = found["rx_refusal"] if found["accepts"] else found["rx_drop"]
    if refusal in REFUSED and not is_ours:
        lines.append(f"  were it to come in: dropped as {refusal}")
    for each in found["dead"]:
        lines += _dead_lines(each, found["choice"], paint, clock)
    lines.append(f"  as of generation {found['generation']}")
    lines += [
        f"  if {each['port']} fails: {_other_words(each['choice'], found['choice'])}"
        for each in found["without"]
    ]
    return "\n".join(lines)


def _dead_lines(
    dead: DeadPathJson, now: ChoiceJson, paint: Paint, clock: Clock
) -> list[str]:
    """What each watch of a dead path found, as `show` says it; and who stands in."""
    told = [
        f"  {dead['port']}: {watch_words(each, paint, clock)}" for each in dead["watch"]
    ]
    if dead["alive"] == now:
        return [*told, f"  {dead['port']}: it would not carry this flow"]
    return [*told, f"  {dead['port']}: in its place {_carrier_words(now)}"]


def _carrier_words(choice: ChoiceJson) -> str:
    ports = choice["ports"]
    carry = "carry" if len(ports) > 1 else "carries"
    return f"{', '.join(ports)} {carry}" if ports else "nobody carries"


def _counted_lines(found: ExplanationJson) -> list[str]:
    """Which headers counted, and what they are inside of."""
    inside = f" inside {', '.join(found['tunnels'])}" if found["tunnels"] else ""
    counted = ", ".join(found["counted"])
    return [f"  counted{inside}: {counted}"] if counted else []


def _other_words(other: ChoiceJson, now: ChoiceJson) -> str:
    stays = other == now and other["ports"]
    return f"{'stays on ' if stays else ''}{choice_words(other)}"


def choice_words(choice: ChoiceJson) -> str:
    """The ports, or what a frame without any is counted under."""
    if choice["ports"]:
        return ", ".join(choice["ports"])
    return f"no port: dropped as {choice['drop']}"
