# SPDX-License-Identifier: BSD-2-Clause
"""Capture files: pcap and pcapng read, pcapng written.

Owns both formats as far as Ethernet needs them.  Pure: bytes in, bytes out; knows no
socket, flow or lagg.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

LINKTYPE_ETHERNET = 1
SNAPLEN = 262144
"""Bytes of a frame that are kept: as many as tcpdump takes for "all of it"."""

_PCAP_MAGICS = {0xA1B2C3D4, 0xA1B23C4D}  # microseconds, nanoseconds
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
_BODY_BYTES_MIN = {_SECTION: 16, _INTERFACE: 8, _SIMPLE: 4, _ENHANCED: 20}
_BYTE_ORDER = 0x1A2B3C4D
_OPT_END, _OPT_COMMENT, _OPT_IF_NAME, _OPT_EPB_FLAGS, _OPT_TSRESOL = 0, 1, 2, 2, 9
_NANOSECONDS = 9
INBOUND, OUTBOUND = 1, 2
"""epb_flags: the direction of a packet at its interface."""


class FormatError(Exception):
    """A file that is no capture of Ethernet frames; says why."""


def frames(data: bytes) -> Iterator[bytes]:
    """The frames of a capture file, whichever kind it is.  Raises FormatError."""
    if len(data) < 4:
        raise FormatError("too short for a capture file")
    if _pcap_order(data):
        return _pcap_frames(data)
    if struct.unpack_from("<I", data)[0] == _SECTION:
        return _pcapng_frames(data)
    raise FormatError("neither pcap nor pcapng")


def _pcap_order(data: bytes) -> str:
    for order in "<>":
        if struct.unpack_from(f"{order}I", data)[0] in _PCAP_MAGICS:
            return order
    return ""


def _pcap_frames(data: bytes) -> Iterator[bytes]:
    order, at = _pcap_order(data), 24
    if len(data) < at:
        raise FormatError("the pcap header is cut off")
    _refuse_other(struct.unpack_from(f"{order}I", data, 20)[0] & 0xFFFF)
    while at + 16 <= len(data):
        size = struct.unpack_from(f"{order}I", data, at + 8)[0]
        at += 16
        if at + size > len(data):
            raise FormatError("the last frame is cut off")
        yield data[at : at + size]
        at += size


def _pcapng_frames(data: bytes) -> Iterator[bytes]:
    order, linktypes = "<", list[int]()
    for kind, body in _blocks(data):
        if len(body) < _BODY_BYTES_MIN.get(kind, 0):
            raise FormatError("a pcapng block is cut off")
        if kind == _SECTION:
            order = "<" if body[:4] == struct.pack("<I", _BYTE_ORDER) else ">"
            linktypes = []
        elif kind == _INTERFACE:
            linktypes.append(struct.unpack_from(f"{order}H", body)[0])
        elif kind == _ENHANCED:
            number, _, _, size = struct.unpack_from(f"{order}IIII", body)
            _refuse_other(linktypes[number] if number < len(linktypes) else None)
            yield body[20 : 20 + size]
        elif kind == _SIMPLE:
            yield body[4 : 4 + struct.unpack_from(f"{order}I", body)[0]]


def _blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each block; the order of bytes is each section's own."""
    order, at = "<", 0
    while at + 12 <= len(data):
        if data[at : at + 4] == struct.pack("<I", _SECTION):
            magic = data[at + 8 : at + 12]
            order = "<" if magic == struct.pack("<I", _BYTE_ORDER) else ">"
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if size < 12 or size % 4 or at + size > len(data):
            raise FormatError("a pcapng block is cut off")
        yield kind, data[at + 8 : at + size - 4]
        at += size


def _refuse_other(linktype: int | None) -> None:
    if linktype != LINKTYPE_ETHERNET:
        raise FormatError(f"link type {linktype}, not Ethernet")


# ---- writing -----------------------------------------------------------------------


def section(program: str) -> bytes:
    """The block that opens a file; `program` wrote it."""
    shb_userappl = 4
    head = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1)
    return _block(_SECTION, head + _options((shb_userappl, program.encode())))


def interface(name: str, comment: str) -> bytes:
    """The block of one interface; its number is how many came before it."""
    head = struct.pack("<HHI", LINKTYPE_ETHERNET, 0, SNAPLEN)
    options = (
        (_OPT_COMMENT, comment.encode()),
        (_OPT_IF_NAME, name.encode()),
        (_OPT_TSRESOL, bytes((_NANOSECONDS,))),
    )
    return _block(_INTERFACE, head + _options(*options))


def packet(
    number: int,
    time_ns: int,
    frame: bytes,
    *,
    wire_bytes: int,
    flags: int,
    comment: str,
) -> bytes:
    """A frame at interface `number`; `flags` INBOUND or OUTBOUND, time since 1970."""
    head = struct.pack(
        "<IIIII", number, time_ns >> 32, time_ns & 0xFFFFFFFF, len(frame), wire_bytes
    )
    options = (
        (_OPT_COMMENT, comment.encode()),
        (_OPT_EPB_FLAGS, flags.to_bytes(4, "little")),
    )
    return _block(_ENHANCED, head + _padded(frame) + _options(*options))


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


def _options(*options: tuple[int, bytes]) -> bytes:
    written = (
        struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options
    )
    return b"".join(written) + struct.pack("<HH", _OPT_END, 0)


def _padded(value: bytes) -> bytes:
    return value + b"\0" * (-len(value) % 4)
