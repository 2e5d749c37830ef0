# SPDX-License-Identifier: BSD-2-Clause
"""Receive rings that cannot move, opened anew while their lagg works.

Owns when they are looked at, and the order of a change: no worker sees a ring that is
closed, and what it still held goes up.  The kernel's part of it is in native/ring.c.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Any

from lagg.errors import LaggError
from lagg.events import EventKind
from lagg.operations.laggs import Laggs
from lagg.plan.shape import Port
from lagg.running.bundle import Bundle
from lagg.tasks import Tasks

LOOK_OFTEN_S = 0.05
OFTEN_S = 10.0
"""What stopped a ring comes again soon, as a rule: so long it is looked at often."""


class Rings:
    """The receive rings of all laggs' ports.  For the event loop's thread alone."""

    def __init__(
        self,
        laggs: Laggs,
        whole: Callable[[Callable[[], Coroutine[Any, Any, None]]], Any],
        tasks: Tasks,
    ) -> None:
        """`whole` runs an operation in its turn; `tasks` are its owner's."""
        self._laggs = laggs
        self._whole = whole
        self._tasks = tasks
        self._due: set[int] = set()  # ifindexes that wait for their turn
        self._changed: set[int] = set()  # of these the rings before are to be closed
        self._often_until_s = 0.0

    def look(self) -> None:
        """Finds the rings that cannot move, and has them opened anew in turn."""
        for bundle in self._laggs.bundles.values():
            stuck = bundle.device.stuck()
            for port in bundle.shape.ports:
                ifindex = port.link.ifindex
                wanting = port.slot in stuck or ifindex in self._changed
                if wanting and ifindex not in self._due:
                    self._due.add(ifindex)
                    self._tasks.begin(self._whole, partial(self._mend, ifindex))

    async def _mend(self, ifindex: int) -> None:
        self._due.discard(ifindex)
        held = self._laggs.of_port(ifindex)
        if held is None:
            self._changed.discard(ifindex)
            return
        if ifindex not in self._changed and held[1].slot in held[0].device.stuck():
            await _change(*held)
            self._changed.add(ifindex)
            self._look_often()
        if ifindex in self._changed:  # also by a look before, that a worker held up
            await _close_former(*held)
            self._changed.discard(ifindex)

    def _look_often(self) -> None:
        now_s = asyncio.get_running_loop().time()
        runs = now_s < self._often_until_s
        self._often_until_s = now_s + OFTEN_S
        if not runs:
            self._tasks.begin(self._often)

    async def _often(self) -> None:
        while asyncio.get_running_loop().time() < self._often_until_s:
            await asyncio.sleep(LOOK_OFTEN_S)
            self.look()


async def _change(bundle: Bundle, port: Port) -> None:
    """Has the frames of a port come in by new rings, once that is published."""
    device, slot = bundle.device, port.slot
    with _blaming(port):
        # In a thread, as all that the kernel takes its time for.
        await asyncio.to_thread(device.open_rings, slot)
    async with AsyncExitStack() as undo:
        undo.push_async_callback(asyncio.to_thread, device.close_rings, slot)
        await bundle.grace()  # so that no snapshot in limbo refuses the publication
        with _blaming(port):
            device.change_rings(slot)
        undo.pop_all()


async def _close_former(bundle: Bundle, port: Port) -> None:
    """Publishes the change; the rings before are drained when no worker sees them.

    LaggError: a worker holds that up, or the forwarder refuses.  To be called again.
    """
    device, slot = bundle.device, port.slot
    bundle.publish_again()
    await bundle.grace()
    with _blaming(port):
        device.drain_rings(slot)
    await asyncio.to_thread(device.close_rings, slot)
    why = "the kernel let no frame in after one whose offload packet(7) cannot describe"
    bundle.emit(EventKind.RING_REOPENED, why, port.link.name)


@contextmanager
def _blaming(port: Port) -> Iterator[None]:
    """A refusal inside names the port."""
    try:
        yield
    except OSError as error:
        raise LaggError.of_os(
            port.link.name, "open its receive ring anew", error
        ) from error
