# SPDX-License-Identifier: BSD-2-Clause
"""Who runs a device's workers: threads of laggd, or another process.

Owns what a device asks of either.  Descriptors are lent: whoever needs them longer than
the call duplicates them.
"""

from collections.abc import Mapping
from typing import Protocol


class Datapath(Protocol):
    """Who runs a device's workers."""

    lagg: int
    """The id by which another process knows it; 0: it is of this one."""

    def begin(self, sockets: Mapping[str, int]) -> None:
        """Runs them from now on, by Device.descriptors().  OSError: none runs."""

    def end(self) -> None:
        """Stops them, and lets go of the device.  Any thread may call."""

    def ended(self) -> list[int]:
        """The workers that run no more though nobody stopped them."""

    def add_port(self, slot: int, sockets: Mapping[str, int]) -> None:
        """Takes a port, by Device.port_descriptors(), before a plan names it.

        OSError: it has not.
        """

    def remove_port(self, slot: int, rings: int) -> None:
        """Delivers what a set of rings holds, and lets go of the port."""

    def add_rings(self, slot: int, rings: int, sockets: Mapping[str, int]) -> None:
        """Takes rings of a port beside those that are live.  OSError."""

    def remove_rings(self, slot: int, rings: int) -> None:
        """Delivers what a set holds that no worker sees, and lets go of it."""
