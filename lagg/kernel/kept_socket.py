# SPDX-License-Identifier: BSD-2-Clause
"""Sockets that are open already: kept by somebody else, and ours from now on.

Owns the look whether a descriptor is what its name says, and what waits in it.  Knows
no use of it.
"""

import errno
import os
import socket
import struct

from lagg.errors import LaggError

_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_WMEM_ALLOC = 2  # SK_MEMINFO_WMEM_ALLOC


def kept_socket(descriptor: int, family: int, name: str) -> socket.socket:
    """The socket behind `descriptor`, which belongs to it from now on.

    It does not block, as those that we open.  LaggError (EINVAL), and the descriptor is
    closed, when it is no socket of this address family; `name`: whose it is to be.
    """
    try:
        found = socket.socket(fileno=descriptor)
    except OSError as error:
        os.close(descriptor)
        raise _refusal(name, family) from error
    if found.family != family:
        found.close()
        raise _refusal(name, family)
    found.setblocking(False)
    return found


def _refusal(name: str, family: int) -> LaggError:
    wanted = socket.AddressFamily(family).name
    return LaggError(name, f"what was kept for it is no {wanted} socket", errno.EINVAL)


def unsent_bytes(fd: int) -> int:
    """What the kernel has still of what was sent by a socket, whoever did.  OSError.

    By SO_MEMINFO, for AF_XDP answers no SIOCOUTQ.
    """
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, fileno=fd)
    try:
        memory = found.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    finally:
        found.detach()  # it is not ours
    written: int = _MEMINFO.unpack(memory)[_WMEM_ALLOC]
    return written
