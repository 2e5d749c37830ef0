# SPDX-License-Identifier: BSD-2-Clause
"""A world that tests share: made once for each worker, put back before each test.

Owns its life.  One in which a test has failed is shown and thrown away.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Generic, Protocol, TypeVar

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
