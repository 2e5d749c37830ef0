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
from tests.kept import KeptByName
from tests.kernels.world import KINDS, LONG_KINDS, Machine

OLDEST, *NEWER = KERNELS
VERSIONS = [OLDEST, *(pytest.param(each, marks=pytest.mark.long) for each in NEWER)]


@pytest.fixture(scope="session")
def kept_machines(long_run: bool) -> Iterator[KeptByName[Machine]]:
    kinds = KINDS + (LONG_KINDS if long_run else ())
    makers = {v: partial(Machine, version=v, kinds=kinds) for v in KERNELS}
    with KeptByName(makers) as kept:
        yield kept


@pytest.fixture(scope="session", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """A kernel's; all tests of one run together, for each machine boots a minute."""
    found: str = request.param
    if why := missing(found) or ("not root" if os.geteuid() else None):
        pytest.skip(why)
    return found


@pytest.fixture
def machine(
    kept_machines: KeptByName[Machine], version: str, request: pytest.FixtureRequest
) -> Iterator[Machine]:
    """The one with a kernel, on which there is no lagg yet; one runs at a time."""
    try:
        yield from kept_machines.lend(version, request.session, alone=True)
    except debian.MissingError as reason:
        pytest.skip(str(reason))
