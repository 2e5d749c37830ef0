# SPDX-License-Identifier: BSD-2-Clause
"""Slow-protocol frames: what is read, what is refused; scapy is the other encoder."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.lacp import LACP, MarkerProtocol, SlowProtocol
from scapy.layers.l2 import Ether

from lagg.lacp.pdu import (
    ETHERTYPE,
    PDU_BYTES,
    SLOW_PROTOCOLS,
    Lacpdu,
    Marker,
    decode,
    encode_lacpdu,
    encode_marker,
    octets,
    source_of,
)
from lagg.lacp.values import Bad, Party, PortId, State, System

SOURCE = "02:00:5e:00:01:0a"
ACTOR = Party(System(0x8000, "02:00:5e:00:53:0a"), 33, PortId(0x8000, 1), State(0x3D))
PARTNER = Party(System(1, "02:00:5e:00:53:0b"), 7, PortId(255, 2), State(0x3F))
PDU = Lacpdu(ACTOR, PARTNER, 50000)
FRAME = encode_lacpdu(PDU, SOURCE)
MARKER = Marker(1, "02:00:5e:00:53:0a", 0xDEADBEEF)
MARKER_FRAME = encode_marker(MARKER, SOURCE)


def changed(at: int, value: int | bytes, frame: bytes = FRAME) -> bytes:
    octets_ = bytearray(frame)
    new = bytes([value]) if isinstance(value, int) else value
    octets_[at : at + len(new)] = new
    return bytes(octets_)


macs = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
stations = macs.filter(
    lambda mac: not int(mac[1], 16) & 1 and mac != "00:00:00:00:00:00"
)
words = st.integers(0, 0xFFFF)


def parties(systems: st.SearchStrategy[str], low_port: int) -> st.SearchStrategy[Party]:
    return st.builds(
        Party,
        st.builds(System, words, systems),
        words,
        st.builds(PortId, words, st.integers(low_port, 0xFFFF)),
        st.integers(0, 255).map(State),
    )


pdus = st.builds(Lacpdu, parties(stations, 1), parties(macs, 0), words)
markers = st.builds(Marker, words, macs, st.integers(0, 2**32 - 1), st.booleans())

# ---- the other encoder -------------------------------------------------------------


def scapy_lacpdu(pdu: Lacpdu) -> bytes:
    actor, partner = pdu.actor, pdu.partner
    layers = Ether(src=SOURCE, dst=SLOW_PROTOCOLS, type=ETHERTYPE) / SlowProtocol()
    return bytes(
        layers
        / LACP(
            actor_system_priority=actor.system.priority,
            actor_system=actor.system.mac,
            actor_key=actor.key,
            actor_port_priority=actor.port.priority,
            actor_port_number=actor.port.number,
            actor_state=int(actor.state),
            partner_system_priority=partner.system.priority,
            partner_system=partner.system.mac,
            partner_key=partner.key,
            partner_port_priority=partner.port.priority,
            partner_port_number=partner.port.number,
            partner_state=int(partner.state),
            collector_max_delay=pdu.collector_max_delay,
        )
    )


def scapy_marker(marker: Marker) -> bytes:
    layers = Ether(src=SOURCE, dst=SLOW_PROTOCOLS, type=ETHERTYPE) / SlowProtocol()
    return bytes(
        layers
        / MarkerProtocol(
            marker_type=2 if marker.response else 1,
            requester_port=marker.port,
            requester_system=marker.system,
            requester_transaction_id=marker.transaction,
        )
    )


@given(pdus)
def test_scapy_encodes_a_lacpdu_to_the_same_bytes_and_we_read_it_back(
    pdu: Lacpdu,
) -> None:
    assert encode_lacpdu(pdu, SOURCE) == scapy_lacpdu(pdu)
    assert decode(scapy_lacpdu(pdu)) == pdu


@given(markers)
def test_scapy_encodes_a_marker_to_the_same_bytes_and_we_read_it_back(
    marker: Marker,
) -> None:
    assert encode_marker(marker, SOURCE) == scapy_marker(marker)
    assert decode(scapy_marker(marker)) == marker


@given(pdus)
def test_scapy_reads_what_we_encode(pdu: Lacpdu) -> None:
    layer = Ether(encode_lacpdu(pdu, SOURCE))[LACP]
    assert layer.actor_system == pdu.actor.system.mac
    assert layer.actor_state == pdu.actor.state
    assert layer.partner_port_number == pdu.partner.port.number


def test_a_lacpdu_is_124_bytes_from_the_port_s_own_mac() -> None:
    assert len(FRAME) == len(MARKER_FRAME) == PDU_BYTES
    assert source_of(FRAME) == SOURCE
    assert FRAME[:6] == octets(SLOW_PROTOCOLS)


# ---- hostile -----------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_reason(frame: bytes) -> None:
    assert isinstance(decode(frame), Lacpdu | Marker | Bad)


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_good_head_are_a_value_or_a_reason(rest: bytes) -> None:
    assert isinstance(decode(FRAME[:15] + rest), Lacpdu | Bad)
    assert isinstance(decode(MARKER_FRAME[:15] + rest), Marker | Bad)


@pytest.mark.parametrize("frame", [FRAME, MARKER_FRAME], ids=["lacpdu", "marker"])
@pytest.mark.parametrize("length", range(PDU_BYTES))
def test_h1_h2_a_frame_cut_anywhere_is_bad(frame: bytes, length: int) -> None:
    assert decode(frame[:length]) is (Bad.RUNT if length < 15 else Bad.TRUNCATED)


@pytest.mark.parametrize("more", [1, 4, 20, 1376])
def test_h3_what_follows_the_fixed_part_is_not_looked_at(more: int) -> None:
    assert decode(FRAME + b"\xff" * more) == PDU
    assert decode(MARKER_FRAME + b"\xff" * more) == MARKER


@pytest.mark.parametrize("at", [17, 37, 57, 73])
@pytest.mark.parametrize("length", [0, 1, 19, 21, 255])
def test_h4_a_wrong_length_of_a_tlv_is_bad(at: int, length: int) -> None:
    wrong = length != FRAME[at]
    assert decode(changed(at, length)) == (Bad.TLV if wrong else PDU)


@pytest.mark.parametrize("version", [0, 2, 0xF1, 0xFF])
def test_h5_any_version_is_taken(version: int) -> None:
    assert decode(changed(15, version)) == PDU


PORT_ALGORITHM = bytes.fromhex("0406 0080c201")  # of version 2, where v1 ends
RETRY_COUNTS = bytes.fromhex("80040500 81040300 0000")  # SONiC: the actor's is 5


@pytest.mark.parametrize(
    ("version", "more", "retries"),
    [(2, PORT_ALGORITHM, 3), (0xF1, RETRY_COUNTS, 5), (2, RETRY_COUNTS, 3)],
    ids=["802.1AX-2014", "SONiC", "not SONiC"],
)
def test_h3_later_versions_have_more_tlvs_behind_the_collector(
    version: int, more: bytes, retries: int
) -> None:
    frame = changed(15, version, changed(72, more)) + bytes(40)
    assert decode(frame) == replace(PDU, retries=retries)
    assert decode(changed(15, 1, frame)) is Bad.TLV


@pytest.mark.parametrize("count", [0, 2, 11, 255])
def test_a_retry_count_is_taken_within_reason(count: int) -> None:
    frame = changed(15, 0xF1, changed(72, RETRY_COUNTS))
    pdu = decode(changed(74, count, frame))
    assert isinstance(pdu, Lacpdu)
    assert 3 <= pdu.retries <= 10


@pytest.mark.parametrize("at", [16, 36, 56, 72])
def test_h5_types_of_tlvs_are_not_checked(at: int) -> None:
    assert decode(changed(at, 0xEE)) == PDU


RESERVED = [*range(33, 36), *range(53, 56), *range(60, 72), *range(74, 124)]


@pytest.mark.parametrize("at", RESERVED)
def test_h5_reserved_octets_change_nothing_and_are_not_echoed(at: int) -> None:
    assert decode(changed(at, 0xFF)) == PDU
    assert FRAME[at] == 0


@pytest.mark.parametrize("subtype", [0, 3, 10, 255])
def test_h6_other_slow_protocols_are_not_lacp(subtype: int) -> None:
    assert decode(changed(14, subtype)) is Bad.SUBTYPE


@pytest.mark.parametrize("tag", [b"\x81\x00\x00\x00", b"\x88\xa8\x00\x05"])
def test_h7_a_tagged_lacpdu_is_data(tag: bytes) -> None:
    assert decode(FRAME[:12] + tag + FRAME[12:]) is Bad.ETHERTYPE


@pytest.mark.parametrize(
    "destination",
    [
        "02:00:5e:00:53:0a",
        "ff:ff:ff:ff:ff:ff",
        "01:80:c2:00:00:00",
        "01:80:c2:00:00:03",
    ],
)
def test_h8_only_the_slow_protocols_address_is_listened_to(destination: str) -> None:
    assert decode(changed(0, octets(destination))) is Bad.DESTINATION


@pytest.mark.parametrize("source", ["01:00:5e:00:53:0a", "00:00:00:00:00:00"])
def test_h9_no_station_sends_from_a_group_or_from_zero(source: str) -> None:
    assert decode(changed(6, octets(source))) is Bad.SOURCE


@pytest.mark.parametrize(
    "actor",
    [
        replace(ACTOR, port=PortId(0x8000, 0)),
        replace(ACTOR, system=System(0x8000, "00:00:00:00:00:00")),
        replace(ACTOR, system=System(0x8000, "03:00:5e:00:53:0a")),
    ],
    ids=["port 0", "system 0", "group system"],
)
def test_h13_an_actor_that_cannot_be_is_bad(actor: Party) -> None:
    assert decode(encode_lacpdu(Lacpdu(actor, PARTNER), SOURCE)) is Bad.PARTY


def test_h20_a_marker_s_length_is_16_and_its_version_and_pad_are_not_checked() -> None:
    assert decode(changed(17, 22, MARKER_FRAME)) is Bad.TLV
    assert decode(changed(15, 2, MARKER_FRAME)) == MARKER
    assert decode(changed(30, b"\xff\xff", MARKER_FRAME)) == MARKER
    assert decode(changed(16, 3, MARKER_FRAME)) is Bad.MARKER
