# SPDX-License-Identifier: BSD-2-Clause
"""When a lagg is saved: a change at once, times and counts within a second."""

from collections.abc import Awaitable, Callable
from errno import EPIPE
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lagg.errors import LaggError
from lagg.forwarder.keeper import Keeper
from lagg.handover.saved import SavedHold
from lagg.lacp.values import NS
from lagg.operations.keeping import REFRESH_NS, RETRY_NS, Due, Keeping
from lagg.operations.laggs import Laggs
from lagg.running.bundle import Bundle
from tests.running.world import End, World, now_ns, passes, run


def test_a_change_is_due_at_once_and_what_may_wait_is_not_put_off_by_more_of_it() -> (
    None
):
    one, other, due = cast(Bundle, "one"), cast(Bundle, "other"), Due()
    assert (due.next_at, due.take(10**18)) == (None, [])
    due.add(one, 1000)
    due.add(one, 1500)
    due.add(other, 1200)
    assert (due.next_at, due.take(999)) == (1000, [])
    assert (due.take(1000), due.next_at) == ([one], 1200)
    due.add(other, 1100)
    assert due.next_at == 1100
    due.add(one, 1100)
    assert due.take(1100) == [other, one]
    assert due.next_at is None


class Forwarder:
    """A keeper that notes what it is asked for; nothing of it works while `dead`."""

    def __init__(self) -> None:
        self.lent: dict[str, int] = {}
        self.dead = False

    def lend(self, name: str, fd: int) -> None:
        if self.dead:
            raise LaggError("lagg-forwarder", "the connection has ended", EPIPE)
        self.lent[name] = fd

    def drop(self, names: set[str]) -> None:
        for name in names:
            self.lent.pop(name, None)

    def lease(self, *_: object) -> None:
        """LACP's last words are of no interest here."""


class Saving(Keeping):
    """Notes when its lagg is saved."""

    def __init__(self, laggs: object, keeper: Forwarder) -> None:
        super().__init__(cast(Laggs, laggs), cast(Keeper, keeper), lambda: None, now_ns)
        self.saved_at: list[int] = []

    def _save(self, bundle: Bundle) -> None:
        super()._save(bundle)
        self.saved_at.append(now_ns())


class Kept:
    """An end of the cables, as the one lagg of a laggd that keeps it."""

    def __init__(self, end: End) -> None:
        self.end, self.keeper = end, Forwarder()
        bundle = end.bundle
        cast(Any, bundle.device).lagg = 7
        takeover = SimpleNamespace(kept=lambda _: None, hold=SavedHold, held=())
        self.keeping = Saving(
            laggs := SimpleNamespace(bundles={bundle.name: bundle}, takeover=takeover),
            self.keeper,
        )
        self.keeping.begin()
        bundle.watch(lambda: laggs.changed(bundle), lambda: laggs.refreshed(bundle))

    async def saves_in(self, seconds: float) -> list[int]:
        """The times of what is saved meanwhile."""
        self.keeping.saved_at.clear()
        await passes(seconds)
        return self.keeping.saved_at


def kept(work: Callable[[World, Kept], Awaitable[None]]) -> None:
    """In virtual time, both ends agreed and at rest."""

    async def whole(world: World) -> None:
        await world.agree()
        await passes(5)
        mine = Kept(world.a)
        try:
            await work(world, mine)
        finally:
            mine.keeping.close()

    run(whole)


def test_lacpdus_that_say_nothing_new_have_it_saved_once_a_second() -> None:
    async def work(world: World, mine: Kept) -> None:
        said = sum(len(line.sent) for line in world.a.lines.values())
        saved_at = await mine.saves_in(20)
        said = sum(len(line.sent) for line in world.a.lines.values()) - said
        assert said >= 2 * 20 - 2
        assert 10 <= len(saved_at) <= 20
        gaps = [b - a for a, b in pairwise(saved_at)]
        assert min(gaps) >= REFRESH_NS
        names = {"7/state", "7/slow.0", "7/slow.1"}
        assert mine.keeper.lent.keys() == names

    kept(work)


def test_what_a_partner_says_anew_and_a_change_of_our_own_are_saved_at_once() -> None:
    async def work(world: World, mine: Kept) -> None:
        await mine.saves_in(1.5)
        world.b.change(lacp_system_priority=7)
        assert min(await mine.saves_in(0.05)) < now_ns() - NS // 100
        before = now_ns()
        world.a.carrier(0, up=False)
        assert min(await mine.saves_in(0.05)) == before

    kept(work)


def test_what_a_partner_says_anew_of_which_no_plan_depends_is_saved_at_once() -> None:
    async def work(world: World, mine: Kept) -> None:
        while not await mine.saves_in(0.05):
            pass  # what may wait does so for a second from here
        shape = world.a.bundle.shape
        world.b.change(lacp_fast_timeout=False)
        assert await mine.saves_in(0.2)
        assert world.a.bundle.shape == shape

    kept(work)


def test_what_cannot_be_saved_is_tried_again() -> None:
    async def work(world: World, mine: Kept) -> None:
        await world.a.actor.close()  # which would have it saved every second
        await mine.saves_in(2)
        mine.keeper.dead = True
        began = now_ns()
        world.a.bundle.touch(refreshed=False)
        await passes(1)
        mine.keeper.dead = False
        assert await mine.saves_in(20) == [began + RETRY_NS]

    kept(work)


def test_a_successor_is_refused_what_cannot_be_saved() -> None:
    async def work(_: World, mine: Kept) -> None:
        mine.keeper.dead = True
        with pytest.raises(LaggError, match="has ended"):
            mine.keeping.save_all()

    kept(work)
