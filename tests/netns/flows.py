# SPDX-License-Identifier: BSD-2-Clause
"""Random flows, their frames, and where FreeBSD's lagg(4) would send them.

Owns a second opinion on the FNV-1 hash, made from lagg(4)'s description alone.  Knows
no code of ours.
"""

import socket
import struct
from dataclasses import dataclass
from random import Random

from tests.netns.frames import ETH_P_8021Q, ETH_P_IP, ether, ipv4, tagged, udp


@dataclass(frozen=True, slots=True)
class Flow:
    """UDP over IPv4, in a VLAN or not."""

    src_mac: bytes
    dst_mac: bytes
    vlan: int | None
    src: str
    dst: str
    sport: int
    dport: int

    def frame(self, number: int) -> bytes:
        """One of its frames: what tells no flows apart differs from `number` on."""
        packet = ipv4(
            udp(number.to_bytes(8, "big"), sport=self.sport, dport=self.dport),
            src=self.src,
            dst=self.dst,
            ident=number % 65536,
        )
        frame = ether(packet, ETH_P_IP, src=self.src_mac, dst=self.dst_mac)
        if self.vlan is None:
            return frame
        priority = number % 8
        return tagged(frame, (ETH_P_8021Q, priority << 13 | self.vlan))

    def fnv1(self, seed: int) -> int:
        """FreeBSD's m_ether_tcpip_hash() over l2, l3 and l4, at priority 0."""
        # The seed and the tag in the byte order of the machine, here amd64's.
        tag = b"" if self.vlan is None else struct.pack("<H", self.vlan)
        addresses = socket.inet_aton(self.src) + socket.inet_aton(self.dst)
        ports = struct.pack("!HH", self.sport, self.dport)
        found = 2166136261
        for byte in (
            struct.pack("<I", seed)
            + (self.src_mac + self.dst_mac + tag)
            + (addresses + ports)
        ):
            found = found * 16777619 % 2**32 ^ byte
        return found


def random_flows(rng: Random, count: int) -> list[Flow]:
    return [
        Flow(
            src_mac=_mac(rng),
            dst_mac=_mac(rng),
            vlan=rng.choice((None, rng.randrange(1, 4095))),
            src=_address(rng),
            dst=_address(rng),
            sport=rng.randrange(1, 65536),
            dport=rng.randrange(1, 65536),
        )
        for _ in range(count)
    ]


def _mac(rng: Random) -> bytes:
    return b"\x02" + rng.randbytes(5)


def _address(rng: Random) -> str:
    return socket.inet_ntoa(b"\x0a" + rng.randbytes(3))
