# SPDX-License-Identifier: BSD-2-Clause
"""ping(8) without ping(8), which a fresh machine lacks.

Owns echo requests and their replies, from a host's raw socket.
"""

import secrets
import socket
import struct
import time
from dataclasses import dataclass

from lab.host import Host

ANSWER_S = 20.0
"""Far longer than an answer takes: what has none by then was lost, not late."""

_ECHO = struct.Struct("!BBHHHQ")
_REQUEST: dict[int, int] = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY: dict[int, int] = {socket.AF_INET: 0, socket.AF_INET6: 129}


@dataclass(frozen=True, slots=True)
class Pings:
    """What came of some pings."""

    sent: int
    received: int
    duplicated: int
    rtt_ms_max: float

    @property
    def lost(self) -> int:
        """Requests without a reply."""
        return self.sent - self.received


def ping(
    host: Host, to: str, *, count: int = 3, wait_s: float = ANSWER_S, size: int = 56
) -> Pings:
    """Pings `to`, each request sent when the one before is answered or given up.

    `size` is the bytes behind the ICMP header, at least 8.
    """
    family: int = socket.AF_INET6 if ":" in to else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if ":" in to else socket.IPPROTO_ICMP
    tag = secrets.randbits(16)
    rtts: list[float] = []
    duplicated = 0
    with host.open_socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.connect((to, 0))
        for number in range(count):
            start = time.monotonic()
            raw.send(_request(family, tag, number, size))
            replies = _replies(raw, family, tag, number, start + wait_s)
            rtts += [1000 * (at - start) for at in replies[:1]]
            duplicated += len(replies[1:])
    return Pings(count, len(rtts), duplicated, max(rtts, default=0.0))


def _request(family: int, tag: int, number: int, size: int) -> bytes:
    """The kernel fills in ICMPv6's checksum, but not ICMP's."""
    fill = bytes(size - 8)
    head = _ECHO.pack(_REQUEST[family], 0, 0, tag, number, time.monotonic_ns())
    if family == socket.AF_INET6:
        return head + fill
    words = struct.unpack(f"!{len(head) // 2}H", head)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head[:2] + struct.pack("!H", ~total & 0xFFFF) + head[4:] + fill


def _replies(
    raw: socket.socket, family: int, tag: int, number: int, deadline: float
) -> list[float]:
    """When the reply came, and what else came with it; empty when none did."""
    found: list[float] = []
    while True:
        left = 0.0 if found else deadline - time.monotonic()
        if left < 0:
            return found
        raw.settimeout(left)
        try:
            message = raw.recv(65536)
        except (TimeoutError, BlockingIOError):
            return found
        if _is_reply(message, family, tag, number):
            found.append(time.monotonic())


def _is_reply(message: bytes, family: int, tag: int, number: int) -> bool:
    start = 0 if family == socket.AF_INET6 else 4 * (message[0] & 0xF)
    if len(message) < start + _ECHO.size:
        return False
    kind, _, _, its_tag, its_number, _ = _ECHO.unpack_from(message, start)
    return (kind, its_tag, its_number) == (_REPLY[family], tag, number)
