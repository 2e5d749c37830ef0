# SPDX-License-Identifier: BSD-2-Clause
"""lagghash's inner: a frame in a tunnel hashes as what the tunnel carries.

scapy makes the tunnels; what counts is written beside each, and hashed by flow_model.
"""

import random
from dataclasses import replace
from typing import NamedTuple

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet

from bench.publish import EMPTY
from lagg.kernel.lowered import hashed
from lagg.model import ALL_LAYERS, HashKind, HashLayer
from lagg.plan.plan import Plan
from tests.kernel.flow_model import DATA, FRAMES, MACS, MODELS, PORTS, V4, V6, Counted

OUTER = Ether(src="02:00:5e:00:53:11", dst="02:00:5e:00:53:12")
FAR = {"src": "10.0.0.1", "dst": "10.0.0.2"}
FAR_6 = {"src": "2001:db8:9::1", "dst": "2001:db8:9::2"}
FRAME = Ether(**MACS) / Dot1Q(vlan=9) / IP(**V4) / TCP(**PORTS) / DATA
FRAME_6 = Ether(**MACS) / IPv6(**V6) / UDP(**PORTS) / DATA
PACKET = IP(**V4) / UDP(**PORTS) / DATA
PACKET_6 = IPv6(**V6) / IPv6ExtHdrDestOpt() / TCP(**PORTS) / DATA


class Case(NamedTuple):
    """A frame, what counts of it, and through which tunnels that is reached."""

    frame: Packet
    counts: Packet
    tunnels: tuple[str, ...]


def udp(port: int) -> Packet:
    return UDP(sport=54321, dport=port)


def labels(count: int) -> Packet:
    stack = MPLS(label=17, s=int(count == 1))
    return stack if count == 1 else MPLS(label=99, s=0) / labels(count - 1)


LONG_GENEVE = GENEVE(proto=0x6558, options=[GeneveOptions(data=b"12345678")])
SESSION = GTP_U_Header(teid=7) / GTPPDUSessionContainer(QFI=5)
CASES = {
    "VXLAN": Case(
        OUTER / IP(**FAR) / udp(4789) / VXLAN(vni=5) / FRAME, FRAME, ("vxlan",)
    ),
    "VXLAN, Linux's port": Case(
        OUTER / IP(**FAR) / udp(8472) / VXLAN(vni=5) / FRAME_6, FRAME_6, ("vxlan",)
    ),
    "VXLAN over IPv6 in a VLAN": Case(
        OUTER / Dot1Q(vlan=3) / IPv6(**FAR_6) / udp(4789) / VXLAN(vni=5) / FRAME,
        FRAME,
        ("vxlan",),
    ),
    "VXLAN with ARP": Case(
        OUTER / IP(**FAR) / udp(4789) / VXLAN(vni=5) / FRAMES["ARP"],
        FRAMES["ARP"],
        ("vxlan",),
    ),
    "GENEVE": Case(
        OUTER / IP(**FAR) / udp(6081) / LONG_GENEVE / FRAME, FRAME, ("geneve",)
    ),
    "GRE": Case(OUTER / IP(**FAR) / GRE() / PACKET, OUTER / PACKET, ("gre",)),
    "GRE, all fields": Case(
        OUTER
        / IP(**FAR)
        / GRE(chksum_present=1, key_present=1, seqnum_present=1)
        / PACKET_6,
        OUTER / PACKET_6,
        ("gre",),
    ),
    "NVGRE": Case(
        OUTER / IP(**FAR) / GRE(proto=0x6558, key_present=1, key=0x500) / FRAME,
        FRAME,
        ("gre",),
    ),
    "IPIP": Case(OUTER / IP(**FAR) / PACKET, OUTER / PACKET, ("ip",)),
    "SIT": Case(OUTER / IP(**FAR) / PACKET_6, OUTER / PACKET_6, ("ip",)),
    "IP6IP6": Case(OUTER / IPv6(**FAR_6) / PACKET_6, OUTER / PACKET_6, ("ip",)),
    "IP4IP6": Case(OUTER / IPv6(**FAR_6) / PACKET, OUTER / PACKET, ("ip",)),
    "MPLS": Case(OUTER / labels(1) / PACKET, OUTER / PACKET, ("mpls",)),
    "MPLS of 8 labels": Case(OUTER / labels(8) / PACKET_6, OUTER / PACKET_6, ("mpls",)),
    "MPLS of 9 labels": Case(OUTER / labels(9) / PACKET, OUTER, ()),
    "PPPoE": Case(
        OUTER / PPPoE(sessionid=7) / PPP() / PACKET, OUTER / PACKET, ("pppoe",)
    ),
    "PPPoE with IPv6": Case(
        OUTER / PPPoE(sessionid=7) / PPP() / PACKET_6, OUTER / PACKET_6, ("pppoe",)
    ),
    "GTP-U": Case(
        OUTER / IP(**FAR) / udp(2152) / GTP_U_Header(teid=7) / PACKET,
        OUTER / PACKET,
        ("gtp-u",),
    ),
    "GTP-U of a 5G session": Case(
        OUTER / IP(**FAR) / udp(2152) / SESSION / PACKET_6,
        OUTER / PACKET_6,
        ("gtp-u",),
    ),
    "IPIP in VXLAN": Case(
        OUTER
        / IP(**FAR)
        / udp(4789)
        / VXLAN(vni=5)
        / Ether(**MACS)
        / IP(**FAR)
        / PACKET,
        Ether(**MACS) / PACKET,
        ("vxlan", "ip"),
    ),
    "a fragmented tunnel": Case(
        OUTER / IP(flags="MF", **FAR) / udp(4789) / VXLAN(vni=5) / FRAME,
        OUTER / IP(flags="MF", **FAR),
        (),
    ),
    "a fragment in a tunnel": Case(
        OUTER / IP(**FAR) / IP(flags="MF", **V4) / UDP(**PORTS),
        OUTER / IP(flags="MF", **V4),
        ("ip",),
    ),
    "no tunnel": Case(FRAME, FRAME, ()),
}


def plan_of(kind: HashKind, counted: Counted, *, inner: bool = True) -> Plan:
    layers = (*counted.layers, HashLayer.INNER) if inner else counted.layers
    return replace(
        EMPTY,
        hash_kind=kind,
        hash_seed=0x12345678,
        hash_layers=layers,
        hash_symmetric=counted.symmetric,
    )


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("layers", [ALL_LAYERS, *((each,) for each in ALL_LAYERS)])
@pytest.mark.parametrize("kind", HashKind)
@pytest.mark.parametrize("name", CASES)
def test_with_inner_a_frame_hashes_as_what_it_carries(
    name: str, kind: HashKind, layers: tuple[HashLayer, ...], symmetric: bool
) -> None:
    case, counted = CASES[name], Counted(layers, symmetric)
    found = hashed(plan_of(kind, counted), bytes(case.frame))
    expected = MODELS[kind](Ether(bytes(case.counts)), counted, 0x12345678)
    assert (found.hash, found.tunnels) == (expected, case.tunnels)


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.tunnels])
def test_without_inner_what_is_carried_does_not_count(name: str) -> None:
    raw = bytes(CASES[name].frame)
    found = hashed(plan_of(HashKind.CRC32C, Counted(), inner=False), raw)
    assert found.tunnels == ()
    assert found.ends[HashLayer.L2] == (OUTER.src, OUTER.dst)


@pytest.mark.parametrize("kind", HashKind)
def test_with_inner_any_bytes_have_a_hash(kind: HashKind, rng: random.Random) -> None:
    asked = plan_of(kind, Counted())
    for case in CASES.values():
        raw = bytes(case.frame)
        for size in range(14, len(raw)):
            hashed(asked, raw[:size])
        for _ in range(50):
            broken = bytearray(raw)
            broken[rng.randrange(12, len(raw))] = rng.randrange(256)
            hashed(asked, bytes(broken))


# Written down: a flow stays on its port from one release to the next.
KNOWN = {
    "VXLAN": 2887428589,
    "GENEVE": 2887428589,
    "GRE": 2199001571,
    "SIT": 1138429767,
    "MPLS": 2199001571,
    "PPPoE": 2199001571,
    "GTP-U of a 5G session": 1138429767,
    "IPIP in VXLAN": 2732625999,
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_values_with_inner_never_change(name: str) -> None:
    found = hashed(plan_of(HashKind.CRC32C, Counted()), bytes(CASES[name].frame))
    assert found.hash == KNOWN[name]
