# SPDX-License-Identifier: BSD-2-Clause
"""The frames by which the network learns a way in, byte for byte.

Owns gratuitous ARP (RFC 5227), unsolicited neighbour advertisement (RFC 4861 7.2.6),
the frame that teaches switches where a MAC is and says nothing else, and the reports of
joined groups: IGMP of the version that the kernel speaks there (RFC 1112, 2236, 3376)
and MLD of version 2 (RFC 3810).  Addresses are packed, MACs are words.  Pure.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence

from lagg.ethernet import (
    BROADCAST,
    framed,
    icmpv6_checksum,
    internet_checksum,
    mac_bytes,
)
from lagg.link import Group, HostAddress

RECORDS_MAX = 48
"""Groups in one report of IGMPv3 or MLDv2: in the smallest MTU that IPv6 allows."""

SOURCES_MAX = 32
"""Sources of one group in a report; with more of them the group is asked for whole."""

_IPV4, _REVERSE_ARP = 0x0800, 0x8035  # EtherTypes
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ALL_NODES = bytes.fromhex("ff02" + 26 * "0" + "01")
_MLD_ROUTERS = bytes.fromhex("ff02" + 26 * "0" + "16")
_ANY6 = bytes(16)
_ANY = bytes(4)
_IGMP_ROUTERS = bytes((224, 0, 0, 22))
_ALL_HOSTS = bytes((224, 0, 0, 1))

_NA_ROUTER = 0x80000000
_NA_OVERRIDE = 0x20000000
_NA_TYPE = 136
_OPTION_TARGET_MAC = b"\x02\x01"
_MLD2_REPORT = 143
_ICMPV6 = 58
_IGMP = 2
_IGMP_REPORTS = {1: 0x12, 2: 0x16}
_IGMP3_REPORT = 0x22
_IS_INCLUDE, _IS_EXCLUDE = 1, 2
_ROUTER_ALERT = b"\x94\x04\x00\x00"
_HOP_ROUTER_ALERT = b"\x3a\x00\x05\x02\x00\x00\x01\x00"  # ICMPv6 follows
_INTERNET_CONTROL = 0xC0
_DONT_FRAGMENT = 0x4000
_REVERSE_REQUEST = 3


def announcements(
    mac: str, addresses: Iterable[HostAddress], *, router: bool = False
) -> list[bytes]:
    """The frames that say `mac` has `addresses`, but those not usable yet.

    `router`: as its advertisements say, or its neighbours would take it for none.
    """
    source = mac_bytes(mac)
    return [
        _arp(source, each.packed)
        if len(each.packed) == len(_ANY)
        else _advertisement(source, each.packed, router=router)
        for each in addresses
        if each.usable
    ]


def lesson(
    mac: str, address: bytes, peer_mac: str, peer: bytes, *, router: bool
) -> bytes:
    """Tells one peer alone that `mac` has an address, of the kind of its own.

    A reply that it did not ask for (RFC 826), or an advertisement; `router` as for
    announcements().
    """
    source, destination = mac_bytes(mac), mac_bytes(peer_mac)
    if len(address) == len(_ANY):
        head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2)
        body = head + source + address + destination + peer
        return framed(destination, source, (), 0x0806, body)
    told = _advertised(source, address, peer, router=router)
    return framed(destination, source, (), 0x86DD, told)


def learning_frame(mac: str, vlan: int = 0) -> bytes:
    """Tells switches that a MAC is here, and nobody anything else.

    A reverse ARP request (RFC 903), as Open vSwitch and QEMU send; nobody answers one.
    `vlan`: 0 for none.
    """
    source = mac_bytes(mac)
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, _REVERSE_REQUEST)
    body += source + _ANY + source + _ANY
    return framed(BROADCAST, source, (vlan,) if vlan else (), _REVERSE_ARP, body)


def reports(
    mac: str, addresses: Sequence[HostAddress], groups: Iterable[Group]
) -> Iterator[bytes]:
    """The frames by which an interface with these addresses tells what it has joined.

    Groups that no router and switch is told of by anyone are left out.
    """
    source, told = mac_bytes(mac), [each for each in groups if _is_told(each)]
    ip = _first(addresses, _ANY)
    by_version: dict[int, list[Group]] = {}
    for group in told:
        if len(group.packed) == len(_ANY):
            by_version.setdefault(group.version, []).append(group)
    for version, joined in by_version.items():
        if version in _IGMP_REPORTS:
            yield from (_igmp(source, ip, version, each.packed) for each in joined)
        else:
            yield from (_igmp3(source, ip, some) for some in _batches(joined))
    six = [group for group in told if len(group.packed) == len(_ANY6)]
    link_local = [each for each in addresses if each.packed[:2] == b"\xfe\x80"]
    yield from (_mld(source, _first(link_local, _ANY6), some) for some in _batches(six))


def _is_told(group: Group) -> bool:
    """Not all hosts' own (RFC 3376 6, RFC 3810 6), nor what stays in the host."""
    if len(group.packed) == len(_ANY):
        return group.packed != _ALL_HOSTS
    scope = group.packed[1] & 0x0F
    return group.packed != _ALL_NODES and scope > 1


def _first(addresses: Iterable[HostAddress], none: bytes) -> bytes:
    found = (each.packed for each in addresses if each.usable)
    return next((each for each in found if len(each) == len(none)), none)


def _batches(groups: Sequence[Group]) -> Iterator[Sequence[Group]]:
    return (groups[at : at + RECORDS_MAX] for at in range(0, len(groups), RECORDS_MAX))


def _arp(mac: bytes, ip: bytes) -> bytes:
    """A request for one's own address, which every receiver takes as news."""
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return BROADCAST + mac + b"\x08\x06" + head + mac + ip + bytes(6) + ip


def _advertisement(mac: bytes, ip: bytes, *, router: bool) -> bytes:
    told = _advertised(mac, ip, _ALL_NODES, router=router)
    return framed(_ALL_NODES_MAC, mac, (), 0x86DD, told)


def _advertised(mac: bytes, ip: bytes, to: bytes, *, router: bool) -> bytes:
    """From the IPv6 header on."""
    flags = _NA_OVERRIDE | (_NA_ROUTER if router else 0)
    rest = struct.pack("!I", flags) + ip + _OPTION_TARGET_MAC + mac
    body = _icmpv6(ip, to, _NA_TYPE, rest)
    return struct.pack("!IHBB", 0x60000000, len(body), _ICMPV6, 255) + ip + to + body


def _igmp(mac: bytes, ip: bytes, version: int, group: bytes) -> bytes:
    body = struct.pack("!BBH", _IGMP_REPORTS[version], 0, 0) + group
    return _of_igmp(mac, ip, group, body)


def _igmp3(mac: bytes, ip: bytes, groups: Sequence[Group]) -> bytes:
    head = struct.pack("!BBHHH", _IGMP3_REPORT, 0, 0, 0, len(groups))
    return _of_igmp(mac, ip, _IGMP_ROUTERS, head + _records(groups))


def _of_igmp(mac: bytes, ip: bytes, to: bytes, body: bytes) -> bytes:
    body = body[:2] + struct.pack("!H", internet_checksum(body)) + body[4:]
    total = 24 + len(body)
    head = struct.pack(
        *("!BBHHHBBH", 0x46, _INTERNET_CONTROL, total, 0, _DONT_FRAGMENT, 1, _IGMP, 0),
    )
    whole = head + ip + to + _ROUTER_ALERT
    whole = whole[:10] + struct.pack("!H", internet_checksum(whole)) + whole[12:]
    group_mac = b"\x01\x00\x5e" + bytes((to[1] & 0x7F,)) + to[2:]
    return framed(group_mac, mac, (), _IPV4, whole + body)


def _mld(mac: bytes, ip: bytes, groups: Sequence[Group]) -> bytes:
    rest = struct.pack("!HH", 0, len(groups)) + _records(groups)
    body = _HOP_ROUTER_ALERT + _icmpv6(ip, _MLD_ROUTERS, _MLD2_REPORT, rest)
    head = struct.pack("!IHBB", 0x60000000, len(body), 0, 1)
    to = b"\x33\x33" + _MLD_ROUTERS[-4:]
    return to + mac + b"\x86\xdd" + head + ip + _MLD_ROUTERS + body


def _records(groups: Sequence[Group]) -> bytes:
    """A record for each, which IGMPv3 and MLDv2 have alike (RFC 3376 4.2.4)."""
    return b"".join(_record(each) for each in groups)


def _record(group: Group) -> bytes:
    sources = group.sources if len(group.sources) <= SOURCES_MAX else ()
    mode = _IS_INCLUDE if sources else _IS_EXCLUDE
    head = struct.pack("!BBH", mode, 0, len(sources))
    return head + group.packed + b"".join(sources)


def _icmpv6(ip: bytes, to: bytes, kind: int, rest: bytes) -> bytes:
    check = icmpv6_checksum(ip, to, bytes([kind, 0, 0, 0]) + rest)
    return struct.pack("!BBH", kind, 0, check) + rest
