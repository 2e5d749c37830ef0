# SPDX-License-Identifier: BSD-2-Clause
"""Flows of a static lagg that wait to move, until what went before has left its port.

Owns when that is, for no partner answers a marker: what waits in the port's queue is
younger than the move once no more waits than was sent since.  Bounded, as a marker is.
Knows no protocol's rules and no socket.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping

from lagg.errors import LaggError
from lagg.model import Proto
from lagg.plan.flow_moves import Moves
from lagg.running.bundle import Bundle
from lagg.tasks import Tasks

log = logging.getLogger(__name__)

LOOK_S = 0.001
"""Between two looks at a queue: frames of the flows that move wait meanwhile."""

DRAIN_S_MAX = 1.0
"""As long as a marker may be without answer."""


class Draining:
    """Releases what waits in one lagg.  Event loop's thread only."""

    def __init__(self, bundle: Bundle) -> None:
        """Does nothing before reconcile()."""
        self._bundle = bundle
        self._tasks = Tasks()
        self._works = self._closed = False

    def reconcile(self) -> None:
        """To be called when the shape has changed: flows may have begun to wait."""
        if self._waiting.origins and not self._works:
            self._works = self._tasks.begin(self._release_all) is not None

    def close(self) -> None:
        """Releases nothing more."""
        self._closed = True

    @property
    def _waiting(self) -> Moves:
        """What is ours to release: with LACP that is for markers."""
        ours = not self._closed and self._bundle.shape.proto is not Proto.LACP
        return self._bundle.moves if ours else Moves()

    async def _release_all(self) -> None:
        try:
            while self._waiting.origins:
                await self._release_some()
        finally:
            self._works = False

    async def _release_some(self) -> None:
        """One round: what begins to wait meanwhile is for the next."""
        seen = self._waiting
        slots = {*seen.origins.values()}
        try:
            await self._bundle.grace()
        except LaggError as error:
            log.warning("%s", error)
            await self._release(slots)
            return
        sent = self._sent(slots)
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + DRAIN_S_MAX
        while slots and self._waiting == seen:
            over = loop.time() >= deadline_s
            drained = {slot for slot in slots if over or self._has_left(slot, sent)}
            slots -= drained
            await self._release(drained)
            seen = seen.without(drained)
            if slots:
                await asyncio.sleep(LOOK_S)

    def _sent(self, slots: Collection[int]) -> Mapping[int, int]:
        ports = self._bundle.device.read().ports
        return {slot: ports[slot].tx_bytes for slot in slots}

    def _has_left(self, slot: int, before: Mapping[int, int]) -> bool:
        """Whether all that went by a port `before` is on the wire, or is no more.

        Read in this order: what is sent in between makes the queue longer alone.
        """
        since = self._sent([slot])[slot] - before[slot]
        try:
            return self._bundle.device.unsent_bytes(slot) <= since
        except OSError as error:
            log.warning("%s: slot %d: %s", self._bundle.name, slot, error)
            return True  # nobody will know it better

    async def _release(self, slots: Collection[int]) -> None:
        """Tries until the workers let it be."""
        while slots and self._waiting.origins:
            try:
                self._bundle.release(slots)
                return
            except LaggError as error:
                log.debug("%s", error)
                await asyncio.sleep(LOOK_S)
