# SPDX-License-Identifier: BSD-2-Clause
"""What stands on a lagg, whatever is between, and what of it takes tagged frames."""

from collections.abc import Iterator

from lagg.link import Link
from lagg.operations.uppers import speakers, taggers

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
