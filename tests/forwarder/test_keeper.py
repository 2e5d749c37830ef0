# SPDX-License-Identifier: BSD-2-Clause
"""A keeper whose forwarder dies, is stopped or lets go of it: all is there again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lagg.errors import LaggError
from lagg.forwarder import client, heartbeat, line, process
from lagg.forwarder.client import ForwarderClient
from lagg.forwarder.keeper import Keeper
from tests.forwarder.world import DEADLINE_S, Running, listed, same, stopped
from tests.waiting import wait_until


async def until(predicate: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not predicate():
            await asyncio.sleep(0)
    assert predicate(), what


@asynccontextmanager
async def kept(path: Path, *, may_start: bool = True) -> AsyncIterator[Keeper]:
    """A keeper that has lent two descriptors, "lock" and "nft"."""
    keeper = Keeper.open(path, may_start=may_start)
    keeper.claim()
    keeper.commit()
    keeper.watch()
    fds = {name: os.memfd_create(name) for name in ("lock", "nft")}
    for name, fd in fds.items():
        keeper.lend(name, fd)
    try:
        yield keeper
    finally:
        keeper.close()
        for fd in fds.values():
            os.close(fd)


def has_all(forwarder: Running, keeper: Keeper) -> bool:
    """Whether the forwarder keeps what is lent, and nothing else."""
    lent = keeper._lent
    with listed(forwarder.client()) as found:
        return found.keys() == lent.keys() and all(
            same(fd, lent[name].fd) for name, fd in found.items()
        )


def test_a_forwarder_that_dies_is_followed_and_has_all(forwarder: Running) -> None:
    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            pid = keeper.pid
            os.kill(pid, signal.SIGKILL)
            await until(lambda: keeper.pid != pid, "another one")
            assert keeper.ailments() == ()
            assert has_all(forwarder, keeper)
            keeper.lend("more", 0)
            assert has_all(forwarder, keeper)

    asyncio.run(run())


def test_a_lagg_whose_laggd_died_in_the_making_is_ended(forwarder: Running) -> None:
    with forwarder.owner() as dead:
        for name in ("3/plans", "3/tap.0", "nft"):
            dead.put(name, 0)

    async def run() -> None:
        keeper = Keeper.open(forwarder.path)
        keeper.claim()
        keeper.commit()
        keeper.watch()
        fds = {name: keeper.left[name] for name in ("3/plans", "3/tap.0")}
        keeper.end_unclaimed()
        for fd in fds.values():
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
        assert has_all(forwarder, keeper)
        assert keeper.left.keys() == keeper.lent("") == {"nft"}
        keeper.drop(["nft"])
        keeper.close()

    asyncio.run(run())


def test_rings_that_a_forwarder_refuses_are_lent_to_nobody(forwarder: Running) -> None:
    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            with pytest.raises(LaggError, match="MAP_RINGS"):
                keeper.map_rings(5, 0, 1, {"ring.1.0": 0})
            assert keeper.lent("") == {"lock", "nft"}
            assert has_all(forwarder, keeper)

    asyncio.run(run())


def test_a_forwarder_that_lets_go_of_its_owner_is_his_again(
    forwarder: Running,
) -> None:
    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            pid = keeper.pid
            before = keeper._client
            before._end()
            keeper.lend("more", 0)
            keeper.drop(["nft"])
            await until(lambda: keeper._client is not before, "another connection")
            assert (keeper.pid, keeper.ailments()) == (pid, ())
            assert has_all(forwarder, keeper)

    asyncio.run(run())


def test_what_a_stopped_forwarder_does_late_is_put_right(
    forwarder: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            pid = keeper.pid
            with stopped(pid):
                monkeypatch.setattr(client, "ANSWER_NS_MAX", 1_000_000)
                with pytest.raises(LaggError, match="no answer"):
                    keeper.begin(5, {"plans": 0}, 0)
                monkeypatch.undo()
                await until(lambda: keeper.ailments() != (), "it is said")
                assert f"(pid {pid})" in keeper.ailments()[0]
            await until(lambda: keeper.ailments() == (), "it is well again")
            assert keeper.pid == pid
            assert has_all(forwarder, keeper)

    asyncio.run(run())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks often, and takes silence for death soon."""
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.01)
    monkeypatch.setattr(heartbeat, "ANSWER_S", 0.5)


@pytest.mark.usefixtures("impatient")
def test_a_forwarder_that_does_not_answer_is_told_of_killed_and_followed(
    forwarder: Running,
) -> None:
    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            pid = keeper.pid
            os.kill(pid, signal.SIGSTOP)
            await until(lambda: keeper.ailments() != (), "it is said")
            assert keeper.ailments() == (f"lagg-forwarder (pid {pid}) does not answer",)
            await until(lambda: keeper.pid != pid, "another one")
            assert keeper.deaths == 1
            await until(lambda: keeper.ailments() == (), "all is well")
            assert has_all(forwarder, keeper)

    asyncio.run(run())


def everybody(forwarder: Running) -> set[int]:
    forwarder.wait_whole()
    return {forwarder.process.pid} | forwarder.family()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("dies", [False, True])
def test_of_a_family_that_is_stopped_the_standby_serves_all_the_same(
    forwarder: Running, dies: bool
) -> None:
    """Whether who served is stopped as well or dies, as a unit's processes are."""

    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            pid = keeper.pid
            for each in everybody(forwarder):
                os.kill(each, signal.SIGSTOP)
            if dies:
                os.kill(pid, signal.SIGKILL)
            await until(lambda: keeper.pid != pid, "another one")
            await until(lambda: keeper.ailments() == (), "all is well")
            assert keeper.deaths == 1
            assert has_all(forwarder, keeper)

    asyncio.run(run())


def test_a_forwarder_that_was_stopped_for_a_moment_goes_on(
    forwarder: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.01)
    monkeypatch.setattr(heartbeat, "ANSWER_S", 0.1)
    monkeypatch.setattr(heartbeat, "SILENCES_MAX", 1000)

    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            pid = keeper.pid
            with stopped(pid):
                await until(lambda: keeper.ailments() != (), "it is said")
            await until(lambda: keeper.ailments() == (), "it is well again")
            assert (keeper.pid, keeper.deaths) == (pid, 0)

    asyncio.run(run())


def test_no_other_forwarder_is_given_anything_while_one_may_carry_it(
    forwarder: Running,
) -> None:
    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            pid = keeper.pid
            another = Running(forwarder.path.parent)
            keeper._client._end()
            await until(
                lambda: any("kill -9 it" in each for each in keeper.ailments()),
                "it is said",
            )
            assert keeper.pid == pid
            os.kill(pid, signal.SIGKILL)
            await until(lambda: keeper.pid != pid, "the other one has all")
            assert has_all(another, keeper)
            another.close()

    asyncio.run(run())


def test_a_whole_family_that_dies_is_followed_by_another_if_it_may_be_started(
    forwarder: Running,
) -> None:
    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            pid = keeper.pid
            os.kill(forwarder.process.pid, signal.SIGKILL)
            forwarder.wait_ended()
            os.kill(pid, signal.SIGKILL)
            await until(lambda: keeper.pid != pid, "another family")
            assert has_all(forwarder, keeper)

    asyncio.run(run())


def test_where_none_may_be_started_it_is_waited_for(
    forwarder: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "PAUSE_S_MAX", 0.01)

    async def run() -> None:
        async with kept(forwarder.path, may_start=False) as keeper:
            pid = keeper.pid
            os.kill(forwarder.process.pid, signal.SIGKILL)
            forwarder.wait_ended()
            os.kill(pid, signal.SIGKILL)
            await until(
                lambda: any("cannot connect" in each for each in keeper.ailments()),
                "it is said",
            )
            another = Running(forwarder.path.parent)
            await until(lambda: keeper.pid != pid, "the other one has all")
            assert has_all(another, keeper)
            another.close()

    asyncio.run(run())


def test_another_program_goes_on_with_all_and_the_one_before_ends(
    forwarder: Running,
) -> None:
    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            pid = keeper.pid
            keeper.renew()
            assert keeper.pid != pid
            assert forwarder.wait_ended() == 0
            assert has_all(forwarder, keeper)
            assert [each.name for each in forwarder.path.parent.iterdir()] == [
                forwarder.path.name
            ]

    asyncio.run(run())


def test_if_another_program_dies_as_it_goes_on_its_standby_does(
    forwarder: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            pids = [keeper.pid]
            move = keeper._move

            def move_and_die(
                other: ForwarderClient, take_place: Callable[[], object]
            ) -> None:
                move(other, take_place)
                pids.append(other.pid)
                os.kill(other.pid, signal.SIGKILL)
                gone = Path(f"/proc/{other.pid}")
                wait_until(lambda: not gone.exists(), DEADLINE_S, "it is reaped")

            monkeypatch.setattr(keeper, "_move", move_and_die)
            with pytest.raises(LaggError, match="watch it"):
                keeper.renew()
            await until(lambda: keeper.pid not in pids, "another one has all")
            assert keeper.ailments() == ()
            assert has_all(forwarder, keeper)

    asyncio.run(run())


def test_if_its_place_cannot_be_taken_the_one_before_goes_on(
    forwarder: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            pid, move = keeper.pid, keeper._move

            def lose_and_move(
                other: ForwarderClient, take_place: Callable[[], object]
            ) -> None:
                other.path.unlink()
                move(other, take_place)

            monkeypatch.setattr(keeper, "_move", lose_and_move)
            with pytest.raises(LaggError, match="take its place"):
                keeper.renew()
            assert keeper.pid == pid == forwarder.pid
            assert has_all(forwarder, keeper)

    asyncio.run(run())


def test_if_another_program_cannot_go_on_the_one_before_does(
    forwarder: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with kept(forwarder.path) as keeper:
            pid = keeper.pid
            with monkeypatch.context() as patch:
                none = forwarder.path.parent / "none"
                patch.setattr(process, "forwarder_program", lambda: none)
                with pytest.raises(LaggError, match="it is not there"):
                    keeper.renew()
            keeper._at_work[5] = 0  # a lagg of which nothing is there
            keeper._mapped[5] = set()
            with pytest.raises(LaggError):
                keeper.renew()
            del keeper._at_work[5]
            assert keeper.pid == pid == forwarder.pid
            assert has_all(forwarder, keeper)
            assert [each.name for each in forwarder.path.parent.iterdir()] == [
                forwarder.path.name
            ]

    asyncio.run(run())
