# SPDX-License-Identifier: BSD-2-Clause
"""What stands on a lagg, whatever is between, and what of it takes tagged frames."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lagg.link import BridgePort, FdbEntry, HostAddress, Link, Stations
from lagg.operations.uppers import speakers, taggers, taught

MAC = "02:00:5e:00:53:01"
LAGG = 7


def link(ifindex: int, kind: str, *, lower: int = 0, master: int = 0) -> Link:
    return Link(
        ifindex,
        name=f"{kind}{ifindex}",
        mac=MAC,
        mtu=1500,
        up=True,
        lower_up=True,
        operstate="UP",
        arphrd=1,
        kind=kind,
        lower=lower,
        master=master,
    )


class Counted(dict[int, Link]):
    """Links that count how many of them were looked at."""

    looks = 0

    def values(self) -> Iterator[Link]:  # type: ignore[override]
        for each in super().values():
            self.looks += 1
            yield each


def test_what_stands_on_a_lagg_speaks_whatever_is_between() -> None:
    above = [
        link(LAGG, "tun", master=20),
        link(11, "vlan", lower=LAGG),
        link(12, "macvlan", lower=11),
        link(13, "ipvlan", lower=LAGG),
        link(20, "bridge"),
        link(21, "vlan", lower=20),
    ]
    others = [
        link(30, "vxlan", lower=LAGG),  # what it says goes to its own network
        link(31, "veth", lower=32, master=20),  # beside the lagg, not on it
        link(32, "veth", lower=31),
        link(33, "vlan", lower=31),
        link(34, "tun"),  # another lagg
        link(35, "vlan", lower=34),
        link(36, "bridge"),
    ]
    links = {each.ifindex: each for each in (*others, *reversed(above))}
    found = speakers(links, LAGG)
    assert found[0].ifindex == LAGG
    assert sorted(each.ifindex for each in found) == [7, 11, 12, 13, 20, 21]


def test_on_a_lagg_that_is_gone_nothing_speaks() -> None:
    assert speakers({11: link(11, "vlan", lower=LAGG)}, LAGG) == []


def test_of_thousands_of_vlans_each_is_looked_at_once() -> None:
    vlans = [link(100 + i, "vlan", lower=LAGG) for i in range(4094)]
    links = Counted({each.ifindex: each for each in (link(LAGG, "tun"), *vlans)})
    assert len(speakers(links, LAGG)) == 1 + len(vlans)
    assert links.looks <= 2 * len(links)


def test_a_vlan_or_a_bridge_anywhere_above_takes_tagged_frames() -> None:
    lagg = link(LAGG, "tun", master=20)
    macvlan, vlan = link(12, "macvlan", lower=LAGG), link(11, "vlan", lower=12)
    bridge, other = link(20, "bridge"), link(33, "vlan", lower=34)

    def names(*links: Link) -> list[str]:
        return taggers({each.ifindex: each for each in links}, LAGG)

    assert names(lagg, macvlan, other) == []
    assert names(lagg, macvlan, vlan, other) == [vlan.name]
    assert names(lagg, bridge) == [bridge.name]
    assert names(vlan) == []  # the lagg is gone


# ---- of whom switches are taught ---------------------------------------------------

GUEST, VRRP = "02:00:5e:00:53:77", "00:00:5e:00:01:07"
HOST = (HostAddress(bytes(4)),)


def found(there: Stations, *above: Link) -> list[tuple[int, str, int]]:
    return [(each.ifindex, each.mac, each.vlan) for each in taught(above, there)]


def test_guests_behind_a_bridge_are_taught_by_its_port_on_the_lagg() -> None:
    lagg, bridge = link(LAGG, "tun", master=20), link(20, "bridge")
    macs = (
        FdbEntry(31, GUEST, master=20),
        FdbEntry(31, MAC, master=20, local=True),  # the bridge's port's own
        FdbEntry(LAGG, VRRP, master=20),  # comes from the network
        FdbEntry(41, VRRP, master=40),  # of another bridge
    )
    assert found(Stations(macs=macs), lagg, bridge) == [(LAGG, GUEST, 0)]


@pytest.mark.parametrize(
    ("port", "wanted"),
    [
        (BridgePort(tagged={7: True}), [(LAGG, GUEST, 7)]),
        (BridgePort(tagged={7: False}), [(LAGG, GUEST, 0)]),
        (BridgePort(tagged={8: True}), []),
        (BridgePort(forwards=False, tagged={7: True}), []),
    ],
)
def test_a_guest_is_taught_as_its_frames_would_leave(
    port: BridgePort, wanted: list[tuple[int, str, int]]
) -> None:
    lagg, bridge = link(LAGG, "tun", master=20), link(20, "bridge")
    macs = (FdbEntry(31, GUEST, master=20, vlan=7),)
    there = Stations(macs=macs, bridge_ports={LAGG: port})
    assert found(there, lagg, bridge) == wanted


def test_a_mac_that_a_speaker_lets_in_is_taught_where_it_is() -> None:
    lagg, vlans = link(LAGG, "tun"), [link(n, "vlan", lower=LAGG) for n in (11, 12)]
    macs = (
        FdbEntry(LAGG, GUEST, local=True),  # of a macvlan in another namespace
        FdbEntry(LAGG, VRRP, local=True),  # for the VLANs let it in
        *(FdbEntry(each.ifindex, VRRP, local=True) for each in vlans),
        FdbEntry(50, VRRP, local=True),  # somebody else's
    )
    wanted = [(LAGG, GUEST, 0), (11, VRRP, 0), (12, VRRP, 0)]
    assert found(Stations(macs=macs), lagg, *vlans) == wanted


def test_who_is_announced_needs_not_be_taught() -> None:
    macvlan = replace(link(11, "macvlan", lower=LAGG), mac=GUEST)
    macs = (FdbEntry(LAGG, GUEST, local=True),)
    there = Stations({11: HOST}, macs=macs)
    assert found(there, link(LAGG, "tun"), macvlan) == []
