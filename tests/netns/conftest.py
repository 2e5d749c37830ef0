# SPDX-License-Identifier: BSD-2-Clause
"""The worlds of these tests."""

from collections.abc import Iterator

import pytest

from lab import Namespace
from tests.kept import Kept
from tests.netns.bare import Bare
from tests.netns.partners import Partners
from tests.netns.steer import Tally


@pytest.fixture
def near() -> Iterator[Namespace]:
    with Namespace() as namespace:
        yield namespace


@pytest.fixture
def far() -> Iterator[Namespace]:
    with Namespace() as namespace:
        yield namespace


@pytest.fixture(scope="session")
def kept_bare() -> Iterator[Kept[Bare]]:
    kept = Kept(Bare)
    yield kept
    kept.end()


@pytest.fixture(scope="session")
def kept_partners() -> Iterator[Kept[Partners]]:
    kept = Kept(Partners)
    yield kept
    kept.end()


@pytest.fixture
def bare(kept_bare: Kept[Bare], request: pytest.FixtureRequest) -> Iterator[Bare]:
    """A lagg of p0 ... p3, its cables ending in bare interfaces q0 ... q3."""
    yield from kept_bare.lend(request.session)


@pytest.fixture
def partners(
    kept_partners: Kept[Partners], request: pytest.FixtureRequest
) -> Iterator[Partners]:
    """Two laggs of four ports each, back to back."""
    yield from kept_partners.lend(request.session)


@pytest.fixture
def tallies(partners: Partners) -> list[Tally]:
    """The counters of both ends; looks that all frames are accounted for."""
    return [Tally(steer) for steer in partners.steers]
