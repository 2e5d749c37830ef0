# SPDX-License-Identifier: BSD-2-Clause
"""An engine as a value: all that it needs to go on in another process.

Owns the form, which the engines of two versions share, and what must hold of one that
comes from elsewhere, beyond its types.  A field that is new has a default.  What
follows from the rest is not in it: a port's key, say.  Knows no JSON, and no engine.
"""

from dataclasses import fields, replace
from typing import Annotated, Any

from lagg.frozen import dataclass
from lagg.lacp import mux
from lagg.lacp.aggregator import ActiveAggregator
from lagg.lacp.key import IDENTITIES, key_of
from lagg.lacp.marker import MarkerPort, SavedMarkers
from lagg.lacp.notices import SavedNotices, Teller
from lagg.lacp.pdu import RETRIES, RETRIES_MAX, Lacpdu
from lagg.lacp.port import (
    INBOX_PDUS,
    PDUS_PER_WINDOW,
    Counts,
    Port,
    inbox_limit,
)
from lagg.lacp.receive import LONG_TIMEOUT_NS
from lagg.lacp.values import (
    PORTS_MAX,
    U16,
    U32,
    Churn,
    Count,
    Instant,
    Mac,
    Medium,
    Mux,
    Party,
    Periodic,
    PortCounts,
    PortNumber,
    Receive,
    Selected,
    Settings,
)

TIMER_NS_MAX = LONG_TIMEOUT_NS * RETRIES_MAX // RETRIES
"""No timer of a port runs longer."""

ABSENCE_NS = 1_500_000_000
"""So long a partner may at least still be silent after nobody listened to it."""

_TRANSACTIONS = 1 << 16
"""More than were asked for since an engine was saved."""

_TIMERS = (
    *("current_while", "periodic_timer", "wait_while", "loop_while", "held_until"),
    *("actor_churn_timer", "partner_churn_timer"),
)


@dataclass(frozen=True, slots=True)
class SavedPort:
    """A Port, and what the engine knows of it beside."""

    number: PortNumber
    mac: Mac
    priority: U16
    medium: Medium
    receive: Receive
    pdu: Lacpdu | None
    pdu_at: Instant
    deferred: tuple[Lacpdu, Instant] | None
    inbox: Annotated[tuple[Instant, ...], range(INBOX_PDUS + 1)]
    partner: Party
    partner_since: Instant
    partner_was_active: bool
    defaulted: bool
    expired: bool
    port_moved: bool
    current_while: Instant | None
    selected: Selected
    aggregator: PortNumber | None
    ready: bool
    fallback: bool
    duplicate_of: PortNumber | None
    loop_while: Instant | None
    held_until: Instant | None
    held: bool
    strikes: Count
    struck_at: Instant
    mux: Mux
    wait_while: Instant | None
    sync: bool
    collecting: bool
    distributing: bool
    leaving: bool
    left_active: bool
    periodic: Periodic
    periodic_timer: Instant | None
    actor_churn: Churn
    partner_churn: Churn
    actor_churn_timer: Instant | None
    partner_churn_timer: Instant | None
    need_to_transmit: bool
    news: bool
    goodbye: bool
    counts: PortCounts
    markers: SavedMarkers
    notices: SavedNotices
    gated: bool = False

    @classmethod
    def of(cls, port: Port, markers: MarkerPort, teller: Teller) -> "SavedPort":
        """A port as it is."""
        same: dict[str, Any] = {name: getattr(port, name) for name in _SAME}
        return cls(
            **same,
            inbox=port.inbox.taken,
            counts=port.counts.frozen(),
            markers=markers.saved(),
            notices=teller.saved(port.number),
        )

    def port(self, settings: Settings, identity: int) -> Port:
        """The port as it was; how often it has sent is not known here."""
        same: dict[str, Any] = {name: getattr(self, name) for name in _SAME}
        key = key_of(settings, self.medium.speed_mbps, identity)
        return Port(
            **same,
            settings=settings,
            key=key,
            inbox=inbox_limit(self.inbox),
            counts=Counts.of(self.counts),
        )


_SAME = tuple(
    each.name
    for each in fields(SavedPort)
    if each.name not in {"inbox", "counts", "markers", "notices"}
)
"""What a port and a saved one have under one name, and in one form."""

SavedPorts = Annotated[tuple[SavedPort, ...], range(PORTS_MAX + 1)]
Sent = Annotated[tuple[Instant, ...], range(PDUS_PER_WINDOW + 1)]


@dataclass(frozen=True, slots=True)
class SavedEngine:
    """An Engine whose outputs are taken."""

    settings: Settings
    identity: Annotated[int, range(IDENTITIES)]
    now: Instant  # when it was told the time last
    transaction: U32
    ports: SavedPorts  # by number
    # By number, also of ports that are gone and may come again.
    sent: Annotated[tuple[tuple[PortNumber, Sent], ...], range(PORTS_MAX + 1)]
    choice: ActiveAggregator  # its own
    alone_since: Instant | None
    flaps_of_the_gone: Count

    def after_absence(self, now: Instant) -> "SavedEngine":
        """What is to go on after nobody listened or spoke for a while, up to `now`.

        That was our silence, not the partner's, whose words wait in the socket.  Each
        port says at once what it said last: the partner may have missed that.  No
        answer to what was asked after this was saved is taken for one to us.
        """
        until = now + ABSENCE_NS
        return replace(
            self,
            transaction=(self.transaction + _TRANSACTIONS) & 0xFFFFFFFF,
            ports=tuple(
                replace(
                    port,
                    need_to_transmit=True,
                    current_while=port.current_while and max(port.current_while, until),
                )
                for port in self.ports
            ),
        )

    def check(self, now: Instant) -> None:
        """ValueError, with the field, unless an engine can be so at the time `now`."""
        numbers = [port.number for port in self.ports]
        senders = [number for number, _ in self.sent]
        _hold(_ascends(numbers), "ports: not by number, each once")
        _hold(len({*senders}) == len(senders), "sent: a port twice")
        _hold({*numbers} <= {*senders}, "sent: a port is missing")
        _hold(self.now <= now, f"now: {self.now} is yet to come")
        _hold(_is_past(self.alone_since, self.now), "alone_since: is yet to come")
        challenger, at = self.choice.challenger, self.choice.takes_over_at
        _hold((challenger is None) is (at is None), "choice.takes_over_at: whose?")
        _hold(_is_near(at, now), "choice.takes_over_at: too late")
        for number, taken in self.sent:
            _hold(_is_record(taken, self.now), f"sent: of port {number}: no record")
        for index, port in enumerate(self.ports):
            place = f"ports[{index}]."
            _check_port(port, self, place)
            _check_times(port, self.now, now, place)
            _check_beside(port, self.now, place)


def _check_port(port: SavedPort, engine: SavedEngine, place: str) -> None:
    chosen = port.selected is not Selected.UNSELECTED
    _hold(not chosen or port.aggregator is not None, f"{place}aggregator: none")
    others = {other.number for other in engine.ports} - {port.number}
    _hold(port.duplicate_of in {None, *others}, f"{place}duplicate_of: no port")
    table = mux.COUPLED_ROWS if engine.settings.coupled else mux.INDEPENDENT_ROWS
    drains = port.leaving or port.gated
    _hold(drains or port.mux in table, f"{place}mux: not with this control")


def _check_times(port: SavedPort, saved: Instant, now: Instant, place: str) -> None:
    for name in ("pdu_at", "partner_since", "struck_at"):
        _hold(getattr(port, name) <= saved, f"{place}{name}: is yet to come")
    for name in _TIMERS:
        _hold(_is_near(getattr(port, name), now), f"{place}{name}: too late")
    deferred = port.deferred is None or port.deferred[1] <= saved
    _hold(deferred, f"{place}deferred: is yet to come")
    _hold(_is_record(port.inbox, saved), f"{place}inbox: no record")


def _check_beside(port: SavedPort, saved: Instant, place: str) -> None:
    markers, notices = port.markers, port.notices
    asked = [transaction for transaction, _ in markers.outstanding]
    _hold(len({*asked}) == len(asked), f"{place}markers.outstanding: one twice")
    for _, until in markers.outstanding:
        _hold(_is_near(until, saved), f"{place}markers.outstanding: too late")
    _hold(_is_record(markers.responses, saved), f"{place}markers.responses: no record")
    _hold(_is_record(markers.markers, saved), f"{place}markers.markers: no record")
    for pairs in (port.counts.bad, notices.told, notices.last, notices.unsaid):
        _hold(len(dict(pairs)) == len(pairs), f"{place}counts, notices: a kind twice")
    last, unsaid = dict(notices.last), dict(notices.unsaid)
    _hold(unsaid.keys() <= last.keys(), f"{place}notices.unsaid: never told")
    _hold(all(at <= saved for at in last.values()), f"{place}notices.last: to come")


def _hold(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _ascends(numbers: list[int]) -> bool:
    return sorted({*numbers}) == numbers


def _is_past(at: Instant | None, now: Instant) -> bool:
    return at is None or at <= now


def _is_near(at: Instant | None, now: Instant) -> bool:
    return at is None or at <= now + TIMER_NS_MAX


def _is_record(taken: tuple[Instant, ...], now: Instant) -> bool:
    """Whether a limit can have counted so."""
    return sorted(taken) == [*taken] and all(at <= now for at in taken)
