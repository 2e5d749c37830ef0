# SPDX-License-Identifier: BSD-2-Clause
"""The core of the suite on the kernels that people have: tests/netns, run inside."""

import pytest

from tests.kernels.world import Machine
from tests.tree import ROOT

CORE = (
    *("attach", "membership", "deaf", "link_events", "events", "restore"),
    *("traffic", "spreads", "lacp", "hitless"),
)
"""Files of tests/netns, the quick ones first."""

SECONDS = 3600.0

SLOWNESS = 30
"""By how much an emulated machine is slower, beside others: what its lab is told."""

WORDS = (
    f"LAGG_SLOWNESS={SLOWNESS} .venv/bin/python -m pytest -q -p no:cacheprovider"
    f" -o faulthandler_timeout={180 * SLOWNESS} tests/netns/test_{{}}.py"
)


@pytest.mark.long
@pytest.mark.parametrize("name", CORE)
def test_the_core_of_the_suite_passes(machine: Machine, name: str) -> None:
    words = WORDS.format(name)
    said = machine.run(f"cd {ROOT}; {words} || echo FAILED: $?", SECONDS)
    print(said)
    assert "FAILED" not in said
