# SPDX-License-Identifier: BSD-2-Clause
"""Periodic transmission machine (802.1AX 6.4.13, figure 6-19): when a PDU is due.

The pace is the partner's wish.  While there is no partner it is faster than the
standard's, see docs/LACP.md: two ends that both gave up find each other at once.
"""

from collections.abc import Mapping

from lagg.lacp.machine import Entry, Machine, Row, always
from lagg.lacp.port import Port
from lagg.lacp.values import Instant, Periodic, State

FAST_PERIODIC_NS = 1_000_000_000
"""Fast_Periodic_Time (6.4.4)."""

SLOW_PERIODIC_NS = 30_000_000_000
"""Slow_Periodic_Time (6.4.4)."""

PROBE_NS = FAST_PERIODIC_NS // 2
"""Between PDUs to nobody: with Aggregate_Wait_Time, back within 3 s of a repair."""


def silent(port: Port, _now: Instant) -> bool:
    """LACP does not run here, or both ends are passive as far as is known."""
    return not port.enabled or not (
        port.settings.active
        or port.partner_was_active
        or State.ACTIVITY in port.partner.state
    )


def _speaks(port: Port, now: Instant) -> bool:
    return not silent(port, now)


def _wants_fast(port: Port, _now: Instant) -> bool:
    """The partner's timeout is short, or there is no partner to have a wish."""
    return port.defaulted or State.TIMEOUT in port.partner.state


def _wants_slow(port: Port, now: Instant) -> bool:
    return not _wants_fast(port, now)


def _timer_expired(port: Port, now: Instant) -> bool:
    return port.periodic_timer is not None and port.periodic_timer <= now


def _no_periodic(port: Port, _now: Instant) -> None:
    port.periodic_timer = None


def _fast(port: Port, now: Instant) -> None:
    _start(port, PROBE_NS if port.defaulted else FAST_PERIODIC_NS, now)


def _slow(port: Port, now: Instant) -> None:
    _start(port, SLOW_PERIODIC_NS, now)


def _start(port: Port, period_ns: int, now: Instant) -> None:
    """From when the last period ended: a late tick does not make the pace slower.

    After a suspend that is long ago; then from now, so that nothing is made up for.
    """
    ended = port.periodic_timer
    on_time = ended is not None and 0 <= now - ended < period_ns // 2
    port.periodic_timer = (ended if ended is not None and on_time else now) + period_ns


def _transmit(port: Port, _now: Instant) -> None:
    port.need_to_transmit = True


ROWS: Mapping[Periodic, tuple[Row[Periodic], ...]] = {
    Periodic.NO_PERIODIC: ((_speaks, Periodic.FAST_PERIODIC),),
    Periodic.FAST_PERIODIC: (
        # Beyond the figure: the partner's short timeout still runs, and only a PDU
        # restarts it as a long one; the next would come too late (Open vSwitch).
        (_wants_slow, Periodic.PERIODIC_TX),
        (_timer_expired, Periodic.PERIODIC_TX),
    ),
    Periodic.SLOW_PERIODIC: (
        (_wants_fast, Periodic.PERIODIC_TX),
        (_timer_expired, Periodic.PERIODIC_TX),
    ),
    Periodic.PERIODIC_TX: (
        (_wants_fast, Periodic.FAST_PERIODIC),
        (always, Periodic.SLOW_PERIODIC),
    ),
}

ENTRIES: Mapping[Periodic, Entry] = {
    Periodic.NO_PERIODIC: _no_periodic,
    Periodic.FAST_PERIODIC: _fast,
    Periodic.SLOW_PERIODIC: _slow,
    Periodic.PERIODIC_TX: _transmit,
}

PERIODIC = Machine(
    figure="periodic transmission machine (figure 6-19)",
    start=Periodic.NO_PERIODIC,
    rows=ROWS,
    entries=ENTRIES,
    always=((silent, Periodic.NO_PERIODIC),),
)
