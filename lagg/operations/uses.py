# SPDX-License-Identifier: BSD-2-Clause
"""What somebody uses a port for while it is one: an address, a VLAN, a bridge.

Owns that it is told when it begins and when it ends, and that a record says so between.
Nothing of it is undone: a port is deaf, and whoever meant otherwise should know.
"""

from lagg.events import EventKind
from lagg.operations.laggs import Laggs
from lagg.ports.eligible import uses
from lagg.running.bundle import Bundle


async def tell_uses(laggs: Laggs, bundle: Bundle, ifindex: int) -> None:
    """Looks at a port as it is now; one that is none any more is fine.  LaggError."""
    links = await laggs.netlink.links()
    addresses = await laggs.netlink.addresses(ifindex)
    link, port = links.get(ifindex), bundle.shape.find(ifindex)
    if link is None or port is None:
        return
    found = tuple(str(use) for use in uses(link, links, addresses))
    bundle.note_warnings(port.slot, found)
    for words in found:
        if words not in port.warnings:
            bundle.emit(EventKind.PORT_WARNING, words, link.name)
    for words in port.warnings:
        if words not in found:
            bundle.emit(EventKind.PORT_WARNING_OVER, words, link.name)
