# SPDX-License-Identifier: BSD-2-Clause
"""TAPs of a test's own, whose carrier it has.  Knows no lagg."""

import fcntl
import os
import struct

TUNSETIFF = 0x400454CA
TUNSETCARRIER = 0x400454E2
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x1000, 0x4000


def tap(name: str, *, offloads: bool = False) -> int:
    """A TAP in the calling thread's namespace; it lives as long as the descriptor.

    With `offloads` a virtio_net_hdr stands before each frame.
    """
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if offloads else 0)
    request = struct.pack("16sH22x", name.encode(), flags)
    fcntl.ioctl(descriptor, TUNSETIFF, request)
    return descriptor


def set_tap_carrier(descriptor: int, on: bool) -> None:
    fcntl.ioctl(descriptor, TUNSETCARRIER, struct.pack("i", on))
