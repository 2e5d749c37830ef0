# SPDX-License-Identifier: BSD-2-Clause
"""A judge proves nothing until it has found something: engines broken on purpose.

Each mutant breaks one rule of the engine; the simulated world must see it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import pytest

from lagg.lacp import (
    engine,
    machine,
    machines,
    mux,
    periodic,
    port,
    receive,
    selection,
    transmit,
)
from lagg.lacp.port import Port
from lagg.lacp.values import Instant, Mux, Receive
from tests.sim.test_sim import simulate

pytestmark = pytest.mark.slow

WORLDS_MAX = 60
Patch = Callable[[pytest.MonkeyPatch], None]


def no_guard_on_collecting(patch: pytest.MonkeyPatch) -> None:
    rows = {
        **mux.INDEPENDENT_ROWS,
        Mux.COLLECTING: (
            mux.INDEPENDENT_ROWS[Mux.COLLECTING][0],
            (machine.always, Mux.DISTRIBUTING),
        ),
        Mux.DISTRIBUTING: ((mux._lost, Mux.COLLECTING),),
    }
    patch.setattr(mux, "INDEPENDENT", replace(mux.INDEPENDENT, rows=rows))


def silence_is_no_loss(patch: pytest.MonkeyPatch) -> None:
    rows = {**receive.ROWS, Receive.CURRENT: receive.ROWS[Receive.CURRENT][:1]}
    patch.setattr(machines, "RECEIVE", replace(receive.RECEIVE, rows=rows))


def no_transmit_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(port, "PDUS_PER_WINDOW", 100)
    patch.setattr(transmit, "PDUS_PER_WINDOW", 100)
    patch.setattr(transmit, "ROUTINE_PER_WINDOW", 100)


def responses_are_answered(patch: pytest.MonkeyPatch) -> None:
    ask = engine.Engine._receive_marker
    patch.setattr(
        engine.Engine,
        "_receive_marker",
        lambda self, port, pdu, now: ask(self, port, replace(pdu, response=False), now),
    )


def places_without_end(patch: pytest.MonkeyPatch) -> None:
    seat = selection._seat
    patch.setattr(
        selection,
        "_seat",
        lambda group, settings: seat(group, replace(settings, max_ports=32)),
    )


def what_a_suspend_missed_is_made_up(patch: pytest.MonkeyPatch) -> None:
    def start(port: Port, period_ns: int, now: Instant) -> None:
        port.periodic_timer = (port.periodic_timer or now) + period_ns

    patch.setattr(periodic, "_start", start)


MUTANTS: tuple[Patch, ...] = (
    no_guard_on_collecting,
    silence_is_no_loss,
    no_transmit_limit,
    responses_are_answered,
    places_without_end,
    what_a_suspend_missed_is_made_up,
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_world_sees_what_is_broken(
    mutant: Patch, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    seeds = (f"mutant {n}" for n in range(WORLDS_MAX))
    with pytest.raises(AssertionError) as seen:
        deque(map(simulate, seeds), maxlen=0)
    print(seen.value)
