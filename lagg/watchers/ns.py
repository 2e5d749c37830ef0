# SPDX-License-Identifier: BSD-2-Clause
"""The watch that asks IPv6 hosts by neighbour solicitation: RFC 4861, 7.2.

Owns the probe, and what answers it.  It is from the link-local address that the probe's
MAC makes (RFC 4291, appendix A), unless the watch has a `source`: what a host learns by
it is true, and of use to nobody else.  (RFC 4862's probe from :: would be answered to
all nodes, by every port.)  The advertisement must be a solicited one (7.2.4), from hop
limit 255, of the target, to that address and MAC, in this VLAN.
"""

import struct
from ipaddress import IPv6Address

from lagg.ethernet import framed, icmpv6_checksum, mac_bytes, parsed
from lagg.watchers.asking import Asking
from lagg.watchers.watcher import Ends
from lagg.watches import LinkWatch, WatchState

ETHERTYPE_IPV6 = 0x86DD

_HEADER = struct.Struct("!IHBB16s16s")
_VERSION = 6
_VERSION_SHIFT = 28
_ICMPV6 = 58
_HOPS = 255
_ND = struct.Struct("!BBHI16s")
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SOLICITED = 1 << 30  # the flag, in the word before the target
_SOURCE_LINK_ADDRESS = b"\x01\x01"  # an option of 8 bytes
_LINK_LOCAL = bytes.fromhex("fe80000000000000")
_SOLICITED_NODE = bytes.fromhex("ff0200000000000000000001ff")
_MULTICAST = b"\x33\x33"


def link_local(mac: bytes) -> bytes:
    """The link-local address that an interface with this MAC makes itself."""
    return _LINK_LOCAL + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]


def ns(watch: LinkWatch, ends: Ends, state: WatchState) -> Asking:
    """The machine of an ns watch; see kinds.Maker."""
    ours = mac_bytes(ends.mac)
    source = link_local(ours) if watch.source is None else _packed(watch.source)
    targets = frozenset(map(_packed, watch.targets))
    pinned = None if watch.target_mac is None else mac_bytes(watch.target_mac)

    def is_answer(frame: bytes) -> bool:
        found = parsed(frame)
        return (
            found is not None
            and (found.ethertype, found.vlan) == (ETHERTYPE_IPV6, watch.vlan)
            and found.destination == ours
            and pinned in (None, found.source)
            and _advertised(found.payload, source) in targets
        )

    probes = [_probe(watch, ours, source, each) for each in sorted(targets)]
    return Asking(watch, state, probes, is_answer)


def _packed(address: str) -> bytes:
    return IPv6Address(address).packed


def _probe(watch: LinkWatch, ours: bytes, source: bytes, target: bytes) -> bytes:
    group = _SOLICITED_NODE + target[-3:]
    bare = _ND.pack(_SOLICITATION, 0, 0, 0, target) + _SOURCE_LINK_ADDRESS + ours
    total = icmpv6_checksum(source, group, bare)
    message = bare[:2] + struct.pack("!H", total) + bare[4:]
    header = _HEADER.pack(
        _VERSION << _VERSION_SHIFT, len(message), _ICMPV6, _HOPS, source, group
    )
    to = _MULTICAST + group[-4:]
    return framed(to, ours, watch.vlan, ETHERTYPE_IPV6, header + message)


def _advertised(packet: bytes, receiver: bytes) -> bytes | None:
    """The target of a solicited advertisement to `receiver`; None: it is none."""
    if len(packet) < _HEADER.size + _ND.size:
        return None
    word, length, following, hops, source, to = _HEADER.unpack_from(packet)
    message = packet[_HEADER.size : _HEADER.size + length]
    if (word >> _VERSION_SHIFT, following, hops) != (_VERSION, _ICMPV6, _HOPS):
        return None
    if to != receiver or len(message) < _ND.size or length != len(message):
        return None
    kind, code, _, flags, target = _ND.unpack_from(message)
    is_one = (kind, code) == (_ADVERTISEMENT, 0) and flags & _SOLICITED
    return target if is_one and icmpv6_checksum(source, to, message) == 0 else None
