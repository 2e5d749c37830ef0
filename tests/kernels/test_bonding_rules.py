# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's own bonds beside our rules: one history of carrier, one active port.

What bonding's document says of it is in tests/plan/test_election.py.
"""

import json
from contextlib import closing
from dataclasses import replace

import pytest

from lab import Lab
from lagg.model import Options, Reselect
from lagg.plan.election import elected
from tests.kernels.bonds import CASES, PORTS, SPEEDS_MBPS, Case, Step, histories
from tests.kernels.world import booted
from tests.plan.test_election import SPEEDS, of_ours, shape_of
from tests.tree import ROOT

SECONDS = 1800.0

DELAY_MS, SHORT_MS, LONG_MS = 40, 5, 100
"""On our clock; only the order counts."""


def of_laggd(case: Case, history: list[Step]) -> list[int | None]:
    """Who is active after each step."""
    options = Options(
        hash_seed=1,
        up_delay_ms=DELAY_MS * case.delays_up,
        down_delay_ms=DELAY_MS * case.delays_down,
        primary=None if case.primary is None else f"eth{case.primary}",
        reselect=_as_imported(case),
    )
    shape = replace(shape_of(priorities=case.prio, ports=PORTS), options=options)
    shape = replace(shape, incumbent=elected(replace(shape, incumbent=None)))
    now, changes, ends = 1, [], []
    for port, is_long in history:
        changes.append((now, port))
        now += LONG_MS if is_long else SHORT_MS
        ends.append(now - 1)
    found = of_ours(shape, changes, now)
    return [found[end] for end in ends]


def _as_imported(case: Case) -> Reselect:
    """Without a preferred port an import says that the one that carries stays."""
    prefers = case.primary is not None or len({*case.prio}) > 1
    return Reselect(case.reselect) if prefers else Reselect.FAILURE


@pytest.mark.long
def test_who_is_active_is_who_is_in_the_kernel_s_bond(version: str) -> None:
    assert SPEEDS_MBPS == SPEEDS
    with Lab() as lab, closing(booted(lab, version)) as vm:
        vm.run("modprobe bonding max_bonds=0; modprobe tun")
        module = "tests.kernels.bonds"
        said = vm.run(f"cd {ROOT}; .venv/bin/python -m {module}", SECONDS)
    found = json.loads(said.splitlines()[-1])
    print(f"Linux {found['kernel']}: {len(CASES)} bonds, {len(histories())} histories")
    differ = [
        (case, history, theirs, ours)
        for case, by_history in zip(CASES, found["active"], strict=True)
        for history, theirs in zip(histories(), by_history, strict=True)
        if theirs != (ours := of_laggd(case, history))
    ]
    assert differ == [], f"{len(differ)}: {differ[:3]}"
