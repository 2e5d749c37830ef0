# SPDX-License-Identifier: BSD-2-Clause
"""The worlds of these tests: a laggd and one real partner each, or one made by hand."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from lab import ovs
from lab.bond import Bond
from lab.ovs import OvsPartner
from lab.vm import image
from tests.interop.world import MakePartner, World
from tests.kept import KeptByName

KINDS: dict[str, tuple[Callable[[], str | None], MakePartner]] = {
    "ovs": (ovs.missing, OvsPartner),
    "bond": (image.missing, Bond),
}
"""By name: why there is none here, and what makes one."""


@pytest.fixture(scope="session")
def kept_worlds() -> Iterator[KeptByName[World]]:
    makers = {name: partial(World, make=make) for name, (_, make) in KINDS.items()}
    with KeptByName(makers) as kept:
        yield kept


@pytest.fixture(params=KINDS)
def world(
    kept_worlds: KeptByName[World], request: pytest.FixtureRequest
) -> Iterator[World]:
    """A laggd and a partner, with nothing formed yet; once with each partner."""
    missing, _ = KINDS[request.param]
    if why := missing():
        pytest.skip(why)
    yield from kept_worlds.lend(request.param, request.session)
