# SPDX-License-Identifier: BSD-2-Clause
"""What a partner hears of LACP at its ends of the cables, and when.

Owns a packet socket for each end, where LACPDUs wait until they are asked for, with the
kernel's time of their arrival.  Knows no partner: it hears what any would.
"""

import ctypes
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from lab.host import Host
from lagg.lacp.pdu import Lacpdu, decode
from lagg.lacp.values import Party

_ETH_P_ALL = 0x0003
_FRAME_BYTES = 2048
_QUEUE_BYTES = 1 << 20
"""Some hundred LACPDUs: minutes of a port's."""

_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_SO_RCVBUFFORCE, _SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 33, 26, 35
_TIMESPEC = struct.Struct("@ll")

_LD_H_ABS, _JEQ, _RET = 0x28, 0x15, 0x06
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")
_FILTER = b"".join(
    _INSTRUCTION.pack(*each)
    for each in (
        (_LD_H_ABS, 0, 0, 12),
        (_JEQ, 0, 1, 0x8809),  # slow protocols
        (_RET, 0, 0, _FRAME_BYTES),
        (_RET, 0, 0, 0),
    )
)


@dataclass(frozen=True, slots=True)
class Heard:
    """All LACPDUs of some time."""

    pauses_s: tuple[float, ...]  # between one and the next of a port, all ports'
    actors: frozenset[Party]  # who spoke, and in which state

    @property
    def pause_s_max(self) -> float | None:
        """The longest; None: no port spoke twice."""
        return max(self.pauses_s, default=None)

    @property
    def states(self) -> frozenset[int]:
        """Every state octet that a port was said to be in."""
        return frozenset(int(actor.state) for actor in self.actors)


class Ears:
    """Listens from its making to its closing."""

    def __init__(self, host: Host, ends: Sequence[str]) -> None:
        """At these interfaces of the host; to what comes, not to what it says."""
        self._sockets = [listening(host, end) for end in ends]

    def __enter__(self) -> Self:
        """Closes all at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()

    def heard(self) -> Heard:
        """What has come since this was asked last, or made."""
        pauses: list[float] = []
        actors: set[Party] = set()
        for each in self._sockets:
            found = list(_lacpdus(each))
            times = [time_s for time_s, _ in found]
            pauses += [after - before for before, after in pairwise(times)]
            actors |= {pdu.actor for _, pdu in found}
        return Heard(tuple(pauses), frozenset(actors))


def listening(host: Host, end: str) -> socket.socket:
    """A socket for slow-protocol frames that come in by an interface; waits for none.

    Bound to all protocols: of a port of laggd's no other socket is given any.
    """
    made = host.open_socket(socket.AF_PACKET, socket.SOCK_RAW)
    code = ctypes.create_string_buffer(_FILTER)
    count = len(_FILTER) // _INSTRUCTION.size
    program = _PROGRAM.pack(count, ctypes.addressof(code))
    made.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE_BYTES)
    made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    made.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    made.bind((end, _ETH_P_ALL))
    made.setblocking(False)
    return made


def stamped(heard: socket.socket) -> tuple[float, bytes]:
    """(seconds, frame) of the next frame of a socket with SO_TIMESTAMPNS.

    When the kernel got it: of a veth, when it was sent, however late we come to look.
    """
    room = socket.CMSG_SPACE(_TIMESPEC.size)
    frame, ((_, _, stamp), *_), *_ = heard.recvmsg(_FRAME_BYTES, room)
    seconds, nanoseconds = _TIMESPEC.unpack(stamp)
    return seconds + nanoseconds / 1e9, frame


def _lacpdus(heard: socket.socket) -> Iterator[tuple[float, Lacpdu]]:
    """Each with the time it came, in seconds."""
    with suppress(BlockingIOError):
        while True:
            time_s, frame = stamped(heard)
            pdu = decode(frame)
            if isinstance(pdu, Lacpdu):
                yield time_s, pdu
