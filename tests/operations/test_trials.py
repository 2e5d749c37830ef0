# SPDX-License-Identifier: BSD-2-Clause
"""A change on trial, on a clock of the test: kept, taken back, and left to another."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from errno import EBUSY, ENOENT, ENOSPC
from pathlib import Path
from typing import Any

import pytest

from lagg.errors import LaggError
from lagg.events import EventKind
from lagg.handover.trial import Trial
from lagg.handover.trial_file import TrialFile
from lagg.lacp.values import NS
from lagg.model import LaggChange, LaggConfig, Options, Proto
from lagg.operations.changes import Changes
from lagg.operations.lifetime import destroy
from lagg.operations.rehearsal import Moment, seen
from lagg.operations.trials import LOOK_NS, Trials
from tests.operations.pictured import Pictured, pictured
from tests.running.world import AtOnce, VirtualLoop, passes

LAGG = LaggConfig(
    "lagg0", Proto.LOADBALANCE, ("p0", "p1", "p2"), options=Options(hash_seed=1)
)
MINUTE_MS = 60_000
KINDS = (
    EventKind.TRIAL,
    EventKind.CONFIRMED,
    EventKind.REVERTED,
    EventKind.NOT_REVERTED,
)


class World:
    """lagg0 with three ports, and its trials on a clock that the test sets."""

    def __init__(self, laggs: Pictured, path: Path) -> None:
        self.pictured = laggs
        self.path = path
        self.now = 1000 * NS
        self.trials = self.successor()

    def successor(self) -> Trials:
        """The trials of the next laggd; the laggs are the same."""
        here, changes = self.pictured, self.pictured.changes
        return Trials(here.laggs, changes, here.hotplug, _at_once, lambda: self.now)

    async def next_laggd(self, away_s: int, *, adopted: bool = True) -> None:
        """The one that was has been killed."""
        self.trials._alarm.set(None)
        self.now += away_s * NS
        self.trials = self.successor()
        await self.trials.resume(TrialFile(self.path), adopted=adopted)
        await passes(1)

    async def change(
        self, order: Callable[[Changes], Awaitable[object]], *names: str
    ) -> Trial | None:
        """On trial for a minute."""
        work = self.pictured.changes
        chosen = names or ("lagg0",)
        return (await self.trials.begin(chosen, lambda: order(work), MINUTE_MS))[1]

    async def passes(self, seconds: int) -> None:
        """The clock, and the loop's: both go on."""
        self.now += seconds * NS
        await passes(LOOK_NS / NS + 1)

    @property
    def seen(self) -> dict[str, Moment]:
        return seen(self.pictured.laggs)

    @property
    def told(self) -> list[tuple[str, EventKind, str | None]]:
        events = self.pictured.events
        return [(e.lagg, e.event, e.port) for e in events if e.event in KINDS]

    @property
    def saved(self) -> bytes:
        return TrialFile(self.path).read()


async def _at_once(operation: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await operation()


@asynccontextmanager
async def world_in(path: Path) -> AsyncIterator[World]:
    asyncio.get_running_loop().set_default_executor(AtOnce())
    async with pictured() as laggs:
        world = World(laggs, path)
        await world.trials.resume(TrialFile(path), adopted=False)
        await laggs.changes.create(LAGG)
        try:
            yield world
        finally:
            await world.trials.close()


Work = Callable[[World], Awaitable[None]]
Run = Callable[[Work], None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(work: Work) -> None:
        async def whole() -> None:
            async with world_in(tmp_path) as world:
                await work(world)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(whole())

    return run


def options(**chosen: Any) -> LaggChange:  # noqa: ANN401
    return LaggChange(options=tuple(chosen.items()))


CHANGES: dict[str, Callable[[Changes], Awaitable[object]]] = {
    "detach": lambda changes: changes.detach("lagg0", ("p1", "p2")),
    "detach the primary": lambda changes: changes.detach("lagg0", ("p0",)),
    "attach": lambda changes: changes.attach("lagg0", ("slow0",)),
    "options": lambda changes: changes.set("lagg0", options(rr_limit=7, hash_seed=2)),
    "protocol and MTU": lambda changes: changes.set(
        "lagg0", LaggChange(proto=Proto.FAILOVER, mtu=1400)
    ),
    "MAC": lambda changes: changes.set("lagg0", LaggChange(mac="02:00:5e:00:53:99")),
    "a port's weight": lambda changes: changes.set(
        "lagg0", LaggChange(port_options={"p1": (("weight", 3),)})
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_that_nobody_confirms_is_taken_back_to_the_bucket(
    run: Run, kind: str
) -> None:
    async def work(world: World) -> None:
        before = world.seen
        assert await world.change(CHANGES[kind]) is not None
        assert world.seen != before
        await world.passes(59)
        assert world.seen != before
        assert world.saved != b""
        await world.passes(1)
        assert world.seen == before
        assert world.saved == b""
        assert world.told == [
            ("lagg0", EventKind.TRIAL, None),
            ("lagg0", EventKind.REVERTED, None),
        ]

    run(work)


def test_one_that_is_confirmed_stays_and_a_second_word_finds_none(run: Run) -> None:
    async def work(world: World) -> None:
        await world.change(CHANGES["detach"])
        after = world.seen
        assert [each.names for each in await world.trials.confirm("lagg0")] == [
            ("lagg0",)
        ]
        await world.passes(120)
        assert (world.seen, world.saved) == (after, b"")
        for name in ("lagg0", None):
            with pytest.raises(LaggError) as refused:
                await world.trials.confirm(name)
            assert refused.value.code == ENOENT
        assert [kind for _, kind, _ in world.told] == [
            EventKind.TRIAL,
            EventKind.CONFIRMED,
        ]

    run(work)


def test_it_is_taken_back_at_once_when_that_is_asked_for(run: Run) -> None:
    async def work(world: World) -> None:
        before = world.seen
        await world.change(CHANGES["detach"])
        await world.trials.revert(None)
        assert (world.seen, world.saved) == (before, b"")

    run(work)


def test_what_changes_nothing_is_not_on_trial(run: Run) -> None:
    async def work(world: World) -> None:
        assert await world.change(lambda c: c.attach("lagg0", ("p0",))) is None
        assert (world.told, world.saved) == ([], b"")

    run(work)


def test_what_is_refused_is_not_on_trial(run: Run) -> None:
    async def work(world: World) -> None:
        before = world.seen
        with pytest.raises(LaggError, match="no such interface"):
            await world.change(lambda c: c.attach("lagg0", ("p1", "nothing0")))
        assert (world.seen, world.told, world.saved) == (before, [], b"")

    run(work)


def test_meanwhile_its_lagg_takes_no_other_change_and_others_do(run: Run) -> None:
    async def work(world: World) -> None:
        await world.change(CHANGES["detach"])
        await world.passes(18)
        with pytest.raises(LaggError) as refused:
            world.trials.require_none(["lagg1", "lagg0"])
        assert (refused.value.thing, refused.value.code) == ("lagg0", EBUSY)
        assert "reverts in 42 s; laggctl confirm lagg0 keeps it" in str(refused.value)
        world.trials.require_none(["lagg1"])
        await world.trials.confirm("lagg0")
        world.trials.require_none(["lagg0"])

    run(work)


def test_a_laggd_that_comes_after_one_that_was_killed_goes_on_with_the_trial(
    run: Run,
) -> None:
    async def work(world: World) -> None:
        before = world.seen
        await world.change(CHANGES["detach"])
        await world.next_laggd(away_s=30)
        (record,) = world.trials.records()
        assert (record["laggs"], record["left_ms"]) == (["lagg0"], 30_000)
        assert world.seen != before
        await world.passes(30)
        assert (world.seen, world.saved) == (before, b"")

    run(work)


def test_one_that_ended_while_nobody_was_there_is_taken_back_at_once(run: Run) -> None:
    async def work(world: World) -> None:
        before = world.seen
        await world.change(CHANGES["detach"])
        await world.next_laggd(away_s=61)
        assert (world.seen, world.saved) == (before, b"")

    run(work)


def test_a_laggd_that_was_killed_in_the_middle_of_a_change_leaves_what_was_before(
    run: Run,
) -> None:
    async def work(world: World) -> None:
        before = world.seen
        done: list[bytes] = []

        async def killed(changes: Changes) -> None:
            await changes.detach("lagg0", ("p1",))
            done.append(world.saved)

        await world.change(killed)
        TrialFile(world.path).write(done[0])
        await world.next_laggd(away_s=61)
        assert world.seen == before

    run(work)


def test_without_the_laggs_of_the_one_before_nothing_is_left_to_take_back(
    run: Run,
) -> None:
    async def work(world: World) -> None:
        await world.change(CHANGES["detach"])
        await world.next_laggd(away_s=1, adopted=False)
        assert (world.trials.records(), world.saved) == ((), b"")

    run(work)


def test_a_file_that_is_damaged_is_kept_aside_and_said(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(world: World) -> None:
        TrialFile(world.path).write(b"laggd-trials 1\n{")
        await world.next_laggd(away_s=1)
        assert world.trials.records() == ()
        assert (world.path / "trials.damaged").read_bytes() == b"laggd-trials 1\n{"

    run(work)
    assert "trials.json" in caplog.text


def test_a_port_that_is_gone_is_said_and_waited_for_and_the_rest_is_taken_back(
    run: Run,
) -> None:
    async def work(world: World) -> None:
        await world.change(CHANGES["detach"])
        world.pictured.netlink.remove("p1")
        await world.passes(60)
        now = world.seen["lagg0"]
        assert [each.link.name for each in now.shape.ports] == ["p0", "p2"]
        assert now.wanted.waiting_for == ("p1",)
        assert ("lagg0", EventKind.NOT_REVERTED, "p1") in world.told
        assert world.told[-1] == ("lagg0", EventKind.REVERTED, None)

    run(work)


def test_a_port_that_another_lagg_has_taken_is_said_and_the_rest_is_taken_back(
    run: Run,
) -> None:
    async def work(world: World) -> None:
        before = world.seen["lagg0"].config

        async def both(changes: Changes) -> None:
            await changes.detach("lagg0", ("p1", "p2"))
            await changes.set("lagg0", options(rr_limit=9))

        await world.change(both)
        await world.pictured.changes.create(LaggConfig("lagg1", ports=("p1",)))
        await world.passes(60)
        now = world.seen["lagg0"]
        assert now.config == replace(before, ports=("p0", "p2", "p1"))
        assert [each.link.name for each in now.shape.ports] == ["p0", "p2"]
        assert ("lagg0", EventKind.NOT_REVERTED, "p1") in world.told
        assert world.seen["lagg1"].config.ports == ("p1",)

    run(work)


def test_laggs_that_a_reload_made_go_and_those_that_it_took_away_come_back(
    run: Run,
) -> None:
    async def work(world: World) -> None:
        changes = world.pictured.changes
        await changes.destroy_all(["lagg0"])
        await changes.reload([LAGG])
        before = world.seen["lagg0"].config
        wanted = [LaggConfig("lagg1", ports=("p0",), options=Options(hash_seed=3))]
        await world.change(lambda c: c.reload(wanted), "lagg0", "lagg1")
        assert list(world.seen) == ["lagg1"]
        await world.passes(60)
        assert list(world.seen) == ["lagg0"]
        assert world.seen["lagg0"].config == before
        assert world.seen["lagg0"].wanted.said == LAGG

    run(work)


def rename(world: World, name: str, new: str) -> None:
    """As ip(8) does."""
    bundles = world.pictured.laggs.bundles
    bundle = bundles.pop(name)
    bundle.note(bundle.link.ifindex, lambda link: replace(link, name=new))
    bundles[new] = bundle


def test_a_lagg_that_was_made_and_renamed_meanwhile_goes_also_by_the_next_laggd(
    run: Run,
) -> None:
    async def work(world: World) -> None:
        wanted = [LaggConfig("lagg1", options=Options(hash_seed=3))]
        await world.change(lambda c: c.reload(wanted), "lagg1")
        rename(world, "lagg1", "up1")
        with pytest.raises(LaggError, match="up1: a change of it waits"):
            world.trials.require_none(["up1"])
        await world.next_laggd(away_s=1)
        await world.passes(60)
        assert list(world.seen) == ["lagg0"]

    run(work)


def test_a_lagg_that_was_renamed_meanwhile_is_the_one_that_is_taken_back(
    run: Run,
) -> None:
    async def work(world: World) -> None:
        before = world.seen["lagg0"].config
        await world.change(CHANGES["detach"])
        rename(world, "lagg0", "up0")
        with pytest.raises(LaggError, match="up0: a change of it waits"):
            world.trials.require_none(["up0"])
        await world.passes(60)
        assert world.seen["up0"].config == replace(before, name="up0")

    run(work)


def full(_: TrialFile, __: bytes) -> None:
    raise LaggError("trials.json", "save: No space left on device", ENOSPC)


def test_a_full_disk_keeps_nobody_from_a_revert_and_confirms_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(world: World) -> None:
        before = world.seen
        await world.change(CHANGES["detach"])
        monkeypatch.setattr(TrialFile, "write", full)
        with pytest.raises(LaggError, match="No space left"):
            await world.trials.confirm("lagg0")
        await world.passes(60)
        assert world.seen == before
        assert [kind for _, kind, _ in world.told] == [
            EventKind.TRIAL,
            EventKind.REVERTED,
        ]
        with pytest.raises(LaggError, match="No space left"):
            await world.change(CHANGES["detach"])
        assert world.seen == before
        monkeypatch.undo()

    run(work)


def test_a_full_disk_keeps_no_successor_from_a_revert(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(world: World) -> None:
        before = world.seen
        await world.change(CHANGES["detach"])
        monkeypatch.setattr(TrialFile, "write", full)
        await world.next_laggd(away_s=30)
        assert [record["left_ms"] for record in world.trials.records()] == [30_000]
        await world.passes(30)
        assert world.seen == before
        monkeypatch.undo()

    run(work)


def test_by_an_alternative_name_it_is_the_same_lagg(run: Run) -> None:
    async def work(world: World) -> None:
        await world.pictured.changes.set("lagg0", options(altname=("up0",)))
        with pytest.raises(LaggError, match="no such interface"):
            await world.change(lambda c: c.attach("up0", ("nothing0",)), "up0")
        assert (world.told, world.saved) == ([], b"")
        await world.change(lambda c: c.detach("up0", ("p1",)), "up0")
        (record,) = world.trials.records()
        assert record["laggs"] == ["lagg0"]
        assert [each.names for each in await world.trials.confirm("up0")] == [
            ("lagg0",)
        ]

    run(work)


def test_when_laggd_puts_all_back_nothing_of_a_trial_is_left(run: Run) -> None:
    async def work(world: World) -> None:
        await world.change(CHANGES["detach"])
        await destroy(world.pictured.laggs, "lagg0")
        await world.trials.close()
        await world.passes(120)
        assert (world.seen, world.saved) == ({}, b"")

    run(work)
