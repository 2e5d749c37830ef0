# SPDX-License-Identifier: BSD-2-Clause
"""Ethernet frames as bytes: made from their fields, and seen as they were on the wire.

Owns captures, which put back the VLAN tag that the kernel delivers beside a frame, and
the Internet checksum.  Knows no lagg.
"""

import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from lab import Host, Namespace

ETH_P_ALL, ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
ETH_P_8021Q, ETH_P_8021AD, ETH_P_LLDP = 0x8100, 0x88A8, 0x88CC
ETH_P_LOCAL = 0x88B5  # IEEE 802's local experimental ethertype

SRC, DST = bytes.fromhex("025e00005301"), bytes.fromhex("025e00005302")
TAG_BYTES = 4
BROADCAST = b"\xff" * 6

_SOL_PACKET = 263
_PACKET_AUXDATA, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 8, 15, 23
_AUXDATA = struct.Struct("=IIIHHHH")
_STATUS_CSUM_NOT_READY, _STATUS_VLAN_VALID, _STATUS_TPID_VALID = 0x08, 0x10, 0x40
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_TIMESPEC = struct.Struct("@ll")
_CONTROL_BYTES = 128
_BUFFER_BYTES = 64 << 20
_FRAME_BYTES_MAX = 1 << 17

VNET = struct.Struct("=BBHHHH")
"""struct virtio_net_hdr: flags and GSO type, then the length of the headers, the size
of a segment, where the checksum starts, and where in there it is stored."""


# ---- making ------------------------------------------------------------------------


def ether(
    payload: bytes, ethertype: int = ETH_P_LOCAL, *, src: bytes = SRC, dst: bytes = DST
) -> bytes:
    """An Ethernet frame, at least 60 bytes."""
    return (dst + src + ethertype.to_bytes(2, "big") + payload).ljust(60, b"\0")


def tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    """`frame` with VLAN tags (TPID, TCI), the outermost first."""
    words = b"".join(struct.pack("!HH", *tag) for tag in tags)
    return frame[:12] + words + frame[12:]


def ipv4(
    payload: bytes,
    *,
    src: str,
    dst: str,
    proto: int = socket.IPPROTO_UDP,
    ident: int = 0,
    fragment: int = 0,
) -> bytes:
    """An IPv4 packet; `fragment` is the word of the flags and the offset."""
    size = 20 + len(payload)
    ends = socket.inet_aton(src) + socket.inet_aton(dst)
    head = struct.pack("!BBHHHBBH", 0x45, 0, size, ident, fragment, 64, proto, 0) + ends
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + payload


def ipv6(
    payload: bytes, *, src: str, dst: str, proto: int = socket.IPPROTO_UDP
) -> bytes:
    """An IPv6 packet without extension headers; `proto` may be one, in the payload."""
    ends = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(
        socket.AF_INET6, dst
    )
    return struct.pack("!IHBB", 6 << 28, len(payload), proto, 64) + ends + payload


def udp(payload: bytes, *, sport: int, dport: int) -> bytes:
    """A UDP datagram without a checksum."""
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def checksum(*parts: bytes) -> int:
    """RFC 1071; 0 over anything that holds its own."""
    whole = b"".join(parts)
    whole += b"\0" * (len(whole) % 2)
    total: int = sum(struct.unpack(f"!{len(whole) // 2}H", whole))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def transport_valid(frame: bytes) -> bool:
    """Whether the TCP or UDP checksum of an untagged IPv4 or IPv6 frame is right."""
    packet = frame[14:]
    if packet[0] >> 4 == 4:
        payload = packet[4 * (packet[0] & 0xF) : int.from_bytes(packet[2:4], "big")]
        ends, proto = packet[12:20], packet[9]
    else:
        payload = packet[40 : 40 + int.from_bytes(packet[4:6], "big")]
        ends, proto = packet[8:40], packet[6]
    return checksum(ends, struct.pack("!HH", proto, len(payload)), payload) == 0


def differing(some: Sequence[bytes], others: Sequence[bytes]) -> list[int]:
    """Which of as many frames differ: their numbers, for pytest shows the frames."""
    pairs = enumerate(zip(some, others, strict=True))
    return [number for number, (one, other) in pairs if one != other]


# ---- seeing ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame as a packet socket got it."""

    wire: bytes  # with every tag
    kind: int  # PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST, PACKET_OTHERHOST
    csum_ready: bool
    csum_start: int  # from here to the end it is to be computed; 0: it is there
    gso_type: int
    gso_size: int  # 0: one frame and no more
    at_ns: int = field(default=0, compare=False)  # by the wall clock, the kernel's


class Capture:
    """All frames that an interface gets, or with `outgoing` also those that it sends.

    With `offloads` one that crossed unsegmented is one, and says so.
    """

    def __init__(
        self,
        host: Namespace,
        name: str,
        *,
        offloads: bool = False,
        outgoing: bool = False,
    ) -> None:
        # Protocol 0: it sees nothing before it is bound to its interface.
        self._socket = host.open_socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._offloads = offloads
        for option, on in (
            (_PACKET_AUXDATA, True),
            (_PACKET_VNET_HDR, offloads),
            (_PACKET_IGNORE_OUTGOING, not outgoing),
        ):
            self._socket.setsockopt(_SOL_PACKET, option, on)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((name, ETH_P_ALL))
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def take(self) -> list[Seen]:
        """What came since the last call."""
        found: list[Seen] = []
        while True:
            try:
                found.append(self._receive())
            except BlockingIOError:
                return found

    def _receive(self) -> Seen:
        bytes_, control, _, address = self._socket.recvmsg(
            _FRAME_BYTES_MAX, _CONTROL_BYTES
        )
        gso_type = gso_size = csum_start = 0
        if self._offloads:
            _, gso_type, _, gso_size, csum_start, _ = VNET.unpack_from(bytes_)
            bytes_ = bytes_[VNET.size :]
        beside = {kind: content for _, kind, content in control}
        status, _, _, _, _, tci, tpid = _AUXDATA.unpack(beside[_PACKET_AUXDATA])
        seconds, ns = _TIMESPEC.unpack(beside[_SO_TIMESTAMPNS])
        if status & _STATUS_VLAN_VALID:
            tpid = tpid if status & _STATUS_TPID_VALID else ETH_P_8021Q
            bytes_ = tagged(bytes_, (tpid, tci))
            csum_start += TAG_BYTES if csum_start else 0
        ready = not status & _STATUS_CSUM_NOT_READY
        at_ns = seconds * 10**9 + ns
        return Seen(bytes_, address[2], ready, csum_start, gso_type, gso_size, at_ns)


def offload_socket(host: Host, name: str) -> socket.socket:
    """A packet socket that sends; each frame has struct virtio_net_hdr in front."""
    opened = host.open_socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    opened.bind((name, 0))
    return opened


def in_order() -> None:
    """Has this thread send by one processor from now on: veth queues by processor."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def waiting(opened: socket.socket) -> list[bytes]:
    """The frames that wait in a packet socket."""
    received = []
    with suppress(BlockingIOError):
        while True:
            received.append(opened.recv(2048))
    return received
