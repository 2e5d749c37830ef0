# SPDX-License-Identifier: BSD-2-Clause
"""A few numbers of one interface, asked for and answered within a call.

Owns a socket of its own, so that no other answer can be waiting there.
"""

import struct

from lagg.kernel.netlink import messages
from lagg.kernel.netlink.wire import NETLINK_ROUTE, Socket
from lagg.link import Reception

_RTM_NEWSTATS = 92
_RTM_GETSTATS = 94
_NLM_F_REQUEST = 0x1
_AF_UNSPEC = 0
_IFLA_STATS_LINK_64 = 1

_REQUEST = struct.Struct("=IHHIIBxxxII")  # header; family, ifindex, filter
_ANSWER = struct.Struct("=16x12x4x7QQ")  # header, its own, attribute's; 8 counters


class Stats:
    """What the kernel counts of interfaces."""

    def __init__(self) -> None:
        """Opens the socket.  OSError if refused."""
        self._socket = Socket(NETLINK_ROUTE)

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def tx_dropped(self, ifindex: int) -> int | None:
        """Frames dropped on their way to the driver; None: no such interface."""
        filters = 1 << _IFLA_STATS_LINK_64 - 1
        size, flags = _REQUEST.size, _NLM_F_REQUEST
        self._socket.send(
            _REQUEST.pack(
                size, _RTM_GETSTATS, flags, 0, 0, _AF_UNSPEC, ifindex, filters
            )
        )
        (answer,) = self._socket.receive_now()
        if answer.kind != _RTM_NEWSTATS:
            return None
        return int(_ANSWER.unpack_from(answer.raw)[7])

    def reception(self, ifindex: int) -> Reception | None:
        """Its promiscuity and allmulti references; None: no such interface."""
        self._socket.send(messages.brief_question(ifindex))
        (answer,) = self._socket.receive_now()
        if answer.kind != messages.RTM_NEWLINK:
            return None
        return messages.reception_of(answer.raw)
