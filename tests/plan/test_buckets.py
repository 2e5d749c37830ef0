# SPDX-License-Identifier: BSD-2-Clause
"""Buckets: shares by weight, as few moves as can be, stand-ins, turns."""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from lagg.model import BUCKETS
from lagg.options import PORTS_MAX
from lagg.plan.buckets import rehome, table, turns


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


# ---- weights -----------------------------------------------------------------------

WEIGHTS = st.dictionaries(
    st.integers(0, PORTS_MAX - 1), st.integers(1, 400_000), min_size=1, max_size=8
)


@given(WEIGHTS)
def test_everybody_has_its_share_of_the_buckets_within_one_and_one_at_least(
    weights: dict[int, int],
) -> None:
    held = Counter(rehome((), weights))
    total = sum(weights.values())
    light = sum(BUCKETS * weight < total for weight in weights.values())
    for slot, weight in weights.items():
        share = BUCKETS * weight / total
        # What the lightest have beyond their share is the heaviest's.
        assert max(1, share - 1 - light) <= held[slot] <= max(1, share + 1)


@given(st.lists(WEIGHTS, min_size=2, max_size=6))
@example([{0: 1}, {0: 5, 1: 360, 2: 670, 3: 949}])  # three with one remainder
def test_a_table_that_is_fair_by_weight_is_left_as_it_is(
    history: list[dict[int, int]],
) -> None:
    homes: tuple[int, ...] = ()
    for weights in history:
        homes = rehome(homes, weights)
        assert rehome(homes, weights) == homes


@given(WEIGHTS, WEIGHTS)
def test_a_change_of_weights_takes_from_nobody_who_gains(
    before: dict[int, int], after: dict[int, int]
) -> None:
    old = rehome((), before)
    new = rehome(old, after)
    had, has = Counter(old), Counter(new)
    lost = {was for was, now in zip(old, new, strict=True) if was != now}
    assert all(has[slot] < had[slot] for slot in lost)


@given(WEIGHTS, st.data())
def test_a_loss_moves_only_the_buckets_of_the_port_lost_whatever_the_weights(
    weights: dict[int, int], data: st.DataObject
) -> None:
    homes = rehome((), weights)
    usable = dict(weights)
    before = table(homes, usable)
    for lost in data.draw(st.permutations(sorted(weights)))[1:]:
        del usable[lost]
        after = table(homes, usable)
        assert all(was in (now, lost) for was, now in zip(before, after, strict=True))
        before = after


def test_shares_by_hand_and_by_speed_are_as_near_as_256_buckets_allow() -> None:
    assert Counter(rehome((), {0: 1, 1: 2, 2: 5})) == {0: 32, 1: 64, 2: 160}
    by_speed = {0: 1_000, 1: 10_000, 2: 25_000}
    assert Counter(rehome((), by_speed)) == {0: 7, 1: 71, 2: 178}


def test_who_stands_in_does_so_by_weight() -> None:
    homes = rehome((), {0: 100, 1: 1, 2: 4})
    heirs = Counter(table(homes, {1: 1, 2: 4}))
    # 256 draws: four standard deviations are 26.
    assert abs(heirs[2] - BUCKETS * 4 / 5) < 26


def test_turns_of_one_port_are_as_far_apart_as_can_be() -> None:
    assert turns({3: 5}) == (3,)
    assert turns({0: 1000, 2: 1000, 3: 1000}) == (0, 2, 3)
    assert turns({0: 1, 1: 2, 2: 5}) == (2, 1, 2, 0, 2, 2, 1, 2)


@given(WEIGHTS)
def test_a_round_of_turns_has_each_port_by_weight_and_never_in_a_row_for_long(
    weights: dict[int, int],
) -> None:
    round_ = turns(weights)
    assert len(round_) <= BUCKETS
    assert set(round_) == set(weights)
    total = sum(weights.values())
    for slot, weight in weights.items():
        share = len(round_) * weight / total
        assert abs(round_.count(slot) - share) <= 1 + len(weights)
        # Until its n-th turn no more is taken by others than is theirs, and a turn.
        places = [at for at, taken in enumerate(round_) if taken == slot]
        gaps = [b - a for a, b in pairwise(places)]
        assert not gaps or max(gaps) <= 2 * len(round_) / len(places) + len(weights)
