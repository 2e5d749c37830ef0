# SPDX-License-Identifier: BSD-2-Clause
"""The links of ports that are held: set down where a user wants that, and up again.

Owns the order.  First no worker sends by the port any more, and its ring is read until
it is silent: a switch that learns from what we send has moved away by then, and loses
nothing.  Then it is set down, and stays a port; a partner that does not learn sees a
cable that is pulled.  Who is let go is set up again; who leaves, or whose laggd ends or
dies, is put back as he was found (ports/originals.py).  Knows not when a port is held
(plan/gate.py).
"""

import asyncio
import logging
from functools import partial

from lagg.errors import LaggError
from lagg.events import EventKind
from lagg.operations.attendant import Attendant
from lagg.plan.gate import misplaced, with_lowered
from lagg.plan.shape import Port
from lagg.running.bundle import Bundle

log = logging.getLogger(__name__)

LOOK_S = 0.02
"""A port by which nothing came for so long is silent."""

SILENT_S_MAX = 1.0
"""So long a partner may take to move away: one that learns nothing never does."""


class HeldLinks(Attendant):
    """Follows the laggs' gates."""

    NEWS = frozenset(
        {EventKind.PORT_HOLD, EventKind.PORT_ATTACHED}
        | {EventKind.OPTION, EventKind.PROTO}
    )

    def _look_at(self, bundle: Bundle) -> None:
        if misplaced(bundle.shape):
            self._tasks.begin(self._follow, bundle)

    async def _follow(self, bundle: Bundle) -> None:
        """Waits for silence in nobody's turn: it changes nothing."""
        await _silence(bundle)
        await self._whole(partial(self._put_right, bundle))

    async def _put_right(self, bundle: Bundle) -> None:
        """In its turn, by when the lagg may be gone and all be as it should."""
        if self._laggs.of_tap(bundle.link.ifindex) is not bundle:
            return
        if misplaced(bundle.shape):
            await bundle.grace()
        for port in misplaced(bundle.shape):
            await self._move(bundle, port)

    async def _move(self, bundle: Bundle, port: Port) -> None:
        """Sets a port down, or up again as far as its lagg is up."""
        lowers = not port.lowered
        bundle.adopt(with_lowered(bundle.shape, port.slot, lowered=lowers))
        try:
            if bundle.link.up:
                await self._laggs.netlink.set_up(port.link.ifindex, not lowers)
        except LaggError as error:  # it is gone, or will not; then it is as it is
            log.warning("%s: %s: %s", bundle.name, port.link.name, error)


async def _silence(bundle: Bundle) -> None:
    """Until nothing comes by the ports that are to be set down, or SILENT_S_MAX."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + SILENT_S_MAX
    while loop.time() < deadline_s:
        before = _received(bundle)
        if not before:
            return
        await asyncio.sleep(LOOK_S)
        if _received(bundle) == before:
            return


def _received(bundle: Bundle) -> list[int]:
    """Frames that came so far by each port that is to be set down."""
    slots = [port.slot for port in misplaced(bundle.shape) if port.held]
    counters = bundle.device.read().ports if slots else ()
    return [counters[slot].rx_frames for slot in slots]
