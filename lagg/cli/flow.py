# SPDX-License-Identifier: BSD-2-Clause
"""A flow as a person names it, as an Ethernet frame that belongs to it.

Owns the words `src= dst= proto= ...` and the headers made of them.  Pure; knows no hash
and no lagg.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence

from lagg.cli.output import UsageError
from lagg.cli.words import whole

FIELDS = ("src", "dst", "proto", "sport", "dport", "vlan", "smac", "dmac")

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmp6": 58, "sctp": 132}
"""Any other by its number."""

_HEADER_BYTES = {6: 20, 17: 8, 132: 12}  # of the protocols that have ports
_ETH_P_IP, _ETH_P_IPV6, _ETH_P_8021Q = 0x0800, 0x86DD, 0x8100
_ETH_P_LOCAL = 0x88B5  # IEEE 802's local experimental ethertype: a frame without IP
_FRAME_BYTES_MIN = 60


def parse_fields(words: Sequence[str]) -> dict[str, str]:
    """Words as "src=10.0.0.1" by field.  UsageError names the first that is none."""
    found: dict[str, str] = {}
    for word in words:
        field, equals, value = word.partition("=")
        if not equals or field not in FIELDS:
            allowed = "= ".join(FIELDS)
            raise UsageError(f"flow: {word!r} is no field; write {allowed}=")
        if field in found:
            raise UsageError(f"flow: {field} is given twice")
        found[field] = value
    return found


def frame_of(fields: Mapping[str, str]) -> bytes:
    """A frame of the flow; smac and dmac must be there.  UsageError."""
    addresses = _mac(fields, "dmac") + _mac(fields, "smac")
    tags = b"".join(
        struct.pack("!HH", _ETH_P_8021Q, _whole(word, "vlan", 4094))
        for word in filter(None, fields.get("vlan", "").split("."))
    )
    ethertype, packet = _packet(fields)
    head = addresses + tags + ethertype.to_bytes(2, "big")
    return (head + packet).ljust(_FRAME_BYTES_MIN, b"\0")


def _packet(fields: Mapping[str, str]) -> tuple[int, bytes]:
    given = [field for field in ("src", "dst") if field in fields]
    ports = [field for field in ("proto", "sport", "dport") if field in fields]
    if not given:
        if ports:
            raise UsageError(f"flow: {ports[0]}= needs src= and dst=")
        return _ETH_P_LOCAL, b""
    ends = [_address(fields[end]) for end in given]
    if len(given) == 1:
        missing = "dst" if given == ["src"] else "src"
        raise UsageError(f"flow: {given[0]}= needs {missing}=")
    src, dst = ends
    if len(src) != len(dst):
        raise UsageError("flow: src= and dst= are of two address families")
    number, payload = _transport(fields)
    if len(src) == 4:
        return _ETH_P_IP, _ipv4(src, dst, number, payload)
    return _ETH_P_IPV6, _ipv6(src, dst, number, payload)


def _transport(fields: Mapping[str, str]) -> tuple[int, bytes]:
    ports = [field for field in ("sport", "dport") if field in fields]
    word = fields.get("proto", "tcp" if ports else "255")
    number = PROTOCOLS.get(word) or _whole(word, "proto", 255)
    size = _HEADER_BYTES.get(number, 0)
    if size == 0:
        if ports:
            raise UsageError(f"flow: {ports[0]}=: protocol {word} has no ports")
        return number, b""
    ends = (_whole(fields.get(end, "0"), end, 65535) for end in ("sport", "dport"))
    return number, struct.pack("!HH", *ends).ljust(size, b"\0")


def _ipv4(src: bytes, dst: bytes, number: int, payload: bytes) -> bytes:
    size = 20 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x45, 0, size, 0, 0, 64, number, 0)
    return head + src + dst + payload


def _ipv6(src: bytes, dst: bytes, number: int, payload: bytes) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), number, 64)
    return head + src + dst + payload


def _address(word: str) -> bytes:
    family = socket.AF_INET6 if ":" in word else socket.AF_INET
    try:
        return socket.inet_pton(family, word)
    except (OSError, ValueError):  # ValueError: of what is no UTF-8
        raise UsageError(f"flow: {word!r} is no IP address") from None


def _mac(fields: Mapping[str, str], field: str) -> bytes:
    octets = fields[field].split(":")
    try:
        found = bytes(int(octet, 16) for octet in octets)
    except ValueError:
        found = b""
    if len(found) != 6:
        raise UsageError(f"flow: {field}: {fields[field]!r} is no MAC address")
    return found


def _whole(word: str, field: str, most: int) -> int:
    try:
        number = whole(word)
    except ValueError:
        number = -1
    if not 0 <= number <= most:
        raise UsageError(f"flow: {field}: {word!r} is no number from 0 to {most}")
    return number
