# SPDX-License-Identifier: BSD-2-Clause
"""What crosses the control socket beside the records: changes in; events, answers out.

Owns their field names and the way from values to them.  Plain JSON values only; knows
no socket, no operation.  The types are the varlink types of org.laggd.Lagg too; those
of a change are made of the options' rows.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypedDict, cast

from lagg.events import Asker, Event
from lagg.life import time_of_day
from lagg.model import BUCKETS
from lagg.options import OPTIONS
from lagg.plan.balance_report import BucketLoad, PortLoad, Report
from lagg.plan.explain import Bucket, Choice, Explanation
from lagg.plan.outcome import Outcome
from lagg.plan.pins import Placed
from lagg.plan.shift import Shift
from lagg.port_options import PORT_OPTIONS
from lagg.records import TrialRecord, WatchRecord, types_of, watch_record

if TYPE_CHECKING:  # mypy knows no type that is made at run time
    OptionsChangeJson = dict[str, Any]
    PortOptionsChangeJson = dict[str, Any]
else:  # no null, for that changes nothing
    OptionsChangeJson = TypedDict("OptionsChangeJson", types_of(OPTIONS), total=False)
    PortOptionsChangeJson = TypedDict(
        "PortOptionsChangeJson", types_of(PORT_OPTIONS), total=False
    )


class AskerJson(TypedDict):
    """Who asked for a change over this socket."""

    uid: int
    pid: int
    program: str | None


class EventJson(TypedDict):
    """Something that happened; `lagg` is empty when it concerns none."""

    lagg: str
    port: str | None
    event: str
    details: str
    time_ns: int  # monotonic
    at: str  # the time of day, RFC 3339
    cause: str | None  # in words
    by: AskerJson | None  # null: the kernel, a partner or laggd itself did it


class ChoiceJson(TypedDict):
    """Who carries a frame; without ports, what it is counted under."""

    ports: list[str]
    drop: str | None


class WithoutJson(TypedDict):
    """Who would carry the frame were this port down."""

    port: str
    choice: ChoiceJson


class DeadPathJson(TypedDict):
    """A port with a link, whose path its watches call dead."""

    port: str
    # As in its record, those that found it alive and counts of bad frames aside.
    watch: list[WatchRecord]
    alive: ChoiceJson  # who would carry the frame had the path not died


class BucketJson(TypedDict):
    """An entry of a flow table: its port, and the frames it sent so far."""

    bucket: int
    port: str | None  # null: the table has it no more
    frames: int


class BucketLoadJson(TypedDict):
    """What a bucket carried, and the port that has it, or to which it moves."""

    bucket: int
    bytes: int
    port: str


class PortLoadJson(TypedDict):
    """A port's part of a load; before the moves, and after."""

    port: str
    speed_mbps: int  # 0 when unknown
    weight: int  # as it is set; 0: by its speed
    share: float  # of all bytes, that is its own, by speed and weight
    bytes: int
    bytes_after: int
    buckets: int
    buckets_after: int
    heaviest: list[BucketLoadJson]


class BalanceJson(TypedDict):
    """A load, and what would move for it."""

    ms: int  # in which it was measured
    peak: float  # the busiest port, in shares of its own: 1.0 when all are even
    peak_after: float
    ports: list[PortLoadJson]
    moves: list[BucketLoadJson]


class PlacedJson(TypedDict):
    """A bucket, of how many, and the port that carries it now."""

    bucket: int
    buckets: int
    port: str | None  # null: nobody does


class PortShiftJson(TypedDict):
    """A port's part of what a lagg sends, before a change and after it."""

    port: str
    share: float  # of all flows, or turns
    share_after: float
    buckets: int  # of a flow table; 0 without one
    buckets_after: int


FlowMoveJson = TypedDict(
    "FlowMoveJson",
    {
        "from": str,  # ports
        "to": str,
        "buckets": int,  # 0 without a flow table
        "share": float,  # of all flows
    },
)
"""Flows that a change takes from a port to another."""


class ShiftJson(TypedDict):
    """What a change would move in one lagg."""

    lagg: str
    anew: bool  # all is spread by another rule, so that no move is counted
    unagreed: list[str]  # ports that carry only once LACP's partner agrees
    ports: list[PortShiftJson]
    moves: list[FlowMoveJson]


class OutcomeJson(TypedDict):
    """What came of a change, or with dry_run would come of it."""

    changes: list[str]  # each in words; of one that was made: a reload's
    trial: TrialRecord | None  # until when it is to be confirmed
    shifts: list[ShiftJson]  # of one that was not made


class ExplanationJson(TypedDict):
    """A frame's way out of a lagg, under one snapshot."""

    lagg: str
    proto: str
    generation: int
    hash: int | None
    tunnels: list[str]  # whose inside counted, the outermost first
    counted: list[str]  # each layer that did, with both ends
    bucket: int | None
    buckets: int
    choice: ChoiceJson
    why: str
    without: list[WithoutJson]
    dead: list[DeadPathJson]
    accepts: list[str]
    rx_drop: str
    rx_refusal: str | None  # of such a frame by `accepts`; null: it goes up


def explanation_json(found: Explanation) -> ExplanationJson:
    """What `explain --json` prints."""
    return {
        "lagg": found.lagg,
        "proto": found.proto.value,
        "generation": found.generation,
        "hash": found.hash,
        "tunnels": [*found.tunnels],
        "counted": [*found.counted],
        "bucket": found.bucket,
        "buckets": found.buckets,
        "choice": _choice_json(found.choice),
        "why": found.why,
        "without": [
            {"port": port, "choice": _choice_json(choice)}
            for port, choice in found.without
        ],
        "dead": [
            {
                "port": each.port,
                "watch": [
                    watch_record(verdict, time_of_day(verdict.since_ns))
                    for verdict in each.verdicts
                ],
                "alive": _choice_json(each.alive),
            }
            for each in found.dead
        ],
        "accepts": [*found.accepts],
        "rx_drop": found.rx_drop.value,
        "rx_refusal": None if found.rx_refusal is None else found.rx_refusal.value,
    }


def bucket_json(bucket: Bucket) -> BucketJson:
    """An element of `stats --buckets --json`."""
    return {"bucket": bucket.index, "port": bucket.port, "frames": bucket.frames}


def placed_json(placed: Placed) -> PlacedJson:
    """What `pin --json`, `unpin --json` and `move --json` print."""
    return {"bucket": placed.bucket, "buckets": BUCKETS, "port": placed.port}


def balance_json(found: Report) -> BalanceJson:
    """What `balance --json` prints."""
    return {
        "ms": found.ms,
        "peak": found.peak,
        "peak_after": found.peak_after,
        "ports": [_port_load_json(each) for each in found.ports],
        "moves": [_bucket_load_json(each) for each in found.moves],
    }


def outcome_json(outcome: Outcome) -> OutcomeJson:
    """What `reload --json` prints, and any change with --dry-run or --confirm."""
    return {
        "changes": [*outcome.lines],
        "trial": outcome.trial,
        "shifts": [_shift_json(each) for each in outcome.shifts],
    }


def _shift_json(shift: Shift) -> ShiftJson:
    return {
        "lagg": shift.lagg,
        "anew": shift.anew,
        "unagreed": [*shift.unagreed],
        "ports": [cast(PortShiftJson, asdict(each)) for each in shift.ports],
        "moves": [
            {
                "from": move.source,
                "to": move.target,
                "buckets": move.buckets,
                "share": move.share,
            }
            for move in shift.moves
        ],
    }


def _port_load_json(port: PortLoad) -> PortLoadJson:
    heaviest = [_bucket_load_json(each) for each in port.heaviest]
    return cast(PortLoadJson, {**asdict(port), "heaviest": heaviest})


def _bucket_load_json(bucket: BucketLoad) -> BucketLoadJson:
    return cast(BucketLoadJson, asdict(bucket))


def _choice_json(choice: Choice) -> ChoiceJson:
    return {"ports": [*choice.ports], "drop": choice.drop and choice.drop.value}


def event_json(event: Event) -> EventJson:
    """A line of `monitor --json`."""
    return {
        "lagg": event.lagg,
        "port": event.port,
        "event": event.event.value,
        "details": event.details,
        "time_ns": event.time_ns,
        "at": event.at,
        "cause": event.cause,
        "by": None if event.by is None else asker_json(event.by),
    }


def asker_json(by: Asker) -> AskerJson:
    """Who asked, in an event."""
    return {"uid": by.uid, "pid": by.pid, "program": by.program}
