# SPDX-License-Identifier: BSD-2-Clause
"""Worlds that tests share: made once for each worker, put back before each test.

Owns their life.  One in which a test has failed is shown and thrown away.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Generic, Protocol, Self, TypeVar

import pytest

from lab import Lab


class World(Protocol):
    """What lives in a lab and can be used again."""

    def put_back(self) -> None: ...

    def close(self) -> None: ...


W = TypeVar("W", bound=World)


class Kept(Generic[W]):
    """At most one world, which lives for as long as all goes well in it."""

    def __init__(self, make: Callable[[Lab], W]) -> None:
        self._make = make
        self._lab: Lab | None = None
        self._world: W | None = None
        self._parts = ExitStack()

    def lend(self, session: pytest.Session) -> Iterator[W]:
        """The world, as good as new, for one test of the session."""
        failed = session.testsfailed
        try:
            yield self._as_new()
        except BaseException:
            self.end(show=True)
            raise
        if session.testsfailed > failed:
            self.end(show=True)

    def _as_new(self) -> W:
        if self._world is None:
            self._lab = self._parts.enter_context(Lab())
            self._world = self._make(self._lab)
            self._parts.callback(self._world.close)
        self._world.put_back()
        return self._world

    def end(self, *, show: bool = False) -> None:
        """Takes it down; `show` prints what its daemons logged."""
        if show and self._lab is not None:
            for daemon in self._lab.daemons:
                daemon.show_log()
        self._world = self._lab = None
        self._parts.close()


class KeptByName(Generic[W]):
    """A world of each name, of which a test asks for one."""

    def __init__(self, makers: Mapping[str, Callable[[Lab], W]]) -> None:
        self._kept = {name: Kept(make) for name, make in makers.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._kept.values():
            each.end()

    def lend(
        self, name: str, session: pytest.Session, *, alone: bool = False
    ) -> Iterator[W]:
        """A world, as good as new, for one test; if `alone`, all others end before."""
        for other, kept in self._kept.items():
            if alone and other != name:
                kept.end()
        yield from self._kept[name].lend(session)
