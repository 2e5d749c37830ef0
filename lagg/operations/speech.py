# SPDX-License-Identifier: BSD-2-Clause
"""What is said of a lagg, interface by interface.

Owns who is announced, taught of and reported, in which order: the lagg itself first.
Pure; the frames are made when their interface's MAC is known, just before they leave.
"""

from collections.abc import Iterator, Mapping, Sequence

from lagg.frozen import dataclass
from lagg.link import Group, HostAddress, Link, Stations
from lagg.operations.announcement_frames import (
    announcements,
    learning_frame,
    reports,
)
from lagg.operations.uppers import taught


@dataclass(frozen=True, slots=True)
class Announced:
    """An interface, with its addresses."""

    ifindex: int
    addresses: tuple[HostAddress, ...]
    router: bool

    def frames(self, link: Link) -> list[bytes]:
        """Without an address switches are taught of it; a bridge is mute then."""
        found = announcements(link.mac, self.addresses, router=self.router)
        if not found and link.kind != "bridge":
            return [learning_frame(link.mac)]
        return found


@dataclass(frozen=True, slots=True)
class Taught:
    """Somebody else's MAC, behind an interface."""

    ifindex: int
    mac: str
    vlan: int

    def frames(self, _: Link) -> list[bytes]:
        """The one that teaches it."""
        return [learning_frame(self.mac, self.vlan)]


@dataclass(frozen=True, slots=True)
class Rejoined:
    """An interface, with the groups that it has joined."""

    ifindex: int
    addresses: tuple[HostAddress, ...]
    groups: tuple[Group, ...]

    def frames(self, link: Link) -> list[bytes]:
        """Its reports."""
        return [*reports(link.mac, self.addresses, self.groups)]


Speech = Announced | Taught | Rejoined


def announced(above: Sequence[Link], there: Stations) -> Iterator[Speech]:
    """Where is what stands on a lagg, and who is reached through it.

    `above`: its speakers(), of which it is the first, and said before.
    """
    for link in above[1:]:
        addresses = there.addresses.get(link.ifindex, ())
        yield Announced(link.ifindex, addresses, link.ifindex in there.routers)
    for each in taught(above, there):
        yield Taught(each.ifindex, each.mac, each.vlan)


def rejoined(
    above: Sequence[Link], there: Stations, groups: Mapping[int, tuple[Group, ...]]
) -> Iterator[Speech]:
    """What a lagg and what stands on it have joined."""
    for link in above:
        if link.ifindex in groups:
            addresses = there.addresses.get(link.ifindex, ())
            yield Rejoined(link.ifindex, addresses, groups[link.ifindex])
