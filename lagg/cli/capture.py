# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl capture`: a lagg and its ports as one pcapng, each frame with its reason.

Owns which frames are wanted and the comment on each: direction, bucket, port, drop.
The kernel's packet sockets see the frames; laggd says what becomes of each.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, cast

from lagg.cli import pcap
from lagg.cli.capture_socket import Seen
from lagg.cli.capture_sources import Place, Places
from lagg.cli.explain import HEAD_BYTES
from lagg.cli.follower import Follower
from lagg.cli.output import DONE, UsageError, on_terminal, say_bytes
from lagg.errors import nearest
from lagg.model import Drop
from lagg.plan.plan import PLANNED_DROPS, REFUSALS

if TYPE_CHECKING:
    import argparse

    from lagg.control.messages import ExplanationJson
    from lagg.records import LaggRecord

ANY_DROP = "any"
CAPTURED_DROPS = tuple(drop.value for drop in (*PLANNED_DROPS, *REFUSALS))
"""What a frame that is seen can be dropped for: what the plan says, before it is sent
or handed up.  Reasons that come up later are counted only."""

_FRESH_S = 0.5
"""For so long an answer of laggd counts for frames that are alike: a frame is seen at
the lagg and at a port, and a stream's frames come by thousands."""

_REMEMBERED_MAX = 4096


class Criteria(NamedTuple):
    """Which frames are written."""

    ports: frozenset[str]  # none: the lagg and all of them
    drop: str | None  # a reason, or ANY_DROP: only frames that are dropped
    most: int | None  # frames


class Remark(NamedTuple):
    """What is to be said of a frame."""

    text: str
    drop: str | None


def capture(arguments: argparse.Namespace) -> int:
    """Writes frames until enough are written, or the reader or ^C ends it."""
    if on_terminal():
        raise UsageError(
            "a capture is no text: laggctl capture NAME | wireshark -k -i -, or > FILE"
        )
    _check_drops(arguments.drops)
    wanted = Criteria(frozenset(arguments.port or ()), arguments.drops, arguments.count)
    with (
        Follower(arguments.socket) as laggd,
        Places(laggd, arguments.name, wanted.ports) as places,
    ):
        _check_ports(places.lagg, wanted.ports)
        say_bytes(pcap.section("laggctl capture") + places.begin())
        _write_frames(Answers(laggd, places.lagg["name"]), places, wanted)
    return DONE


def _check_drops(reason: str | None) -> None:
    if reason is None or reason in (ANY_DROP, *CAPTURED_DROPS):
        return
    allowed = ", ".join(CAPTURED_DROPS)
    if reason in [drop.value for drop in Drop]:
        cause = "such frames are counted, not seen; captured are"
        raise UsageError(f"--drops {reason}: {cause} {allowed}")
    near = nearest(reason, CAPTURED_DROPS)
    raise UsageError(f"--drops {reason}: no such reason{near}; one of {allowed}")


def _check_ports(lagg: LaggRecord, wanted: frozenset[str]) -> None:
    there = {lagg["name"], *(port["name"] for port in lagg["ports"])}
    for port in sorted(wanted - there):
        raise UsageError(f"{lagg['name']}: port {port}: no port of it")


class Answers:
    """laggd's word on frames, asked once for those that are alike."""

    def __init__(self, laggd: Follower, lagg: str) -> None:
        self.lagg = lagg
        self._laggd = laggd
        self._known: dict[bytes, tuple[float, ExplanationJson]] = {}

    def about(self, frame: bytes) -> ExplanationJson:
        """What becomes of a frame that leaves by the lagg, and who may bring one."""
        head, now = frame[:HEAD_BYTES], time.monotonic()
        asked = self._known.get(head)
        if asked is not None and now - asked[0] < _FRESH_S:
            return asked[1]
        reply = self._laggd.call("Explain", name=self.lagg, frame=head.hex())
        found = cast("ExplanationJson", reply["explanation"])
        if len(self._known) >= _REMEMBERED_MAX:
            self._known.clear()
        self._known[head] = now, found
        return found


def _write_frames(answers: Answers, places: Places, wanted: Criteria) -> None:
    written = 0
    while written != wanted.most:
        ready = places.ready()
        for place in filter(None, ready):
            written += _write_next(place, answers, wanted)
            if written == wanted.most:
                return
        if None in ready:  # last: what was seen is written before its place goes
            say_bytes(places.refresh())
            answers.lagg = places.lagg["name"]


def _write_next(place: Place, answers: Answers, wanted: Criteria) -> bool:
    """Writes the next frame of a place; False when there is none that is wanted."""
    assert place.watch is not None, "only who is watched is ready"
    seen = place.watch.read()
    if seen is None:
        return False
    said = remark(place.name, answers, seen)
    if not is_wanted(said, wanted.drop):
        return False
    say_bytes(_packet(place.number, seen, said))
    return True


def is_wanted(said: Remark, drop: str | None) -> bool:
    """Whether a frame is to be written; `drop` as in Criteria."""
    if drop is None:
        return True
    return said.drop is not None and drop in (ANY_DROP, said.drop)


def remark(name: str, answers: Answers, seen: Seen) -> Remark:
    """The comment on a frame at the lagg itself or at a port, `name`."""
    found = answers.about(seen.frame)
    at_lagg = name == answers.lagg
    if seen.outgoing:
        return _outgoing(name, found, at_lagg=at_lagg)
    if at_lagg:
        return Remark(f"in: to {name}", None)
    drop = found["rx_refusal"] if name in found["accepts"] else found["rx_drop"]
    if drop is None:
        return Remark(f"in: by {name}, accepted", None)
    return Remark(f"in: by {name}, dropped: {drop}", drop)


def _outgoing(name: str, found: ExplanationJson, *, at_lagg: bool) -> Remark:
    bucket = "" if found["bucket"] is None else f" bucket {found['bucket']}"
    if not at_lagg:
        return Remark(f"out: by {name}{bucket}", None)
    choice = found["choice"]
    if choice["drop"] is not None:
        text = f"out: from {name}, dropped: {choice['drop']} ({found['why']})"
        return Remark(text, choice["drop"])
    return Remark(
        f"out: from {name}{bucket} -> {', '.join(choice['ports'])} ({found['why']})",
        None,
    )


def _packet(number: int, seen: Seen, said: Remark) -> bytes:
    return pcap.packet(
        number,
        seen.time_ns,
        seen.frame,
        wire_bytes=seen.wire_bytes,
        flags=pcap.OUTBOUND if seen.outgoing else pcap.INBOUND,
        comment=said.text,
    )
