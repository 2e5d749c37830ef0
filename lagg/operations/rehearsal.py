# SPDX-License-Identifier: BSD-2-Clause
"""A change rehearsed: the operation itself, on copies of the laggs, and nothing done.

Owns the copies, and what is told of them: what would change, in words, and what would
move.  It is the very code that would change the laggs, so what it refuses is refused in
the same words; only what it stands on is other: every interface is looked at once, and
what would be set is noted in that picture (rehearsed_kernel.py).  What is not known
before it is done stays open: whether a partner agrees, or a driver takes what its
limits allow; a port that is down counts as one that will have carrier.

Runs in one turn of commands.py: the laggs that run are not changed meanwhile.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from typing import cast

from lagg.config.diff import Diff, LaggDiff, report_lines
from lagg.frozen import dataclass
from lagg.handover.saved import SavedLagg
from lagg.kernel.native import Device
from lagg.kernel.netlink import Netlink
from lagg.model import LaggConfig, Wanted
from lagg.operations.changes import Changes
from lagg.operations.hotplug import HotPlug
from lagg.operations.laggs import Laggs
from lagg.operations.rehearsed_kernel import (
    RehearsedDevice,
    RehearsedNegotiator,
    RehearsedNetlink,
    RehearsedTakeover,
)
from lagg.plan.changes import picks
from lagg.plan.outcome import Outcome
from lagg.plan.shape import Shape
from lagg.plan.shift import Carriage, shift
from lagg.ports.takeover import Takeover
from lagg.running.bundle import Bundle
from lagg.running.negotiator import Negotiator
from lagg.tasks import rehearsing

Order = Callable[[Changes], Awaitable[tuple[str, ...] | None]]
"""An operation that changes laggs, and may answer a line for each change."""


async def rehearse(laggs: Laggs, order: Order) -> Outcome:
    """What would come of an operation.  LaggError: what would refuse it."""
    before = seen(laggs)
    return outcome(before, await played(laggs, order))


async def played(laggs: Laggs, order: Order) -> "dict[str, Moment]":
    """All laggs as they would be.  LaggError."""
    async with AsyncExitStack() as ends:
        ends.enter_context(rehearsing())
        stage = await RehearsedLaggs.of(laggs)
        ends.push_async_callback(stage.close)
        hotplug = await ends.enter_async_context(HotPlug(stage, _never))
        await order(Changes(stage, hotplug))
        return seen(stage)


async def _never(_: object) -> None:
    """The turn of what would be tried later does not come."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A lagg at a moment."""

    config: LaggConfig
    wanted: Wanted
    shape: Shape
    carriage: Carriage


def seen(laggs: Laggs) -> dict[str, Moment]:
    """All laggs as they are now, by name."""
    return {
        name: Moment(
            bundle.config,
            bundle.wanted,
            bundle.shape,
            Carriage.of(bundle.shape, bundle.plan),
        )
        for name, bundle in laggs.bundles.items()
    }


def outcome(before: Mapping[str, Moment], after: Mapping[str, Moment]) -> Outcome:
    """What differs: in the words of a reload, then whom a user chose; what moves."""
    waited = {name for each in after.values() for name in each.wanted.waiting_for}
    was = {name: each.carriage for name, each in before.items()}
    now = {name: each.carriage for name, each in after.items()}
    shifts = tuple(
        shift(name, was.get(name), now.get(name))
        for name in dict.fromkeys((*was, *now))
        if was.get(name) != now.get(name)
    )
    return Outcome(_lines(before, after, waited), shifts=shifts)


class RehearsedLaggs(Laggs):
    """Copies of all laggs, on which nothing follows from a change but what is noted."""

    @classmethod
    async def of(cls, laggs: Laggs) -> "RehearsedLaggs":
        """Copies of these.  LaggError: the kernel does not say what there is."""
        netlink = RehearsedNetlink(laggs.netlink, await laggs.netlink.links())
        takeover = RehearsedTakeover(netlink, laggs.takeover)

        def make_device(name: str, _: int) -> Device:
            return cast(Device, RehearsedDevice(netlink, name))

        stage = cls(cast(Netlink, netlink), cast(Takeover, takeover), make_device)
        for bundle in laggs.bundles.values():
            stage.resume(stage._copy(bundle))
            stage._identities.add(bundle.identity)
        return stage

    def _copy(self, bundle: Bundle) -> Bundle:
        saved = SavedLagg(
            bundle.link,
            bundle.identity,
            bundle.shape,
            moves=tuple(bundle.moves.origins.items()),
            wanted=bundle.wanted,
        )
        device = cast(Device, RehearsedDevice(None, bundle.name))
        copy = Bundle.resumed(saved, device, emit=self.emit)
        if bundle.lacp is not None:
            copy.negotiate_by(self.negotiator(copy))
        return copy

    def follow(self, bundle: Bundle) -> None:
        """Nobody acts upon what is not so."""

    def negotiator(self, bundle: Bundle) -> Negotiator:
        """Who says nothing."""
        return cast(Negotiator, RehearsedNegotiator())

    async def close(self) -> None:
        """Nothing of it is due any more."""
        for bundle in self.bundles.values():
            bundle.give_up()
        await super().close()


def _lines(
    before: Mapping[str, Moment], after: Mapping[str, Moment], waited: Collection[str]
) -> tuple[str, ...]:
    both = [(before[name], after[name]) for name in before if name in after]
    found = Diff(
        destroy=tuple(each.config for n, each in before.items() if n not in after),
        create=tuple(each.config for n, each in after.items() if n not in before),
        change=tuple(LaggDiff(was.config, now.config) for was, now in both),
    )
    chosen = (
        f"{was.config.name}: {words}"
        for was, now in both
        for words in picks(was.shape, now.shape)
    )
    return (*report_lines(found, waited), *chosen)
