# SPDX-License-Identifier: BSD-2-Clause
"""The heaviest of many, in a table that does not grow: Space-Saving.

Owns the sketch of Metwally, Agrawal and El Abbadi ("Efficient computation of frequent
and top-k elements in data streams", 2005), by weight.  Who is new takes the place of
the lightest, and begins with its weight, which is noted as the error.  Pure.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)


class Heavy(NamedTuple, Generic[K]):
    """One of the table.  `weight` - `error` <= what it truly had <= `weight`."""

    key: K
    weight: int
    error: int


class Heaviest(Generic[K]):
    """The sketch.  No error is above `total` / `places`, nor is who is not in it."""

    def __init__(self, places: int) -> None:
        """For so many keys, at least 1."""
        self.total = 0
        self._places = places
        self._found: dict[K, Heavy[K]] = {}

    def add(self, key: K, weight: int) -> None:
        """Counts `weight`, above 0, for a key."""
        self.total += weight
        known = self._found.get(key)
        if known is not None:
            self._found[key] = known._replace(weight=known.weight + weight)
            return
        error = 0
        if len(self._found) == self._places:
            lightest = min(self._found.values(), key=lambda each: each.weight)
            del self._found[lightest.key]
            error = lightest.weight
        self._found[key] = Heavy(key, error + weight, error)

    def top(self, most: int) -> list[Heavy[K]]:
        """At most so many, the heaviest first."""
        found = sorted(self._found.values(), key=lambda each: -each.weight)
        return found[:most]
