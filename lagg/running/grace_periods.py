# SPDX-License-Identifier: BSD-2-Clause
"""The grace periods of one device: which replaced snapshots a worker may still see.

Owns since when each waits, by which worker, and how long that may last.  Knows no plan
and no lagg's name.
"""

import asyncio
import time
from collections import deque

from lagg.kernel.native import Device
from lagg.model import SNAPSHOTS_MAX
from lagg.records import Limbo

GRACE_S = 1.0
"""A worker leaves its section within microseconds; later than this it is stuck."""

GRACE_POLL_S = 0.0002


class GracePeriods:
    """The grace periods that may not be over yet.  Control thread only."""

    def __init__(self, device: Device) -> None:
        """None yet; `device` knows who holds a ticket up."""
        self._device = device
        # The tickets that may not have passed, and when they were drawn.
        self._tickets: deque[tuple[int, float]] = deque(maxlen=SNAPSHOTS_MAX)

    def begin(self, ticket: int) -> None:
        """A snapshot was published, and the one before waits for this ticket."""
        self._tickets.append((ticket, time.monotonic()))

    def limbo(self) -> Limbo:
        """What was replaced and may still be seen, and by whom."""
        worker = None
        while self._tickets:
            worker = self._device.held_by(self._tickets[0][0])
            if worker is not None:
                break
            self._tickets.popleft()
        if not self._tickets:
            return Limbo(snapshots=0, oldest_ms=0, worker=None)
        age_s = time.monotonic() - self._tickets[0][1]
        return Limbo(
            snapshots=len(self._tickets), oldest_ms=int(age_s * 1000), worker=worker
        )

    def is_full(self) -> bool:
        """Whether all snapshots but the present one wait for a worker."""
        return self.limbo()["snapshots"] >= SNAPSHOTS_MAX - 1

    def stuck_worker(self) -> int | None:
        """The worker that has not left its section for longer than GRACE_S."""
        limbo = self.limbo()
        return limbo["worker"] if limbo["oldest_ms"] > GRACE_S * 1000 else None

    async def outwait(self) -> Limbo:
        """Waits until all are over, but no longer than GRACE_S; answers what is not."""
        deadline = time.monotonic() + GRACE_S
        while (limbo := self.limbo())["snapshots"] > 0:
            if time.monotonic() > deadline:
                return limbo
            await asyncio.sleep(GRACE_POLL_S)
        self._device.reclaim()
        return limbo
