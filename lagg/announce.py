# SPDX-License-Identifier: BSD-2-Clause
"""Announcements: when another port carries a lagg, the network is told where it is.

Owns the gratuitous ARP (RFC 5227) and unsolicited neighbour advertisement (RFC 4861
7.2.6) for each address of the lagg, as lagg(4) sends them (FreeBSD PR 156226): switches
learn the new way before the host's next frame.  Frames leave through the lagg itself.
Knows no plan.
"""

import ipaddress
import logging
import socket
import struct
from collections.abc import Iterable
from typing import Self

from lagg.bundle import Bundle
from lagg.errors import LaggError
from lagg.fleet import Fleet
from lagg.link import Address
from lagg.model import ACTIVE_PORT, Event
from lagg.tasks import Tasks

log = logging.getLogger(__name__)

IFA_F_TENTATIVE = 0x40

_BROADCAST = b"\xff" * 6
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ALL_NODES = ipaddress.IPv6Address("ff02::1").packed
_NA_OVERRIDE = 0x20000000
_NA_TYPE = 136
_OPTION_TARGET_MAC = b"\x02\x01"
_ICMPV6 = 58


def announcements(mac: str, addresses: Iterable[Address]) -> list[bytes]:
    """The Ethernet frames that say `mac` has `addresses`, tentative ones left out."""
    source = bytes.fromhex(mac.replace(":", ""))
    said = (each for each in addresses if not each.flags & IFA_F_TENTATIVE)
    return [
        _arp(source, each.address)
        if each.family == socket.AF_INET
        else _advertisement(source, each.address)
        for each in said
    ]


def _arp(mac: bytes, address: str) -> bytes:
    """A request for one's own address, which every receiver takes as news."""
    ip = ipaddress.IPv4Address(address).packed
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return _BROADCAST + mac + b"\x08\x06" + head + mac + ip + bytes(6) + ip


def _advertisement(mac: bytes, address: str) -> bytes:
    ip = ipaddress.IPv6Address(address).packed
    rest = struct.pack("!I", _NA_OVERRIDE) + ip + _OPTION_TARGET_MAC + mac
    pseudo = ip + _ALL_NODES + struct.pack("!II", 4 + len(rest), _ICMPV6)
    check = _checksum(pseudo + bytes([_NA_TYPE, 0, 0, 0]) + rest)
    body = struct.pack("!BBH", _NA_TYPE, 0, check) + rest
    head = struct.pack("!IHBB", 0x60000000, len(body), _ICMPV6, 255)
    return _ALL_NODES_MAC + mac + b"\x86\xdd" + head + ip + _ALL_NODES + body


def _checksum(data: bytes) -> int:
    """RFC 1071, over an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Announcer:
    """Announces each lagg that another port carries; an async context manager."""

    def __init__(self, fleet: Fleet) -> None:
        """Nothing is announced before it is entered."""
        self._fleet = fleet
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        """Listens to the fleet's events."""
        self._leave = self._fleet.subscribe(self._told)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listens no more."""
        self._leave()
        await self._tasks.close()

    def _told(self, event: Event) -> None:
        bundle = self._fleet.bundles.get(event.lagg)
        if event.event == ACTIVE_PORT and bundle is not None:
            self._tasks.begin(self._announce, bundle)

    async def _announce(self, bundle: Bundle) -> None:
        try:
            addresses = await self._fleet.netlink.addresses(bundle.link.ifindex)
            _send(bundle.name, announcements(bundle.link.mac, addresses))
        except (LaggError, OSError) as error:
            log.debug("%s: announce: %s", bundle.name, error)


def _send(interface: str, frames: Iterable[bytes]) -> None:
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_PACKET, kind) as sender:
        sender.bind((interface, 0))
        for frame in frames:
            sender.send(frame)
