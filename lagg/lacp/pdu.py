# SPDX-License-Identifier: BSD-2-Clause
"""Slow-protocol frames: bytes to values and back (802.1AX 6.4.2, 6.5.3).

Owns the layout of the LACPDU and of the Marker PDU, and what is refused in them.
Decoding raises nothing: it answers with the value, or with why there is none.  Knows no
port and no machine.
"""

import struct
from typing import Annotated

from lagg.frozen import dataclass
from lagg.lacp.values import U16, Bad, Party, PortId, State, System

SLOW_PROTOCOLS = "01:80:c2:00:00:02"
"""Slow_Protocols_Multicast address (802.3 57A.3); bridges do not forward it."""

ETHERTYPE = 0x8809
SUBTYPE_LACP = 1
SUBTYPE_MARKER = 2
VERSION = 1
PDU_BYTES = 124
"""Both PDUs with their Ethernet header and without FCS; a longer one is read so far."""

RETRIES = 3
RETRIES_MAX = 10
Retries = Annotated[int, range(RETRIES, RETRIES_MAX + 1)]
"""How many periods a timeout has, and how many a partner may ask for (SONiC)."""

NULL_MAC = "00:00:00:00:00:00"
STATES = tuple(State(octet) for octet in range(256))
"""By octet: to look one up is ten times faster than to build it."""

_HEAD = struct.Struct("!6s6sHB")  # destination, source, EtherType, subtype
_PARTY = "BBH6sHHHB3x"  # type, length, system (2), key, port (2), state
_LACPDU = struct.Struct(f"!15xB{_PARTY}{_PARTY}BBH12xBB50x")
_MARKER = struct.Struct("!15xBBBH6sI2xBB90x")
assert _LACPDU.size == _MARKER.size == PDU_BYTES

_TLV_ACTOR, _TLV_PARTNER, _TLV_COLLECTOR, _TLV_TERMINATOR = 1, 2, 3, 0
_PARTY_BYTES, _COLLECTOR_BYTES, _MARKER_BYTES = 20, 16, 16
_TLV_MARKER, _TLV_MARKER_RESPONSE = 1, 2

_VERSION_SONIC = 0xF1
_TLV_RETRIES, _RETRIES_BYTES, _RETRIES_AT = 0x80, 4, 74


@dataclass(frozen=True, slots=True)
class Lacpdu:
    """What a LACPDU says: who sent it, and what it knows of the receiver."""

    actor: Party
    partner: Party
    collector_max_delay: U16 = 0  # tens of microseconds
    retries: Retries = RETRIES  # PDUs of the sender's that may go missing


@dataclass(frozen=True, slots=True)
class Marker:
    """A Marker or, with `response`, the answer to one (6.5)."""

    port: int  # Requester_Port
    system: str  # Requester_System, a MAC
    transaction: int
    response: bool = False


def decode(frame: bytes) -> Lacpdu | Marker | Bad:
    """Read a frame from its Ethernet destination on, without FCS.

    TLV types and reserved octets are not looked at, as the standard says; the lengths
    of TLVs are, and nothing behind the 124th octet.  Any version is taken.
    """
    if len(frame) < _HEAD.size:
        return Bad.RUNT
    destination, source, ethertype, subtype = _HEAD.unpack_from(frame)
    if ethertype != ETHERTYPE:
        return Bad.ETHERTYPE
    if destination != octets(SLOW_PROTOCOLS):
        return Bad.DESTINATION
    if not _is_station(source):
        return Bad.SOURCE
    if subtype not in (SUBTYPE_LACP, SUBTYPE_MARKER):
        return Bad.SUBTYPE
    if len(frame) < PDU_BYTES:
        return Bad.TRUNCATED
    return _lacpdu(frame) if subtype == SUBTYPE_LACP else _marker(frame)


def encode_lacpdu(pdu: Lacpdu, source: str) -> bytes:
    """Version 1, 124 bytes; `source` is the port's own MAC."""
    return (
        _head(source, SUBTYPE_LACP)
        + _LACPDU.pack(
            VERSION,
            *(_TLV_ACTOR, _PARTY_BYTES, *_party_fields(pdu.actor)),
            *(_TLV_PARTNER, _PARTY_BYTES, *_party_fields(pdu.partner)),
            *(_TLV_COLLECTOR, _COLLECTOR_BYTES, pdu.collector_max_delay),
            *(_TLV_TERMINATOR, 0),
        )[_HEAD.size :]
    )


def encode_marker(marker: Marker, source: str) -> bytes:
    """Version 1, 124 bytes; `source` is the port's own MAC."""
    kind = _TLV_MARKER_RESPONSE if marker.response else _TLV_MARKER
    return (
        _head(source, SUBTYPE_MARKER)
        + _MARKER.pack(
            *(VERSION, kind, _MARKER_BYTES),
            *(marker.port, octets(marker.system), marker.transaction),
            *(_TLV_TERMINATOR, 0),
        )[_HEAD.size :]
    )


def source_of(frame: bytes) -> str:
    """Ethernet source of a frame that decode() took."""
    return mac_of(frame[6:12])


def octets(mac: str) -> bytes:
    """Six bytes of a MAC like "02:00:5e:00:53:01"."""
    return bytes.fromhex(mac.replace(":", ""))


def mac_of(address: bytes) -> str:
    """Six bytes as a MAC like "02:00:5e:00:53:01"."""
    return address.hex(":")


def _lacpdu(frame: bytes) -> Lacpdu | Bad:
    fields = _LACPDU.unpack_from(frame)
    version, _, actor_bytes, *actor = fields[:9]
    _, partner_bytes, *partner = fields[9:17]
    _, collector_bytes, delay, _, next_bytes = fields[17:]
    lengths = (actor_bytes, partner_bytes, collector_bytes)
    if lengths != (_PARTY_BYTES, _PARTY_BYTES, _COLLECTOR_BYTES):
        return Bad.TLV
    if version <= VERSION and next_bytes != 0:  # later versions have more TLVs here
        return Bad.TLV
    if not _is_station(actor[1]) or actor[4] == 0:
        return Bad.PARTY
    return Lacpdu(_party(*actor), _party(*partner), delay, _retries(version, frame))


def _retries(version: int, frame: bytes) -> int:
    """SONiC's retry count: a partner that restarts asks for more patience."""
    tlv = frame[_RETRIES_AT - 2], frame[_RETRIES_AT - 1]
    if version != _VERSION_SONIC or tlv != (_TLV_RETRIES, _RETRIES_BYTES):
        return RETRIES
    return min(max(frame[_RETRIES_AT], RETRIES), RETRIES_MAX)


def _marker(frame: bytes) -> Marker | Bad:
    _, kind, length, port, system, transaction, _, _ = _MARKER.unpack_from(frame)
    if length != _MARKER_BYTES:
        return Bad.TLV
    if kind not in (_TLV_MARKER, _TLV_MARKER_RESPONSE):
        return Bad.MARKER
    return Marker(port, mac_of(system), transaction, kind == _TLV_MARKER_RESPONSE)


def _is_station(address: bytes) -> bool:
    """Whether this can be one station's address: not a group's, not zero."""
    return not address[0] & 1 and any(address)


def _head(source: str, subtype: int) -> bytes:
    return _HEAD.pack(octets(SLOW_PROTOCOLS), octets(source), ETHERTYPE, subtype)


def _party(
    priority: int, system: bytes, key: int, port_priority: int, number: int, state: int
) -> Party:
    port = PortId(port_priority, number)
    return Party(System(priority, mac_of(system)), key, port, STATES[state])


def _party_fields(party: Party) -> tuple[int | bytes, ...]:
    system, port = party.system, party.port
    mac = octets(system.mac)
    return system.priority, mac, party.key, port.priority, port.number, party.state
