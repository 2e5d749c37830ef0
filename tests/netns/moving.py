# SPDX-License-Identifier: BSD-2-Clause
"""Two laggs of three ports, and frames as the kernel behind the cables got them.

    a: lagg0 = p0 p1 p2  ------------  q0 q1 q2 = lagg0 :b

Owns the order in which frames arrived, whichever port they came by: what reads two
ports' rings takes turns of its own.
"""

import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, Self

from lab import Host, Lab, Pair, wait_until
from lagg.control.client import Client
from tests.netns.frames import ETH_P_ALL, ETH_P_IP
from tests.netns.partners import Steered
from tests.netns.steer import DEADLINE_S, LAGG

PORTS, ENDS = ("p0", "p1", "p2"), ("q0", "q1", "q2")
SILENT = ("--announce-count", "0", "--rejoin-count", "0")

_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_SO_RCVBUFFORCE, _BUFFER_BYTES = 33, 64 << 20
_FRAME_BYTES = 2048

_PROTO_AT, _UDP_AT = 14 + 9, 14 + 20
_RECORD = struct.Struct("!2xH4x4xI8xH")
"""A datagram of a stream, from its port on (stream.h of the lab)."""
_WHOLE = _UDP_AT + _RECORD.size
_END = 0x8000

Arrival = tuple[str, bytes]
"""By which port, and the frame."""


class Arrivals:
    """What comes to a host by these ports, from now on, in the order it came."""

    def __init__(self, host: Host, ports: Sequence[str]) -> None:
        kind = socket.htons(ETH_P_ALL)  # of all interfaces: one queue has them all
        self._socket = host.open_socket(socket.AF_PACKET, socket.SOCK_RAW, kind)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.setblocking(False)
        self._ports = ports
        self._seen: list[Arrival] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def seen(self) -> list[Arrival]:
        """All IPv4 that came so far; to be asked now and then, for queues have ends."""
        with suppress(BlockingIOError):
            while True:
                frame, address = self._socket.recvfrom(_FRAME_BYTES)
                if address[0] in self._ports and address[1] == ETH_P_IP:
                    self._seen.append((address[0], frame))
        return self._seen


class Moving(Steered):
    """The two laggs, whose flows a moves."""

    def __init__(
        self, lab: Lab, proto: str, *laggd: str, patched: bool = False
    ) -> None:
        shape: dict[str, Any] = {"proto": proto, "patched": patched, "options": SILENT}
        pair = Pair(lab, cables=len(PORTS), laggd=laggd, **shape)
        super().__init__(pair)
        self.client = Client(str(pair.a.laggd.socket))
        if proto == "lacp":
            pair.wait_until_agreed(len(PORTS))
            wait_until(self._answers_markers, DEADLINE_S, "the partner answers")

    def close(self) -> None:
        self.client.close()
        super().close()

    def _answers_markers(self) -> bool:
        ports = self.a.record()["ports"]
        return all(p["lacp"]["counters"]["marker_response_rx"] > 0 for p in ports)

    def ask(self, method: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401
        return self.client.call(method, name=LAGG, **words)

    def deal(self) -> list[str]:
        return [row["port"] for row in self.ask("Buckets")["buckets"]]

    def frames(self) -> list[int]:
        return [row["frames"] for row in self.ask("Buckets")["buckets"]]

    def taken(self, count: int) -> Callable[[], bool]:
        """Whether so many more frames than now have gone into a's lagg."""
        wanted = self.a.record()["counters"]["tx_in"] + count
        return lambda: bool(self.a.record()["counters"]["tx_in"] >= wanted)


def datagram(frame: bytes) -> tuple[int, int, int] | None:
    """UDP port, flow and number of a stream's datagram; None: it is none."""
    if frame[_PROTO_AT] != socket.IPPROTO_UDP or len(frame) < _WHOLE:
        return None
    port, number, flow = _RECORD.unpack_from(frame, _UDP_AT)
    return None if flow & _END else (port, flow, number)


def by_flow(frames: Sequence[Arrival], port: int) -> dict[int, list[tuple[str, int]]]:
    """Each flow of the stream to a UDP port: its frames by end and number."""
    found: dict[int, list[tuple[str, int]]] = {}
    for end, frame in frames:
        read = datagram(frame)
        if read is not None and read[0] == port:
            _, flow, number = read
            found.setdefault(flow, []).append((end, number))
    return found


def is_in_order(flow: Sequence[tuple[str, int]]) -> bool:
    """Whether no frame of a flow came after one that was sent later."""
    return all(one < other for (_, one), (_, other) in pairwise(flow))
