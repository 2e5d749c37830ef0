# SPDX-License-Identifier: BSD-2-Clause
"""What every link watcher is: the contract between a machine and whoever drives it.

A machine watches the path behind one port for one watch.  It has no clock: time is an
argument, and never goes back.  Whoever drives it calls tick() when due_at() says so,
after heard() with all that waits by then, and looks at `state` and `reason` after each
call.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from lagg.lacp.values import Instant, Mac
from lagg.watches import LinkWatch, WatchState


@dataclass(frozen=True, slots=True)
class Ends:
    """Who a machine is on the wire; the same as long as it lives."""

    mac: Mac  # the port's own for probes, no other's: see address.py
    slot: int  # of the port


class Watcher(Protocol):
    """One watch of one port; a machine inherits what it has no other answer to.

    Frames are from the destination on, tags in their place, without FCS.
    """

    state: WatchState
    """What the path counts as; the machine's alone to set."""

    reason: str
    """Why, in words, as "no reply of 192.0.2.1 for 3 x 100 ms"."""

    @property
    def macs(self) -> Collection[Mac]:
        """To which answers come beside that of Ends, so that the NIC lets them in."""
        return ()

    @property
    def strays(self) -> bool:
        """Whether an answer may come in by another port of the lagg.

        It may where the partner spreads what it sends over the ports.
        """
        return True

    @property
    def asks(self) -> bool:
        """Whether the port's driver is to be asked for its carrier; see told()."""
        return False

    def due_at(self) -> Instant | None:
        """When tick() is to be called; None: not before link()."""

    def tick(self, now: Instant) -> list[bytes]:
        """Does what time has made due; the frames that are to leave by the port."""

    def heard(self, frame: bytes, now: Instant) -> list[bytes]:
        """Takes a frame that came in, anybody's; the frames that answer it."""

    def told(self, carrier: bool | None, now: Instant) -> None:
        """The driver's answer; None: it cannot be asked."""
        return

    def link(self, up: bool, now: Instant) -> None:
        """The port has a carrier from now on, or has none.  At first it has none."""

    def change(self, watch: LinkWatch, now: Instant) -> None:
        """Asks the same question at another pace; its verdict stands."""

    def end(self, now: Instant) -> list[bytes]:
        """Watches no more; the frames that are to leave by the port yet."""
        return []
