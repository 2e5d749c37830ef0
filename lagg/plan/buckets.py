# SPDX-License-Identifier: BSD-2-Clause
"""The entries of a table: whose each bucket is, who stands in for it, whose turn it is.

Owns the shares: in proportion to weights, moving as few flows as possible.  Pure; a
port is its slot, and its weight any whole number above 0.

A bucket has a home, which stays while that port is away, so that all flows are back
when it is.  Meanwhile another stands in: each port draws a number for each bucket, and
the highest wins, which depends on no third port: whoever is lost then moves its own
buckets and no other (rendezvous hashing; with weights w the draw is u^(1/w)).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from math import gcd, log
from typing import Annotated

from lagg.model import BUCKETS
from lagg.options import PORTS_MAX

Slot = Annotated[int, range(PORTS_MAX)]

Homes = Annotated[tuple[Slot, ...], range(BUCKETS + 1)]
"""The slot that each of the BUCKETS belongs to; empty while there is no port."""

Weights = Mapping[Slot, int]
"""How much each port counts, by slot; in the order in which they take turns."""

NOTHING_PINNED: Mapping[int, Slot] = {}


def rehome(homes: Homes, weights: Weights) -> Homes:
    """Buckets dealt by weight, moving as few as possible.

    A port that comes takes its share evenly from the others; one that leaves gives
    its buckets to all of them.  lagg(4)'s `hash mod count` moves nearly all.
    """
    if not weights:
        return ()
    quota = _quota(weights, Counter(homes))
    dealt: list[int | None] = [None] * BUCKETS
    for bucket, slot in enumerate(homes):
        if quota.get(slot, 0) > 0:
            dealt[bucket] = slot
            quota[slot] -= 1
    room = _round_robin(quota)
    return tuple(next(room) if slot is None else slot for slot in dealt)


def table(
    homes: Homes, usable: Weights, pinned: Mapping[int, Slot] = NOTHING_PINNED
) -> tuple[Slot, ...]:
    """Who carries each bucket: whom it is pinned to, its home, or who stands in."""
    if not usable:
        return ()
    return tuple(
        _carrier(bucket, pinned.get(bucket, home), home, usable)
        for bucket, home in enumerate(homes)
    )


def _carrier(bucket: int, pin: Slot, home: Slot, usable: Weights) -> Slot:
    if pin in usable:
        return pin
    return home if home in usable else _stand_in(bucket, usable)


def turns(weights: Weights) -> tuple[Slot, ...]:
    """A round of turns by weight, those of one port as far apart as can be.

    Each step everybody gains its weight, and who has most takes the turn and pays the
    sum.  Of at most BUCKETS turns, so that weights are kept to one in that many.
    """
    unit = gcd(*weights.values())
    counts = {slot: weight // unit for slot, weight in weights.items()}
    if sum(counts.values()) > BUCKETS:
        counts = _quota(weights, Counter())
    total, credit = sum(counts.values()), dict.fromkeys(counts, 0)
    taken = []
    for _ in range(total):
        credit = {slot: credit[slot] + count for slot, count in counts.items()}
        slot = max(credit, key=credit.__getitem__)
        credit[slot] -= total
        taken.append(slot)
    return tuple(taken)


def _quota(weights: Weights, held: Counter[Slot]) -> dict[Slot, int]:
    """How many of the BUCKETS are whose: by the largest remainders, one at least.

    Of equals who has the odd one keeps it, so that a fair table is left as it is; else
    who holds most gets it.
    """
    total = sum(weights.values())
    shares = {slot: divmod(BUCKETS * w, total) for slot, w in weights.items()}
    rest = {slot: part for slot, (whole, part) in shares.items() if whole > 0}
    quota = {slot: max(1, whole) for slot, (whole, _) in shares.items()}
    left = BUCKETS - sum(quota.values())
    has_one = {slot: held[slot] > whole for slot, (whole, _) in shares.items()}
    order = sorted(
        rest, key=lambda slot: (-rest[slot], not has_one[slot], -held[slot], slot)
    )
    for slot in order[: max(0, left)]:
        quota[slot] += 1
    for _ in range(-left):  # what the lightest were given beyond their share
        quota[max(quota, key=quota.__getitem__)] -= 1
    return quota


def _round_robin(quota: Mapping[Slot, int]) -> Iterator[Slot]:
    left = dict(sorted(quota.items()))
    while any(left.values()):
        for slot in left:
            if left[slot] > 0:
                left[slot] -= 1
                yield slot


def _stand_in(bucket: int, usable: Weights) -> Slot:
    return max(usable, key=lambda slot: (_draw(bucket, slot) / usable[slot], slot))


@cache
def _draw(bucket: int, slot: Slot) -> float:
    """The logarithm of a number between 0 and 1 that this port has for this bucket."""
    # A 32-bit finaliser: neighbouring buckets and slots must not agree.
    mixed = (bucket << 8 | slot) * 0x9E3779B1 & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 15) * 0x85EBCA77 & 0xFFFFFFFF
    return log(((mixed ^ mixed >> 13) + 1) / (1 << 32))
