# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's notifications about links, as events.

Owns the notification socket, what happens when it overruns, and that the kernel does
not sit on a carrier change.  Knows no link state: it tells what changed.

The kernel tells carrier changes at most once a second over all interfaces, but for an
interface that stands on another (net/core/link_watch.c: not "urgent").  So the second
of two NICs that fail together would be told a second late.  Whoever asks for a link
makes it tell at once; we ask for the ports, often after any change and seldom else.
"""

import asyncio
import contextlib
import errno
import logging
import struct
from collections.abc import Callable, Iterable

from lagg.link import LinkChanged, LinkEvent, LinkGone, MulticastChanged, Overrun
from lagg.netlink import messages
from lagg.netlink.wire import NETLINK_ROUTE, Message, Socket

log = logging.getLogger(__name__)

RTNLGRP_LINK = 1
RTNLGRP_IPV4_MCADDR = 37  # both since Linux 6.14
RTNLGRP_IPV6_MCADDR = 38

BURST_DATAGRAMS_MAX = 256
"""Read before anything is told, so that a storm cannot keep the consumer waiting."""

HELD_BACK_S = 1.1
"""For so long after a change the kernel may hold the next one back."""

ASK_OFTEN_S = 0.005
ASK_BUSY_S = 0.02
ASK_SELDOM_S = 0.25
"""For a change held back after one in another namespace, of which we hear nothing;
sooner while frames flow that would be lost."""

_NLMSG_GETLINK = struct.Struct("=IHHIIBxHiIIHHI")
_NLM_F_REQUEST = 0x1
_IFLA_EXT_MASK = 29
_RTEXT_FILTER_SKIP_STATS = 8  # cheaper: 8 us

_IFINFOMSG = struct.Struct("=16xBxHi")  # after the header: family, ARPHRD, ifindex
_IFADDRMSG = struct.Struct("=16xBBBBi")  # family, prefixlen, flags, scope, ifindex
_AF_UNSPEC = 0


class Watch:
    """Link notifications from the moment it is made."""

    def __init__(self, queue_bytes: int) -> None:
        """`queue_bytes`: what the kernel holds for us before it drops events."""
        self._socket = Socket(NETLINK_ROUTE, queue_bytes)
        try:
            self._socket.join(RTNLGRP_LINK)
        except OSError:
            self._socket.close()
            raise
        for group in (RTNLGRP_IPV4_MCADDR, RTNLGRP_IPV6_MCADDR):
            with contextlib.suppress(OSError):  # an older kernel: the driver polls
                self._socket.join(group)
        self._asker = Socket(NETLINK_ROUTE)
        self._questions: list[bytes] = []
        self._often_until_s = 0.0
        self._busy: Callable[[], bool] = lambda: False
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Ends the subscription."""
        self.closely(())
        self._socket.close()
        self._asker.close()

    def closely(
        self, ifindexes: Iterable[int], busy: Callable[[], bool] = lambda: False
    ) -> None:
        """From now on these are the interfaces whose carrier must not be held back.

        `busy`: whether any carried frames since it was asked last.
        """
        self._busy = busy
        self._questions = [_question(ifindex) for ifindex in ifindexes]
        if self._questions:
            # What was changed before we looked counts, too.
            self._ask_often()
        self._arm()

    def _ask_often(self) -> None:
        self._often_until_s = asyncio.get_running_loop().time() + HELD_BACK_S

    def _arm(self) -> None:
        """Asks again after the time that is right now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._questions:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._delay_s(loop.time()), self._ask)

    def _delay_s(self, now_s: float) -> float:
        if now_s < self._often_until_s:
            return ASK_OFTEN_S
        return ASK_BUSY_S if self._busy() else ASK_SELDOM_S

    def _ask(self) -> None:
        """Asks for each port; a change held back is waiting for us then."""
        for question in self._questions:
            with contextlib.suppress(OSError):  # it is a hint, and the port may be gone
                self._asker.send(question)
                self._asker.receive_now()
        self._arm()

    async def events(self) -> list[LinkEvent]:
        """What happened since the last call; waits until something did.

        An overrun is told alone: what else waited is older than the dump that follows.
        """
        try:
            burst = await self._burst()
            return [event for each in _latest(burst) for event in _events_of(each)]
        except OSError as error:
            if error.errno not in (errno.ENOBUFS, errno.EBADMSG):
                raise
            self._drain()
            log.warning("netlink events were lost (%s): a dump is due", error.strerror)
            return [Overrun()]

    async def _burst(self) -> list[Message]:
        """What waits, at least one message, up to a bound."""
        burst = await self._socket.receive()
        with contextlib.suppress(BlockingIOError):
            for _ in range(BURST_DATAGRAMS_MAX):
                burst += self._socket.receive_now()
        if any(each.kind == messages.RTM_NEWLINK for each in burst):
            self._ask_often()
            self._arm()
        return burst

    def _drain(self) -> None:
        while True:
            try:
                self._socket.receive_now()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise


def _question(ifindex: int) -> bytes:
    """RTM_GETLINK for one interface, without counters."""
    kind, flags = messages.RTM_GETLINK, _NLM_F_REQUEST
    mask = (8, _IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    size = _NLMSG_GETLINK.size
    return _NLMSG_GETLINK.pack(
        size, kind, flags, 0, 0, _AF_UNSPEC, 0, ifindex, 0, 0, *mask
    )


def _latest(burst: list[Message]) -> list[Message]:
    """The burst without changes that a later change of the same interface outdates.

    A departure outdates nothing and is not outdated: what follows under the same
    ifindex is another interface (H-56).  A partial message (messages.link_of) may
    outdate a whole one: only wireless interfaces send them, and they are no ports.
    """
    kept: dict[tuple[int, int, int], Message] = {}
    departures = 0
    for each in burst:
        ifindex = _ifindex(each)
        if ifindex is None:
            continue
        departures += each.kind == messages.RTM_DELLINK
        multicast = each.kind in (messages.RTM_NEWMULTICAST, messages.RTM_DELMULTICAST)
        key = (ifindex, departures, -1 if multicast else each.kind)
        kept.pop(key, None)  # so that the order is that of the last change
        kept[key] = each
    return list(kept.values())


def _ifindex(message: Message) -> int | None:
    """Which interface `message` is about; None if it is none of our business."""
    if message.kind in (messages.RTM_NEWLINK, messages.RTM_DELLINK):
        # A bridge tells of its ports with AF_BRIDGE, DELLINK meaning "port no more".
        family, _, ifindex = _IFINFOMSG.unpack_from(message.raw)
        return int(ifindex) if family == _AF_UNSPEC else None
    if message.kind in (messages.RTM_NEWMULTICAST, messages.RTM_DELMULTICAST):
        return int(_IFADDRMSG.unpack_from(message.raw)[4])
    return None


def _events_of(message: Message) -> list[LinkEvent]:
    if message.kind == messages.RTM_NEWLINK:
        link = messages.link_of(message.raw)
        return [] if link is None else [LinkChanged(link)]
    if message.kind == messages.RTM_DELLINK:
        return [LinkGone(*messages.gone_of(message.raw))]
    return [MulticastChanged(int(_IFADDRMSG.unpack_from(message.raw)[4]))]
