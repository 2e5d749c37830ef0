# SPDX-License-Identifier: BSD-2-Clause
"""A partner for LACP that is none of ours: what each can be asked, whatever it is.

Owns the words for what a partner says of itself, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lab.cable import Lossy
from lab.host import Host
from lab.stream import Place

SLOW_PROTOCOLS = "0x8809"
"""The ethertype of LACPDUs and markers."""

STATE_BITS = (
    *("activity", "timeout", "aggregation", "synchronized"),
    *("collecting", "distributing", "defaulted", "expired"),
)
"""The state octet's bits, the lowest first, in Open vSwitch's words."""


@dataclass(frozen=True, slots=True)
class Lacp:
    """How a partner is to speak."""

    active: bool = True
    fast: bool = True  # what it asks of us: a PDU every second


@dataclass(frozen=True, slots=True)
class Member:
    """One port, as the partner describes it."""

    name: str
    aggregated: bool  # it is of the group that carries
    actor: int  # its own state octet
    partner: int  # what it holds of ours

    def __str__(self) -> str:
        """For messages of assertions."""
        word = "in" if self.aggregated else "out"
        return f"{self.name} {word} {self.actor:#04x}/{self.partner:#04x}"


class Partner(Protocol):
    """A partner that runs, cabled to the host under test."""

    host: Host
    """Where its ends of the cables are: q0, q1, ..."""

    address: str
    """The IP address of its aggregate."""

    frames_per_s: int
    """What its side takes of a stream, and four times what it gives, in good time."""

    version: str
    """What exactly was run."""

    def close(self) -> None:
        """Before its host is taken down."""

    @property
    def cables(self) -> Sequence[Lossy]:
        """In the order of the ports; `near` is the host under test."""

    @property
    def place(self) -> Place:
        """Where programs run on its side."""

    def run(self, *words: str) -> str:
        """A command on its side; what it printed."""

    def configure(self, lacp: Lacp, ports: int) -> None:
        """Begins anew, with the first so many ports in the group."""

    def members(self) -> tuple[Member, ...]:
        """As they are now, in the order of the ports."""


def state_octet(words: str) -> int:
    """As words "activity timeout", as a number 0x03."""
    return sum(1 << STATE_BITS.index(word) for word in words.split())
