# SPDX-License-Identifier: BSD-2-Clause
"""What is to be seen of a lagg's ports, of who carries, and of what is pinned where.

Made of its shape, its history, a reading and LACP's view.  Each field of
records.PortRecord, CarriageRecord and PinRecord gets its value here, and nowhere else.
"""

from collections.abc import Mapping

from lagg.kernel.native import DeviceCounters
from lagg.lacp.values import NS_OF_MS, Instant, PortStatus, View
from lagg.life import time_of_day
from lagg.model import PortOptions, Transmit
from lagg.plan.election import elected, why
from lagg.plan.history import Cause, LaggPast, PortPast
from lagg.plan.penalty import Penalty
from lagg.plan.pins import ends, pinned, pins
from lagg.plan.plan import Plan, Standing, standings
from lagg.plan.shape import Port, Shape
from lagg.records import (
    CarriageRecord,
    DampingRecord,
    PinRecord,
    PortRecord,
    drops_record,
    port_lacp_record,
    watch_record,
)
from lagg.running.negotiator import PathWatcher
from lagg.watches import LinkWatch


def port_records(
    shape: Shape,
    history: LaggPast,
    reading: DeviceCounters,
    openings: Mapping[int, str | None],
    watching: PathWatcher | None,
    view: View | None,
    now: Instant,
) -> list[PortRecord]:
    """The ports in the shape's order.

    `openings`: why one is promiscuous, in words, by its ifindex; `watching`: None of a
    lagg that nobody watches; `view` is None unless laggproto is lacp; `now` by the
    clock that the shape was settled by.
    """
    statuses = {} if view is None else {each.number: each for each in view.ports}
    stand = standings(shape)
    return [
        _port_record(
            port,
            stand[port.slot],
            shape.options_of(port.link.name),
            history.of_port(port.link.ifindex) or PortPast(port.link.ifindex, 0),
            reading,
            openings.get(port.link.ifindex),
            {} if watching is None else watching.bad(port.slot),
            statuses.get(port.number),
            now,
        )
        for port in shape.ports
    ]


def _port_record(
    port: Port,
    standing: Standing,
    options: PortOptions,
    past: PortPast,
    reading: DeviceCounters,
    promisc: str | None,
    bad: Mapping[LinkWatch, Mapping[str, int]],
    status: PortStatus | None,
    now: Instant,
) -> PortRecord:
    counters = reading.ports[port.slot]
    tx = Transmit.XDP if port.slot in reading.xdp else Transmit.PACKET
    return {
        "name": port.link.name,
        "ifindex": port.link.ifindex,
        "slot": port.slot,
        "link": "up" if port.link.active else "down",
        "speed_mbps": port.modes.speed_mbps,
        "flags": [flag.value for flag in standing.flags],
        "reason": standing.reason,
        "warnings": [*port.warnings],
        "tx": tx.value,
        "tx_frames": counters.tx_frames,
        "tx_bytes": counters.tx_bytes,
        "rx_frames": counters.rx_frames,
        "rx_bytes": counters.rx_bytes,
        "rings_reopened": reading.reopened[port.slot],
        "drops": drops_record(counters.drops),
        "promisc": promisc,
        "lacp_port_priority": options.lacp_port_priority,
        "priority": options.priority,
        "weight": options.weight,
        "held": port.held,
        "hold_link": options.hold_link.value,
        "damping": _damping_record(port, now),
        "looped": port.looped,
        "state_since": time_of_day(past.since_ns),
        "failures": past.failures,
        "departures": {cause.value: past.times(cause) for cause in Cause},
        "last_departure": None
        if past.last is None
        else {"cause": past.last.cause.value, "at": time_of_day(past.last.at_ns)},
        "home_mac": port.home_mac,
        "full_duplex": port.modes.full_duplex,
        "watch": [
            watch_record(each, time_of_day(each.since_ns), bad.get(each.watch, {}))
            for each in port.watched.verdicts
        ],
        "lacp": None if status is None else port_lacp_record(status),
    }


def _damping_record(port: Port, now: Instant) -> DampingRecord:
    penalty = port.penalty or Penalty()
    left_ns = max(0, penalty.reuse_at - now) if port.damped else 0
    return {
        "penalty": penalty.now(now),
        "suppressed": port.damped,
        "reuse_ms": -(-left_ns // NS_OF_MS),
    }


def carriage_record(shape: Shape, history: LaggPast) -> CarriageRecord:
    """Who carries a lagg, why, and who did before."""
    slot = elected(shape) if shape.proto.elects else None
    last = history.last_failover
    return {
        "active": None if slot is None else shape.at(slot).link.name,
        "active_reason": None if slot is None else why(shape),
        "failovers": history.failovers,
        "last_failover": None
        if last is None
        else {
            "from": last.of,
            "to": last.to,
            "cause": last.cause,
            "at": time_of_day(last.at_ns),
        },
        "link_since": time_of_day(history.carrier_since_ns),
        "link_losses": history.carrier_losses,
        "balance_moves": history.balanced,
    }


def pin_records(shape: Shape, plan: Plan, now: Instant) -> list[PinRecord]:
    """The buckets that stay on a port, in their order; `plan` is that of `shape`."""
    until = ends(shape)
    slots = pinned(shape)
    return [
        {
            "bucket": bucket,
            "port": port,
            "left_ms": -(-max(0, until[bucket] - now) // NS_OF_MS)
            if bucket in until
            else None,
            "carries": plan.slot_of(bucket) in {slots.get(bucket)} - {None},
        }
        for bucket, port in sorted(pins(shape).items())
    ]
