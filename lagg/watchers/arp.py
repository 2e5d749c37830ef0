# SPDX-License-Identifier: BSD-2-Clause
"""The watch that asks IPv4 hosts by ARP: RFC 826, with the sender of RFC 5227's probe.

Owns the probe, and what answers it.  The sender's protocol address is 0.0.0.0 unless
the watch has a `source`: no host learns anything by such a probe, above all not that
the lagg's address is at a MAC it does not have.  The answer goes to the probe's MAC,
which is this port's alone; that, the target and the VLAN are looked at, and by whom a
probe was asked.
"""

import struct
from ipaddress import IPv4Address

from lagg.ethernet import BROADCAST, MAC_BYTES, framed, mac_bytes, parsed
from lagg.watchers.asking import Asking
from lagg.watchers.watcher import Ends
from lagg.watches import LinkWatch, WatchState

ETHERTYPE_ARP = 0x0806

_BODY = struct.Struct("!HHBBH6s4s6s4s")
_HEAD = 1, 0x0800, MAC_BYTES, 4  # Ethernet and IPv4, and how long their addresses are
_REQUEST, _REPLY = 1, 2
_NOBODY = "0.0.0.0"


def arp(watch: LinkWatch, ends: Ends, state: WatchState) -> Asking:
    """The machine of an arp watch; see kinds.Maker."""
    ours = mac_bytes(ends.mac)
    source = IPv4Address(watch.source or _NOBODY).packed
    targets = frozenset(IPv4Address(each).packed for each in watch.targets)
    pinned = None if watch.target_mac is None else mac_bytes(watch.target_mac)

    def probe(target: bytes) -> bytes:
        body = _BODY.pack(*_HEAD, _REQUEST, ours, source, bytes(MAC_BYTES), target)
        return framed(BROADCAST, ours, watch.vlan, ETHERTYPE_ARP, body)

    def is_answer(frame: bytes) -> bool:
        found = parsed(frame)
        if found is None or len(found.payload) < _BODY.size:
            return False
        *head, operation, sender, spa, receiver, tpa = _BODY.unpack_from(found.payload)
        return (
            (found.ethertype, found.vlan) == (ETHERTYPE_ARP, watch.vlan)
            and (tuple(head), operation) == (_HEAD, _REPLY)
            and found.destination == receiver == ours
            and (spa in targets, tpa) == (True, source)
            and pinned in (None, sender)
        )

    return Asking(watch, state, [probe(each) for each in sorted(targets)], is_answer)
