# SPDX-License-Identifier: BSD-2-Clause
"""What a lagg at work needs of whoever agrees with its partner: lacp_io.py.

Owns that contract alone.  Knows no bundle, which is handed one.
"""

from collections.abc import Collection, Iterable
from typing import Protocol

from lagg.handover.saved import SavedLacp
from lagg.lacp.values import View
from lagg.link import Link
from lagg.running.ears import Ears


class ShapeFollower(Protocol):
    """Who acts upon a lagg's shape, whatever its protocol."""

    def reconcile(self) -> None:
        """Is called when the shape has changed."""

    def close(self) -> None:
        """Is called when it changes no more."""


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
