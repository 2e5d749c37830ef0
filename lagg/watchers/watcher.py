# SPDX-License-Identifier: BSD-2-Clause
"""What every link watcher is: the contract between a machine and whoever drives it.

A machine watches the path behind one port for one watch.  It has no clock: time is an
argument, and never goes back.  Whoever drives it calls tick() when due_at() says so,
after heard() with all that waits by then if it judges(), and looks at `state`,
`reason`, `memory` and `lease` after each call.
"""

from collections.abc import Collection, Mapping
from typing import ClassVar, Protocol

from lagg.frozen import dataclass
from lagg.lacp.lease import Lease
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

    memory: str = ""
    """What recall() is to be told by who makes the next one, in hexadecimal digits."""

    lease: Lease | None = None
    """What is to be said again while nobody is here; None: what was to be before.  Of
    one that `speaks` alone."""

    speaks: ClassVar[bool] = False
    """Whether its partner wants to hear of it even while nobody is here."""

    @property
    def bad(self) -> Mapping[str, int]:
        """Frames for it alone that it did not take, by the word of the reason."""
        return {}

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

    def recall(self, memory: str) -> None:
        """Goes on from what the one before remembered; before link()."""
        return

    def due_at(self) -> Instant | None:
        """When tick() is to be called; None: not before link()."""

    def tick(self, now: Instant) -> list[bytes]:
        """Does what time has made due; the frames that are to leave by the port."""

    def judges(self, now: Instant) -> bool:
        """Whether tick() judges by what was heard until now, and does not only send."""
        return True

    def heard_again(self, frame: bytes, now: Instant) -> bool:
        """Takes a frame that says nothing new, and is for this one alone.

        False: it is another, for heard().  Costs little, and changes nothing that can
        be seen; due_at() is later, if anything.
        """
        return False

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
