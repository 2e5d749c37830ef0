# SPDX-License-Identifier: BSD-2-Clause
"""The links and addresses of this network namespace: read, set and watched.

Owns the rtnetlink sockets.  Knows no lagg: what to set and in which order is the
caller's.  Every refusal is a LaggError that names the interface and the step.

A request runs in the caller's thread, within the system call that sends it.
"""

import errno
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from lagg.errors import LaggError, done_if
from lagg.kernel.netlink import messages
from lagg.kernel.netlink.egress import Egress
from lagg.kernel.netlink.generic import Generic
from lagg.kernel.netlink.queues import QueueWatch
from lagg.kernel.netlink.stats import Stats
from lagg.kernel.netlink.watch import Activity, Watch
from lagg.kernel.netlink.wire import (
    NETLINK_ROUTE,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    Request,
    Socket,
)
from lagg.link import (
    Address,
    AddrGenMode,
    EgressRules,
    HostAddress,
    Link,
    LinkChanged,
    LinkEvent,
    LinkGone,
    Modes,
    Offload,
    Reception,
    Segments,
)

QUEUE_BYTES = 4 << 20
"""Room for about 2000 link events while the event loop is busy elsewhere."""


class Netlink:
    """The kernel's links, addresses and their changes; to be closed."""

    def __init__(self, queue_bytes: int = QUEUE_BYTES) -> None:
        """Opens the sockets in this thread's namespace.  LaggError if refused."""
        with _blaming("netlink", "open a socket"):
            self._watch = Watch(queue_bytes)
            self._route = Socket(NETLINK_ROUTE)
            self._generic = Generic()
            self._stats = Stats()
            self._egress = Egress()
            self._queues = QueueWatch()
        self._names: dict[int, str] = {}

    def close(self) -> None:
        """Closes the sockets; a pending watch must have been cancelled before."""
        asked = (self._route, self._generic, self._stats, self._egress)
        for each in (self._watch, self._queues, *asked):
            each.close()

    async def watch(self) -> AsyncIterator[LinkEvent]:
        """All changes since this object was made, for one consumer, without an end.

        Of changes of one interface that wait together only the last is told.
        """
        while True:
            with _blaming("netlink", "receive events"):
                events = await self._watch.events()
            for event in events:
                self._remember_name(event)
                yield event

    async def watch_queues(self) -> AsyncIterator[list[int] | None]:
        """The ifindexes whose number of queues changed; None: any may have changed.

        Without an end, for one consumer.  Before Linux 5.6 nothing is told.
        """
        while True:
            with _blaming("netlink", "receive ethtool's notices"):
                changed = await self._queues.changed()
            yield changed

    @property
    def tells_groups(self) -> bool:
        """Whether watch() tells of IP multicast groups: since Linux 6.14."""
        return self._watch.tells_groups

    def watch_closely(
        self, ifindexes: Iterable[int], traffic: Activity | None = None
    ) -> None:
        """Names the ports, whose carrier changes the kernel must not hold back.

        `traffic`: theirs, which would be lost.
        """
        self._watch.closely(ifindexes, traffic)

    def _remember_name(self, event: LinkEvent) -> None:
        if isinstance(event, LinkChanged):
            self._names[event.link.ifindex] = event.link.name
        elif isinstance(event, LinkGone):
            self._names.pop(event.ifindex, None)

    async def links(self) -> dict[int, Link]:
        """All interfaces of the namespace by ifindex, as they are now; not to be kept.

        Listed once, and then known from what is told: it must not take longer the more
        interfaces there are.
        """
        with _blaming("netlink", "list the interfaces"):
            return (await self._watch.table(self._dump)).links

    async def _dump(self) -> list[Link]:
        request = Request(
            messages.link_request(0), messages.RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP
        )
        found = map(messages.link_of, await self._route.ask(request))
        links = [link for link in found if link is not None]
        self._names |= {link.ifindex: link.name for link in links}
        return links

    def tx_dropped(self, ifindex: int) -> int | None:
        """Frames to an interface that the kernel dropped before its driver had them.

        Asked and answered at once, so that it is exact between two publications.  None
        when there is no such interface.
        """
        with _blaming(self._name(ifindex), "read a counter"):
            return self._stats.tx_dropped(ifindex)

    async def egress_rules(self) -> EgressRules:
        """Whose frames are shaped or filtered as they leave, and not by us."""
        with _blaming("netlink", "look for egress filters"):
            return await self._egress.rules()

    def reception(self, ifindex: int) -> Reception | None:
        """Its promiscuity and allmulti references; the kernel tells no change of them.

        Another MAC above it makes it promiscuous so.  None: no such interface.
        """
        with _blaming(self._name(ifindex), "ask what it receives"):
            return self._stats.reception(ifindex)

    async def filters_vlans(self, ifindex: int) -> bool:
        """Whether its driver keeps out tags that were not registered with it.

        False when the interface is gone.
        """
        with _blaming(self._name(ifindex), "ask whether it filters VLANs"):
            return await self._generic.filters_vlans(ifindex)

    async def offloads(self, ifindex: int) -> tuple[Offload, ...]:
        """Which receive offloads are on; none when the interface is gone."""
        with _blaming(self._name(ifindex), "read its offloads"):
            return await self._generic.offloads(ifindex)

    async def set_offload(self, ifindex: int, offload: Offload, *, on: bool) -> None:
        """Sets one offload.  LaggError(EOPNOTSUPP): its driver leaves it as it is."""
        with _blaming(self._name(ifindex), f"set {offload} {'on' if on else 'off'}"):
            await self._generic.set_offload(ifindex, offload, on)

    async def transmit_by_several(self, links: Sequence[Link]) -> set[int]:
        """The ifindexes of those that have several transmit queues, or may have.

        Any answer may come of an interface that is gone.
        """
        may = [link.ifindex for link in links if link.queues != 1]
        with _blaming("netlink", "ask for transmit queues"):
            found = await self._transmit_queues(may)
        return {ifindex for ifindex in may if found.get(ifindex) != 1}

    async def _transmit_queues(
        self, ifindexes: Sequence[int]
    ) -> Mapping[int, int | None]:
        if len(ifindexes) > 1:  # all there are, for no more than a few cost
            return await self._generic.transmit_queues_by_link()
        ask = self._generic.transmit_queues
        return {ifindex: await ask(ifindex) for ifindex in ifindexes}

    async def link(self, ifindex: int) -> Link:
        """One interface by its index.  LaggError(ENODEV) if there is none."""
        return await self._get(messages.link_request(ifindex), self._name(ifindex))

    async def by_name(self, name: str) -> Link:
        """One interface by its name.  LaggError(ENODEV) if there is none."""
        body = messages.link_request(0, ("IFLA_IFNAME", name))
        link = await self._get(body, name)
        if link.name != name:  # the kernel finds alternative names, too
            raise LaggError(name, "look up the interface: No such device", errno.ENODEV)
        return link

    async def _get(self, body: object, name: str) -> Link:
        with _blaming(name, "look up the interface"):
            for raw in await self._route.ask(Request(body, messages.RTM_GETLINK)):
                link = messages.link_of(raw)
                if link is not None:
                    self._names[link.ifindex] = link.name
                    return link
            raise OSError(errno.ENODEV, "not described by the kernel")

    async def set_mac(self, ifindex: int, mac: str) -> None:
        """Sets the hardware address; sets a refusing interface down for that moment."""
        try:
            await self._set(ifindex, f"set MAC {mac}", ("IFLA_ADDRESS", mac))
        except LaggError as error:
            if error.code != errno.EBUSY or not (await self.link(ifindex)).up:
                raise
        else:
            return
        await self.set_up(ifindex, False)
        try:
            await self._set(ifindex, f"set MAC {mac}", ("IFLA_ADDRESS", mac))
        finally:
            await self.set_up(ifindex, True)

    async def set_mtu(self, ifindex: int, mtu: int) -> None:
        """Sets the MTU in bytes."""
        await self._set(ifindex, f"set MTU {mtu}", ("IFLA_MTU", mtu))

    async def set_queue(self, ifindex: int, frames: int) -> None:
        """Sets txqueuelen, which for a TAP is how many frames may wait to be read."""
        await self._set(ifindex, f"set txqueuelen {frames}", ("IFLA_TXQLEN", frames))

    async def set_segments(self, ifindex: int, most: Segments) -> None:
        """Sets gso_max_size and gso_max_segs."""
        body = messages.link_request(
            ifindex,
            ("IFLA_GSO_MAX_SIZE", most.bytes_max),
            ("IFLA_GSO_MAX_SEGS", most.count_max),
        )
        await self._do(ifindex, "set gso_max_size", Request(body, messages.RTM_SETLINK))

    async def set_up(self, ifindex: int, up: bool) -> None:
        """Sets the interface administratively up or down."""
        body = messages.up_request(ifindex, up)
        step = "set up" if up else "set down"
        await self._do(ifindex, step, Request(body, messages.RTM_SETLINK))

    async def set_addr_gen_mode(self, ifindex: int, mode: AddrGenMode) -> None:
        """Sets how IPv6 makes link-local addresses; addresses there are stay."""
        step = f"set addrgenmode {mode.name.lower()}"
        await self._set(ifindex, step, messages.addr_gen_mode_attribute(mode))

    async def set_alias(self, ifindex: int, alias: str) -> None:
        """Sets the words ip(8) shows as alias."""
        await self._set(ifindex, "set alias", ("IFLA_IFALIAS", alias))

    async def add_altname(self, ifindex: int, name: str) -> None:
        """Gives another name.  LaggError(EEXIST) if any interface is called so."""
        body = messages.altname_request(ifindex, name)
        step = f"add altname {name}"
        await self._do(ifindex, step, Request(body, messages.RTM_NEWLINKPROP))

    async def delete_altname(self, ifindex: int, name: str) -> None:
        """Takes one of the other names away.  LaggError(ENOENT) if it is none."""
        body = messages.altname_request(ifindex, name)
        step = f"delete altname {name}"
        await self._do(ifindex, step, Request(body, messages.RTM_DELLINKPROP))

    async def _set(
        self, ifindex: int, step: str, attribute: tuple[str, object]
    ) -> None:
        body = messages.link_request(ifindex, attribute)
        await self._do(ifindex, step, Request(body, messages.RTM_SETLINK))

    async def addresses(self, ifindex: int) -> tuple[Address, ...]:
        """The IP addresses of one interface."""
        with _blaming(self._name(ifindex), "list the addresses"):
            return (await self._addresses(ifindex)).get(ifindex, ())

    async def addresses_by_link(self) -> dict[int, tuple[Address, ...]]:
        """The IP addresses of all interfaces that have any, by ifindex."""
        with _blaming("netlink", "list the addresses"):
            return await self._addresses(0)

    async def host_addresses(self, ifindex: int) -> tuple[HostAddress, ...]:
        """What of the addresses of one interface is to be announced: cheaper."""
        with _blaming(self._name(ifindex), "list the addresses"):
            found = map(messages.host_address_of, await self._address_messages(ifindex))
        # An older kernel tells those of others, too.
        return tuple(each[1] for each in found if each and each[0] == ifindex)

    async def _addresses(self, ifindex: int) -> dict[int, tuple[Address, ...]]:
        """By ifindex; the kernel may leave out all but that of `ifindex`."""
        found: dict[int, tuple[Address, ...]] = {}
        for raw in await self._address_messages(ifindex):
            index, address = messages.address_of(raw)
            found[index] = (*found.get(index, ()), address)
        return found

    async def _address_messages(self, ifindex: int) -> list[bytes]:
        request = Request(
            messages.address_request(ifindex),
            messages.RTM_GETADDR,
            NLM_F_REQUEST | NLM_F_DUMP,
        )
        return await self._route.ask(request)

    async def add_address(self, ifindex: int, address: Address) -> None:
        """Adds an address; LaggError(EEXIST) if it is there."""
        request = Request(
            messages.address_request(ifindex, address),
            messages.RTM_NEWADDR,
            NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        )
        await self._do(ifindex, f"add {address}", request)

    async def delete_address(self, ifindex: int, address: Address) -> None:
        """Takes an address away; LaggError(EADDRNOTAVAIL) if it is not there."""
        body = messages.address_request(ifindex, address)
        await self._do(
            ifindex, f"delete {address}", Request(body, messages.RTM_DELADDR)
        )

    async def delete_kernel_routes(self, ifindex: int) -> None:
        """Takes away the IPv6 routes that the kernel made for an interface by itself.

        Those to its prefixes go with its addresses, but for what a router advertised.
        """
        listing = Request(
            messages.routes_request(ifindex),
            messages.RTM_GETROUTE,
            NLM_F_REQUEST | NLM_F_DUMP,
        )
        with _blaming(self._name(ifindex), "list the routes"):
            found = await self._route.ask(listing)
        for raw in found:
            body = messages.kernel_route(raw)
            if body is not None:
                request = Request(body, messages.RTM_DELROUTE)
                with done_if(errno.ESRCH):  # it expired, or went with its address
                    await self._do(ifindex, "delete a route", request)

    async def modes(self, ifindex: int) -> Modes:
        """What ethtool says; unknown is ordinary for a virtual NIC."""
        with _blaming(self._name(ifindex), "read speed and duplex"):
            return await self._generic.modes(ifindex)

    async def modes_by_link(self) -> dict[int, Modes]:
        """What ethtool says of each interface of which it says anything."""
        with _blaming("netlink", "read speeds and duplex"):
            return await self._generic.modes_by_link()

    async def set_speed(self, ifindex: int, speed_mbps: int) -> None:
        """Sets what ethtool says of a TAP: its speed, at full duplex."""
        with _blaming(self._name(ifindex), f"set speed {speed_mbps} Mbit/s"):
            await self._generic.set_modes(ifindex, Modes(speed_mbps))

    async def wireless(self, ifindex: int) -> bool:
        """Whether cfg80211 drives the interface; wlan looks like Ethernet otherwise."""
        with _blaming(self._name(ifindex), "ask whether it is wireless"):
            return await self._generic.wireless(ifindex)

    async def _do(self, ifindex: int, step: str, request: Request) -> None:
        with _blaming(self._name(ifindex), step):
            await self._route.ask(request)

    def _name(self, ifindex: int) -> str:
        return self._names.get(ifindex) or f"interface {ifindex}"


@contextmanager
def _blaming(thing: str, step: str) -> Iterator[None]:
    """Turns a kernel's refusal into ours: which interface, which step, which errno."""
    try:
        yield
    except OSError as error:
        raise LaggError.of_os(thing, step, error) from error
