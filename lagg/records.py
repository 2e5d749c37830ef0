# SPDX-License-Identifier: BSD-2-Clause
"""What is to be seen of a lagg at one moment: `show --json` prints it as it is here.

Owns the names of its fields, and how LACP's part, counters and options are said in it.
Plain JSON values only, written by running/ and read by laggctl; knows no socket.  The
types are the varlink types of org.laggd.Lagg too; that of the options is made of their
rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Any, TypedDict, cast

from lagg.lacp.values import Party, PortCounts, PortStatus, State, View
from lagg.model import Counters, Drop, Options, OptionValue
from lagg.option_row import Kind, Option, Whole
from lagg.options import OPTIONS
from lagg.watches import Verdict

_TYPES_OF_KIND: Mapping[Kind, type] = {
    Kind.SWITCH: bool,
    Kind.WORD: str,
    Kind.MAC: str,
    Kind.LAYERS: list[str],
    Kind.NAMES: list[str],
    Kind.NAME: str,
    Kind.PINS: list[str],
    Kind.WATCHES: list[str],
}


def _type_of(row: Option) -> type:
    return int if isinstance(row.value, Whole) else _TYPES_OF_KIND[row.value]


def types_of(rows: Iterable[Option]) -> dict[str, type]:
    """The JSON type of each option's value, by its key; of none it is null."""
    return {row.key: _type_of(row) for row in rows}


def _record_types(rows: Iterable[Option], defaults: Options) -> dict[str, object]:
    """Null, too, of an option that is without a value at first."""
    return {
        key: found if getattr(defaults, key) is not None else found | None
        for key, found in types_of(rows).items()
    }


if TYPE_CHECKING:  # mypy knows no type that is made at run time
    OptionsRecord = dict[str, Any]
else:
    OptionsRecord = TypedDict("OptionsRecord", _record_types(OPTIONS, Options()))


class PartyRecord(TypedDict):
    """What a LACPDU says of one end."""

    system_priority: int
    system: str
    key: int
    port_priority: int
    port: int
    state: int
    state_bits: list[str]


class LacpCountersRecord(TypedDict):
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


class PortLacpRecord(TypedDict):
    """LACP on one port: its machines and what each end says."""

    aggregator: int | None
    selected: str
    receive: str
    periodic: str
    mux: str
    actor_churn: str
    partner_churn: str
    actor: PartyRecord
    partner: PartyRecord
    counters: LacpCountersRecord


class LacpRecord(TypedDict):
    """LACP of a lagg: its active aggregator."""

    aggregator: int | None
    actor: PartyRecord | None
    partner: PartyRecord | None
    flapping: int


class DampingRecord(TypedDict):
    """How unsteady a port was of late, and whether it is kept out for that."""

    penalty: int  # 1000 for each loss, halved every 5 s; at most 16000
    suppressed: bool
    reuse_ms: int  # until it is let in, if it is not lost again; 0 unless suppressed


class WatchRecord(TypedDict):
    """What one watch says of a port."""

    kind: str  # WatchKind's word
    target: str  # empty: nobody is asked
    state: str  # "up", "down" or "init": not known yet, and counts as up
    since: str  # RFC 3339
    reason: str  # in words
    failures: int  # times that the path was lost while its carrier was there
    bad: dict[str, int]  # frames for it that are none, by reason, since it is watched


class DepartureRecord(TypedDict):
    """A time that a port was left."""

    cause: str  # history.Cause's word
    at: str  # RFC 3339


class PortRecord(TypedDict):
    """One port."""

    name: str
    ifindex: int
    slot: int
    link: str  # "up" or "down"
    speed_mbps: int  # 0 when unknown
    flags: list[str]  # PortFlag's words
    reason: str | None  # why it carries nothing, in words
    warnings: list[str]  # what somebody uses it for beside, in words
    tx: str  # Transmit's word
    tx_frames: int
    tx_bytes: int
    rx_frames: int
    rx_bytes: int
    rings_reopened: int  # times that it could not move and was opened anew
    drops: dict[str, int]  # by Drop's words
    promisc: str | None  # why it receives more than is for it, in words
    lacp_port_priority: int
    priority: int
    weight: int  # as it is set; 0: by its speed
    held: bool  # nothing is given to it
    hold_link: str  # HoldLink's word: what becomes of its link then
    damping: DampingRecord
    looped: bool  # kept out by loop_guard
    state_since: str  # RFC 3339: it is usable, or is not, from then on
    failures: int  # times that it was used, and left for want of its link or path
    departures: dict[str, int]  # times that it was left, by history.Cause's words
    last_departure: DepartureRecord | None
    home_mac: str  # what it had before it was a port
    full_duplex: bool
    watch: list[WatchRecord]
    lacp: PortLacpRecord | None  # null unless laggproto is lacp


class CountersRecord(TypedDict):
    """Frames since creation: tx_in + rx_in == tx_out + rx_out + sum(drops)."""

    tx_in: int
    tx_out: int
    rx_in: int
    rx_out: int
    drops: dict[str, int]


class Limbo(TypedDict):
    """Replaced snapshots that a worker may still see."""

    snapshots: int
    oldest_ms: int  # since the oldest was replaced; 0 without any
    worker: int | None  # that holds it up


FailoverRecord = TypedDict(
    "FailoverRecord", {"from": str, "to": str, "cause": str | None, "at": str}
)
"""Who took over from whom: ports, with commas where a group carries; when, RFC 3339."""


class CarriageRecord(TypedDict):
    """Who carries a lagg; a part of its record."""

    active: str | None  # of failover; null: none, or not one alone
    active_reason: str | None  # why that one, in words
    failovers: int
    last_failover: FailoverRecord | None
    link_since: str  # RFC 3339: its own carrier is there, or is not, from then on
    link_losses: int  # times that it went
    balance_moves: int  # buckets that moved for their load


class PinRecord(TypedDict):
    """A bucket of the flow table that stays on a port while that carries."""

    bucket: int
    port: str  # by name, there or not
    left_ms: int | None  # until it does no more; null: for good
    carries: bool  # whether it is on that port now


class TrialRecord(TypedDict):
    """A change that reverts by itself unless it is confirmed in time."""

    laggs: list[str]  # all that it changed
    until: str  # RFC 3339
    left_ms: int


class LaggRecord(CarriageRecord):
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
    limbo: Limbo
    options: OptionsRecord
    ports: list[PortRecord]
    pins: list[PinRecord]
    waiting_for: list[str]  # configured ports that are not there yet
    trial: TrialRecord | None  # null: none of its changes waits to be confirmed
    counters: CountersRecord
    lacp: LacpRecord | None  # null unless laggproto is lacp


class HalfRecord(TypedDict):
    """lagg-forwarder, the process that carries frames for the one that answers."""

    version: str
    pid: int
    uptime_s: int
    deaths: int  # of such processes, while this laggd ran; another followed each
    answers: bool  # whether it does what it is told


class DaemonRecord(TypedDict):
    """laggd itself: `laggctl status --json`."""

    version: str
    pid: int
    started_at: str  # RFC 3339
    uptime_s: int
    forwarder: HalfRecord | None  # null: its workers are threads of this process
    adoptions: int  # laggds before this one, whose laggs it has taken over
    control_away_s: float | None  # from the end of the last one until this one acted
    trials: list[TrialRecord]


def lacp_record(view: View) -> LacpRecord:
    """The LACP part of a lagg record."""
    return {
        "aggregator": view.aggregator,
        "actor": None if view.actor is None else party_record(view.actor),
        "partner": None if view.partner is None else party_record(view.partner),
        "flapping": view.flapping,
    }


def port_lacp_record(status: PortStatus) -> PortLacpRecord:
    """The LACP part of a port in a lagg record."""
    return {
        "aggregator": status.aggregator,
        "selected": status.selected.value,
        "receive": status.receive.value,
        "periodic": status.periodic.value,
        "mux": status.mux.value,
        "actor_churn": status.actor_churn.value,
        "partner_churn": status.partner_churn.value,
        "actor": party_record(status.actor),
        "partner": party_record(status.partner),
        "counters": port_counts_record(status.counts),
    }


def party_record(party: Party) -> PartyRecord:
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


def watch_record(
    verdict: Verdict, since: str, bad: Mapping[str, int] | None = None
) -> WatchRecord:
    """What one watch says of a port; `since` when it does, RFC 3339.

    `bad`: the frames that it did not take, by reason, where they are known.
    """
    return {
        "kind": verdict.watch.kind.value,
        "target": verdict.watch.target,
        "state": verdict.state.value,
        "since": since,
        "reason": verdict.reason,
        "failures": verdict.failures,
        "bad": {**(bad or {})},
    }


def counters_record(counters: Counters) -> CountersRecord:
    """The counters of a lagg record."""
    return {
        "tx_in": counters.tx_in,
        "tx_out": counters.tx_out,
        "rx_in": counters.rx_in,
        "rx_out": counters.rx_out,
        "drops": drops_record(counters.drops),
    }


def options_record(options: Options) -> OptionsRecord:
    """The options of a lagg record: every field of Options."""
    return {
        field.name: _option_words(getattr(options, field.name))
        for field in fields(Options)
    }


def drops_record(drops: Mapping[Drop, int]) -> dict[str, int]:
    """The frames not delivered, of a lagg or a port."""
    return {drop.value: frames for drop, frames in drops.items()}


def port_counts_record(counts: PortCounts) -> LacpCountersRecord:
    """What LACP counted of a port."""
    found = {field.name: getattr(counts, field.name) for field in fields(PortCounts)}
    found["bad"] = {bad.value: frames for bad, frames in counts.bad}
    return cast(LacpCountersRecord, found)


def _bit_names(state: State) -> list[str]:
    names: Iterable[State] = State
    return [str(bit.name) for bit in names if bit in state]


def _option_words(value: OptionValue) -> object:
    if isinstance(value, tuple):
        return [each.value if isinstance(each, Enum) else str(each) for each in value]
    return value.value if isinstance(value, Enum) else value
