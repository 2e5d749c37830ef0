# SPDX-License-Identifier: BSD-2-Clause
"""Whether frames flow, in any lagg: asked while they do, told when they begin again.

Owns the eventfd that a worker writes to, so that nobody looks while there is nothing
to see.  Knows no lagg, and not what frames mean to who asks.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol


class Carrier(Protocol):
    """What traffic needs of lagg.kernel.native.Device."""

    @property
    def frames(self) -> int:
        """Frames that came in so far, both ways."""

    def alert(self, eventfd: int) -> None:
        """Has the next frame that comes in make `eventfd` readable."""


class Traffic:
    """The traffic of all devices together.  For the event loop's thread alone."""

    def __init__(
        self, devices: Callable[[], Iterable[Carrier]], kept: int | None = None
    ) -> None:
        """`devices`: those there are at the moment.

        `kept`: the eventfd that their workers have already; it is ours from now on.
        """
        self._devices = devices
        self._frames = 0
        flags = os.EFD_CLOEXEC | os.EFD_NONBLOCK
        self._eventfd = os.eventfd(0, flags) if kept is None else kept

    def close(self) -> None:
        """Tells nobody any more.  No device waits for frames then, or there is none."""
        asyncio.get_running_loop().remove_reader(self._eventfd)
        os.close(self._eventfd)

    def fileno(self) -> int:
        """The eventfd that workers write to."""
        return self._eventfd

    def flows(self) -> bool:
        """Whether any frames came since this was asked last."""
        frames = sum(device.frames for device in self._devices())
        flowed, self._frames = frames != self._frames, frames
        return flowed

    def await_frames(self, come: Callable[[], None]) -> None:
        """Calls `come` once, soon after the next frame; the last who awaits is told."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._eventfd)  # of frames that flows() knows of
        loop = asyncio.get_running_loop()
        loop.add_reader(self._eventfd, self._on_frame, come)
        for device in self._devices():
            device.alert(self._eventfd)
        if self.flows():  # before they were to tell
            os.eventfd_write(self._eventfd, 1)

    def _on_frame(self, come: Callable[[], None]) -> None:
        asyncio.get_running_loop().remove_reader(self._eventfd)
        come()
