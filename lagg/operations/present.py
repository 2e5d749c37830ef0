# SPDX-License-Identifier: BSD-2-Clause
"""All interfaces as they are at one moment, held against what is known of ours.

Owns which of ours are not as they are known, and so are to be looked at.  To look at
each one takes a hundred times longer than to read all at once.
"""

from collections.abc import Iterator, Mapping
from typing import Self

from lagg.frozen import dataclass
from lagg.kernel.netlink import Netlink
from lagg.link import Address, AddrGenMode, Link, Modes
from lagg.plan.shape import Port
from lagg.running.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Present:
    """What the kernel says, by ifindex."""

    links: Mapping[int, Link]
    addresses: Mapping[int, tuple[Address, ...]]
    modes: Mapping[int, Modes]
    lowers: frozenset[int]  # on which something stands

    @classmethod
    async def of(cls, netlink: Netlink) -> Self:
        """As it is now.  LaggError."""
        links = await netlink.links()
        # The lower of a veth is the other end of its cable.
        lowers = {each.lower for each in links.values() if each.kind != "veth"}
        return cls(
            links,
            await netlink.addresses_by_link(),
            await netlink.modes_by_link(),
            frozenset(lowers),
        )

    def changed(self, bundle: Bundle) -> Iterator[int]:
        """The ifindexes of a lagg and of its ports that are not as they are known."""
        tap = bundle.link.ifindex
        if self._lagg_changed(bundle, self.links.get(tap)):
            yield tap
        for port in bundle.shape.ports:
            if self._port_changed(bundle, port, self.links.get(port.link.ifindex)):
                yield port.link.ifindex

    def _lagg_changed(self, bundle: Bundle, link: Link | None) -> bool:
        return link != bundle.link or link.lower_up != bool(bundle.plan.tx_slots)

    def _port_changed(self, bundle: Bundle, port: Port, link: Link | None) -> bool:
        if link is None or link != port.link:
            return True
        wanted = bundle.shape.mac_of(port), bundle.link.mtu, AddrGenMode.NONE
        found = link.mac, link.mtu, link.addr_gen_mode or AddrGenMode.NONE
        modes = self.modes.get(link.ifindex, Modes())
        return found != wanted or modes != port.modes or self._used(port, link)

    def _used(self, port: Port, link: Link) -> bool:
        """Whether somebody else does, or did."""
        addresses = self.addresses.get(link.ifindex, ())
        return (
            bool(port.warnings or link.master)
            or link.ifindex in self.lowers
            or any(not each.self_made for each in addresses)
        )
