# SPDX-License-Identifier: BSD-2-Clause
"""Announcements: when a lagg is elsewhere or has another MAC, the network is told.

Owns the gratuitous ARP (RFC 5227) and unsolicited neighbour advertisement (RFC 4861
7.2.6) for each address of the lagg, as lagg(4) sends them (FreeBSD PR 156226), and of
what stands on it: switches learn the new way, and neighbours the new MAC, before the
host's next frame.  Each frame leaves through the interface that has the address, which
gives it its VLAN tag.  Knows no plan.
"""

import asyncio
import ipaddress
import logging
import socket
import struct
from collections.abc import Iterable
from typing import Self

from lagg.errors import LaggError
from lagg.events import Event, EventKind
from lagg.link import Address
from lagg.operations.laggs import Laggs
from lagg.operations.uppers import speakers
from lagg.tasks import Tasks

log = logging.getLogger(__name__)

NEWS = frozenset(
    {EventKind.ACTIVE_PORT, EventKind.MAC, EventKind.MAC_HEARD, EventKind.MAC_SHARED}
    | {EventKind.LINK}
)
"""The events after which a lagg is announced, as soon as it can send."""

ABLE_S = 1.0
ABLE_POLL_S = 0.005
"""A lagg's queue opens a moment after its carrier is up; earlier frames are lost."""

IFA_F_DADFAILED = 0x08
IFA_F_TENTATIVE = 0x40

_BROADCAST = b"\xff" * 6
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ALL_NODES = ipaddress.IPv6Address("ff02::1").packed
_NA_ROUTER = 0x80000000
_NA_OVERRIDE = 0x20000000
_NA_TYPE = 136
_OPTION_TARGET_MAC = b"\x02\x01"
_ICMPV6 = 58


def announcements(
    mac: str, addresses: Iterable[Address], *, router: bool = False
) -> list[bytes]:
    """The Ethernet frames that say `mac` has `addresses`, but those not usable yet.

    `router`: as its advertisements say, or its neighbours would take it for none.
    """
    source = bytes.fromhex(mac.replace(":", ""))
    unusable = IFA_F_TENTATIVE | IFA_F_DADFAILED
    said = (each for each in addresses if not each.flags & unusable)
    return [
        _arp(source, each.address)
        if each.family == socket.AF_INET
        else _advertisement(source, each.address, router=router)
        for each in said
    ]


def _arp(mac: bytes, address: str) -> bytes:
    """A request for one's own address, which every receiver takes as news."""
    ip = ipaddress.IPv4Address(address).packed
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return _BROADCAST + mac + b"\x08\x06" + head + mac + ip + bytes(6) + ip


def _advertisement(mac: bytes, address: str, *, router: bool) -> bytes:
    ip = ipaddress.IPv6Address(address).packed
    flags = _NA_OVERRIDE | (_NA_ROUTER if router else 0)
    rest = struct.pack("!I", flags) + ip + _OPTION_TARGET_MAC + mac
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
    """Announces each lagg of which there is news; an async context manager."""

    def __init__(self, laggs: Laggs) -> None:
        """Nothing is announced before it is entered."""
        self._laggs = laggs
        self._tasks = Tasks()
        self._due: set[int] = set()  # laggs to be announced as soon as they can send

    async def __aenter__(self) -> Self:
        """Listens to the laggs' events."""
        self._unsubscribe = self._laggs.subscribe(self._on_event)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listens no more."""
        self._unsubscribe()
        await self._tasks.close()

    def _on_event(self, event: Event) -> None:
        bundle = self._laggs.bundles.get(event.lagg)
        # Without a port that carries it says nothing; with the first there is news.
        if event.event in NEWS and bundle is not None and bundle.plan.tx_slots:
            ifindex = bundle.link.ifindex
            if ifindex not in self._due:
                self._due.add(ifindex)
                self._tasks.begin(self._announce, ifindex)

    async def _announce(self, lagg: int) -> None:
        try:
            await self._until_able(lagg)
        finally:
            self._due.discard(lagg)
        # All is as the kernel has it at this moment: MACs, uppers and their addresses.
        addresses = await self._laggs.netlink.addresses_by_link()
        for link in speakers(await self._laggs.netlink.links(), lagg):
            if link.ifindex in addresses:
                await self._speak(link.ifindex, addresses[link.ifindex])

    async def _until_able(self, lagg: int) -> None:
        """Until its interface can send; bounded.  LaggError when it is gone."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + ABLE_S
        while not (await self._laggs.netlink.link(lagg)).active and loop.time() < end_s:
            await asyncio.sleep(ABLE_POLL_S)

    async def _speak(self, ifindex: int, addresses: Iterable[Address]) -> None:
        try:
            link = await self._laggs.netlink.link(ifindex)
            _send(link.name, announcements(link.mac, addresses, router=link.router))
        except (LaggError, OSError) as error:
            log.debug("interface %d: announce: %s", ifindex, error)


def _send(interface: str, frames: Iterable[bytes]) -> None:
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_PACKET, kind) as sender:
        sender.bind((interface, 0))
        for frame in frames:
            sender.send(frame)
