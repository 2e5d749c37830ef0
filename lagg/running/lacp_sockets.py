# SPDX-License-Identifier: BSD-2-Clause
"""A port of one lagg's LACP: its socket, and what the engine was told of it.

Owns that this is one record, which is there while either is.  Knows no engine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from lagg.lacp.values import Medium


class Slow(Protocol):
    """What the actor needs of lagg.kernel.slow.SlowSocket."""

    def close(self) -> None:
        """Closes the socket."""

    def fileno(self) -> int:
        """The descriptor, for the event loop."""

    def frames(self) -> Iterator[bytes]:
        """The frames that wait, up to a bound."""

    def send(self, frame: bytes) -> bool:
        """Whether the kernel took it."""

    def take_overruns(self) -> int:
        """Frames that found no room since the last call."""


@dataclass(slots=True)
class LacpPort:
    """A port as it is listened to, and as the engine has it."""

    socket: Slow | None = None  # None: it is listened to no more, or not yet
    heard: int = 0  # frames in this slot
    overruns: int = 0  # frames that the socket had no room for
    known: tuple[int, Medium] | None = None  # to the engine: priority and medium
    leaving: bool = False  # it distributes no more
    carrying: bool = False  # when the engine was looked at last
