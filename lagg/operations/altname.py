# SPDX-License-Identifier: BSD-2-Clause
"""The alternative names of a lagg's interface: ip(8)'s altname.

Owns which of them are ours: those that option altname had and has.  What udev or a user
gave beside them stays.  Knows no lagg but the one it is given.
"""

import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import replace

from lagg.errors import logged
from lagg.kernel.netlink import Netlink
from lagg.running.bundle import Bundle

log = logging.getLogger(__name__)


async def rename(
    netlink: Netlink,
    bundle: Bundle,
    ours: Collection[str],
    wanted: Collection[str],
    undo: AsyncExitStack,
) -> None:
    """Gives `wanted` and takes what is only in `ours`, where it is not so already.

    LaggError names what the kernel refused; `undo` then has the way back.
    """
    if not ours and not wanted:
        return
    give, take = _steps(netlink, bundle)
    there = (await netlink.link(bundle.link.ifindex)).altnames
    for name in wanted:
        if name not in there:
            await give(name)
            undo.push_async_callback(_quietly, take, name)
    for name in ours:
        if name in there and name not in wanted:
            await take(name)
            undo.push_async_callback(_quietly, give, name)


Step = Callable[[str], Awaitable[None]]


def _steps(netlink: Netlink, bundle: Bundle) -> tuple[Step, Step]:
    """What gives a name and what takes one, and notes it."""
    ifindex = bundle.link.ifindex

    async def give(name: str) -> None:
        await netlink.add_altname(ifindex, name)
        names = (*bundle.link.altnames, name)
        bundle.note(ifindex, lambda known: replace(known, altnames=names))

    async def take(name: str) -> None:
        await netlink.delete_altname(ifindex, name)
        names = tuple(each for each in bundle.link.altnames if each != name)
        bundle.note(ifindex, lambda known: replace(known, altnames=names))

    return give, take


async def _quietly(step: Step, name: str) -> None:
    with logged(log.warning, "not undone: %s"):
        await step(name)
