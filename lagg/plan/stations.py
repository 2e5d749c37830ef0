# SPDX-License-Identifier: BSD-2-Clause
"""Ports that a switch takes for hosts of their own: laggproto tlb and alb.

Owns at which port the lagg's own MAC is, its home, and by which MAC each other speaks.
That is its own, but for one whose own the lagg has: a switch that saw one MAC at two
ports would send all to the one that spoke last.  Pure.
"""

from collections.abc import Collection, Container, Iterator, Sequence
from functools import reduce
from operator import xor

from lagg.ethernet import mac_bytes
from lagg.frozen import dataclass
from lagg.lacp.values import Mac
from lagg.model import BUCKETS
from lagg.plan.buckets import Slot, table, turns
from lagg.plan.election import elected
from lagg.plan.shape import Caller, Shape

_LOCAL = 0x02
"""The bit of a MAC's first byte that says that no manufacturer gave it."""


@dataclass(frozen=True, slots=True)
class PortMacs:
    """Who speaks by which MAC."""

    home: Slot  # by which the lagg's own MAC is sent and reached
    mac: Mac  # the lagg's
    macs: tuple[tuple[Slot, Mac], ...]  # of each port, when it is not the home
    lessons: tuple[Slot, ...] = ()  # by bucket of peers: whose MAC they are taught

    @property
    def all(self) -> frozenset[Mac]:
        """Every one by which anything is sent."""
        return frozenset({self.mac, *dict(self.macs).values()})


def stations(shape: Shape) -> PortMacs | None:
    """Who speaks how; None: its protocol has no stations, or nobody carries."""
    home = elected(shape) if shape.proto.by_stations else None
    if home is None or not shape.mac.address:
        return None
    lessons = _lessons(shape) if shape.proto.teaches else ()
    return PortMacs(home, shape.mac.address, tuple(_macs(shape)), lessons)


def _macs(shape: Shape) -> Iterator[tuple[Slot, Mac]]:
    taken = {shape.mac.address}
    for port in shape.ports:
        mac = _free(port.home_mac, taken)
        taken.add(mac)
        yield port.slot, mac


def let_in_beside(shape: Shape, home_mac: Mac) -> frozenset[Mac]:
    """What a port with this MAC of its own must let in, for it answers by another."""
    macs = dict(_macs(shape)) if shape.proto.teaches else {}
    ports = (port for port in shape.ports if port.home_mac == home_mac)
    return frozenset(macs[port.slot] for port in ports if port.slot in macs) - {
        home_mac
    }


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


# ---- whom each of them teaches -----------------------------------------------------


def peer_bucket(address: bytes) -> int:
    """The bucket of a peer with this address, as native/lesson.c has it.

    Of neighbouring addresses no two are in one.
    """
    return reduce(xor, address, 0)


def called(callers: Sequence[Caller], buckets: Collection[int]) -> tuple[Caller, ...]:
    """The places of the buckets in which there are peers now.

    Who stays keeps its place, and with it its port while the same ports are usable; who
    comes takes the first that is free.
    """
    places = [bucket if bucket in buckets else BUCKETS for bucket in callers]
    for bucket in sorted({*buckets} - {*places}):
        if BUCKETS in places:
            places[places.index(BUCKETS)] = bucket
        else:
            places.append(bucket)
    while places and places[-1] == BUCKETS:
        places.pop()
    return tuple(places)


def _lessons(shape: Shape) -> tuple[Slot, ...]:
    """By weight: buckets in which there are peers among each other, and the rest."""
    weights = shape.weights(port for port in shape.preferred if port.usable)
    slots, order = list(table(shape.homes, weights)), turns(weights)
    for place, bucket in enumerate(shape.callers):
        if bucket < BUCKETS:
            slots[bucket] = order[place % len(order)]
    return tuple(slots)
