# SPDX-License-Identifier: BSD-2-Clause
"""The records that cross the control socket and that `--json` prints.

Owns their field names and the way from model values to them.  Plain JSON values only;
knows no socket and no driver.  The types are the varlink types of org.laggd.Lagg too.
"""

from dataclasses import fields
from enum import Enum
from typing import TypedDict, cast

from lagg.model import (
    Counters,
    Drop,
    Event,
    LaggRecord,
    Limbo,
    Options,
    OptionValue,
    PortRecord,
)


class OptionsJson(TypedDict):
    """Every option of a lagg and its value."""

    lagghash: list[str]
    hash: str
    hash_seed: int | None
    use_flowid: bool
    flowid_shift: int
    rr_limit: int
    failover_rx_all: bool


class OptionsChangeJson(TypedDict, total=False):
    """The options that a request sets; the others stay as they are."""

    lagghash: list[str]
    hash: str
    hash_seed: int
    use_flowid: bool
    flowid_shift: int
    rr_limit: int
    failover_rx_all: bool


class PortJson(TypedDict):
    """One port."""

    name: str
    ifindex: int
    slot: int
    link: str
    speed_mbps: int
    flags: list[str]
    reason: str | None
    tx_frames: int
    tx_bytes: int
    rx_frames: int
    rx_bytes: int
    drops: dict[str, int]


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
    limbo: LimboJson
    options: OptionsJson
    ports: list[PortJson]
    counters: CountersJson


class EventJson(TypedDict):
    """Something that happened; `lagg` is empty when it concerns none."""

    lagg: str
    port: str | None
    event: str
    details: str
    time_ns: int


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
        "limbo": limbo_json(record.limbo),
        "options": options_json(record.options),
        "ports": [port_json(port) for port in record.ports],
        "counters": counters_json(record.counters),
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
        "tx_frames": port.tx_frames,
        "tx_bytes": port.tx_bytes,
        "rx_frames": port.rx_frames,
        "rx_bytes": port.rx_bytes,
        "drops": _drops_json(port.drops),
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
    found = {
        field.name: _option_json(getattr(options, field.name))
        for field in fields(Options)
    }
    return cast(OptionsJson, found)


def event_json(event: Event) -> EventJson:
    """A line of `monitor --json`."""
    return {
        "lagg": event.lagg,
        "port": event.port,
        "event": event.event,
        "details": event.details,
        "time_ns": event.time_ns,
    }


def _drops_json(drops: dict[Drop, int]) -> dict[str, int]:
    return {drop.value: count for drop, count in drops.items()}


def _option_json(value: OptionValue) -> object:
    if isinstance(value, tuple):
        return [layer.value for layer in value]
    return value.value if isinstance(value, Enum) else value
