# SPDX-License-Identifier: BSD-2-Clause
"""A port's slow-protocol socket: LACP and Marker PDUs in and out, and nothing else.

Owns one packet socket for each port: its filter in the kernel, its bound on what may
wait, its membership of the slow-protocols group.  Knows no lagg, and reads no frame.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

from lagg.errors import LaggError
from lagg.kernel.kept_socket import kept_socket
from lagg.kernel.proc import ifindex_of

READS_MAX = 16
"""Frames in one go, so that one port's storm does not keep the others waiting."""

_FRAME_BYTES_MAX = 256  # a LACPDU has 124, and of a longer one the rest is not read
_QUEUE_BYTES = 16 << 10
"""SO_RCVBUF, which the kernel doubles: a dozen frames or more, and no storm (H-16)."""

_GROUP = bytes.fromhex("0180c2000002")
_ETH_P_ALL = 0x0003
_ETH_P_SLOW = 0x8809

_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_STATISTICS = 6
_PACKET_IGNORE_OUTGOING = 23
_PACKET_MR_MULTICAST = 0
_PACKET_MREQ = struct.Struct("=iHH8s")
_TPACKET_STATS = struct.Struct("=II")  # packets, drops; reading resets them
_SO_ATTACH_FILTER = 26
_SOCK_FILTER = struct.Struct("=HBBI")
_SOCK_FPROG = struct.Struct("@HP")

_LD_B_ABS, _LD_H_ABS, _JEQ, _RET = 0x30, 0x28, 0x15, 0x06
_SKF_AD_OFF = 0xFFFFF000
_SKF_AD_VLAN_TAG_PRESENT = 48
_ETHERTYPE_AT = 12

_FILTER = (
    # A tagged one is data (H-7), wherever the kernel keeps the tag.
    (_LD_B_ABS, 0, 0, _SKF_AD_OFF + _SKF_AD_VLAN_TAG_PRESENT),
    (_JEQ, 0, 3, 0),
    (_LD_H_ABS, 0, 0, _ETHERTYPE_AT),
    (_JEQ, 0, 1, _ETH_P_SLOW),
    (_RET, 0, 0, _FRAME_BYTES_MAX),
    (_RET, 0, 0, 0),
)


class SlowSocket:
    """The slow protocols of one port.  Opened in any thread, used in one."""

    def __init__(self, ifindex: int, name: str, kept: int | None = None) -> None:
        """Binds to the interface `ifindex`, called `name`.  LaggError when it cannot.

        To all protocols: a socket bound to one gets only what the host stack gets,
        and ingress chains keep a port's frames from that.

        `kept`: a descriptor of one that another had and that goes on as it is; it
        belongs to this one from now on.  What waits in it waits.
        """
        if kept is not None:
            self._resume(kept, ifindex, name)
            return
        try:
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0
            )
        except OSError as error:
            raise LaggError.of_os(name, "open a slow-protocol socket", error) from error
        try:
            self._set_options(ifindex)
            self._socket.bind((name, _ETH_P_ALL))
            self._check_bound(ifindex)
        except OSError as error:
            self._socket.close()
            raise LaggError.of_os(name, "bind a slow-protocol socket", error) from error

    def _resume(self, kept: int, ifindex: int, name: str) -> None:
        self._socket = kept_socket(kept, socket.AF_PACKET, name)
        try:
            self._check_bound(ifindex)
        except OSError as error:
            self._socket.close()
            raise LaggError.of_os(name, "go on with its socket", error) from error

    def _set_options(self, ifindex: int) -> None:
        # All before bind(), for until then nothing comes in.
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._attach_filter()
        request = _PACKET_MREQ.pack(ifindex, _PACKET_MR_MULTICAST, 6, _GROUP)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)

    def _attach_filter(self) -> None:
        steps = b"".join(_SOCK_FILTER.pack(*step) for step in _FILTER)
        memory = ctypes.create_string_buffer(steps, len(steps))
        program = _SOCK_FPROG.pack(len(_FILTER), ctypes.addressof(memory))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def _check_bound(self, ifindex: int) -> None:
        """OSError when another interface had the name by then (H-56)."""
        name = self._socket.getsockname()[0]
        if ifindex_of(name) != ifindex:
            raise OSError(errno.ENODEV, "the port has another name by now")

    def close(self) -> None:
        """Closes the socket.  Takes tens of milliseconds: to be called in a thread."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor, which is readable when a frame waits."""
        return self._socket.fileno()

    def frames(self) -> Iterator[bytes]:
        """Up to READS_MAX frames that wait, from the destination on, without FCS."""
        # An error is the link's, which went down or away; netlink tells of it.
        with suppress(OSError):
            for _ in range(READS_MAX):
                yield self._socket.recv(_FRAME_BYTES_MAX)

    def send(self, frame: bytes) -> bool:
        """Sends a frame; whether the kernel took it."""
        try:
            return self._socket.send(frame) == len(frame)
        except OSError:
            return False

    def take_overruns(self) -> int:
        """Frames that found no room since the last call."""
        with suppress(OSError):
            size = _TPACKET_STATS.size
            found = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, size)
            return int(_TPACKET_STATS.unpack(found)[1])
        return 0
