# SPDX-License-Identifier: BSD-2-Clause
"""Announcements are what scapy would make of them, and so are reports of groups."""

import ipaddress

import pytest
from scapy.layers.igmp import IGMP, IGMPv3_MR, IGMPv3_MR_Group
from scapy.layers.inet import IP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6MLDMultAddrRec,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6NDOptDstLLAddr,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether

from lagg.link import Group, HostAddress
from lagg.operations.announcement_frames import (
    RECORDS_MAX,
    SOURCES_MAX,
    announcements,
    learning_frame,
    lesson,
    reports,
)

MAC = "02:00:5e:00:53:01"


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def host(address: str, *, usable: bool = True) -> HostAddress:
    return HostAddress(packed(address), usable)


def group(address: str, version: int = 3, *sources: str) -> Group:
    return Group(packed(address), version, tuple(map(packed, sources)))


def test_an_ipv4_address_is_announced_by_arp() -> None:
    (frame,) = announcements(MAC, [host("192.0.2.1")])
    arp = ARP(hwsrc=MAC, psrc="192.0.2.1", pdst="192.0.2.1", hwdst="00:00:00:00:00:00")
    assert frame == bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=MAC) / arp)


@pytest.mark.parametrize("router", [False, True])
def test_an_ipv6_address_is_announced_by_an_advertisement(router: bool) -> None:
    (frame,) = announcements(MAC, [host("fe80::1")], router=router)
    ether = Ether(dst="33:33:00:00:00:01", src=MAC)
    advertisement = ICMPv6ND_NA(tgt="fe80::1", R=int(router), S=0, O=1)
    ip = IPv6(src="fe80::1", dst="ff02::1", hlim=255)
    option = ICMPv6NDOptDstLLAddr(lladdr=MAC)
    assert frame == bytes(ether / ip / advertisement / option)


@pytest.mark.parametrize("router", [False, True])
def test_one_host_is_told_by_arp_or_an_advertisement_to_it_alone(router: bool) -> None:
    peer = "02:00:5e:00:53:02"
    ether = Ether(dst=peer, src=MAC)
    arp = ARP(op=2, hwsrc=MAC, psrc="192.0.2.1", hwdst=peer, pdst="192.0.2.2")
    four = packed("192.0.2.1"), peer, packed("192.0.2.2")
    assert lesson(MAC, *four, router=router) == bytes(ether / arp).ljust(60, b"\0")
    advertisement = ICMPv6ND_NA(tgt="fe80::1", R=int(router), S=0, O=1)
    ip = IPv6(src="fe80::1", dst="fe80::2", hlim=255)
    option = ICMPv6NDOptDstLLAddr(lladdr=MAC)
    six = packed("fe80::1"), peer, packed("fe80::2")
    told = bytes(ether / ip / advertisement / option)
    assert lesson(MAC, *six, router=router) == told


def test_every_address_is_announced_by_a_frame_of_its_own() -> None:
    addresses = [
        *(host("192.0.2.1"), host("fe80::1")),
        *(host("198.51.100.1"), host("2001:db8::1")),
    ]
    alone = [announcements(MAC, [address]) for address in addresses]
    assert [len(frames) for frames in alone] == [1, 1, 1, 1]
    assert announcements(MAC, addresses) == [frame for (frame,) in alone]


def test_an_address_that_is_not_usable_is_not_announced() -> None:
    assert announcements(MAC, [host("fe80::1", usable=False)]) == []


@pytest.mark.parametrize("vlan", [0, 7])
def test_switches_are_taught_by_reverse_arp(vlan: int) -> None:
    ether = Ether(dst="ff:ff:ff:ff:ff:ff", src=MAC, type=0x8035)
    body = ARP(op=3, hwsrc=MAC, hwdst=MAC, psrc="0.0.0.0", pdst="0.0.0.0")
    if vlan:
        ether.type = 0x8100
        ether /= Dot1Q(vlan=vlan, type=0x8035)
    assert learning_frame(MAC, vlan) == bytes(ether / body).ljust(60, b"\0")


def in_igmp(to: str, source: str = "192.0.2.1") -> Ether:
    mac = packed(to)
    ether = Ether(
        dst=f"01:00:5e:{mac[1] & 0x7F:02x}:{mac[2]:02x}:{mac[3]:02x}", src=MAC
    )
    alert = [IPOption_Router_Alert()]
    head = IP(src=source, dst=to, ttl=1, tos=0xC0, flags="DF", id=0, options=alert)
    return ether / head


@pytest.mark.parametrize(("version", "kind"), [(1, 0x12), (2, 0x16)])
def test_a_group_is_reported_by_the_igmp_that_is_spoken(
    version: int, kind: int
) -> None:
    (frame,) = reports(MAC, [host("192.0.2.1")], [group("239.129.2.3", version)])
    ether = in_igmp("239.129.2.3")
    ether[IP].proto = 2
    wanted = ether / IGMP(type=kind, mrcode=0, gaddr="239.129.2.3")
    assert frame == bytes(wanted).ljust(60, b"\0")


def test_with_igmp_3_all_groups_are_in_one_report() -> None:
    groups = [group("239.1.2.3"), group("232.1.2.3", 3, "192.0.2.7", "192.0.2.8")]
    (frame,) = reports(MAC, [host("fe80::1"), host("192.0.2.1")], groups)
    ether = in_igmp("224.0.0.22")
    ether[IP].proto = 2
    records = [
        IGMPv3_MR_Group(rtype=2, maddr="239.1.2.3"),
        IGMPv3_MR_Group(
            rtype=1, maddr="232.1.2.3", srcaddrs=["192.0.2.7", "192.0.2.8"]
        ),
    ]
    wanted = ether / IGMPv3_MR(records=records)
    assert frame == bytes(wanted).ljust(60, b"\0")


def test_groups_of_ipv6_are_reported_by_mld_2() -> None:
    groups = [group("ff05::7", 2), group("ff3e::8", 2, "2001:db8::1")]
    addresses = [host("2001:db8::9"), host("fe80::1")]
    (frame,) = reports(MAC, addresses, groups)
    ether = Ether(dst="33:33:00:00:00:16", src=MAC)
    ip = IPv6(src="fe80::1", dst="ff02::16", hlim=1)
    records = [
        ICMPv6MLDMultAddrRec(rtype=2, dst="ff05::7"),
        ICMPv6MLDMultAddrRec(rtype=1, dst="ff3e::8", sources=["2001:db8::1"]),
    ]
    hop = IPv6ExtHdrHopByHop(options=[RouterAlert()])
    report = ICMPv6MLReport2(records=records)
    assert frame == bytes(ether / ip / hop / report)


@pytest.mark.parametrize("address", ["224.0.0.1", "ff02::1", "ff01::7", "ff00::1"])
def test_what_every_host_has_joined_is_not_reported(address: str) -> None:
    assert [*reports(MAC, [], [group(address)])] == []


def test_who_has_no_address_reports_from_none() -> None:
    addresses = [host("fe80::1", usable=False)]
    four, six = reports(MAC, addresses, [group("239.1.2.3"), group("ff05::7")])
    assert Ether(four)[IP].src == "0.0.0.0"
    assert Ether(six)[IPv6].src == "::"


def test_a_report_fits_and_none_is_left_out() -> None:
    groups = [group(f"239.1.{n >> 8}.{n & 255}") for n in range(2 * RECORDS_MAX + 1)]
    six = [group(f"ff05::{n:x}") for n in range(1, 2 * RECORDS_MAX + 1)]
    frames = [*reports(MAC, [], [*groups, *six])]
    assert len(frames) == 5
    assert max(map(len, frames)) <= 14 + 1280
    told = [
        record.maddr
        for frame in frames[:3]
        for record in Ether(frame)[IGMPv3_MR].records
    ]
    assert [*map(packed, told)] == [each.packed for each in groups]


def test_from_too_many_sources_all_is_asked_for() -> None:
    sources = [f"192.0.2.{n}" for n in range(SOURCES_MAX + 1)]
    (frame,) = reports(MAC, [], [group("232.1.2.3", 3, *sources)])
    (record,) = Ether(frame)[IGMPv3_MR].records
    assert (record.rtype, record.srcaddrs) == (2, [])
