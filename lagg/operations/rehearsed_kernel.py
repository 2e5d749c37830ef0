# SPDX-License-Identifier: BSD-2-Clause
"""What a rehearsed operation stands on, in place of the kernel: it notes, and does not.

Owns one picture of all interfaces, in which what would be set is seen as if it were.
What only looks is asked of the kernel; whatever else an operation may ask has a method
here that says what would come of it.  Nothing else is here, so an operation that asked
for more would fail and not be done.  Knows no lagg.
"""

import errno
import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace

from lagg.errors import LaggError
from lagg.kernel.netlink import Netlink
from lagg.lacp.values import Mac
from lagg.link import Address, Link, Modes, Reception, RxFilter, Segments
from lagg.plan.plan import Plan
from lagg.ports.takeover import Takeover

TAP_MTU = 1500
"""Bytes: what the kernel gives a new TAP."""

TAP_MAC = "02:00:00:00:00:00"
"""For the one that the kernel would draw."""


class RehearsedNetlink:
    """The interfaces of this network namespace, as they are and as they would be."""

    def __init__(self, netlink: Netlink, links: Mapping[int, Link]) -> None:
        """`links`: all there are, by ifindex; what else is read of them is asked."""
        self._links = dict(links)
        self.addresses: Callable[[int], Awaitable[tuple[Address, ...]]]
        self.addresses = netlink.addresses
        self.wireless: Callable[[int], Awaitable[bool]] = netlink.wireless
        self.modes: Callable[[int], Awaitable[Modes]] = netlink.modes
        self.filters_vlans: Callable[[int], Awaitable[bool]] = netlink.filters_vlans
        self.reception: Callable[[int], Reception | None] = netlink.reception

    # ---- what looks ----------------------------------------------------------------

    async def links(self) -> dict[int, Link]:
        """As Netlink.links()."""
        return dict(self._links)

    async def link(self, ifindex: int) -> Link:
        """As Netlink.link()."""
        if ifindex not in self._links:
            raise _no_device(f"interface {ifindex}")
        return self._links[ifindex]

    async def by_name(self, name: str) -> Link:
        """As Netlink.by_name()."""
        for link in self._links.values():
            if link.name == name:
                return link
        raise _no_device(name)

    def tx_dropped(self, _: int) -> None:
        """Nobody counts here."""

    # ---- what sets -----------------------------------------------------------------

    async def set_mac(self, ifindex: int, mac: str) -> None:
        """As Netlink.set_mac()."""
        self._note(await self.link(ifindex), mac=mac)

    async def set_mtu(self, ifindex: int, mtu: int) -> None:
        """As Netlink.set_mtu(), and refuses what the driver's limits do not allow."""
        link = await self.link(ifindex)
        least, most = link.mtu_min, link.mtu_max or mtu
        if not least <= mtu <= most:
            limit = "less than device minimum"
            if mtu > most:
                limit = "greater than device maximum"
            words = f"{os.strerror(errno.EINVAL)}: mtu {limit}"
            error = OSError(errno.EINVAL, words)
            raise LaggError.of_os(link.name, f"set MTU {mtu}", error)
        self._note(link, mtu=mtu)

    async def set_up(self, ifindex: int, up: bool) -> None:
        """As Netlink.set_up(); who is set up is taken to have carrier."""
        link = await self.link(ifindex)
        state = "UP" if up else "DOWN"
        if link.up != up:
            self._note(link, up=up, lower_up=up, operstate=state)

    async def set_queue(self, ifindex: int, _: int) -> None:
        """Nobody waits here."""

    async def set_segments(self, ifindex: int, most: Segments) -> None:
        """As Netlink.set_segments()."""
        self._note(await self.link(ifindex), segments=most)

    async def set_alias(self, ifindex: int, alias: str) -> None:
        """As Netlink.set_alias()."""
        self._note(await self.link(ifindex), alias=alias)

    async def set_speed(self, ifindex: int, _: int) -> None:
        """Nobody is shown it."""

    async def add_altname(self, ifindex: int, name: str) -> None:
        """As Netlink.add_altname()."""
        link = await self.link(ifindex)
        if any(name in (each.name, *each.altnames) for each in self._links.values()):
            error = OSError(errno.EEXIST, os.strerror(errno.EEXIST))
            raise LaggError.of_os(link.name, f"add altname {name}", error)
        self._note(link, altnames=(*link.altnames, name))

    async def delete_altname(self, ifindex: int, name: str) -> None:
        """As Netlink.delete_altname()."""
        link = await self.link(ifindex)
        left = tuple(each for each in link.altnames if each != name)
        self._note(link, altnames=left)

    def watch_closely(self, ifindexes: object, activity: object = None) -> None:
        """Nobody is told."""

    def _note(self, link: Link, **changed: object) -> None:
        self._links[link.ifindex] = replace(link, **changed)  # type: ignore[arg-type]

    # ---- interfaces that come and go -------------------------------------------------

    def add_tap(self, name: str) -> None:
        """A TAP comes.  OSError (EBUSY): there is an interface of that name."""
        links = self._links.values()
        if any(name in (link.name, *link.altnames) for link in links):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        ifindex = max(self._links, default=0) + 1
        state = {"up": False, "lower_up": False, "operstate": "DOWN"}
        tap = Link(ifindex, name, TAP_MAC, TAP_MTU, arphrd=1, kind="tun", **state)  # type: ignore[arg-type]
        self._links[ifindex] = tap

    def remove(self, name: str) -> None:
        """The TAP of that name goes."""
        self._links = {i: link for i, link in self._links.items() if link.name != name}

    def put_back(self, ifindex: int, mac: str, mtu: int, up: bool) -> None:
        """A port is as it was found, as far as a later step can see."""
        link = self._links.get(ifindex)
        if link is not None:
            self._note(link, mac=mac, mtu=mtu, up=up)


class RehearsedTakeover:
    """As Takeover: who is ours already, and who would be."""

    def __init__(self, netlink: RehearsedNetlink, takeover: Takeover) -> None:
        """`takeover`: of the ports there are."""
        self._netlink = netlink
        self._takeover = takeover
        self._taken: dict[int, Link] = {}  # as they were found
        self._given_back: set[int] = set()

    @property
    def held(self) -> frozenset[int]:
        """As Takeover.held."""
        return (self._takeover.held - self._given_back) | self._taken.keys()

    def holds(self, ifindex: int) -> bool:
        """As Takeover.holds()."""
        return ifindex in self.held

    async def take(self, link: Link, *, hears_local: bool) -> None:
        """As Takeover.take().  LaggError (EBUSY): another laggd has it."""
        if not self._takeover.holds(link.ifindex):
            await self._takeover.require_free(link)
        self._taken[link.ifindex] = link

    def _found(self, ifindex: int) -> tuple[str, int, bool]:
        """MAC, MTU and whether it was up, as it was found."""
        link = self._taken.get(ifindex)
        if link is not None:
            return link.mac, link.mtu, link.up
        original = self._takeover.original(ifindex)
        return original.mac, original.mtu, original.up

    def mtu_found(self, ifindex: int) -> int:
        """As Takeover.mtu_found()."""
        return self._found(ifindex)[1]

    def to_be_down(self, ifindex: int) -> bool:
        """As Takeover.to_be_down()."""
        return self.holds(ifindex) and not self._found(ifindex)[2]

    async def give_back(self, ifindex: int) -> bool:
        """As Takeover.give_back()."""
        if self.holds(ifindex):
            self._netlink.put_back(ifindex, *self._found(ifindex))
        await self.forget(ifindex)
        return True

    async def forget(self, ifindex: int) -> None:
        """As Takeover.forget()."""
        self._taken.pop(ifindex, None)
        self._given_back.add(ifindex)

    def hears_local(self, ifindex: int) -> bool:
        """As Takeover.hears_local()."""
        return ifindex in self._taken or self._takeover.hears_local(ifindex)

    async def set_hears_local(self, ifindex: int, hears: bool) -> None:
        """Nothing to do: no frame comes."""

    async def silence(self, _: int) -> None:
        """Nothing to do: nothing of its own was made yet."""

    def set_rx_filter(self, _: int, __: RxFilter) -> None:
        """The port lets in what it did."""

    def let_in(self, _: int, __: frozenset[str]) -> None:
        """The port lets in what it did."""


class _NoSockets:
    """The sockets of a port that is none."""

    def close(self) -> None:
        """Nothing is open."""


class RehearsedDevice:
    """As Device: a TAP whose workers see every snapshot at once."""

    lagg = 0
    workers = 1
    frames = 0

    def __init__(self, netlink: RehearsedNetlink | None, name: str) -> None:
        """`netlink`: where it comes, and goes again; None: it is there.  OSError."""
        self.name = name
        self._netlink = netlink
        if netlink is not None:
            netlink.add_tap(name)

    def close(self) -> None:
        """The TAP goes."""
        if self._netlink is not None:
            self._netlink.remove(self.name)

    def publish(self, _: Plan) -> int:
        """A ticket that has passed."""
        return 1

    def held_by(self, _: int) -> None:
        """Nobody holds one up."""

    def reclaim(self) -> int:
        """Nothing is left to do."""
        return 0

    def open_sockets(self, _: int) -> _NoSockets:
        """None are."""
        return _NoSockets()

    def remove_port(self, _: int) -> _NoSockets:
        """None were."""
        return _NoSockets()

    def add_port(self, slot: int, sockets: object) -> None:
        """Nothing to do: the port is in the shape."""

    def bind_port(self, slot: int) -> None:
        """Nothing to do, as with add_port()."""

    def admit_lacp(self, slot: int, admit: bool) -> None:
        """No frame comes."""

    def keep_out(self, slot: int, macs: Collection[Mac]) -> None:
        """No frame comes."""

    def set_carrier(self, up: bool) -> None:
        """The plan says so."""

    def set_transmit(self, slot: int, wish: object) -> None:
        """Nothing is sent."""

    def set_filtered(self, slot: int, filtered: bool) -> None:
        """Nothing is sent."""


class RehearsedNegotiator:
    """As Negotiator, of a lagg whose partner hears nothing: all stays as agreed."""

    marked: frozenset[int] = frozenset()

    def reconcile(self) -> None:
        """Nobody is told."""

    async def open_port(self, number: int, link: Link) -> None:
        """Nothing is agreed on yet."""

    async def close_ports(self, numbers: Collection[int]) -> None:
        """Nothing to do: the ports are in the shape no more."""

    async def leave(self, numbers: Iterable[int]) -> None:
        """The partner is not told."""

    def cancel_leave(self, numbers: Iterable[int]) -> None:
        """The partner was not told."""

    def release(self, numbers: Iterable[int]) -> None:
        """The ports are held as before."""

    async def say_goodbye(self) -> None:
        """The partner is not told."""

    async def close(self) -> None:
        """Nothing is open."""


def _no_device(name: str) -> LaggError:
    return LaggError(name, "look up the interface: No such device", errno.ENODEV)
