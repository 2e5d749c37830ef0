# SPDX-License-Identifier: BSD-2-Clause
"""The records that cross the control socket and that `--json` prints.

Owns their field names and the way from model values to them.  Plain JSON values only;
knows no socket, no operation.  The types are the varlink types of org.laggd.Lagg too;
those of options are made of their rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Any, TypedDict, cast

from lagg.events import Asker, Event
from lagg.lacp.values import Party, PortCounts, PortStatus, State, View
from lagg.model import (
    Counters,
    Drop,
    LaggRecord,
    Limbo,
    Options,
    OptionValue,
    PortRecord,
)
from lagg.options import OPTIONS, PORT_OPTIONS, Kind, Option, Whole
from lagg.plan.explain import Bucket, Choice, Explanation

_TYPES_OF_KIND: Mapping[Kind, type] = {
    Kind.SWITCH: bool,
    Kind.WORD: str,
    Kind.MAC: str,
    Kind.LAYERS: list[str],
    Kind.NAMES: list[str],
}


def _type_of(row: Option) -> type:
    return int if isinstance(row.value, Whole) else _TYPES_OF_KIND[row.value]


def _change_types(rows: Iterable[Option]) -> dict[str, type]:
    """What a request may set: no null, for that changes nothing."""
    return {row.key: _type_of(row) for row in rows}


def _record_types(rows: Iterable[Option], defaults: Options) -> dict[str, object]:
    """What a record says: null, too, of an option that is without a value at first."""
    return {
        key: found if getattr(defaults, key) is not None else found | None
        for key, found in _change_types(rows).items()
    }


if TYPE_CHECKING:  # mypy knows no type that is made at run time
    OptionsJson = dict[str, Any]
    OptionsChangeJson = dict[str, Any]
    PortOptionsChangeJson = dict[str, Any]
else:
    OptionsJson = TypedDict("OptionsJson", _record_types(OPTIONS, Options()))
    OptionsChangeJson = TypedDict(
        "OptionsChangeJson", _change_types(OPTIONS), total=False
    )
    PortOptionsChangeJson = TypedDict(
        "PortOptionsChangeJson", _change_types(PORT_OPTIONS), total=False
    )


class PartyJson(TypedDict):
    """What a LACPDU says of one end."""

    system_priority: int
    system: str
    key: int
    port_priority: int
    port: int
    state: int
    state_bits: list[str]


class LacpCountersJson(TypedDict):
    """Slow-protocol frames of a port and what came of them, since it was added."""

    lacpdu_rx: int
    lacpdu_tx: int
    lacpdu_late: int
    marker_rx: int
    marker_tx: int
    marker_response_rx: int
    marker_response_tx: int
    marker_unanswered: int
    flaps: int
    actor_churns: int
    partner_churns: int
    bad: dict[str, int]


class PortLacpJson(TypedDict):
    """LACP on one port: its machines and what each end says."""

    aggregator: int | None
    selected: str
    receive: str
    periodic: str
    mux: str
    actor_churn: str
    partner_churn: str
    actor: PartyJson
    partner: PartyJson
    counters: LacpCountersJson


class LacpJson(TypedDict):
    """LACP of a lagg: its active aggregator."""

    aggregator: int | None
    actor: PartyJson | None
    partner: PartyJson | None
    flapping: int


class PortJson(TypedDict):
    """One port."""

    name: str
    ifindex: int
    slot: int
    link: str
    speed_mbps: int
    flags: list[str]
    reason: str | None
    warnings: list[str]
    tx: str
    tx_frames: int
    tx_bytes: int
    rx_frames: int
    rx_bytes: int
    rings_reopened: int
    drops: dict[str, int]
    promisc: str | None
    lacp_port_priority: int
    lacp: PortLacpJson | None


class CountersJson(TypedDict):
    """Frames since creation: tx_in + rx_in == tx_out + rx_out + sum(drops)."""

    tx_in: int
    tx_out: int
    rx_in: int
    rx_out: int
    drops: dict[str, int]


class LimboJson(TypedDict):
    """Replaced snapshots that a worker may still see."""

    snapshots: int
    oldest_ms: int
    worker: int | None


class LaggJson(TypedDict):
    """One lagg: a consistent snapshot."""

    name: str
    ifindex: int
    proto: str
    up: bool
    link: str
    mac: str
    mtu: int
    speed_mbps: int
    generation: int
    workers: int
    limbo: LimboJson
    options: OptionsJson
    ports: list[PortJson]
    waiting_for: list[str]
    counters: CountersJson
    lacp: LacpJson | None


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


class BucketJson(TypedDict):
    """An entry of a flow table: its port, and the frames it sent so far."""

    bucket: int
    port: str | None  # null: the table has it no more
    frames: int


class ExplanationJson(TypedDict):
    """A frame's way out of a lagg, under one snapshot."""

    lagg: str
    proto: str
    generation: int
    hash: int | None
    bucket: int | None
    buckets: int
    choice: ChoiceJson
    why: str
    without: list[WithoutJson]
    accepts: list[str]
    rx_drop: str


def lagg_json(record: LaggRecord) -> LaggJson:
    """The lagg record of `show --json`."""
    return {
        "name": record.name,
        "ifindex": record.ifindex,
        "proto": record.proto.value,
        "up": record.up,
        "link": record.link,
        "mac": record.mac,
        "mtu": record.mtu,
        "speed_mbps": record.speed_mbps,
        "generation": record.generation,
        "workers": record.workers,
        "limbo": limbo_json(record.limbo),
        "options": options_json(record.options),
        "ports": [port_json(port) for port in record.ports],
        "waiting_for": list(record.waiting_for),
        "counters": counters_json(record.counters),
        "lacp": None if record.lacp is None else lacp_json(record.lacp),
    }


def limbo_json(limbo: Limbo) -> LimboJson:
    """What waits for a grace period."""
    return {
        "snapshots": limbo.snapshots,
        "oldest_ms": limbo.oldest_ms,
        "worker": limbo.worker,
    }


def port_json(port: PortRecord) -> PortJson:
    """A port inside a lagg record."""
    return {
        "name": port.name,
        "ifindex": port.ifindex,
        "slot": port.slot,
        "link": port.link,
        "speed_mbps": port.speed_mbps,
        "flags": [flag.value for flag in port.flags],
        "reason": port.reason,
        "warnings": list(port.warnings),
        "tx": port.tx.value,
        "tx_frames": port.tx_frames,
        "tx_bytes": port.tx_bytes,
        "rx_frames": port.rx_frames,
        "rx_bytes": port.rx_bytes,
        "rings_reopened": port.rings_reopened,
        "drops": _drops_json(port.drops),
        "promisc": port.promisc,
        "lacp_port_priority": port.lacp_port_priority,
        "lacp": None if port.lacp is None else port_lacp_json(port.lacp),
    }


def lacp_json(view: View) -> LacpJson:
    """The LACP part of a lagg record."""
    return {
        "aggregator": view.aggregator,
        "actor": None if view.actor is None else party_json(view.actor),
        "partner": None if view.partner is None else party_json(view.partner),
        "flapping": view.flapping,
    }


def port_lacp_json(status: PortStatus) -> PortLacpJson:
    """The LACP part of a port in a lagg record."""
    return {
        "aggregator": status.aggregator,
        "selected": status.selected.value,
        "receive": status.receive.value,
        "periodic": status.periodic.value,
        "mux": status.mux.value,
        "actor_churn": status.actor_churn.value,
        "partner_churn": status.partner_churn.value,
        "actor": party_json(status.actor),
        "partner": party_json(status.partner),
        "counters": _lacp_counters_json(status.counts),
    }


def party_json(party: Party) -> PartyJson:
    """One end as a LACPDU describes it."""
    return {
        "system_priority": party.system.priority,
        "system": party.system.mac,
        "key": party.key,
        "port_priority": party.port.priority,
        "port": party.port.number,
        "state": int(party.state),
        "state_bits": _bit_names(party.state),
    }


def counters_json(counters: Counters) -> CountersJson:
    """The counters of a lagg record."""
    return {
        "tx_in": counters.tx_in,
        "tx_out": counters.tx_out,
        "rx_in": counters.rx_in,
        "rx_out": counters.rx_out,
        "drops": _drops_json(counters.drops),
    }


def options_json(options: Options) -> OptionsJson:
    """The options of a lagg record: every field of Options."""
    return {
        field.name: _option_json(getattr(options, field.name))
        for field in fields(Options)
    }


def explanation_json(found: Explanation) -> ExplanationJson:
    """What `explain --json` prints."""
    return {
        "lagg": found.lagg,
        "proto": found.proto.value,
        "generation": found.generation,
        "hash": found.hash,
        "bucket": found.bucket,
        "buckets": found.buckets,
        "choice": _choice_json(found.choice),
        "why": found.why,
        "without": [
            {"port": port, "choice": _choice_json(choice)}
            for port, choice in found.without
        ],
        "accepts": [*found.accepts],
        "rx_drop": found.rx_drop.value,
    }


def bucket_json(bucket: Bucket) -> BucketJson:
    """An element of `stats --buckets --json`."""
    return {"bucket": bucket.index, "port": bucket.port, "frames": bucket.frames}


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


def _lacp_counters_json(counts: PortCounts) -> LacpCountersJson:
    found = {field.name: getattr(counts, field.name) for field in fields(PortCounts)}
    found["bad"] = {bad.value: frames for bad, frames in counts.bad}
    return cast(LacpCountersJson, found)


def _bit_names(state: State) -> list[str]:
    names: Iterable[State] = State
    return [str(bit.name) for bit in names if bit in state]


def _drops_json(drops: dict[Drop, int]) -> dict[str, int]:
    return {drop.value: count for drop, count in drops.items()}


def _option_json(value: OptionValue) -> object:
    if isinstance(value, tuple):
        return [each if isinstance(each, str) else each.value for each in value]
    return value.value if isinstance(value, Enum) else value
