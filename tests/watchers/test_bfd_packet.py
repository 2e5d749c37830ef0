# SPDX-License-Identifier: BSD-2-Clause
"""BFD frames: what is read, what is refused; scapy is the other encoder."""

import struct
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.bfd import BFD
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from lagg.watchers.bfd_packet import (
    MAC_MICRO,
    MAC_OPEN_VSWITCH,
    BadBfd,
    ControlPacket,
    Diagnostic,
    Envelope,
    SessionState,
    decode_control,
    encode_control,
)

OURS, THEIRS = bytes.fromhex("02005e000101"), bytes.fromhex("02005e000202")
OPEN_VSWITCH = Envelope.open_vswitch(OURS, 7)
MICRO = Envelope.micro(OURS, "192.0.2.1", "192.0.2.2", 7)
MICRO_6 = Envelope.micro(OURS, "2001:db8::1", "2001:db8::2", 7)
ENVELOPES = {"ovs": OPEN_VSWITCH, "micro": MICRO, "micro6": MICRO_6}

PACKET = ControlPacket(SessionState.UP, Diagnostic.NONE, 3, 9, 7, 100_000, 100_000)
u32 = st.integers(0, 0xFFFF_FFFF)
packets = st.builds(
    ControlPacket,
    st.sampled_from(SessionState),
    st.sampled_from(Diagnostic),
    st.integers(1, 255),
    st.integers(1, 0xFFFF_FFFF),
    st.integers(1, 0xFFFF_FFFF),
    u32,
    u32,
    poll=st.booleans(),
    final=st.booleans(),
    demand=st.booleans(),
)


def partner_of(envelope: Envelope) -> Envelope:
    """The other end's."""
    if envelope is OPEN_VSWITCH:
        return Envelope.open_vswitch(THEIRS, 9)
    ends = str(ip_address(envelope.destination)), str(ip_address(envelope.source))
    return Envelope.micro(THEIRS, *ends, 9)


def changed(frame: bytes, at: int, value: int) -> bytes:
    return frame[:at] + bytes([value]) + frame[at + 1 :]


# ---- the other encoder -------------------------------------------------------------


def scapy_bfd(packet: ControlPacket) -> bytes:
    flags = "P" * packet.poll + "F" * packet.final + "D" * packet.demand
    return bytes(
        BFD(
            version=1,
            diag=int(packet.diagnostic),
            sta=int(packet.state),
            flags=flags,
            detect_mult=packet.multiplier,
            len=24,
            my_discriminator=packet.my_discriminator,
            your_discriminator=packet.your_discriminator,
            min_tx_interval=packet.desired_min_tx_us,
            min_rx_interval=packet.required_min_rx_us,
            echo_rx_interval=0,
        )
    )


@given(packets)
def test_scapy_encodes_a_packet_to_the_same_bytes_and_we_read_it_back(
    packet: ControlPacket,
) -> None:
    assert encode_control(packet) == scapy_bfd(packet)
    assert decode_control(scapy_bfd(packet)) == packet


@pytest.mark.parametrize("name", ENVELOPES)
@given(packet=packets)
def test_what_one_end_seals_the_other_opens(name: str, packet: ControlPacket) -> None:
    ours = ENVELOPES[name]
    assert partner_of(ours).open(ours.seal(packet)) == packet


@pytest.mark.parametrize("name", ENVELOPES)
def test_scapy_finds_every_length_and_checksum_right(name: str) -> None:
    frame = ENVELOPES[name].seal(PACKET)
    layers = Ether(frame)
    for layer, field in ((IP, "chksum"), (IP, "len"), (UDP, "chksum"), (UDP, "len")):
        if layer in layers:
            delattr(layers[layer], field)  # scapy computes what is not there
    if IPv6 in layers:
        del layers[IPv6].plen
    assert bytes(layers) == frame


def test_as_open_vswitch_has_it() -> None:
    frame = Ether(OPEN_VSWITCH.seal(PACKET))
    assert (frame.dst, frame.src) == (MAC_OPEN_VSWITCH.hex(":"), OURS.hex(":"))
    ip, udp = frame[IP], frame[UDP]
    assert (ip.src, ip.dst, ip.ttl) == ("169.254.1.1", "169.254.1.0", 255)
    assert (udp.dport, udp.sport in range(49152, 65536)) == (3784, True)


@pytest.mark.parametrize(
    ("envelope", "layer", "ends"),
    [
        (MICRO, IP, ("192.0.2.1", "192.0.2.2")),
        (MICRO_6, IPv6, ("2001:db8::1", "2001:db8::2")),
    ],
    ids=["IPv4", "IPv6"],
)
def test_as_rfc_7130_has_it(
    envelope: Envelope, layer: type[IP], ends: tuple[str, str]
) -> None:
    frame = Ether(envelope.seal(PACKET))
    assert (frame.dst, frame.src) == (MAC_MICRO.hex(":"), OURS.hex(":"))
    ip, udp = frame[layer], frame[UDP]
    hops = ip.ttl if layer is IP else ip.hlim
    assert ((ip.src, ip.dst), hops, udp.dport) == (ends, 255, 6784)


def test_a_partner_that_is_up_may_send_to_our_own_mac_by_rfc_7130() -> None:
    frame = partner_of(MICRO).seal(PACKET)
    assert MICRO.open(OURS + frame[6:]) == PACKET


def test_what_comes_to_the_port_s_own_mac_else_is_a_session_s_above_the_lagg() -> None:
    frame = partner_of(OPEN_VSWITCH).seal(PACKET)
    assert OPEN_VSWITCH.open(OURS + frame[6:]) is None


# ---- hostile -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ENVELOPES)
@given(frame=st.binary(max_size=120), good=st.integers(0, 66))
def test_any_bytes_behind_a_good_head_are_a_value_or_a_reason(
    name: str, frame: bytes, good: int
) -> None:
    ours = ENVELOPES[name]
    frame = partner_of(ours).seal(PACKET)[:good] + frame
    assert isinstance(ours.open(frame), ControlPacket | BadBfd | None)


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_frame_cut_anywhere_is_bad(name: str) -> None:
    ours = ENVELOPES[name]
    frame = partner_of(ours).seal(PACKET)
    for length in range(len(frame)):
        assert ours.open(frame[:length]) is None


@pytest.mark.parametrize("name", ENVELOPES)
def test_what_follows_the_datagram_is_not_looked_at(name: str) -> None:
    ours = ENVELOPES[name]
    assert ours.open(partner_of(ours).seal(PACKET) + b"\xff" * 40) == PACKET


IP_AT, UDP_AT, BFD_AT = 14, 34, 42


def resummed(frame: bytes) -> bytes:
    """With a checksum of the IPv4 header that is right; it is said to have 20 bytes."""
    words = struct.unpack("!5H2x4H", frame[IP_AT:UDP_AT])
    check = struct.pack("!H", 0xFFFF - sum(words) % 0xFFFF)
    return frame[: IP_AT + 10] + check + frame[IP_AT + 12 :]


@pytest.mark.parametrize(
    ("at", "value", "bad"),
    [
        (12, 0x81, None),  # tagged
        (IP_AT, 0x65, None),  # version 6 in IPv4
        (IP_AT, 0x4F, None),  # a header that is longer than it is
        (IP_AT, 0x44, None),  # and one that is none
        (IP_AT + 6, 0x20, None),  # more fragments
        (IP_AT + 7, 0x01, None),  # not the first
        (IP_AT + 8, 254, BadBfd.TTL),
        (IP_AT + 9, 6, None),  # TCP
        (IP_AT + 15, 3, BadBfd.ADDRESS),
        (UDP_AT + 3, 0x81, None),  # another port
        (UDP_AT + 5, 7, None),  # shorter than its header
        (UDP_AT + 5, 31, BadBfd.LENGTH),
        (UDP_AT + 5, 33, None),  # longer than the packet
        (BFD_AT, 0x00, BadBfd.VERSION),
        (BFD_AT, 0x40, BadBfd.VERSION),
        (BFD_AT + 1, 0xC1, BadBfd.MULTIPOINT),
        (BFD_AT + 1, 0xC4, BadBfd.AUTHENTICATED),
        (BFD_AT + 2, 0, BadBfd.MULTIPLIER),
        (BFD_AT + 3, 23, BadBfd.LENGTH),
        (BFD_AT + 3, 25, BadBfd.LENGTH),
        (BFD_AT + 7, 0, BadBfd.DISCRIMINATOR),
        (BFD_AT + 11, 0, BadBfd.STATE),
    ],
)
def test_each_slip_has_its_reason(at: int, value: int, bad: BadBfd) -> None:
    frame = changed(partner_of(MICRO).seal(PACKET), at, value)
    assert MICRO.open(resummed(frame)) is bad


def test_an_ipv4_header_whose_checksum_is_wrong_is_bad() -> None:
    frame = partner_of(MICRO).seal(PACKET)
    assert MICRO.open(changed(frame, IP_AT + 8, 254)) is None


def test_the_checksum_of_udp_is_not_looked_at_for_a_veth_does_not_fill_it_in() -> None:
    frame = partner_of(MICRO).seal(PACKET)
    assert MICRO.open(changed(frame, UDP_AT + 6, frame[UDP_AT + 6] ^ 0xFF)) == PACKET


def test_a_session_that_is_down_need_not_say_whose() -> None:
    packet = replace(PACKET, state=SessionState.DOWN, your_discriminator=0)
    assert decode_control(encode_control(packet)) == packet


def test_a_diagnostic_that_nobody_defined_is_none() -> None:
    octets = encode_control(PACKET)
    assert decode_control(bytes([octets[0] | 31]) + octets[1:]) == PACKET
