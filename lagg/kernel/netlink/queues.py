# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's word that an interface has another number of queues (ethtool -L).

Owns the socket that ethtool's notices come to.  Knows no number: who is told asks for
it, so that there is one rule for what it means.
"""

import asyncio
import errno
import struct

from lagg.kernel.netlink.generic import ETHTOOL, GENL_BYTES, family
from lagg.kernel.netlink.messages import attributes_of
from lagg.kernel.netlink.wire import NETLINK_GENERIC, Message, Socket

_MONITOR = "monitor"
_CHANNELS_NTF = b"\x13"  # ETHTOOL_MSG_CHANNELS_NTF
_COMMAND = slice(16, 17)
_CHANNELS_HEADER, _HEADER_DEV_INDEX = 1, 1
_IFINDEX = struct.Struct("=I")


class QueueWatch:
    """Notices from the first call of changed() on."""

    def __init__(self) -> None:
        """Asks nothing yet.  OSError if refused."""
        self._socket = Socket(NETLINK_GENERIC)
        self._joined = False

    def close(self) -> None:
        """Ends the subscription."""
        self._socket.close()

    async def changed(self) -> list[int] | None:
        """Waits for a notice; answers the ifindexes, None when any may have changed.

        Never answers on a kernel that tells nobody, before Linux 5.6.
        """
        if not self._joined:
            await self._join()
            self._joined = True
        while True:
            try:
                messages = await self._socket.receive()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                return None
            if found := [each for m in messages if (each := _changed(m)) is not None]:
                return found

    async def _join(self) -> None:
        try:
            ethtool = await family(self._socket, ETHTOOL)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            await asyncio.get_running_loop().create_future()
        for group in ethtool.get_attr("CTRL_ATTR_MCAST_GROUPS"):
            if group.get_attr("CTRL_ATTR_MCAST_GRP_NAME") == _MONITOR:
                self._socket.join(group.get_attr("CTRL_ATTR_MCAST_GRP_ID"))


def _changed(message: Message) -> int | None:
    """The interface that a notice says has other queues."""
    if message.raw[_COMMAND] != _CHANNELS_NTF:
        return None
    header = attributes_of(message.raw, GENL_BYTES).get(_CHANNELS_HEADER, b"")
    ifindex = attributes_of(header, 0).get(_HEADER_DEV_INDEX)
    return None if ifindex is None else int(_IFINDEX.unpack(ifindex)[0])
