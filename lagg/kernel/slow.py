# SPDX-License-Identifier: BSD-2-Clause
"""A port's slow-protocol socket: LACP and Marker PDUs in and out, and nothing else.

Owns one packet socket for each port: its filter in the kernel, its bound on what may
wait, its membership of the slow-protocols group.  Knows no lagg, and reads no frame.
"""

from collections.abc import Iterator
from contextlib import suppress

from lagg.kernel.port_socket import (
    PACKET_ADD_MEMBERSHIP,
    PACKET_MR_MULTICAST,
    PACKET_MREQ,
    SOL_PACKET,
    PortSocket,
)

READS_MAX = 16
"""Frames in one go, so that one port's storm does not keep the others waiting."""

_FRAME_BYTES_MAX = 256  # a LACPDU has 124, and of a longer one the rest is not read

_GROUP = bytes.fromhex("0180c2000002")
_ETH_P_SLOW = 0x8809

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


class SlowSocket(PortSocket):
    """The slow protocols of one port."""

    WHAT = "slow-protocol"
    QUEUE_BYTES = 16 << 10  # a dozen frames or more, and no storm (H-16)
    FILTER = _FILTER

    def _set_options(self) -> None:
        super()._set_options()
        request = PACKET_MREQ.pack(self._ifindex, PACKET_MR_MULTICAST, 6, _GROUP)
        self._socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)

    def frames(self) -> Iterator[bytes]:
        """Up to READS_MAX frames that wait, from the destination on, without FCS."""
        # An error is the link's, which went down or away; netlink tells of it.
        with suppress(OSError):
            for _ in range(READS_MAX):
                yield self._socket.recv(_FRAME_BYTES_MAX)
