# SPDX-License-Identifier: BSD-2-Clause
"""A packet socket that watches one interface: its frames, both ways, with their times.

Owns the numbers of packet(7) that Python lacks, and puts back the VLAN tag that the
kernel delivers beside a frame.  Needs CAP_NET_RAW.  Knows no lagg.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import time
from typing import NamedTuple

from lagg.cli.pcap import SNAPLEN
from lagg.errors import LaggError

ETH_P_ALL = 0x0003

_SOL_PACKET, _PACKET_AUXDATA = 263, 8
_SO_TIMESTAMPNS, _SO_ATTACH_FILTER = 35, 26
_INSTRUCTION_BYTES = 8  # struct sock_filter
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
    wire_bytes: int  # of all of it, where `frame` is a part


class Sniffer:
    """The socket; close() ends it."""

    def __init__(self, name: str, *, program: bytes = b"", most: int = SNAPLEN) -> None:
        """LaggError when there is no such interface, or this is not root.

        `program`: a filter, as struct sock_filter's; `most`: bytes of a frame.
        """
        self._most = most
        try:
            self._socket = _opened(name, program)
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
            data, control, _, address = self._socket.recvmsg(self._most, _CONTROL_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.ENETDOWN:  # the interface went down: it may come up
                return None
            raise
        time_ns, wire_bytes = time.time_ns(), len(data)
        for level, kind, value in control:
            if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
                tagged = _with_tag(data, value)
                wire_bytes = _AUXDATA.unpack(value)[1] + len(tagged) - len(data)
                data = tagged
            elif (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, rest = _TIMESPEC.unpack(value)
                time_ns = seconds * 1_000_000_000 + rest
        return Seen(data, address[2] == _OUTGOING, time_ns, wire_bytes)


def _opened(name: str, program: bytes) -> socket.socket:
    # Protocol 0: it sees nothing before it is bound to its interface.
    watching = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        watching.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        watching.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        try:
            watching.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except PermissionError:
            watching.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        if program:
            _attach(watching, program)
        watching.bind((name, ETH_P_ALL))
        watching.setblocking(False)
    except BaseException:
        watching.close()
        raise
    return watching


def _attach(watching: socket.socket, program: bytes) -> None:
    code = ctypes.create_string_buffer(program)
    count = len(program) // _INSTRUCTION_BYTES
    wanted = struct.pack("@HP", count, ctypes.addressof(code))  # struct sock_fprog
    watching.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, wanted)


def _with_tag(frame: bytes, auxdata: bytes) -> bytes:
    status, _, _, _, _, tci, tpid = _AUXDATA.unpack(auxdata)
    if not status & _STATUS_VLAN_VALID:
        return frame
    tpid = tpid if status & _STATUS_TPID_VALID else _ETH_P_8021Q
    return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
