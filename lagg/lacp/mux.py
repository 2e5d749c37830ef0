# SPDX-License-Identifier: BSD-2-Clause
"""Mux machine (802.1AX 6.4.15): when a port collects and distributes.

Two tables for the two figures: independent control (6-21), where we distribute only to
a partner that collects, and coupled control (6-22), where its Sync is enough.
"""

from collections.abc import Mapping

from lagg.lacp.machine import Entry, Machine, Row
from lagg.lacp.port import COLLECTS, DISTRIBUTES, Port
from lagg.lacp.values import Instant, Mux, Selected, State

AGGREGATE_WAIT_NS = 2_000_000_000
"""Aggregate_Wait_Time (6.4.4): ports that come together attach together."""

# ---- guards ------------------------------------------------------------------------


def _chosen(port: Port, _now: Instant) -> bool:
    """Selected is SELECTED or STANDBY."""
    return port.selected is not Selected.UNSELECTED


def _unselected(port: Port, _now: Instant) -> bool:
    return port.selected is Selected.UNSELECTED


def _not_selected(port: Port, _now: Instant) -> bool:
    """Selected is UNSELECTED or STANDBY."""
    return port.selected is not Selected.SELECTED


def _selected_and_ready(port: Port, _now: Instant) -> bool:
    return port.selected is Selected.SELECTED and port.ready


def _partner_in_sync(port: Port, _now: Instant) -> bool:
    """Guards of ATTACHED look at _not_selected first."""
    return State.SYNC in port.partner.state


def _lost(port: Port, now: Instant) -> bool:
    return _not_selected(port, now) or not _partner_in_sync(port, now)


def _partner_collects(port: Port, _now: Instant) -> bool:
    return State.COLLECTING in port.partner.state


def _lost_or_not_collected(port: Port, now: Instant) -> bool:
    return _lost(port, now) or not _partner_collects(port, now)


# ---- entries -----------------------------------------------------------------------


def _detached(port: Port, _now: Instant) -> None:
    _stop_distributing(port)
    port.sync = port.collecting = port.ready = False
    port.wait_while = None
    port.tell()


def _waiting(port: Port, now: Instant) -> None:
    port.wait_while = now + AGGREGATE_WAIT_NS


def _attached(port: Port, _now: Instant) -> None:
    _stop_distributing(port)
    port.wait_while = None
    port.sync = True
    port.collecting = False
    port.tell()


def _collecting(port: Port, _now: Instant) -> None:
    _stop_distributing(port)
    port.collecting = True
    port.tell()


def _distributing(port: Port, _now: Instant) -> None:
    port.distributing = True
    # The standard leaves this for the next PDU; a partner that shows it shows it now.
    port.need_to_transmit = True


def _collecting_distributing(port: Port, _now: Instant) -> None:
    port.collecting = port.distributing = True
    port.tell()


def _stop_distributing(port: Port) -> None:
    port.counts.flaps += port.distributing
    port.distributing = False


# ---- the tables --------------------------------------------------------------------

_DETACHED: tuple[Row[Mux], ...] = ((_chosen, Mux.WAITING),)
_WAITING: tuple[Row[Mux], ...] = (
    (_unselected, Mux.DETACHED),
    (_selected_and_ready, Mux.ATTACHED),
)

INDEPENDENT_ROWS: Mapping[Mux, tuple[Row[Mux], ...]] = {
    Mux.DETACHED: _DETACHED,
    Mux.WAITING: _WAITING,
    Mux.ATTACHED: ((_not_selected, Mux.DETACHED), (_partner_in_sync, Mux.COLLECTING)),
    Mux.COLLECTING: ((_lost, Mux.ATTACHED), (_partner_collects, Mux.DISTRIBUTING)),
    Mux.DISTRIBUTING: ((_lost_or_not_collected, Mux.COLLECTING),),
}

COUPLED_ROWS: Mapping[Mux, tuple[Row[Mux], ...]] = {
    Mux.DETACHED: _DETACHED,
    Mux.WAITING: _WAITING,
    Mux.ATTACHED: (
        (_not_selected, Mux.DETACHED),
        (_partner_in_sync, Mux.COLLECTING_DISTRIBUTING),
    ),
    Mux.COLLECTING_DISTRIBUTING: ((_lost, Mux.ATTACHED),),
}

ENTRIES: Mapping[Mux, Entry] = {
    Mux.DETACHED: _detached,
    Mux.WAITING: _waiting,
    Mux.ATTACHED: _attached,
    Mux.COLLECTING: _collecting,
    Mux.DISTRIBUTING: _distributing,
    Mux.COLLECTING_DISTRIBUTING: _collecting_distributing,
}

INDEPENDENT = Machine(
    figure="mux machine, independent control (figure 6-21)",
    start=Mux.DETACHED,
    rows=INDEPENDENT_ROWS,
    entries={state: ENTRIES[state] for state in INDEPENDENT_ROWS},
)
COUPLED = Machine(
    figure="mux machine, coupled control (figure 6-22)",
    start=Mux.DETACHED,
    rows=COUPLED_ROWS,
    entries={state: ENTRIES[state] for state in COUPLED_ROWS},
)


def machine_of(port: Port) -> Machine[Mux]:
    """The table that the port follows."""
    return COUPLED if port.settings.coupled else INDEPENDENT


def same_in(coupled: bool, port: Port) -> Mux:
    """The port's state in the words of the other table: a live change does not flap."""
    if coupled and port.mux in {Mux.COLLECTING, Mux.DISTRIBUTING}:
        port.distributing = True
        return Mux.COLLECTING_DISTRIBUTING
    if not coupled and port.mux is Mux.COLLECTING_DISTRIBUTING:
        return Mux.DISTRIBUTING
    return port.mux


def leave(port: Port) -> None:
    """Stop distributing, go on collecting: the partner needs a moment to hear of it."""
    port.leaving = port.goodbye = True
    _drain(port)


def close_gate(port: Port) -> None:
    """Stop distributing, go on collecting for as long as the partner sends."""
    port.gated = True
    _drain(port)
    port.tell()


def open_gate(port: Port, now: Instant) -> None:
    """Begin anew: what the partner was told is that the port is not in sync."""
    port.gated = False
    end_drain(port, now)
    port.tell()


def end_drain(port: Port, now: Instant) -> None:
    """Collect no more; in either table."""
    if port.mux in COLLECTS:
        port.mux = Mux.DETACHED
        _detached(port, now)


def _drain(port: Port) -> None:
    port.distributing = False  # planned, so it is no flap
    if port.mux in DISTRIBUTES:
        port.mux = Mux.COLLECTING
