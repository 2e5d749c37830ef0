# SPDX-License-Identifier: BSD-2-Clause
"""Buckets: shares by weight, as few moves as can be, stand-ins, turns."""

from collections import Counter
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from lagg.model import BUCKETS
from lagg.options import PORTS_MAX
from lagg.plan.buckets import rehome


def equal(slots: Iterable[int]) -> dict[int, int]:
    return dict.fromkeys(sorted(slots), 1)


def shares(homes: tuple[int, ...]) -> list[int]:
    return sorted(Counter(homes).values())


@given(st.lists(st.sets(st.integers(0, PORTS_MAX - 1)), max_size=8))
def test_homes_stay_fair_and_move_no_more_than_they_must(
    history: list[set[int]],
) -> None:
    homes: tuple[int, ...] = ()
    for slots in history:
        before, homes = homes, rehome(homes, equal(slots))
        if not slots:
            assert homes == ()
            continue
        assert len(homes) == BUCKETS
        assert set(homes) == slots
        assert shares(homes)[-1] - shares(homes)[0] <= 1
        if before:
            assert moves(before, homes) == fewest_moves(before, slots)


def moves(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    return sum(was != now for was, now in zip(before, after, strict=True))


def fewest_moves(before: tuple[int, ...], slots: set[int]) -> int:
    """Moves to the nearest fair table: each slot keeps of its own up to a share."""
    share, odd = divmod(BUCKETS, len(slots))
    held = sorted((Counter(before)[slot] for slot in slots), reverse=True)
    kept = [min(have, share + (rank < odd)) for rank, have in enumerate(held)]
    return BUCKETS - sum(kept)


def test_detach_and_attach_move_one_share_each() -> None:
    four = rehome((), equal(range(4)))
    three = rehome(four, equal([0, 1, 3]))
    assert moves(four, three) == BUCKETS // 4
    assert {was for was, now in zip(four, three, strict=True) if was != now} == {2}
    again = rehome(three, equal(range(4)))
    assert moves(three, again) == BUCKETS // 4
    gains = {now for was, now in zip(three, again, strict=True) if was != now}
    assert gains == {2}
    assert Counter(again) == dict.fromkeys(range(4), BUCKETS // 4)
