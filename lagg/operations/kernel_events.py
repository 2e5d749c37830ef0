# SPDX-License-Identifier: BSD-2-Clause
"""What the kernel tells, acted upon: carrier, renames, departures, a user's ip(8).

Owns two ways: a port's carrier takes effect at once, for frames wait on it; all else
waits its turn among the operations and looks at the kernel again then, because what an
event said may be over.  Knows no control socket.

The fast way needs no turn: a link is part of the shape, and adopt() has no await, so no
operation is interrupted within a step.  Operations in turn take the newest link of each
port with them when they adopt a shape of their own.

The slow way acts upon what the kernel says now and not upon the event, which only says
that there is reason to look.  So events may be lost, doubled or late: after an overrun,
or an error, all is looked at.  Of many events about one interface the first asks for a
turn and the others find that it is asked for.  What a user changed on the lagg is
passed on to all ports, or put back on the lagg; what a user changed on a port is put
back.  A look that failed is repeated after AGAIN_S.

Two things the kernel does not tell are polled, for a small share of the CPU's time:
what ports are to receive, at once where there is reason to look, and who sees or steers
what leaves by a port.
"""

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Self

from lagg.errors import LaggError, logged
from lagg.events import EventKind
from lagg.link import (
    AddressCame,
    AddressGone,
    AddrGenMode,
    Link,
    LinkChanged,
    LinkEvent,
    LinkGone,
    Modes,
    MulticastChanged,
    Overrun,
)
from lagg.operations import propagate
from lagg.operations.attach import depart
from lagg.operations.hotplug import HotPlug
from lagg.operations.laggs import Laggs
from lagg.operations.lifetime import destroy
from lagg.operations.own_frames import OwnFrames
from lagg.operations.present import Present
from lagg.operations.stuck_rings import Rings
from lagg.operations.uppers import UPPERS
from lagg.operations.uses import tell_uses
from lagg.plan.shape import LaggMac, Port
from lagg.running.bundle import Bundle
from lagg.tasks import Tasks, in_turn

log = logging.getLogger(__name__)

Operation = Coroutine[Any, Any, None]

POLL_S = 1.0
"""The kernel does not tell sniffers, link-layer groups without an IP group, and what a
macvlan in another namespace makes of the lagg below it."""

POLL_UNTOLD_S = 0.25
"""Before Linux 6.14 it does not tell IP groups either."""

POLL_REST = 50
"""The pause after a poll, in multiples of the CPU time that it took: what it reads has
a row for each packet socket, and for each group of each interface there is."""

REST_S_MAX = 0.25
STIRRED_REST = 4
"""When there is reason to look for groups, the pause is REST_S_MAX at most; or where a
look takes long, for there are thousands of interfaces, so many times what it took."""

AGAIN_S = 1.0
"""After a look that failed, for what was told is not done yet."""

_DELETED = (
    "somebody deleted its interface, so it is destroyed; laggctl create or reload makes"
    " it anew"
)
_MOVED = (
    "somebody moved its interface to another network namespace, where no laggd follows"
    " it, so it is destroyed; make it anew here (laggctl create or reload) and move a"
    " VLAN or macvlan of it there, or run a laggd there that has the ports"
)


class KernelEvents:
    """Keeps all laggs true to the kernel; an async context manager."""

    def __init__(
        self,
        laggs: Laggs,
        whole: Callable[[Callable[[], Operation]], Operation],
        hotplug: HotPlug,
    ) -> None:
        """`whole` runs an operation in its turn."""
        self._hotplug = hotplug
        self._stirred = asyncio.Event()  # what ports are to receive may be other now
        self._laggs = laggs
        self._whole = whole
        self._tasks = Tasks()
        self._rings = Rings(laggs, whole, self._tasks)
        self._own_frames = OwnFrames(laggs)
        self._due: set[int] = set()  # ifindexes that wait for their turn already
        self._used: set[int] = set()  # of these, the ones used for something else
        self._moved: set[int] = set()  # of these, the ones that live on elsewhere
        self._left: set[int] = set()  # of these, the ones that were given up

    async def __aenter__(self) -> Self:
        """Begins to act upon events."""
        self._own_frames.begin()
        self._tasks.keep("following the kernel's events", self._watch)
        self._tasks.keep("following transmit queues", self._watch_queues)
        self._tasks.keep("looking for groups", self._poll_groups)
        self._tasks.keep("looking for sniffers and filters", self._poll_sniffers)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends that; nothing runs on."""
        await self._tasks.close()

    @property
    def ailments(self) -> tuple[str, ...]:
        """Which of these tasks do not run at the moment; usually none."""
        return self._tasks.ailments

    async def _watch(self) -> None:
        try:
            async for event in self._laggs.netlink.watch():
                self._on_link_event(event)
        except Exception:
            self.look_at_all()  # what waited to be told is lost
            raise

    async def _watch_queues(self) -> None:
        """Acts at once: by AF_XDP and several queues frames overtake each other."""
        async for changed in self._laggs.netlink.watch_queues():
            with logged(log.warning):
                await self._laggs.count_queues(changed)

    def _on_link_event(self, event: LinkEvent) -> None:
        try:
            self._act_upon(event)
        except Exception:  # one event must not end them all
            log.exception("%r could not be acted upon", event)

    async def _poll_groups(self) -> None:
        tells_groups = self._laggs.netlink.tells_groups
        pace_s = POLL_S if tells_groups else POLL_UNTOLD_S
        while True:
            took_s = await _timed(self._look_for_groups)
            stirred_s = max(REST_S_MAX, STIRRED_REST * took_s)
            await asyncio.sleep(min(POLL_REST * took_s, stirred_s))
            await self._rest(max(POLL_REST * took_s, pace_s), pace_s)

    async def _poll_sniffers(self) -> None:
        while True:
            took_s = await _timed(self._look_for_sniffers)
            await asyncio.sleep(max(POLL_REST * took_s, POLL_S))

    async def _rest(self, rest_s: float, pace_s: float) -> None:
        """Until there is reason to look, or so long; rings are looked at meanwhile.

        They cost little, and a port is deaf until one that cannot move is found; and
        what a loop brings back is told soon.
        """
        loop = asyncio.get_running_loop()
        end_s = loop.time() + rest_s
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(end_s - loop.time(), pace_s)):
                    await self._stirred.wait()
            self._rings.look()
            self._own_frames.look()
            if self._stirred.is_set() or loop.time() >= end_s:
                return

    async def _look_for_groups(self) -> None:
        self._stirred.clear()
        with logged(log.warning):
            await self._laggs.rx_wanted.update_all(self._laggs.bundles.values())

    async def _look_for_sniffers(self) -> None:
        with logged(log.warning):
            await self._laggs.learn_egress()
        with logged(log.warning):
            self._laggs.spare_sniffers()

    def _act_upon(self, event: LinkEvent) -> None:
        match event:
            case LinkChanged(link):
                self._link_changed(link)
            case LinkGone(ifindex, moved=moved):
                if moved:
                    self._moved.add(ifindex)
                self._left.add(ifindex)
                self._look_at(ifindex)
                self._use_ended()
                self._stirred.set()
            case MulticastChanged():
                # Of whatever stands on a lagg, too: its groups become the lagg's.
                self._stirred.set()
            case AddressCame(ifindex):
                self._stirred.set()  # an IPv6 address has a group
                self._look_at_use(ifindex)
            case AddressGone(ifindex):
                self._look_at_use(ifindex)
                self._hotplug.try_ifindex(ifindex)
            case Overrun():
                log.warning("netlink events were lost: looking at every interface")
                self.look_at_all()

    def look_at_all(self) -> None:
        """Acts upon all that the kernel may have told, and that nobody heard."""
        self._tasks.begin(self._whole, self._look_for_changes)
        self._hotplug.try_all()

    async def _look_for_changes(self) -> None:
        """Looks at each of our interfaces that is not as it is known."""
        try:
            present = await Present.of(self._laggs.netlink)
        except LaggError as error:
            log.warning("%s", error)
            self._tasks.begin(self._look_at_all_again)
            return
        for bundle in self._laggs.bundles.values():
            self._left.add(bundle.link.ifindex)  # if it is gone nobody says so any more
            for ifindex in present.changed(bundle):
                self._used.add(ifindex)
                self._look_at(ifindex)

    async def _look_at_all_again(self) -> None:
        await asyncio.sleep(AGAIN_S)
        self.look_at_all()

    def _link_changed(self, link: Link) -> None:
        if link.lower and link.kind != "veth":
            self._look_at_use(link.lower)
        held = self._laggs.of_port(link.ifindex)
        if held is None:
            if self._laggs.of_tap(link.ifindex) is not None:
                self._look_at(link.ifindex)
            else:
                self._laggs.warn_of_shared_mac(link)
                self._hotplug.try_soon(link.name)
                if link.kind in UPPERS:
                    self._stirred.set()
            return
        bundle, port = held
        if link.active != port.link.active:
            # A new name has more to it than a snapshot: it is seen in its turn.
            known = replace(link, name=port.link.name)
            self._adopt_link(bundle, known, port.modes)
        if link.master != port.link.master:
            self._look_at_use(link.ifindex)
        elif link != port.link or _is_foreign(bundle, port, link):
            self._look_at(link.ifindex)

    def _look_at_use(self, ifindex: int) -> None:
        """Looks at what somebody uses an interface for, if it is a port."""
        if self._laggs.of_port(ifindex) is not None:
            self._used.add(ifindex)
            self._look_at(ifindex)

    def _use_ended(self) -> None:
        """An interface is gone; nobody says any more what it stood on."""
        for bundle in self._laggs.bundles.values():
            for port in bundle.shape.ports:
                if port.warnings:
                    self._look_at_use(port.link.ifindex)
        self._hotplug.try_refused()

    def _adopt_link(self, bundle: Bundle, link: Link, modes: Modes) -> None:
        """The fast way: no await between the kernel's word and the snapshot.

        When a worker holds that up the port is looked at again once it has let go.
        """
        try:
            bundle.adopt(bundle.shape.with_link(link, modes))
        except LaggError as error:
            log.warning("%s", error)
            bundle.when_free(self._look_at, link.ifindex)

    def _look_at(self, ifindex: int) -> None:
        """Looks at one of our interfaces again, in turn; once for many events."""
        if ifindex not in self._due:
            self._due.add(ifindex)
            self._tasks.begin(self._whole, partial(self._look, ifindex))

    async def _look(self, ifindex: int) -> None:
        self._due.discard(ifindex)
        told = ifindex in self._left, ifindex in self._used
        self._left.discard(ifindex)
        self._used.discard(ifindex)
        try:
            await self._look_once(ifindex, *told)
        except LaggError as error:
            log.warning("%s", error)
            self._tasks.begin(self._look_again, ifindex, *told)

    async def _look_again(self, ifindex: int, left: bool, used: bool) -> None:
        await asyncio.sleep(AGAIN_S)
        if left:
            self._left.add(ifindex)
        if used:
            self._used.add(ifindex)
        self._look_at(ifindex)

    async def _look_once(self, ifindex: int, left: bool, used: bool) -> None:
        """Acts upon what one of our interfaces is now.  LaggError: not on all of it."""
        link = await self._link(ifindex)
        bundle = self._laggs.of_tap(ifindex)
        held = self._laggs.of_port(ifindex)
        if bundle is not None and link is not None:
            await self._look_at_lagg(bundle, link)
        elif bundle is not None and left:  # else it is about to be told why
            await self._lagg_lost(bundle)
        elif held is not None:
            if left and link is not None and link.mac != held[0].link.mac:
                link = None  # another interface, which has the ifindex now (H-56)
            await self._look_at_port(*held, link)
            if used or _has_other_master(*held):
                await tell_uses(self._laggs, held[0], ifindex)
        if link is None:
            self._laggs.disclaim(ifindex)
        self._moved.discard(ifindex)

    async def _link(self, ifindex: int) -> Link | None:
        """The interface as it is now; None when it is gone from this namespace."""
        try:
            return await self._laggs.netlink.link(ifindex)
        except LaggError as error:
            if error.code != errno.ENODEV:
                raise
            return None

    async def _look_at_port(
        self, bundle: Bundle, port: Port, link: Link | None
    ) -> None:
        if link is None:
            await depart(self._laggs, bundle, port)
            return
        if link.name != port.link.name:
            await self._laggs.takeover.rename(link.ifindex, link.name)
            bundle.emit(EventKind.PORT_RENAMED, f"was {port.link.name}", link.name)
        # Whatever is refused, the rest is done; and it is looked at again.
        await in_turn(
            partial(self._silence, link),
            partial(self._put_mtu_right, bundle, port, link),
            partial(self._put_mac_right, bundle, link),
            partial(self._adopt_newest, bundle, link),
            partial(self._laggs.show_speed, bundle),
        )

    async def _adopt_newest(self, bundle: Bundle, link: Link) -> None:
        """Adopts a port's link with what was put right and what was told meanwhile."""
        modes = await self._laggs.netlink.modes(link.ifindex)
        self._adopt_link(bundle, await self._newest(link), modes)

    async def _newest(self, link: Link) -> Link:
        """The link as told by now: while we looked, its carrier may have changed.

        A newer name has more to it than a snapshot, and is seen when it is told.
        """
        newest = (await self._laggs.netlink.links()).get(link.ifindex, link)
        return replace(newest, name=link.name)

    async def _silence(self, link: Link) -> None:
        if link.addr_gen_mode not in (None, AddrGenMode.NONE):
            await self._laggs.takeover.silence(link.ifindex)

    async def _put_mtu_right(self, bundle: Bundle, port: Port, link: Link) -> None:
        """Sets a port's MTU to its lagg's again; lagg(4) refuses to change it."""
        if link.mtu != bundle.link.mtu:
            await self._laggs.netlink.set_mtu(link.ifindex, bundle.link.mtu)
            bundle.emit(EventKind.PORT_MTU, f"{link.mtu} put back", port.link.name)

    async def _put_mac_right(self, bundle: Bundle, link: Link) -> None:
        """Sets a port's MAC to what it is to be again."""
        port = bundle.shape.find(link.ifindex)
        if port is not None and link.mac != bundle.shape.mac_of(port):
            await self._laggs.netlink.set_mac(link.ifindex, bundle.shape.mac_of(port))
            bundle.emit(EventKind.PORT_MAC, f"{link.mac} put back", port.link.name)

    async def _lagg_lost(self, bundle: Bundle) -> None:
        moved = bundle.link.ifindex in self._moved
        bundle.emit(EventKind.LOST, _MOVED if moved else _DELETED)
        await destroy(self._laggs, bundle.name)

    async def _look_at_lagg(self, bundle: Bundle, link: Link) -> None:
        bundle.hold_carrier(link)
        if link.name != bundle.name:
            self._renamed(bundle, link)
        if link.mtu != bundle.link.mtu:
            with logged(log.warning):
                await self._propagate_mtu(bundle, link.mtu)
        if link.mac != bundle.link.mac:
            with logged(log.warning):
                await self._propagate_mac(bundle, link.mac)
        if link.up != bundle.link.up:
            bundle.emit(EventKind.ADMIN, "up" if link.up else "down")
            await propagate.set_up(self._laggs.netlink, bundle, link.up)
        # MTU and MAC are what was taken, or put back because a port refused.
        bundle.note(
            link.ifindex, lambda known: replace(link, mtu=known.mtu, mac=known.mac)
        )
        await self._laggs.rx_wanted.update(bundle)

    def _renamed(self, bundle: Bundle, link: Link) -> None:
        del self._laggs.bundles[bundle.name]
        self._laggs.bundles[link.name] = bundle
        bundle.note(link.ifindex, lambda known: replace(known, name=link.name))
        bundle.emit(EventKind.RENAMED, f"now {link.name}")

    async def _propagate_mtu(self, bundle: Bundle, mtu: int) -> None:
        """Someone set the lagg's MTU: all ports, or it is put back (F-PR-MTU)."""
        async with AsyncExitStack() as undo:
            propagate.note_mtu(self._laggs.netlink, bundle, mtu, undo)
            links = propagate.members(bundle)
            await propagate.set_mtu(self._laggs.netlink, bundle, links, mtu, undo)
            propagate.fix_mtu(bundle, True, undo)
            undo.pop_all()
        bundle.emit(EventKind.MTU, str(mtu))

    async def _propagate_mac(self, bundle: Bundle, mac: str) -> None:
        """Someone set the lagg's MAC: all ports, or it is put back (F-PR-MAC)."""
        async with AsyncExitStack() as undo:
            propagate.note_mac(self._laggs.netlink, bundle, mac, undo)
            wanted = replace(bundle.shape, mac=LaggMac(mac, fixed=True))
            await propagate.rule(self._laggs, bundle, wanted, undo)
            undo.pop_all()


async def _timed(look: Callable[[], Operation]) -> float:
    """The CPU time that it takes, in s: on a busy host it is long until it is done."""
    began_s = time.thread_time()
    await look()
    return time.thread_time() - began_s


def _has_other_master(bundle: Bundle, before: Port) -> bool:
    """Whether a port was seen under another master before that was told."""
    port = bundle.shape.find(before.link.ifindex)
    return port is not None and port.link.master != before.link.master


def _is_foreign(bundle: Bundle, port: Port, link: Link) -> bool:
    """Whether a port is not as its lagg wants it, whatever it was when seen last."""
    return (link.mac, link.mtu) != (bundle.shape.mac_of(port), bundle.link.mtu)
