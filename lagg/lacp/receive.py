# SPDX-License-Identifier: BSD-2-Clause
"""Receive machine (802.1AX 6.4.12, figure 6-18): what is believed of the partner.

Owns recordPDU, update_Selected, update_NTT and the defaults, as functions of one port.
"""

from collections.abc import Mapping
from dataclasses import replace

from lagg.lacp.machine import Entry, Machine, Row, always
from lagg.lacp.pdu import RETRIES, Lacpdu
from lagg.lacp.port import NOBODY, Port
from lagg.lacp.values import NS, Instant, Party, Receive, Selected, State

SHORT_TIMEOUT_NS = 3 * NS
"""Short_Timeout_Time (6.4.4)."""

LONG_TIMEOUT_NS = 90 * NS
"""Long_Timeout_Time (6.4.4)."""

STRIKE_WINDOW_NS = 10 * NS
"""A partner that changed and changes again within this time is struck (H-14)."""

STRIKES_FREE = 3
HOLD_NS = 2 * NS
HOLD_MAX_NS = 60 * NS
"""After the free strikes the port is to be held unselected, doubling up to the last;
whether it is, for the sake of others, is selection's affair."""

_AGREED = State.SYNC | State.COLLECTING | State.DISTRIBUTING
_NTT_BITS = State.ACTIVITY | State.TIMEOUT | State.SYNC | State.AGGREGATION


def _late(port: Port, now: Instant) -> bool:
    """Whether current_while has run out: no PDU of the partner came in time."""
    return port.current_while is not None and port.current_while <= now


def default_partner(port: Port) -> Party:
    """Partner_Admin_*.  Strict: nobody.  Optimistic: whoever it is, it agrees.

    Optimistic ports aggregate with each other, one that carries as fallback does not.
    lagg(4) has the same defaults and then never selects a port that is defaulted, so
    its -lacp_strict alone carries nothing; ours does.
    """
    if port.fallback:
        return replace(NOBODY, state=_AGREED)
    if port.settings.strict or not port.enabled:
        return NOBODY
    return replace(NOBODY, state=_AGREED | State.AGGREGATION)


def load_defaults(port: Port, now: Instant) -> None:
    """update_Default_Selected, then recordDefault."""
    partner = default_partner(port)
    if _identity(partner) != _identity(port.partner):
        port.selected = Selected.UNSELECTED
        port.partner_since = now
    port.partner = partner
    port.defaulted = True


def _identity(party: Party) -> tuple[object, ...]:
    """What update_Selected compares: a change means another link aggregation group."""
    aggregates = State.AGGREGATION in party.state
    return party.system, party.key, party.port, aggregates


# ---- guards ------------------------------------------------------------------------


def _port_moved(port: Port, _now: Instant) -> bool:
    return port.port_moved


def _port_disabled(port: Port, _now: Instant) -> bool:
    return not port.medium.up


def _half_duplex(port: Port, _now: Instant) -> bool:
    """LACP_Enabled is false: as lagg(4), LACP runs on full duplex only."""
    return port.medium.up and not port.medium.full_duplex


def _port_enabled(port: Port, _now: Instant) -> bool:
    return port.enabled


def _pdu_received(port: Port, _now: Instant) -> bool:
    return port.pdu is not None


# ---- entries -----------------------------------------------------------------------


def _initialize(port: Port, now: Instant) -> None:
    port.selected = Selected.UNSELECTED
    load_defaults(port, now)
    port.expired = port.port_moved = False


def _link_down(port: Port, _now: Instant) -> None:
    # The partner is kept: it may be the same one when the link is back.
    state = port.partner.state & ~State.SYNC
    port.partner = replace(port.partner, state=state)
    port.pdu = port.deferred = port.current_while = port.loop_while = None
    port.partner_was_active = False


def _expired(port: Port, now: Instant) -> None:
    if port.current_while is not None:
        port.counts.lacpdu_late += 1
    # A short timeout of the partner's makes us send fast.
    state = port.partner.state & ~State.SYNC | State.TIMEOUT
    port.partner = replace(port.partner, state=state)
    port.current_while = now + SHORT_TIMEOUT_NS
    port.expired = True
    port.tell()


def _lacp_disabled(port: Port, now: Instant) -> None:
    port.selected = Selected.UNSELECTED
    load_defaults(port, now)
    port.expired = False
    port.pdu = port.current_while = None


def _defaulted(port: Port, now: Instant) -> None:
    load_defaults(port, now)
    port.expired = False
    port.current_while = None


def _current(port: Port, now: Instant) -> None:
    pdu, port.pdu = port.pdu, None
    assert pdu is not None
    _update_selected(port, pdu, now)
    _update_ntt(port, pdu)
    _record(port, pdu)
    port.current_while = port.pdu_at + _timeout_ns(port, pdu)
    port.expired = False


def _timeout_ns(port: Port, pdu: Lacpdu) -> int:
    """Short only once the partner knows: one that does not yet send fast is not late.

    The standard takes ours at once, and flaps when the PDU that tells it is lost.
    """
    told = State.TIMEOUT in pdu.partner.state or not _is_about(port, pdu)
    usual_ns = SHORT_TIMEOUT_NS if port.settings.fast and told else LONG_TIMEOUT_NS
    return usual_ns // RETRIES * pdu.retries


def _update_selected(port: Port, pdu: Lacpdu, now: Instant) -> None:
    if _identity(pdu.actor) == _identity(port.partner):
        return
    port.selected = Selected.UNSELECTED
    port.partner_since = now
    if port.defaulted:
        port.tell()
    else:
        _strike(port, now)


def _strike(port: Port, now: Instant) -> None:
    """The partner has changed; if it does so again and again, a hold begins."""
    recent = port.strikes and now - port.struck_at < STRIKE_WINDOW_NS + _hold_ns(port)
    port.strikes = port.strikes + 1 if recent else 1
    port.struck_at = now
    if port.strikes > STRIKES_FREE:
        port.held_until = now + _hold_ns(port)


def forgive(port: Port) -> None:
    """As if the partner had never changed."""
    port.strikes = 0
    port.held_until = None


def _hold_ns(port: Port) -> int:
    beyond = max(0, port.strikes - STRIKES_FREE)
    return min(HOLD_NS << min(beyond, 16), HOLD_MAX_NS) if beyond else 0


def _update_ntt(port: Port, pdu: Lacpdu) -> None:
    actor, said = port.actor(), pdu.partner
    if (said.system, said.key, said.port, said.state & _NTT_BITS) != (
        actor.system,
        actor.key,
        actor.port,
        actor.state & _NTT_BITS,
    ):
        port.need_to_transmit = True


def _record(port: Port, pdu: Lacpdu) -> None:
    state = pdu.actor.state
    if State.SYNC in state and not _agrees(port, pdu):
        state &= ~State.SYNC
    port.partner = replace(pdu.actor, state=state)
    port.partner_was_active = State.ACTIVITY in state
    port.defaulted = False


def _agrees(port: Port, pdu: Lacpdu) -> bool:
    """Whether the partner's Sync counts: maintained, and about us as we are."""
    maintained = State.ACTIVITY in pdu.actor.state or (
        port.settings.active and State.ACTIVITY in pdu.partner.state
    )
    individual = State.AGGREGATION not in pdu.actor.state
    return maintained and (individual or _is_about(port, pdu))


def _is_about(port: Port, pdu: Lacpdu) -> bool:
    return _identity(pdu.partner) == _identity(port.actor())


# ---- the table ---------------------------------------------------------------------

_FROM_SILENCE: tuple[Row[Receive], ...] = ((_pdu_received, Receive.CURRENT),)

ROWS: Mapping[Receive, tuple[Row[Receive], ...]] = {
    Receive.INITIALIZE: ((always, Receive.PORT_DISABLED),),
    Receive.PORT_DISABLED: ((_port_enabled, Receive.EXPIRED),),
    Receive.EXPIRED: (*_FROM_SILENCE, (_late, Receive.DEFAULTED)),
    Receive.LACP_DISABLED: ((_port_enabled, Receive.PORT_DISABLED),),
    Receive.DEFAULTED: _FROM_SILENCE,
    Receive.CURRENT: ((_pdu_received, Receive.CURRENT), (_late, Receive.EXPIRED)),
}

ENTRIES: Mapping[Receive, Entry] = {
    Receive.INITIALIZE: _initialize,
    Receive.PORT_DISABLED: _link_down,
    Receive.EXPIRED: _expired,
    Receive.LACP_DISABLED: _lacp_disabled,
    Receive.DEFAULTED: _defaulted,
    Receive.CURRENT: _current,
}

RECEIVE = Machine(
    figure="receive machine (figure 6-18)",
    start=Receive.INITIALIZE,
    rows=ROWS,
    entries=ENTRIES,
    always=(
        (_port_moved, Receive.INITIALIZE),
        (_port_disabled, Receive.PORT_DISABLED),
        (_half_duplex, Receive.LACP_DISABLED),
    ),
)
