# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's notifications about links, as events.

Owns the notification socket, what happens when it overruns, and that the kernel does
not sit on a carrier change.  Knows no link state: it tells what changed.

The kernel tells carrier changes at most once a second over all interfaces, but for an
interface that stands on another (net/core/link_watch.c: not "urgent").  So the second
of two NICs that fail together would be told a second late.  We ask for the ports, often
after any change, and while frames flow that would be lost.  Since Linux 6.8 who asks
for a link makes the kernel tell at once; before, the answer alone has the truth.  So
we ask by the socket that notifications come to: there an answer stands among them in
the order of what they tell, and nothing older can be told after it.  Ports without
frames we do not ask for: of them it is told a second late, after a change in another
namespace, of which we hear nothing.  While nothing flows we do not even look.
"""

import asyncio
import contextlib
import errno
import logging
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from lagg.kernel.netlink import messages
from lagg.kernel.netlink.table import Table
from lagg.kernel.netlink.wire import NETLINK_ROUTE, Message, Socket
from lagg.link import (
    AddressCame,
    AddressGone,
    Link,
    LinkChanged,
    LinkEvent,
    LinkGone,
    MulticastChanged,
    Overrun,
)

log = logging.getLogger(__name__)

RTNLGRP_LINK = 1
RTNLGRP_IPV4_IFADDR = 5
RTNLGRP_IPV6_IFADDR = 9
RTNLGRP_IPV4_MCADDR = 37  # both since Linux 6.14
RTNLGRP_IPV6_MCADDR = 38

BURST_DATAGRAMS_MAX = 256
"""Read before anything is told, so that a storm cannot keep the consumer waiting."""

HELD_BACK_S = 1.1
"""For so long after a change the kernel may hold the next one back."""

ASK_AT_ONCE_MAX = 16
"""Ports asked for in one go, in turn, so that a thousand do not keep us from all else;
the kernel tells by itself after a second."""

ASK_OFTEN_S = 0.005
ASK_BUSY_S = 0.02

_IFINFOMSG = struct.Struct("=16xBxHiI")  # header; family, ARPHRD, ifindex, flags
_IFADDRMSG = struct.Struct("=16xBBBBi")  # family, prefixlen, flags, scope, ifindex
_AF_UNSPEC = 0


class Activity(Protocol):
    """What a watch needs of lagg.running.traffic.Traffic."""

    def flows(self) -> bool:
        """Whether any frames came since this was asked last."""

    def await_frames(self, come: Callable[[], None]) -> None:
        """Calls `come` once, soon after the next frame."""


class NoActivity:
    """Nothing ever flows."""

    def flows(self) -> bool:
        """Nothing came."""
        return False

    def await_frames(self, come: Callable[[], None]) -> None:
        """Nothing will."""


class Watch:
    """Link notifications from the moment it is made."""

    def __init__(self, queue_bytes: int) -> None:
        """`queue_bytes`: what the kernel holds for us before it drops events."""
        self._socket = Socket(NETLINK_ROUTE, queue_bytes)
        try:
            for group in (RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR):
                self._socket.join(group)
        except OSError:
            self._socket.close()
            raise
        self.tells_groups = self._join_groups()
        self._questions: deque[bytes] = deque()
        self._table = Table()
        self._aside: list[LinkEvent] = []
        self._waiting: asyncio.Future[None] | None = None
        self._often_until_s = 0.0
        self._traffic: Activity = NoActivity()
        self._timer: asyncio.TimerHandle | None = None

    def _join_groups(self) -> bool:
        """Whether the kernel tells of IP multicast groups."""
        try:
            for group in (RTNLGRP_IPV4_MCADDR, RTNLGRP_IPV6_MCADDR):
                self._socket.join(group)
        except OSError:  # an older kernel: the driver polls more often
            return False
        return True

    def close(self) -> None:
        """Ends the subscription."""
        self.closely(())
        self._socket.close()

    def closely(
        self, ifindexes: Iterable[int], traffic: Activity | None = None
    ) -> None:
        """Names the interfaces whose carrier changes must not be held back from now on.

        `traffic`: theirs, which would be lost.
        """
        self._traffic = traffic or NoActivity()
        self._questions = deque(
            messages.brief_question(ifindex) for ifindex in ifindexes
        )
        if self._questions:
            # What was changed before we looked counts, too.
            self._ask_often()
        else:
            self._disarm()

    def _ask_often(self) -> None:
        loop = asyncio.get_running_loop()
        self._often_until_s = loop.time() + HELD_BACK_S
        self._arm(ASK_OFTEN_S)

    def _arm(self, delay_s: float) -> None:
        """Calls _tick() after so long, if there are ports to ask for."""
        self._disarm()
        if self._questions:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay_s, self._tick)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        """Asks while a change may be held back: after another, or under traffic."""
        often = asyncio.get_running_loop().time() < self._often_until_s
        if often or self._traffic.flows():
            self._arm(ASK_OFTEN_S if often else ASK_BUSY_S)
            self._ask()
        else:
            self._disarm()
            self._traffic.await_frames(self._tick)

    def _ask(self) -> None:
        """Asks for each port; a change held back is among what waits for us then."""
        for _ in range(min(len(self._questions), ASK_AT_ONCE_MAX)):
            question = self._questions[0]
            self._questions.rotate(-1)
            with contextlib.suppress(OSError):  # the queue may be full, and so be news
                self._socket.send(question)
        self._read_waiting()

    async def events(self) -> list[LinkEvent]:
        """The events since the last call; waits until there is one.

        An overrun is told alone: what else waited is older than the dump that follows.
        """
        while not self._aside:
            self._read(BURST_DATAGRAMS_MAX)
            if not self._aside:
                await self._something()
        events, self._aside = _newest(self._aside), []
        return events

    async def table(self, dump: Callable[[], Awaitable[Iterable[Link]]]) -> "Table":
        """All interfaces as they are at this moment, known from events but at first.

        `dump` asks for all of them.  A notification is in our queue when the call that
        caused it returns, so what anybody did before is in the table.
        """
        while not self._table.whole:
            self._table.begin()
            self._table.complete(await dump())
            self._read_waiting()
        self._read_waiting()
        return self._table

    def _read_waiting(self) -> None:
        """Reads what waits; events() tells it later."""
        while self._read(BURST_DATAGRAMS_MAX) == BURST_DATAGRAMS_MAX:
            pass
        if self._aside and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _something(self) -> None:
        """Waits until something is to be read, or was read meanwhile."""
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._socket.readable(self._waiting)
        finally:
            self._waiting = None

    def _read(self, datagrams_max: int) -> int:
        """Makes events of what waits, up to a bound; answers how many it read."""
        burst: list[Message] = []
        count = 0
        try:
            while count < datagrams_max:
                burst += self._socket.receive_now()
                count += 1
        except BlockingIOError:
            pass
        except OSError as error:
            self._lost(error)
            if error.errno != errno.ENOBUFS:
                raise
            return count
        try:
            for message in _latest(burst, self._socket.port):
                self._learn(message)
        except Exception as error:  # noqa: BLE001  what makes no sense is lost
            self._lost(error)
        return count

    def _learn(self, message: Message) -> None:
        """Makes what a message tells an event; an answer often tells nothing new."""
        if message.port == self._socket.port and self._is_known(message):
            return
        events = _events_of(message)
        for event in events:
            self._table.learn(event)
        self._aside += events
        if message.kind == messages.RTM_NEWLINK:
            self._ask_often()

    def _is_known(self, answer: Message) -> bool:
        """Whether the flags, which have all that makes a link active, are no news.

        Answers are too many to be decoded each.
        """
        if answer.kind != messages.RTM_NEWLINK:
            return True  # a refusal: the port is gone
        _, _, ifindex, flags = _IFINFOMSG.unpack_from(answer.raw)
        known = self._table.links.get(ifindex)
        return known is not None and known.flags == flags

    def _lost(self, error: Exception) -> None:
        log.warning("netlink events were lost (%s): a dump is due", error)
        self._table = Table()
        self._aside = [Overrun()]
        self._drain()

    def _drain(self) -> None:
        while True:
            try:
                self._socket.receive_now()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise


def _latest(burst: list[Message], port: int) -> list[Message]:
    """The messages without those that a later one about the same interface outdates.

    A departure outdates nothing and is not outdated: what follows under the same
    ifindex is another interface (H-56).  A partial message (messages.link_of) may
    outdate a whole one: only wireless interfaces send them, and they are no ports.
    An answer to a question of ours, that is of `port`, outdates nothing but answers.
    """
    kept: dict[tuple[int, int, int, bool], Message] = {}
    departures = 0
    for each in burst:
        ifindex = _ifindex(each)
        if ifindex is None:
            continue
        departures += each.kind == messages.RTM_DELLINK
        multicast = each.kind in (messages.RTM_NEWMULTICAST, messages.RTM_DELMULTICAST)
        kind = -1 if multicast else each.kind
        key = (ifindex, departures, kind, each.port == port)
        kept.pop(key, None)  # so that the order is that of the last change
        kept[key] = each
    return list(kept.values())


def _newest(events: list[LinkEvent]) -> list[LinkEvent]:
    """Events without those that a later one outdates; see _latest()."""
    kept: list[LinkEvent] = []
    later: set[int] = set()
    for event in reversed(events):
        match event:
            case LinkChanged(link) if link.ifindex in later:
                continue
            case LinkChanged(link):
                later.add(link.ifindex)
            case LinkGone(ifindex):
                later.discard(ifindex)
        kept.append(event)
    return kept[::-1]


def _ifindex(message: Message) -> int | None:
    """Which interface `message` is about; None if it is none of our business."""
    if message.kind in (messages.RTM_NEWLINK, messages.RTM_DELLINK):
        # A bridge tells of its ports with AF_BRIDGE, DELLINK meaning "port no more".
        family, _, ifindex, _ = _IFINFOMSG.unpack_from(message.raw)
        return int(ifindex) if family == _AF_UNSPEC else None
    if message.kind in _OF_ADDRESSES:
        return int(_IFADDRMSG.unpack_from(message.raw)[4])
    return None


_OF_ADDRESSES = (
    messages.RTM_NEWMULTICAST,
    messages.RTM_DELMULTICAST,
    messages.RTM_NEWADDR,
    messages.RTM_DELADDR,
)


def _events_of(message: Message) -> list[LinkEvent]:
    if message.kind == messages.RTM_NEWLINK:
        link = messages.link_of(message.raw)
        return [] if link is None else [LinkChanged(link)]
    if message.kind == messages.RTM_DELLINK:
        return [LinkGone(*messages.gone_of(message.raw))]
    ifindex = int(_IFADDRMSG.unpack_from(message.raw)[4])
    if message.kind == messages.RTM_NEWADDR:
        return [AddressCame(ifindex)]
    if message.kind == messages.RTM_DELADDR:
        return [AddressGone(ifindex)]
    return [MulticastChanged(ifindex)]
