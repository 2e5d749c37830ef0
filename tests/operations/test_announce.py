# SPDX-License-Identifier: BSD-2-Clause
"""Announcements are what scapy would make of them."""

import socket

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from lagg.link import Address
from lagg.operations.announce import IFA_F_DADFAILED, IFA_F_TENTATIVE, announcements

MAC = "02:00:5e:00:53:01"


def test_an_ipv4_address_is_announced_by_arp() -> None:
    (frame,) = announcements(MAC, [Address(socket.AF_INET, "192.0.2.1", 24, 0, 0)])
    arp = ARP(hwsrc=MAC, psrc="192.0.2.1", pdst="192.0.2.1", hwdst="00:00:00:00:00:00")
    assert frame == bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=MAC) / arp)


@pytest.mark.parametrize("router", [False, True])
def test_an_ipv6_address_is_announced_by_an_advertisement(router: bool) -> None:
    address = Address(socket.AF_INET6, "fe80::1", 64, 253, 0)
    (frame,) = announcements(MAC, [address], router=router)
    ether = Ether(dst="33:33:00:00:00:01", src=MAC)
    advertisement = ICMPv6ND_NA(tgt="fe80::1", R=int(router), S=0, O=1)
    ip = IPv6(src="fe80::1", dst="ff02::1", hlim=255)
    option = ICMPv6NDOptDstLLAddr(lladdr=MAC)
    assert frame == bytes(ether / ip / advertisement / option)


def test_every_address_is_announced_by_a_frame_of_its_own() -> None:
    addresses = [
        Address(socket.AF_INET, "192.0.2.1", 24, 0, 0),
        Address(socket.AF_INET6, "fe80::1", 64, 253, 0),
        Address(socket.AF_INET, "198.51.100.1", 24, 0, 0),
        Address(socket.AF_INET6, "2001:db8::1", 64, 0, 0),
    ]
    alone = [announcements(MAC, [address]) for address in addresses]
    assert [len(frames) for frames in alone] == [1, 1, 1, 1]
    assert announcements(MAC, addresses) == [frame for (frame,) in alone]


@pytest.mark.parametrize("flags", [IFA_F_TENTATIVE, IFA_F_DADFAILED])
def test_an_address_that_is_not_usable_is_not_announced(flags: int) -> None:
    address = Address(socket.AF_INET6, "fe80::1", 64, 253, flags)
    assert announcements(MAC, [address]) == []
