# SPDX-License-Identifier: BSD-2-Clause
"""Why a port does not distribute, in words for a person.

Owns the words and their order: the first that is true is the one to mend first.
"""

from collections.abc import Callable, Sequence

from lagg.lacp.port import DISTRIBUTES, Port
from lagg.lacp.selection import has_enough_links, members
from lagg.lacp.values import Mux, Receive, Selected


def reason(port: Port, ports: Sequence[Port], active: int | None) -> str | None:
    """None: it distributes.  `active` is the number of the active aggregator."""
    return next(filter(None, (word(port) for word in _OF_ITSELF)), None) or _of_others(
        port, ports, active
    )


def _medium(port: Port) -> str | None:
    if not port.medium.up:
        return "carrier down"
    return None if port.enabled else "half duplex: LACP does not run"


def _leaving(port: Port) -> str | None:
    if not port.leaving:
        return None
    return "leaving: the partner is being told" if port.goodbye else "leaving"


def _gate(port: Port) -> str | None:
    return "held" if port.gated else None


def _wiring(port: Port) -> str | None:
    if port.loop_while is not None:
        return "loops back to this system"
    if port.duplicate_of is not None:
        return f"duplicate partner port, as on port {port.duplicate_of}"
    return "held: the partner changes too often" if port.held else None


def _partner(port: Port) -> str | None:
    if port.receive is Receive.EXPIRED and not port.defaulted:
        return "partner silent"
    if not port.defaulted or port.selected is not Selected.UNSELECTED:
        return None
    if port.settings.rxtest:
        return "no partner heard: lacp_rxtest ignores it"
    return "no partner heard"


_OF_ITSELF: tuple[Callable[[Port], str | None], ...] = (
    _medium,
    _leaving,
    _gate,
    _wiring,
    _partner,
)

_BY_MUX = {
    Mux.DETACHED: "waiting for the aggregator",
    Mux.WAITING: "waiting for the aggregator (2 s)",
    Mux.ATTACHED: "partner not in sync",
    Mux.COLLECTING: "partner not collecting",
}


def _of_others(port: Port, ports: Sequence[Port], active: int | None) -> str | None:
    few = f"min-links {port.settings.min_links} not met"
    if port.selected is Selected.STANDBY:
        assert port.aggregator is not None
        group = members(ports, port.aggregator)
        if not has_enough_links(group, port.settings):
            return few
        return f"standby: the aggregator holds {port.settings.max_ports} ports"
    if port.mux not in DISTRIBUTES:
        return _BY_MUX[port.mux]
    if port.aggregator == active:
        return None
    return few if active is None else "other aggregator is active"
