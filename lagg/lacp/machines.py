# SPDX-License-Identifier: BSD-2-Clause
"""The machines of one port together: the order in which they run, and their timers.

Owns what they tell each other and selection: its situation.  Knows no other port.
"""

from lagg.lacp import mux
from lagg.lacp.churn import ACTOR_CHURN, PARTNER_CHURN
from lagg.lacp.periodic import PERIODIC
from lagg.lacp.port import Port
from lagg.lacp.receive import RECEIVE
from lagg.lacp.values import Instant


def begin(port: Port, now: Instant) -> None:
    """Every machine of a new port enters its first state."""
    port.receive = RECEIVE.begin(port, now)
    port.mux = mux.machine_of(port).begin(port, now)
    port.periodic = PERIODIC.begin(port, now)
    port.actor_churn = ACTOR_CHURN.begin(port, now)
    port.partner_churn = PARTNER_CHURN.begin(port, now)


def settle(port: Port, now: Instant) -> None:
    """One port's machines, in the order in which one looks at the other's result."""
    port.receive = RECEIVE.settle(port.receive, port, now)
    if port.gated and not port.drains:
        mux.end_drain(port, now)
    if not port.drains:
        port.mux = mux.machine_of(port).settle(port.mux, port, now)
    port.actor_churn = ACTOR_CHURN.settle(port.actor_churn, port, now)
    port.partner_churn = PARTNER_CHURN.settle(port.partner_churn, port, now)
    port.periodic = PERIODIC.settle(port.periodic, port, now)


def situation(port: Port) -> tuple[object, ...]:
    """What selection and the machines of a port tell each other."""
    machines = (port.receive, port.mux, port.periodic)
    chosen = (port.selected, port.aggregator, port.ready, port.fallback, port.held)
    running = (
        *(port.wait_while is None, port.loop_while is None, port.held_until is None),
        *(port.actor_churn, port.partner_churn),
    )
    known = (port.partner, port.defaulted, port.duplicate_of, port.gated)
    return machines, chosen, running, *known


def run_out(port: Port, now: Instant) -> None:
    """Timers that no machine's row looks at end here."""
    if port.wait_while is not None and port.wait_while <= now:
        port.wait_while = None
    if port.loop_while is not None and port.loop_while <= now:
        port.loop_while = None
    if port.held_until is not None and port.held_until <= now:
        port.held_until = None
