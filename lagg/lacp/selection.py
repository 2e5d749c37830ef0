# SPDX-License-Identifier: BSD-2-Clause
"""Selection logic (802.1AX 6.4.14): which port belongs to which aggregator.

Owns every rule that looks at more than one port: link aggregation groups, individual
and duplicate ports, standby, minimum links, Ready, fallback.  Ports come in order of
number, and what is decided is written to them; knows neither frames nor outputs.
"""

from collections.abc import Iterable, Sequence

from lagg.lacp.port import ATTACHED, Port
from lagg.lacp.receive import load_defaults
from lagg.lacp.values import Instant, Mux, Receive, Selected, Settings, State

LOOP_NS = 90_000_000_000
"""A port whose own PDUs came back is looked at anew after a Long_Timeout_Time."""


def lag_id(port: Port) -> tuple[object, ...]:
    """What ports must have in common to share an aggregator (6.3.6)."""
    mine = (port.settings.system, port.key)
    partner = (port.partner.system, port.partner.key)
    if is_individual(port):
        return (*mine, *partner, port.number, port.partner.port)
    return (*mine, *partner)


def is_individual(port: Port) -> bool:
    """Whether it aggregates with no other: the partner says so, or has key 0 (H-13)."""
    key_missing = port.partner.key == 0 and not port.defaulted
    return key_missing or State.AGGREGATION not in port.partner.state


def select(ports: Sequence[Port], settings: Settings) -> None:
    """Set `selected`, `aggregator` and `ready` of every port.

    A port changes its aggregator only from DETACHED; it is called again after that.
    """
    _find_duplicates(ports)
    for port in ports:
        if _excluded(port):
            port.selected = Selected.UNSELECTED
        if port.selected is Selected.UNSELECTED and port.mux is Mux.DETACHED:
            port.aggregator = None
    for port in ports:
        if port.aggregator is None and not _excluded(port):
            port.aggregator = _aggregator_for(port, ports)
            port.selected = Selected.STANDBY
    for number in aggregators(ports):
        _seat(members(ports, number), settings)


def aggregators(ports: Iterable[Port]) -> list[int]:
    """Numbers of the aggregators that have ports, in order."""
    return sorted({p.aggregator for p in ports if p.aggregator is not None})


def members(ports: Iterable[Port], number: int) -> list[Port]:
    """The ports that are selected for one aggregator, or wait for a place in it."""
    return [
        port
        for port in ports
        if port.aggregator == number and port.selected is not Selected.UNSELECTED
    ]


# ---- who may be selected at all ----------------------------------------------------


def _excluded(port: Port) -> bool:
    """Whether the port can be in no aggregator now; reason.py has the words."""
    return (
        not port.enabled
        or port.leaving
        or port.gated
        or port.loop_while is not None
        or port.held
        or port.duplicate_of is not None
        or not _has_word(port)
    )


def _has_word(port: Port) -> bool:
    """Whether the port may be selected: a partner was heard, or a user vouches for one.

    lagg(4) does not select a port that has heard nobody either.  One that was selected
    stays so while its partner is only late, not yet given up.
    """
    if port.receive is Receive.CURRENT:
        return True
    if port.receive is Receive.EXPIRED:
        return not port.defaulted and port.selected is not Selected.UNSELECTED
    agreed = State.SYNC in port.partner.state
    return port.receive is Receive.DEFAULTED and agreed


def _find_duplicates(ports: Sequence[Port]) -> None:
    """H-12: a partner's port heard on two of ours; who had it first keeps it."""
    first: dict[object, Port] = {}
    for port in sorted(ports, key=lambda port: (port.partner_since, port.number)):
        port.duplicate_of = None
        if port.receive is Receive.CURRENT:
            holder = first.setdefault((port.partner.system, port.partner.port), port)
            port.duplicate_of = None if holder is port else holder.number


def _aggregator_for(port: Port, ports: Sequence[Port]) -> int:
    """The aggregator of its group, else its own, else the lowest that nobody has."""
    wanted = lag_id(port)
    for other in ports:
        if other.selected is not Selected.UNSELECTED and lag_id(other) == wanted:
            assert other.aggregator is not None
            return other.aggregator
    taken = {other.aggregator for other in ports}
    if port.number not in taken:
        return port.number
    return next(n for n in range(1, len(ports) + 1) if n not in taken)


# ---- whose partner changes too often -----------------------------------------------


def hold(ports: Iterable[Port], wanted: bool) -> None:
    """Keeps ports out while their hold lasts, if `wanted`: others carry without them.

    Who is attached stays: to throw it out would be one more change.
    """
    for port in ports:
        kept_out = wanted and port.mux not in ATTACHED
        port.held = kept_out and port.held_until is not None


# ---- places in an aggregator -------------------------------------------------------


def _seat(group: list[Port], settings: Settings) -> None:
    """SELECTED up to max_ports by the better system's port ids, the rest STANDBY."""
    enough = has_enough_links(group, settings)
    attached = any(port.mux in ATTACHED for port in group)
    ranked = sorted(group, key=lambda port: _rank(port, attached))
    for place, port in enumerate(ranked):
        seated = enough and place < settings.max_ports
        port.selected = Selected.SELECTED if seated else Selected.STANDBY
    waiting = [p for p in group if p.selected is Selected.SELECTED]
    waiting = [p for p in waiting if p.mux in {Mux.DETACHED, Mux.WAITING}]
    ready = all(port.fallback or _has_waited(port) for port in waiting)
    for port in waiting:
        port.ready = ready


def has_enough_links(group: Iterable[Port], settings: Settings) -> bool:
    """min_links, before a port attaches: the partner sees that we are not in Sync.

    A port that carries as fallback is exempt.
    """
    links = [p for p in group if p.receive in {Receive.CURRENT, Receive.DEFAULTED}]
    return len(links) >= settings.min_links or any(port.fallback for port in links)


def _rank(port: Port, attached: bool) -> tuple[object, ...]:
    """Lower is better.  A port that still waits takes no place from an attached one.

    Until it may attach itself, nothing would carry.
    """
    waits = attached and port.mux not in ATTACHED and not _has_waited(port)
    ours_decides = port.settings.system <= port.partner.system
    decisive = port.actor().port if ours_decides else port.partner.port
    return waits, decisive, port.number


def _has_waited(port: Port) -> bool:
    return port.mux is Mux.WAITING and port.wait_while is None


# ---- fallback ----------------------------------------------------------------------


def choose_fallback(ports: Sequence[Port], wanted: bool, now: Instant) -> None:
    """Without any partner one port carries: the lowest priority, then number."""
    candidates = [p for p in ports if _may_fall_back(p)] if wanted else []
    chosen = min(
        candidates, key=lambda port: (port.priority, port.number), default=None
    )
    for port in ports:
        if port.fallback is not (port is chosen):
            port.fallback = port is chosen
            if port.receive is Receive.DEFAULTED:
                load_defaults(port, now)


def _may_fall_back(port: Port) -> bool:
    idle = port.receive is Receive.DEFAULTED and port.loop_while is None
    return idle and port.enabled and not (port.leaving or port.gated)
