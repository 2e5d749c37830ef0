# SPDX-License-Identifier: BSD-2-Clause
"""A packet socket that watches one interface: every frame, both ways, with its time.

Owns the numbers of packet(7) that Python lacks, and puts back the VLAN tag that the
kernel delivers beside a frame.  Needs CAP_NET_RAW.  Knows no lagg.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from typing import NamedTuple

from lagg.cli.pcap import SNAPLEN
from lagg.errors import LaggError

ETH_P_ALL = 0x0003

_SOL_PACKET, _PACKET_AUXDATA = 263, 8
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE, _BUFFER_BYTES = 33, 16 << 20
_AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata
_STATUS_VLAN_VALID, _STATUS_TPID_VALID = 0x10, 0x40
_ETH_P_8021Q = 0x8100
_TIMESPEC = struct.Struct("=qq")
_CONTROL_BYTES = 256
_OUTGOING = 4  # PACKET_OUTGOING


class Seen(NamedTuple):
    """A frame at an interface."""

    frame: bytes
    outgoing: bool
    time_ns: int  # since 1970


class Sniffer:
    """The socket; close() ends it."""

    def __init__(self, name: str) -> None:
        """LaggError when there is no such interface, or this is not root."""
        try:
            self._socket = _opened(name)
        except PermissionError as error:
            cause = "a packet socket needs root (CAP_NET_RAW)"
            raise LaggError(name, cause, errno.EPERM) from error
        except OSError as error:
            raise LaggError.of_os(name, "open a packet socket", error) from error

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor, for poll(2)."""
        return self._socket.fileno()

    def read(self) -> Seen | None:
        """The next frame; None when there is none now."""
        try:
            data, control, _, address = self._socket.recvmsg(SNAPLEN, _CONTROL_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.ENETDOWN:  # the interface went down: it may come up
                return None
            raise
        time_ns = time.time_ns()
        for level, kind, value in control:
            if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
                data = _with_tag(data, value)
            elif (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, rest = _TIMESPEC.unpack(value)
                time_ns = seconds * 1_000_000_000 + rest
        return Seen(data, address[2] == _OUTGOING, time_ns)


def _opened(name: str) -> socket.socket:
    # Protocol 0: it sees nothing before it is bound to its interface.
    watching = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        watching.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        watching.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        try:
            watching.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except PermissionError:
            watching.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        watching.bind((name, ETH_P_ALL))
        watching.setblocking(False)
    except BaseException:
        watching.close()
        raise
    return watching


def _with_tag(frame: bytes, auxdata: bytes) -> bytes:
    status, _, _, _, _, tci, tpid = _AUXDATA.unpack(auxdata)
    if not status & _STATUS_VLAN_VALID:
        return frame
    tpid = tpid if status & _STATUS_TPID_VALID else _ETH_P_8021Q
    return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
