# SPDX-License-Identifier: BSD-2-Clause
"""A flow as a person names it, as an Ethernet frame that belongs to it, and back.

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
_NAMES = {number: name for name, number in PROTOCOLS.items()}
_TAGS, _TAGS_MAX = (b"\x81\x00", b"\x88\xa8"), 2
_FRAGMENT = 0x3FFF  # "more of them", and where it belongs


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


def words_of(frame: bytes) -> str:
    """The flow of a frame, of which the head is enough, in words parse_fields() takes.

    Without its MACs where it has addresses: who asks by these words finds them.
    """
    tags: list[str] = []
    at = 12
    while frame[at : at + 2] in _TAGS and len(tags) < _TAGS_MAX:
        tags.append(str(int.from_bytes(frame[at + 2 : at + 4], "big") & 0xFFF))
        at += 4
    ethertype = int.from_bytes(frame[at : at + 2], "big")
    found = _packet_fields(ethertype, frame[at + 2 :])
    if not found:
        found = {"smac": frame[6:12].hex(":"), "dmac": frame[:6].hex(":")}
    if tags:
        found["vlan"] = ".".join(tags)
    return " ".join(f"{field}={word}" for field, word in found.items())


def _packet_fields(ethertype: int, packet: bytes) -> dict[str, str]:
    """Addresses, protocol and ports; none of what is no whole IP header."""
    if ethertype == _ETH_P_IP and len(packet) >= 20:
        family, ends, number = socket.AF_INET, packet[12:20], packet[9]
        whole_one = not int.from_bytes(packet[6:8], "big") & _FRAGMENT
        payload = packet[4 * (packet[0] & 15) :] if whole_one else b""
    elif ethertype == _ETH_P_IPV6 and len(packet) >= 40:
        family, ends, number = socket.AF_INET6, packet[8:40], packet[6]
        payload = packet[40:]
    else:
        return {}
    half = len(ends) // 2
    src, dst = (socket.inet_ntop(family, end) for end in (ends[:half], ends[half:]))
    found = {"src": src, "dst": dst, "proto": _NAMES.get(number, str(number))}
    if number in _HEADER_BYTES and len(payload) >= 4:
        sport, dport = struct.unpack_from("!HH", payload)
        found |= {"sport": str(sport), "dport": str(dport)}
    return found


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
