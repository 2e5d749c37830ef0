# SPDX-License-Identifier: BSD-2-Clause
"""A packet socket of one port, for those control frames that its filter lets in.

Owns how such a socket is opened, bound and looked at: bound to all protocols, for one
that is bound to one gets only what the host stack gets, and ingress chains keep a
port's frames from that.  Knows no protocol; whose frames these are is a subclass's.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

from lagg.errors import LaggError
from lagg.kernel.kept_socket import kept_socket
from lagg.kernel.proc import ifindex_of

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_MR_MULTICAST = 0
PACKET_MREQ = struct.Struct("=iHH8s")

Step = tuple[int, int, int, int]
"""An instruction of the filter: code, jump if true, jump if false, k (BPF's words)."""

_ETH_P_ALL = 0x0003
_PACKET_STATISTICS = 6
_PACKET_IGNORE_OUTGOING = 23
_TPACKET_STATS = struct.Struct("=II")  # packets, drops; reading resets them
_SO_ATTACH_FILTER = 26
_SOCK_FILTER = struct.Struct("=HBBI")
_SOCK_FPROG = struct.Struct("@HP")


class PortSocket:
    """The control frames of one port.  Opened in any thread, used in one."""

    WHAT: ClassVar[str]
    """What the socket is for, as in "open a probe socket"."""

    QUEUE_BYTES: ClassVar[int]
    """SO_RCVBUF, which the kernel doubles: what may wait, so that a storm may not."""

    FILTER: ClassVar[Sequence[Step]]
    """What comes in."""

    def __init__(self, ifindex: int, name: str, kept: int | None = None) -> None:
        """Binds to the interface `ifindex`, called `name`.  LaggError when it cannot.

        `kept`: a descriptor of one that another had and that goes on as it is; it
        belongs to this one from now on.  What waits in it waits.
        """
        self._ifindex = ifindex
        fresh = kept is None
        step = f"bind a {self.WHAT} socket" if fresh else "go on with its socket"
        self._socket = (
            self._opened(name)
            if kept is None
            else kept_socket(kept, socket.AF_PACKET, name)
        )
        try:
            if fresh:
                self._set_options()
                self._socket.bind((name, _ETH_P_ALL))
            self._check_bound()
        except OSError as error:
            self._socket.close()
            raise LaggError.of_os(name, step, error) from error

    def _opened(self, name: str) -> socket.socket:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        try:
            return socket.socket(socket.AF_PACKET, kind, 0)
        except OSError as error:
            raise LaggError.of_os(name, f"open a {self.WHAT} socket", error) from error

    def _set_options(self) -> None:
        """All before bind(), for until then nothing comes in.  OSError."""
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.QUEUE_BYTES)
        self._socket.setsockopt(SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        steps = b"".join(_SOCK_FILTER.pack(*step) for step in self.FILTER)
        memory = ctypes.create_string_buffer(steps, len(steps))
        program = _SOCK_FPROG.pack(len(self.FILTER), ctypes.addressof(memory))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def _check_bound(self) -> None:
        """OSError when another interface had the name by then (H-56)."""
        name = self._socket.getsockname()[0]
        if ifindex_of(name) != self._ifindex:
            raise OSError(errno.ENODEV, "the port has another name by now")

    def close(self) -> None:
        """Closes the socket.  Takes tens of milliseconds: to be called in a thread."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor, which is readable when a frame waits."""
        return self._socket.fileno()

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
            found = self._socket.getsockopt(SOL_PACKET, _PACKET_STATISTICS, size)
            return int(_TPACKET_STATS.unpack(found)[1])
        return 0
