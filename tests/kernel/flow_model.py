# SPDX-License-Identifier: BSD-2-Clause
"""The flow hash a second time, and frames of all kinds to try it with.

Shares nothing with hash.c and frame.c: scapy makes the frames and says what is in them.
"""

import socket
from dataclasses import dataclass
from functools import reduce
from typing import Literal

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw
from scapy.utils import mac2str

from lagg.model import ALL_LAYERS, HashKind, HashLayer

MACS = {"src": "02:00:5e:00:53:01", "dst": "02:00:5e:00:53:02"}
V4 = {"src": "192.0.2.1", "dst": "198.51.100.2"}
V6 = {"src": "2001:db8::1", "dst": "2001:db8:0:1::2"}
PORTS = {"sport": 1234, "dport": 80}
DATA = Raw(b"payload of some length")

FRAMES = {
    "ARP": Ether(**MACS) / ARP(),
    "unknown type": Ether(type=0x88B5, **MACS) / DATA,
    "TCP": Ether(**MACS) / IP(**V4) / TCP(**PORTS) / DATA,
    "UDP": Ether(**MACS) / IP(**V4) / UDP(**PORTS) / DATA,
    "SCTP": Ether(**MACS) / IP(**V4) / SCTP(**PORTS) / DATA,
    "ICMP": Ether(**MACS) / IP(**V4) / ICMP() / DATA,
    "IPv4 options": Ether(**MACS) / IP(options=b"\1" * 8, **V4) / UDP(**PORTS) / DATA,
    "don't fragment": Ether(**MACS) / IP(flags="DF", **V4) / UDP(**PORTS) / DATA,
    "first fragment": Ether(**MACS) / IP(flags="MF", **V4) / UDP(**PORTS) / DATA,
    "last fragment": Ether(**MACS) / IP(frag=9, proto=17, **V4) / DATA,
    "VLAN": Ether(**MACS) / Dot1Q(vlan=5) / IP(**V4) / TCP(**PORTS),
    "VLAN with priority": Ether(**MACS)
    / Dot1Q(vlan=5, prio=6)
    / IP(**V4)
    / TCP(**PORTS),
    "QinQ": Ether(**MACS) / Dot1AD(vlan=7) / Dot1Q(vlan=9) / IP(**V4) / UDP(**PORTS),
    "TCP over IPv6": Ether(**MACS) / IPv6(**V6) / TCP(**PORTS),
    "flow label": Ether(**MACS) / IPv6(fl=77, **V6) / TCP(**PORTS),
    "IPv6 extensions": Ether(**MACS)
    / IPv6(**V6)
    / IPv6ExtHdrHopByHop()
    / IPv6ExtHdrRouting(addresses=["2001:db8::9"])
    / IPv6ExtHdrDestOpt()
    / UDP(**PORTS)
    / DATA,
    "IPv6 fragment": Ether(**MACS)
    / IPv6(**V6)
    / IPv6ExtHdrFragment(offset=0, m=1)
    / UDP(**PORTS)
    / DATA,
    "VLAN and IPv6": Ether(**MACS) / Dot1Q(vlan=4094) / IPv6(**V6) / SCTP(**PORTS),
}


TagOrder = Literal["little", "big"]


@dataclass(frozen=True, slots=True)
class Counted:
    """What counts: some layers, in both directions alike or not."""

    layers: tuple[HashLayer, ...] = ALL_LAYERS
    symmetric: bool = False

    def pair(self, first: bytes, second: bytes) -> bytes:
        ends = [first, second]
        return b"".join(sorted(ends) if self.symmetric else ends)


def fields(frame: Packet, counted: Counted, tag_order: TagOrder) -> bytes:
    """What tells the flow apart, as lagg(4) orders it."""
    found, layers = b"", counted.layers
    if HashLayer.L2 in layers:
        found += counted.pair(mac2str(frame.src), mac2str(frame.dst))
        tags = [tag for tag in (Dot1AD, Dot1Q) if frame.getlayer(tag).__class__ is tag]
        found += b"".join(frame[tag].vlan.to_bytes(2, tag_order) for tag in tags)
    if HashLayer.L3 in layers:
        for family, version in ((socket.AF_INET, IP), (socket.AF_INET6, IPv6)):
            if version in frame:
                ends = frame[version].src, frame[version].dst
                found += counted.pair(*(socket.inet_pton(family, end) for end in ends))
    if HashLayer.L4 in layers and not fragmented(frame):
        for transport in (TCP, UDP, SCTP):
            if transport in frame:
                ports = frame[transport].sport, frame[transport].dport
                found += counted.pair(*(port.to_bytes(2, "big") for port in ports))
    return found


def fragmented(frame: Packet) -> bool:
    if IP in frame:
        return bool(frame[IP].flags.MF or frame[IP].frag)
    return IPv6ExtHdrFragment in frame


def fnv1(frame: Packet, counted: Counted, seed: int) -> int:
    # FreeBSD hashes a tag as an integer; its hosts are little-endian.
    whole = seed.to_bytes(4, "little") + fields(frame, counted, "little")
    return reduce(lambda h, byte: h * 16777619 % 2**32 ^ byte, whole, 2166136261)


def crc32c(frame: Packet, counted: Counted, seed: int) -> int:
    """Bit by bit, and then murmur3's finaliser."""
    crc = 0xFFFFFFFF
    for byte in fields(frame, counted, "big"):
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    mixed = crc ^ seed
    mixed = (mixed ^ mixed >> 16) * 0x85EBCA6B % 2**32
    mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 % 2**32
    return mixed ^ mixed >> 16


MODELS = {HashKind.FNV1: fnv1, HashKind.CRC32C: crc32c}


def turned(frame: Packet) -> Packet:
    """The frame that would come back: each pair of its fields the other way round."""
    back = frame.copy()
    for layer in back.iterpayloads():
        for first, second in (("src", "dst"), ("sport", "dport")):
            if isinstance(layer, (Ether, IP, IPv6, TCP, UDP, SCTP)):
                swap(layer, first, second)
    return back


def swap(layer: Packet, first: str, second: str) -> None:
    if first in layer.fields:
        a, b = getattr(layer, first), getattr(layer, second)
        layer.setfieldval(first, b)
        layer.setfieldval(second, a)
