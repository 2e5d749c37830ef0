# SPDX-License-Identifier: BSD-2-Clause
"""Churn detection (802.1AX 6.4.17, figures 6-23 and 6-24): who never comes into Sync.

A standby port is out of Sync on purpose, which is no churn.
"""

from collections.abc import Mapping

from lagg.lacp.machine import Entry, Machine, Row
from lagg.lacp.port import Port
from lagg.lacp.values import Churn, Instant, Selected, State

CHURN_DETECTION_NS = 60_000_000_000
"""Churn_Detection_Time (6.4.4)."""


def _actor_settled(port: Port, _now: Instant) -> bool:
    settled = port.sync or port.selected is Selected.STANDBY
    return port.medium.up and settled


def _actor_unsettled(port: Port, now: Instant) -> bool:
    return not _actor_settled(port, now)


def _partner_settled(port: Port, _now: Instant) -> bool:
    settled = State.SYNC in port.partner.state or port.selected is Selected.STANDBY
    return port.medium.up and settled


def _partner_unsettled(port: Port, now: Instant) -> bool:
    return not _partner_settled(port, now)


def _port_disabled(port: Port, _now: Instant) -> bool:
    return not port.medium.up


def _actor_link_changed(port: Port, _now: Instant) -> bool:
    """The time of monitoring is counted from when the link came up."""
    return port.medium.up is (port.actor_churn_timer is None)


def _partner_link_changed(port: Port, _now: Instant) -> bool:
    return port.medium.up is (port.partner_churn_timer is None)


def _actor_timer_expired(port: Port, now: Instant) -> bool:
    return port.actor_churn_timer is not None and port.actor_churn_timer <= now


def _partner_timer_expired(port: Port, now: Instant) -> bool:
    return port.partner_churn_timer is not None and port.partner_churn_timer <= now


def _monitor_actor(port: Port, now: Instant) -> None:
    port.actor_churn_timer = now + CHURN_DETECTION_NS if port.medium.up else None


def _monitor_partner(port: Port, now: Instant) -> None:
    port.partner_churn_timer = now + CHURN_DETECTION_NS if port.medium.up else None


def _actor_settles(port: Port, _now: Instant) -> None:
    port.actor_churn_timer = None


def _actor_churns(port: Port, now: Instant) -> None:
    _actor_settles(port, now)
    port.counts.actor_churns += 1


def _partner_settles(port: Port, _now: Instant) -> None:
    port.partner_churn_timer = None


def _partner_churns(port: Port, now: Instant) -> None:
    _partner_settles(port, now)
    port.counts.partner_churns += 1


ACTOR_ROWS: Mapping[Churn, tuple[Row[Churn], ...]] = {
    Churn.MONITOR: (
        (_actor_settled, Churn.NO_CHURN),
        (_actor_link_changed, Churn.MONITOR),
        (_actor_timer_expired, Churn.CHURN),
    ),
    Churn.NO_CHURN: ((_actor_unsettled, Churn.MONITOR),),
    Churn.CHURN: ((_actor_settled, Churn.NO_CHURN),),
}

PARTNER_ROWS: Mapping[Churn, tuple[Row[Churn], ...]] = {
    Churn.MONITOR: (
        (_partner_settled, Churn.NO_CHURN),
        (_partner_link_changed, Churn.MONITOR),
        (_partner_timer_expired, Churn.CHURN),
    ),
    Churn.NO_CHURN: ((_partner_unsettled, Churn.MONITOR),),
    Churn.CHURN: ((_partner_settled, Churn.NO_CHURN),),
}

ACTOR_ENTRIES: Mapping[Churn, Entry] = {
    Churn.MONITOR: _monitor_actor,
    Churn.NO_CHURN: _actor_settles,
    Churn.CHURN: _actor_churns,
}

PARTNER_ENTRIES: Mapping[Churn, Entry] = {
    Churn.MONITOR: _monitor_partner,
    Churn.NO_CHURN: _partner_settles,
    Churn.CHURN: _partner_churns,
}

ACTOR_CHURN = Machine(
    figure="actor churn detection (figure 6-23)",
    start=Churn.MONITOR,
    rows=ACTOR_ROWS,
    entries=ACTOR_ENTRIES,
    always=((_port_disabled, Churn.MONITOR),),
)
PARTNER_CHURN = Machine(
    figure="partner churn detection (figure 6-24)",
    start=Churn.MONITOR,
    rows=PARTNER_ROWS,
    entries=PARTNER_ENTRIES,
    always=((_port_disabled, Churn.MONITOR),),
)
