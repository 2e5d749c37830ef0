# SPDX-License-Identifier: BSD-2-Clause
"""Ports that a switch takes for hosts of their own: laggproto tlb.

Owns at which port the lagg's own MAC is, its home, and by which MAC each other speaks.
That is its own, but for one whose own the lagg has: a switch that saw one MAC at two
ports would send all to the one that spoke last.  Pure.
"""

from collections.abc import Container
from dataclasses import dataclass

from lagg.ethernet import mac_bytes
from lagg.lacp.values import Mac
from lagg.plan.buckets import Slot
from lagg.plan.election import elected
from lagg.plan.shape import Shape

_LOCAL = 0x02
"""The bit of a MAC's first byte that says that no manufacturer gave it."""


@dataclass(frozen=True, slots=True)
class PortMacs:
    """Who speaks by which MAC."""

    home: Slot  # by which the lagg's own MAC is sent and reached
    mac: Mac  # the lagg's
    macs: tuple[tuple[Slot, Mac], ...]  # of each port, when it is not the home

    @property
    def all(self) -> frozenset[Mac]:
        """Every one by which anything is sent."""
        return frozenset({self.mac, *dict(self.macs).values()})


def stations(shape: Shape) -> PortMacs | None:
    """Who speaks how; None: its protocol has no stations, or nobody carries."""
    home = elected(shape) if shape.proto.by_stations else None
    if home is None or not shape.mac.address:
        return None
    taken, macs = {shape.mac.address}, []
    for port in shape.ports:
        mac = _free(port.home_mac, taken)
        taken.add(mac)
        macs.append((port.slot, mac))
    return PortMacs(home, shape.mac.address, tuple(macs))


def _free(mac: Mac, taken: Container[Mac]) -> Mac:
    """The MAC, or one made of it that is nobody's: local where it was global."""
    octets = mac_bytes(mac)
    number = int.from_bytes(octets[1:], "big")
    first = octets[0] if mac not in taken else octets[0] ^ _LOCAL
    while True:
        found = bytes((first, *(number % (1 << 40)).to_bytes(5, "big"))).hex(":")
        if found not in taken:
            return found
        number += 1
