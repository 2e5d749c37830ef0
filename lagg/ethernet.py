# SPDX-License-Identifier: BSD-2-Clause
"""Frames that laggd itself makes and reads, as they are on the wire.

Owns Ethernet headers with up to two VLAN tags, how these are put on and taken off, and
the sums in the headers of IP and ICMPv6.  Pure.
"""

import struct
from typing import NamedTuple

from lagg.lacp.values import Mac

BROADCAST = b"\xff" * 6

_MACS_BYTES = 12
_TPID_CUSTOMER = 0x8100
_TPID_SERVICE = 0x88A8
_TPIDS = frozenset({_TPID_CUSTOMER, _TPID_SERVICE, 0x9100})
_VLAN_BITS = 0xFFF
_TAG = struct.Struct("!HH")
_TYPE = struct.Struct("!H")
_FRAME_BYTES_MIN = 60  # without FCS; a NIC pads, and a veth does not

_ICMPV6 = 58

MAC_BYTES = 6


class Frame(NamedTuple):
    """A frame taken apart."""

    destination: bytes
    source: bytes
    vlan: tuple[int, ...]  # the outer one first; a priority tag (VLAN 0) is none
    ethertype: int
    payload: bytes


def mac_bytes(mac: Mac) -> bytes:
    """As on the wire."""
    return bytes.fromhex(mac.replace(":", ""))


def framed(
    destination: bytes,
    source: bytes,
    vlan: tuple[int, ...],
    ethertype: int,
    payload: bytes,
) -> bytes:
    """A whole frame, padded; of two tags the outer one is a service tag (802.1ad)."""
    tpids = (_TPID_SERVICE, _TPID_CUSTOMER)[2 - len(vlan) :]
    tags = b"".join(map(_TAG.pack, tpids, vlan))
    head = destination + source + tags + _TYPE.pack(ethertype)
    return (head + payload).ljust(_FRAME_BYTES_MIN, b"\0")


def parsed(frame: bytes) -> Frame | None:
    """The parts of a frame; None when it is cut short."""
    at = _MACS_BYTES
    vlan: list[int] = []
    while len(frame) >= at + _TYPE.size:
        (ethertype,) = _TYPE.unpack_from(frame, at)
        if ethertype not in _TPIDS:
            macs = frame[:MAC_BYTES], frame[MAC_BYTES:_MACS_BYTES]
            return Frame(*macs, tuple(vlan), ethertype, frame[at + _TYPE.size :])
        if len(frame) < at + _TAG.size:
            return None
        _, tag = _TAG.unpack_from(frame, at)
        if tag & _VLAN_BITS:
            vlan.append(tag & _VLAN_BITS)
        at += _TAG.size
    return None


def internet_checksum(octets: bytes) -> int:
    """The sum of RFC 1071; 0 of what contains its own.  An odd byte is the high one."""
    words = octets + b"\0" * (len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def icmpv6_checksum(source: bytes, destination: bytes, message: bytes) -> int:
    """The sum of a message (RFC 4443, 2.3); 0 when it has the right one."""
    pseudo = source + destination + struct.pack("!II", len(message), _ICMPV6)
    return internet_checksum(pseudo + message)
