# SPDX-License-Identifier: BSD-2-Clause
"""The machines of these tests: one a kernel, booted once, put back before each test.

The oldest kernel in every run; all of them, and all kinds of NIC, with --long.
"""

import os
from collections.abc import Iterator
from functools import partial

import pytest

from lab import debian
from lab.vm.system import KERNELS, missing
from tests.kept import Kept
from tests.kernels.world import KINDS, LONG_KINDS, Machine

OLDEST, *NEWER = KERNELS
VERSIONS = [OLDEST, *(pytest.param(each, marks=pytest.mark.long) for each in NEWER)]


@pytest.fixture(scope="session")
def kept_machines(long_run: bool) -> Iterator[dict[str, Kept[Machine]]]:
    kinds = KINDS + (LONG_KINDS if long_run else ())
    kept = {v: Kept(partial(Machine, version=v, kinds=kinds)) for v in KERNELS}
    yield kept
    for each in kept.values():
        each.end()


@pytest.fixture(params=VERSIONS)
def machine(
    kept_machines: dict[str, Kept[Machine]], request: pytest.FixtureRequest
) -> Iterator[Machine]:
    """The one with a kernel, on which there is no lagg yet; one runs at a time."""
    if why := missing(request.param) or ("not root" if os.geteuid() else None):
        pytest.skip(why)
    for version, other in kept_machines.items():
        if version != request.param:
            other.end()
    try:
        yield from kept_machines[request.param].lend(request.session)
    except debian.MissingError as reason:
        pytest.skip(str(reason))
