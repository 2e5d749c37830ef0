# SPDX-License-Identifier: BSD-2-Clause
"""When a laggd gives its laggs to another: not while it changes something itself."""

import asyncio
from collections.abc import Callable
from errno import EIO, EPIPE
from typing import NoReturn, cast

import pytest

from lagg.errors import LaggError
from lagg.forwarder.keeper import Keeper
from lagg.operations import succession
from lagg.operations.keeping import Keeping
from lagg.operations.succession import HandingOver


class Forwarder:
    """A keeper whose newcomer gives up, unless it `gives`, and a keeping of no lagg."""

    def __init__(
        self, *, saves: bool = True, gives: bool = False, deaths: int = 0
    ) -> None:
        """`deaths`: so often there is no forwarder that it could be left to."""
        self.calls: list[str] = []
        self._deaths = deaths
        self._saves = saves
        self._gives = gives

    def yield_by(self, hand_over: Callable[[], object]) -> None:
        self.asked = hand_over

    def refuse(self, why: str) -> None:
        self.calls.append(why)

    def give(self) -> bool:
        self.calls.append("give")
        return self._gives

    def leave(self) -> None:
        self.calls.append("leave")
        if self._deaths:
            self._deaths -= 1
            raise LaggError("lagg-forwarder", "the connection has ended", EPIPE)

    def save_all(self) -> None:
        self.calls.append("save")
        if not self._saves:
            raise LaggError("lagg0", "no memory", EIO)


def handing_over_of(fake: Forwarder, turn: asyncio.Lock) -> HandingOver:
    keeper, keeping = cast(Keeper, fake), cast(Keeping, fake)
    return HandingOver(keeper, keeping, turn, lambda: fake.calls.append("unlock"))


async def asked(fake: Forwarder, turn: asyncio.Lock) -> list[str]:
    """What is done when another laggd asks."""
    handing_over = handing_over_of(fake, turn)
    handing_over.begin()
    task = fake.asked()
    await cast("asyncio.Task[None]", task)
    return fake.calls


def test_all_is_saved_before_it_is_given() -> None:
    async def run() -> None:
        turn = asyncio.Lock()
        assert await asked(Forwarder(), turn) == ["save", "give"]
        assert not turn.locked()

    asyncio.run(run())


def test_what_cannot_be_saved_is_not_given() -> None:
    async def run() -> None:
        turn = asyncio.Lock()
        calls = await asked(Forwarder(saves=False), turn)
        assert calls == ["save", "it cannot save its state: see its log"]
        assert not turn.locked()

    asyncio.run(run())


def test_nothing_is_given_while_a_change_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(succession, "TURN_S", 0)

    async def run() -> None:
        turn = asyncio.Lock()
        async with turn:
            calls = await asked(Forwarder(), turn)
            assert calls == ["a change is under way: try again"]
            assert turn.locked()

    asyncio.run(run())


class Ended(Exception):
    """The process would be no more."""


def ended(code: int) -> NoReturn:
    raise Ended(code)


def test_who_has_given_all_lets_the_other_one_in_before_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(succession, "_end", ended)
    fake = Forwarder(gives=True)
    with pytest.raises(Ended, match="0"):
        asyncio.run(asked(fake, asyncio.Lock()))
    assert fake.calls == ["save", "give", "unlock"]


async def left(fake: Forwarder) -> bool:
    """Whether it leaves."""
    turn = asyncio.Lock()
    try:
        await handing_over_of(fake, turn).leave()
    except Ended:
        return True
    return turn.locked()


def test_it_leaves_when_all_is_saved_and_the_forwarder_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(succession, "_end", ended)
    fake = Forwarder()
    assert asyncio.run(left(fake))
    assert fake.calls == ["save", "leave"]


def test_it_stays_when_its_state_cannot_be_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(succession, "_end", ended)
    fake = Forwarder(saves=False)
    assert not asyncio.run(left(fake))
    assert fake.calls == ["save"]


def test_it_waits_for_a_forwarder_and_stays_when_none_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(succession, "_end", ended)
    monkeypatch.setattr(succession, "PAUSE_S", 0)
    fake = Forwarder(deaths=2)
    assert asyncio.run(left(fake))
    assert fake.calls == ["save", "leave", "leave", "leave"]
    monkeypatch.setattr(succession, "FORWARDER_S", 0)
    assert not asyncio.run(left(Forwarder(deaths=10**9)))
