# SPDX-License-Identifier: BSD-2-Clause
"""BFD Control packets in their frames: bytes to values and back (RFC 5880 section 4).

Owns the layout of the packet and of the datagram around it (RFC 5881, RFC 7130), and
what is refused in them.  Decoding raises nothing: it answers with the value, or with
why there is none.  Knows no session and no time.
"""

import struct
from enum import Enum, IntEnum
from ipaddress import ip_address
from typing import Annotated

from lagg.ethernet import internet_checksum
from lagg.frozen import dataclass
from lagg.lacp.values import U32

VERSION = 1
CONTROL_BYTES = 24
"""A packet without authentication; a longer one is read so far."""

TTL = 255
"""What a neighbour sends and no router lets through (RFC 5082)."""

UDP_SINGLE_HOP = 3784
UDP_MICRO = 6784

MAC_MICRO = bytes.fromhex("01005e900001")
"""The dedicated multicast MAC of RFC 7130, 2.3."""

MAC_OPEN_VSWITCH = bytes.fromhex("002320000001")
"""Where Open vSwitch sends to, unless it is told otherwise."""

IP_OPEN_VSWITCH = ("169.254.1.1", "169.254.1.0")
"""Source and destination of what Open vSwitch sends; it looks at neither."""

U8 = Annotated[int, range(1 << 8)]

_CONTROL = struct.Struct("!BBBBIIIII")
assert _CONTROL.size == CONTROL_BYTES
_FLAG_POLL, _FLAG_FINAL, _FLAG_AUTHENTICATED = 0x20, 0x10, 0x04
_FLAG_DEMAND, _FLAG_MULTIPOINT = 0x02, 0x01

_ETHERNET = struct.Struct("!6s6sH")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")
_ETHERTYPE = {4: 0x0800, 6: 0x86DD}
_PROTOCOL_UDP = 17
_CLASS_CONTROL = 0xC0  # DSCP CS6, network control
_FRAGMENTED = 0x3FFF  # more fragments, or not the first
_UDP_BYTES = _UDP.size + CONTROL_BYTES
_UDP_SOURCE_MIN, _UDP_SOURCES = 49152, 16384  # RFC 5881, 4


class SessionState(IntEnum):
    """bfd.SessionState, and the Sta field."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3


class Diagnostic(IntEnum):
    """bfd.LocalDiag: why a session left Up last; a stranger's others are NONE to us."""

    NONE = 0
    EXPIRED = 1  # control detection time expired
    ECHO_FAILED = 2
    NEIGHBOUR_DOWN = 3  # neighbor signaled session down
    PLANE_RESET = 4
    PATH_DOWN = 5
    CONCATENATED_PATH_DOWN = 6
    ADMIN_DOWN = 7
    REVERSE_PATH_DOWN = 8


_DIAGNOSTICS = {each.value: each for each in Diagnostic}


class BadBfd(Enum):
    """Why a frame was not taken; counted per session, never raised."""

    ADDRESS = "address"  # of somebody else than the partner
    TTL = "ttl"  # it has been routed, or somebody far away made it
    VERSION = "version"
    LENGTH = "length"
    MULTIPLIER = "multiplier"  # zero
    MULTIPOINT = "multipoint"
    AUTHENTICATED = "authenticated"
    DISCRIMINATOR = "discriminator"  # none of its own, or not ours: another session's
    STATE = "state"  # of a session that is up and does not say which
    ADMIN_DOWN = "admin-down"  # it came while our end was taken down by hand


@dataclass(frozen=True, slots=True)
class ControlPacket:
    """What a packet says; intervals in microseconds, as on the wire."""

    state: SessionState
    diagnostic: Diagnostic
    multiplier: U8
    my_discriminator: U32
    your_discriminator: U32  # 0: of nobody yet
    desired_min_tx_us: U32
    required_min_rx_us: U32  # 0: nothing is wanted
    poll: bool = False
    final: bool = False
    demand: bool = False


def decode_control(octets: bytes) -> ControlPacket | BadBfd:
    """Read a datagram's payload; refuses what needs no session for it (6.8.6)."""
    if len(octets) < CONTROL_BYTES:
        return BadBfd.LENGTH
    head, flags, multiplier, length, mine, yours, tx, rx, _ = _CONTROL.unpack_from(
        octets
    )
    if head >> 5 != VERSION:
        return BadBfd.VERSION
    if not CONTROL_BYTES <= length <= len(octets):
        return BadBfd.LENGTH
    if multiplier == 0:
        return BadBfd.MULTIPLIER
    if flags & _FLAG_MULTIPOINT:
        return BadBfd.MULTIPOINT
    if mine == 0:
        return BadBfd.DISCRIMINATOR
    if flags & _FLAG_AUTHENTICATED:
        return BadBfd.AUTHENTICATED
    state = SessionState(flags >> 6)
    if yours == 0 and state > SessionState.DOWN:
        return BadBfd.STATE
    return ControlPacket(
        state,
        _DIAGNOSTICS.get(head & 0x1F, Diagnostic.NONE),
        multiplier,
        mine,
        yours,
        tx,
        rx,
        poll=bool(flags & _FLAG_POLL),
        final=bool(flags & _FLAG_FINAL),
        demand=bool(flags & _FLAG_DEMAND),
    )


def encode_control(packet: ControlPacket) -> bytes:
    """24 bytes, without echo and authentication."""
    flags = packet.state << 6
    flags |= _FLAG_POLL if packet.poll else 0
    flags |= _FLAG_FINAL if packet.final else 0
    flags |= _FLAG_DEMAND if packet.demand else 0
    return _CONTROL.pack(
        VERSION << 5 | packet.diagnostic,
        flags,
        packet.multiplier,
        CONTROL_BYTES,
        packet.my_discriminator,
        packet.your_discriminator,
        packet.desired_min_tx_us,
        packet.required_min_rx_us,
        0,
    )


@dataclass(frozen=True, slots=True)
class Envelope:
    """The frame around a session's packets, each way; addresses as bytes."""

    source_mac: bytes
    destination_mac: bytes
    source: bytes  # 4 or 16
    destination: bytes  # as many
    udp_source: int
    udp_destination: int
    heard_at: tuple[bytes, ...]  # destination MACs of what is for this session
    only_from: (
        bytes | None
    )  # the partner's address; None: whoever has the discriminator

    @classmethod
    def open_vswitch(cls, source_mac: bytes, discriminator: int) -> "Envelope":
        """As Open vSwitch's `bfd` of an interface has it by default."""
        source, destination = (ip_address(each).packed for each in IP_OPEN_VSWITCH)
        return cls(
            source_mac,
            MAC_OPEN_VSWITCH,
            source,
            destination,
            _udp_source(discriminator),
            UDP_SINGLE_HOP,
            # What comes to the port's own MAC is of a session above the lagg.
            heard_at=(MAC_OPEN_VSWITCH,),
            only_from=None,
        )

    @classmethod
    def micro(
        cls, source_mac: bytes, source: str, target: str, discriminator: int
    ) -> "Envelope":
        """As RFC 7130 has it on a member of a LAG; addresses of one family."""
        destination = ip_address(target).packed
        return cls(
            source_mac,
            MAC_MICRO,
            ip_address(source).packed,
            destination,
            _udp_source(discriminator),
            UDP_MICRO,
            heard_at=(MAC_MICRO, source_mac),
            only_from=destination,
        )

    def seal(self, packet: ControlPacket) -> bytes:
        """The frame with this packet, without FCS."""
        payload = encode_control(packet)
        pseudo = _pseudo(self.source, self.destination)
        ports = self.udp_source, self.udp_destination
        bare = _UDP.pack(*ports, _UDP_BYTES, 0) + payload
        # 0 would say that there is none.
        check = internet_checksum(pseudo + bare) or 0xFFFF
        udp = _UDP.pack(*ports, _UDP_BYTES, check) + payload
        return self._ethernet() + self._ip() + udp

    def open(self, frame: bytes) -> ControlPacket | BadBfd | None:
        """The packet in a frame that is for this session; None: it is for another."""
        found = _datagram(frame) if frame[:6] in self.heard_at else None
        if found is None or found.udp_destination != self.udp_destination:
            return None
        if found.ttl != TTL:
            return BadBfd.TTL
        if self.only_from is not None and found.source != self.only_from:
            return BadBfd.ADDRESS
        return decode_control(found.payload)

    def _ethernet(self) -> bytes:
        family = _ETHERTYPE[4 if len(self.source) == 4 else 6]
        return _ETHERNET.pack(self.destination_mac, self.source_mac, family)

    def _ip(self) -> bytes:
        ends = self.source, self.destination
        if len(self.source) != 4:
            first = 6 << 28 | _CLASS_CONTROL << 20
            return _IPV6.pack(first, _UDP_BYTES, _PROTOCOL_UDP, TTL, *ends)
        total = _IPV4.size + _UDP_BYTES
        words = 0x45, _CLASS_CONTROL, total, 0, 0, TTL, _PROTOCOL_UDP
        check = internet_checksum(_IPV4.pack(*words, 0, *ends))
        return _IPV4.pack(*words, check, *ends)


@dataclass(frozen=True, slots=True)
class _Datagram:
    ttl: int
    source: bytes
    udp_destination: int
    payload: bytes


def _datagram(frame: bytes) -> _Datagram | None:
    """The UDP datagram in a frame; None: there is none that is whole.

    Its checksum is not looked at: of a frame that no wire has carried it is not
    filled in yet.  That of the IPv4 header is.
    """
    if len(frame) < _ETHERNET.size:
        return None
    family = frame[12] << 8 | frame[13]
    if family == _ETHERTYPE[4]:
        return _of_ipv4(frame[_ETHERNET.size :])
    return _of_ipv6(frame[_ETHERNET.size :]) if family == _ETHERTYPE[6] else None


def _of_ipv4(octets: bytes) -> _Datagram | None:
    if len(octets) < _IPV4.size:
        return None
    first, _, total, _, fragment, ttl, protocol, _, source, _ = _IPV4.unpack_from(
        octets
    )
    head = (first & 0xF) * 4
    if first >> 4 != 4 or not _IPV4.size <= head <= total <= len(octets):
        return None
    if fragment & _FRAGMENTED or protocol != _PROTOCOL_UDP:
        return None
    if internet_checksum(octets[:head]) != 0:
        return None
    return _of_udp(ttl, source, octets[head:total])


def _of_ipv6(octets: bytes) -> _Datagram | None:
    """Without extension headers, which no neighbour puts here."""
    if len(octets) < _IPV6.size:
        return None
    first, size, protocol, ttl, source, _ = _IPV6.unpack_from(octets)
    if first >> 28 != 6 or protocol != _PROTOCOL_UDP:
        return None
    datagram = octets[_IPV6.size : _IPV6.size + size]
    return _of_udp(ttl, source, datagram) if len(datagram) == size else None


def _of_udp(ttl: int, source: bytes, octets: bytes) -> _Datagram | None:
    if len(octets) < _UDP.size:
        return None
    _, destination, size, _ = _UDP.unpack_from(octets)
    if not _UDP.size <= size <= len(octets):
        return None
    return _Datagram(ttl, source, destination, octets[_UDP.size : size])


def _pseudo(source: bytes, destination: bytes) -> bytes:
    """The pseudo-header of a datagram with a packet; of IPv6 it has the same sum."""
    return source + destination + struct.pack("!HH", _PROTOCOL_UDP, _UDP_BYTES)


def _udp_source(discriminator: int) -> int:
    """One for each session, always the same, in the range that RFC 5881 wants."""
    return _UDP_SOURCE_MIN + discriminator % _UDP_SOURCES
