# SPDX-License-Identifier: BSD-2-Clause
"""The offloads of an interface, off and on: ethtool(8), which a fresh machine lacks.

Owns ETHTOOL_S...'s numbers.  Knows no lagg.
"""

import array
import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from lab import Host

_SIOCETHTOOL = 0x8946
_SET = {"tx": 0x17, "sg": 0x19, "tso": 0x1F}
_IFREQ = struct.Struct("16sP16x")


@contextmanager
def without(host: Host, name: str, *offloads: str) -> Iterator[None]:
    """Of "tx" (checksums), "sg" and "tso", those named are off while the block runs."""
    for offload in offloads:
        _set(host, name, offload, on=False)
    yield
    for offload in reversed(offloads):
        _set(host, name, offload, on=True)


def _set(host: Host, name: str, offload: str, *, on: bool) -> None:
    value = array.array("I", [_SET[offload], on])
    request = _IFREQ.pack(name.encode(), value.buffer_info()[0])
    with host.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        fcntl.ioctl(opened, _SIOCETHTOOL, request)
