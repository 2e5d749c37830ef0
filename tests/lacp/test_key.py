# SPDX-License-Identifier: BSD-2-Clause
"""The key that laggd gives a port: the same each time, and another in each lagg."""

from itertools import product

import pytest

from lagg.lacp.key import IDENTITIES, SPEEDS_MBPS, identity_of, key_of
from tests.lacp.world import settings

PREFIXES = ("lagg", "bond", "team", "lag", "ae", "po", "agg", "trunk")
"""What aggregates are called, here and elsewhere."""


@pytest.mark.parametrize(
    ("name", "identity"),
    [("lagg0", 827), ("lagg1", 828), ("lagg", 827), ("bond7", 1002), ("büro12", 1099)],
)
def test_the_identity_is_made_of_the_name_by_every_version(
    name: str, identity: int
) -> None:
    """Another rule would be another key, and a partner that begins anew."""
    assert identity_of(name, ()) == identity


def test_laggs_that_are_numbered_have_identities_of_their_own() -> None:
    numbered = [identity_of(f"lagg{number}", ()) for number in range(IDENTITIES)]
    assert sorted(numbered) == list(range(IDENTITIES))


def test_laggs_of_common_names_have_identities_of_their_own() -> None:
    names = [f"{prefix}{number}" for prefix, number in product(PREFIXES, range(64))]
    assert len({identity_of(name, ()) for name in names}) == len(names)


def test_of_two_laggs_with_one_identity_the_later_has_the_next_that_is_free() -> None:
    own = identity_of("lagg0", ())
    assert identity_of("lagg", {own}) == own + 1
    assert identity_of("lagg", {own, own + 1}) == own + 2
    last = identity_of("lagg1220", ())
    assert (last, identity_of("lagg1220", {last})) == (IDENTITIES - 1, 0)


def test_when_all_identities_are_taken_a_lagg_has_its_own() -> None:
    assert identity_of("lagg0", range(IDENTITIES)) == identity_of("lagg0", ())


def test_no_two_identities_and_no_two_classes_of_speed_share_a_key() -> None:
    speeds = (0, *SPEEDS_MBPS, 12_345)
    keys = [
        key_of(settings("A"), speed, identity)
        for identity, speed in product(range(IDENTITIES), speeds)
    ]
    assert len(set(keys)) == IDENTITIES * len(speeds)
    assert min(keys) > 0
    assert max(keys) <= 0xFFFF


def test_a_key_that_the_user_sets_is_that_of_every_port() -> None:
    chosen = settings("A", key=135)
    assert {key_of(chosen, speed, 7) for speed in (0, 10, 10_000)} == {135}
