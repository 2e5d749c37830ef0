# SPDX-License-Identifier: BSD-2-Clause
"""What a lagg at work needs of who agrees with its partner, and who watches its paths.

Owns these contracts alone; lacp_io.py and watching.py keep them.  Knows no bundle,
which is handed one of each.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from lagg.handover.saved import SavedLacp
from lagg.lacp.lease import Lease
from lagg.lacp.values import View
from lagg.link import Link
from lagg.running.ears import Ears
from lagg.watches import LinkWatch


class ShapeFollower(Protocol):
    """Who acts upon a lagg's shape, whatever its protocol."""

    def reconcile(self) -> None:
        """Is called when the shape has changed."""

    def close(self) -> None:
        """Is called when it changes no more."""


class PathWatcher(ShapeFollower, Protocol):
    """Who watches the paths of the ports: watching.py."""

    def bad(self, slot: int) -> Mapping[LinkWatch, Mapping[str, int]]:
        """The frames that a port's watches did not take, by the word of the reason."""

    def descriptors(self) -> Mapping[int, int]:
        """The probe sockets that are open, by slot."""

    def leases(self) -> Mapping[int, Sequence[Lease | None]]:
        """What each session of a port is to say while nobody is here, by slot.

        None, and of a port that is not named: what it was to say before.
        """


class Negotiator(Protocol):
    """Who agrees with the partner on the ports, while laggproto is lacp: lacp_io.py."""

    sockets: Ears
    """What it hears and says."""

    @property
    def marked(self) -> frozenset[int]:
        """Numbers of the ports whose partner answers markers."""

    def reconcile(self) -> None:
        """To be called when the shape has changed: ports, links, options or MAC."""

    def saved(self) -> SavedLacp | None:
        """What another one goes on from; None: not while the workers hold it up."""

    def view(self) -> View:
        """The engine's state, for records."""

    async def open_port(self, number: int, link: Link) -> None:
        """Opens the socket of a port that is to come.  LaggError."""

    async def close_ports(self, numbers: Collection[int]) -> None:
        """Closes the sockets of ports that are gone."""

    async def leave(self, numbers: Iterable[int]) -> None:
        """Has the partner stop to send to ports that are to go."""

    def cancel_leave(self, numbers: Iterable[int]) -> None:
        """Takes leave() back: these ports stay."""

    def release(self, numbers: Iterable[int]) -> None:
        """Ends the hold of these ports, whose partner changed too often."""

    async def say_goodbye(self) -> None:
        """Tells the partners that all ports leave."""

    async def close(self) -> None:
        """Closes all sockets."""
