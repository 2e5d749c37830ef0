# SPDX-License-Identifier: BSD-2-Clause
"""Who may become a port: every refusal of attach, and what passes."""

import socket
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.errors import LaggError
from lagg.link import Address, Link
from lagg.ports.eligible import check_port

TAP, OTHER_TAP = 100, 101  # lagg0 and lagg1
LAGGS: dict[int, tuple[int, ...]] = {TAP: (), OTHER_TAP: ()}


def link(ifindex: int, name: str = "", **fields: object) -> Link:
    ordinary: dict[str, object] = {
        "mac": "02:00:5e:00:53:01",
        "mtu": 1500,
        "up": True,
        "lower_up": True,
        "operstate": "UP",
        "arphrd": 1,
    }
    name = name or f"eth{ifindex}"
    return Link(ifindex=ifindex, name=name, **{**ordinary, **fields})  # type: ignore[arg-type]


LAGG0 = link(TAP, "lagg0", kind="tun")
LAGG1 = link(OTHER_TAP, "lagg1", kind="tun")


def refused(
    candidate: Link,
    *others: Link,
    laggs: Mapping[int, Iterable[int]] = LAGGS,
    addresses: Iterable[Address] = (),
    wireless: bool = False,
) -> LaggError | None:
    links = {each.ifindex: each for each in (candidate, LAGG0, LAGG1, *others)}
    try:
        check_port(candidate, TAP, links, laggs, addresses, wireless=wireless)
    except LaggError as error:
        return error
    return None


def code(error: LaggError | None) -> str:
    return "passes" if error is None else error.errno_name


# ---- what passes -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["", "veth", "vlan", "macvlan", "tun", "dummy"])
def test_ethernet_passes_whatever_drives_it(kind: str) -> None:
    assert refused(link(1, kind=kind)) is None


def test_a_vlan_of_a_nic_passes() -> None:
    assert refused(link(2, "eth1.5", kind="vlan", lower=1), link(1)) is None


def test_a_veth_whose_peer_is_a_port_of_another_lagg_passes() -> None:
    """Two laggs back to back in one namespace: no loop."""
    near, far = link(1, kind="veth", lower=2), link(2, kind="veth", lower=1)
    assert refused(near, far, laggs={TAP: (), OTHER_TAP: (2,)}) is None


def test_a_down_port_passes() -> None:
    assert refused(link(1, up=False, lower_up=False, operstate="DOWN")) is None


def test_link_local_addresses_pass() -> None:
    address = Address(socket.AF_INET6, "fe80::1", 64, 253, 0x80)
    assert refused(link(1), addresses=[address]) is None


DYNAMIC, MANAGED, PERMANENT, TEMPORARY = 0, 0x100, 0x80, 0x1
BY_KERNEL, BY_HAND = 2, 4


@pytest.mark.parametrize(
    ("flags", "proto", "passes"),
    [
        (MANAGED, BY_KERNEL, True),
        (TEMPORARY, 0, True),
        (MANAGED | PERMANENT, BY_KERNEL, True),  # put back, with no end of its life
        (MANAGED, 0, True),  # before Linux 5.18 nobody says who made it
        (DYNAMIC, 0, False),  # DHCPv6
        (PERMANENT, 0, False),
        (MANAGED | PERMANENT, 0, False),
        (MANAGED, BY_HAND, False),
    ],
)
def test_an_address_made_of_a_router_s_advertisement_passes(
    flags: int, proto: int, passes: bool
) -> None:
    address = Address(socket.AF_INET6, "2001:db8:5::1", 64, 0, flags, proto)
    assert (refused(link(1), addresses=[address]) is None) is passes
    ipv4 = Address(socket.AF_INET, "192.0.2.1", 24, 0, flags)
    assert code(refused(link(1), addresses=[ipv4])) == "EBUSY"


@pytest.mark.parametrize(
    ("up", "lower_up", "operstate", "active"),
    [
        (True, True, "UP", True),
        (True, True, "UNKNOWN", True),
        (True, True, "DORMANT", False),
        (True, True, "TESTING", False),
        (True, True, "LOWERLAYERDOWN", False),
        (True, False, "UP", False),
        (False, True, "UP", False),
    ],
)
def test_a_link_is_active_when_nothing_says_no(
    up: bool, lower_up: bool, operstate: str, active: bool
) -> None:
    fields = {"up": up, "lower_up": lower_up, "operstate": operstate}
    assert link(1, "", **fields).active is active


# ---- stacking and loops ------------------------------------------------------------


def test_the_lagg_itself_and_any_other_lagg_are_refused() -> None:
    assert code(refused(LAGG0)) == "EINVAL"
    assert code(refused(LAGG1)) == "EINVAL"
    assert "own port" in str(refused(LAGG0))


@pytest.mark.parametrize("tap", [TAP, OTHER_TAP])
def test_what_stands_on_a_lagg_is_refused(tap: int) -> None:
    vlan = link(1, "lagg.5", kind="vlan", lower=tap)
    qinq = link(2, "lagg.5.6", kind="vlan", lower=1)
    macvlan = link(3, "m0", kind="macvlan", lower=2)
    assert code(refused(vlan)) == "EINVAL"
    error = refused(macvlan, qinq, vlan)
    assert code(error) == "EINVAL"
    assert f"stands on lagg {'lagg0' if tap == TAP else 'lagg1'}" in str(error)


def test_a_bridge_that_holds_a_lagg_is_refused() -> None:
    bridge = link(1, "br0", kind="bridge")
    vlan = link(2, "lagg0.5", kind="vlan", lower=TAP, master=1)
    assert code(refused(bridge, vlan)) == "EINVAL"


def test_a_veth_that_leads_back_to_the_lagg_is_refused() -> None:
    """eth1 = eth2, which is bridged with lagg0: what lagg0 sends comes back."""
    bridge = link(9, "br0", kind="bridge")
    near, far = link(1, kind="veth", lower=2), link(2, kind="veth", lower=1, master=9)
    vlan = link(3, "lagg0.5", kind="vlan", lower=TAP, master=9)
    error = refused(near, far, bridge, vlan)
    assert code(error) == "EINVAL"
    assert "would come back to lagg0: a loop" in str(error)


def test_a_veth_bridged_with_something_else_passes() -> None:
    bridge = link(9, "br0", kind="bridge")
    near, far = link(1, kind="veth", lower=2), link(2, kind="veth", lower=1, master=9)
    assert refused(near, far, bridge, link(3, master=9)) is None


def test_a_veth_bridged_with_another_lagg_passes() -> None:
    bridge = link(9, "br0", kind="bridge")
    near, far = link(1, kind="veth", lower=2), link(2, kind="veth", lower=1, master=9)
    lagg1 = link(OTHER_TAP, "lagg1", kind="tun", master=9)
    assert refused(near, far, bridge, lagg1, laggs={TAP: (), OTHER_TAP: (3,)}) is None


def test_a_loop_out_of_another_lagg_s_port_is_refused() -> None:
    """eth1 = eth2, bridged with lagg1, whose port eth3 = eth4 is a port of lagg0."""
    bridge = link(9, "br0", kind="bridge")
    eth1, eth2 = link(1, kind="veth", lower=2), link(2, kind="veth", lower=1, master=9)
    eth3, eth4 = link(3, kind="veth", lower=4), link(4, kind="veth", lower=3)
    lagg1 = link(OTHER_TAP, "lagg1", kind="tun", master=9)
    laggs = {TAP: (4,), OTHER_TAP: (3,)}
    error = refused(eth1, eth2, eth3, eth4, bridge, lagg1, laggs=laggs)
    assert code(error) == "EINVAL"


def test_a_loop_through_a_vlan_of_the_far_end_is_refused() -> None:
    """eth1 = eth2, whose VLAN 5 is bridged with lagg0."""
    bridge = link(9, "br0", kind="bridge")
    near, far = link(1, kind="veth", lower=2), link(2, kind="veth", lower=1)
    vlan = link(3, "eth2.5", kind="vlan", lower=2, master=9)
    lagg0 = link(TAP, "lagg0", kind="tun", master=9)
    assert code(refused(near, far, vlan, bridge, lagg0)) == "EINVAL"


def test_the_other_end_of_a_veth_port_is_refused() -> None:
    """H-53: both ends of one cable in one lagg."""
    near, far = link(1, kind="veth", lower=2), link(2, kind="veth", lower=1)
    error = refused(far, near, laggs={TAP: (1,), OTHER_TAP: ()})
    assert code(error) == "EINVAL"
    assert "lagg0: a loop" in str(error)


def test_a_loop_through_another_lagg_is_refused() -> None:
    """eth1 = eth2 in lagg1; lagg1 and lagg0 in one bridge."""
    near, far = link(1, kind="veth", lower=2), link(2, kind="veth", lower=1)
    bridge = link(9, "br0", kind="bridge")
    lagg0 = link(TAP, "lagg0", kind="tun", master=9)
    lagg1 = link(OTHER_TAP, "lagg1", kind="tun", master=9)
    laggs = {TAP: (), OTHER_TAP: (2,)}
    assert code(refused(near, far, bridge, lagg0, lagg1, laggs=laggs)) == "EINVAL"


def test_a_ring_of_links_does_not_hang_the_search() -> None:
    ring = [link(n, kind="macvlan", lower=n % 5 + 1) for n in range(1, 6)]
    assert code(refused(*ring)) == "EBUSY"  # something stands on it


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from(["veth", "x"])),
        max_size=9,
    )
)
def test_whatever_the_links_say_the_answer_is_a_refusal_or_none(
    rows: list[tuple[int, int, str]],
) -> None:
    links = [
        link(number, kind=kind, lower=lower, master=master)
        for number, (lower, master, kind) in enumerate(rows, 1)
    ]
    for candidate in links:
        code(refused(candidate, *links, laggs={TAP: (1, 2), OTHER_TAP: (3,)}))


# ---- type, master, addresses, MAC --------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"flags": 0x8, "arphrd": 772}, "loopback"),
        ({"arphrd": 0xFFFE, "kind": "tun"}, "tun"),
        ({"arphrd": 32}, "InfiniBand"),
        ({"arphrd": 801}, "wireless"),
        ({"arphrd": 280}, "ARPHRD type 280"),
    ],
)
def test_what_is_not_ethernet_is_refused(fields: dict[str, object], word: str) -> None:
    error = refused(link(1, "", **fields))
    assert code(error) == "EPROTONOSUPPORT"
    assert word in str(error)


def test_wlan_is_refused_though_it_looks_like_ethernet() -> None:
    assert code(refused(link(1, "wlan0"), wireless=True)) == "EPROTONOSUPPORT"


def test_what_belongs_to_a_bridge_is_refused_with_the_remedy() -> None:
    error = refused(link(1, master=9), link(9, "br0", kind="bridge"))
    assert str(error) == (
        "eth1: belongs to bridge br0;"
        " release it first (ip link set eth1 nomaster) (EBUSY)"
    )
    assert code(refused(link(1, master=77))) == "EBUSY"


def test_what_something_stands_on_is_refused_with_all_names_and_the_remedy() -> None:
    vlan = link(2, "eth1.5", kind="vlan", lower=1)
    error = refused(link(1), vlan)
    assert str(error) == (
        "eth1: has vlan eth1.5 on it; take it away first (ip link del eth1.5) (EBUSY)"
    )
    ipvlan = link(3, "ipvl0", kind="ipvlan", lower=1)
    address = Address(socket.AF_INET, "192.0.2.1", 24, 0, 0x80)
    error = refused(link(1), vlan, ipvlan, addresses=[address])
    assert str(error) == (
        "eth1: has vlan eth1.5 on it and has ipvlan ipvl0 on it and has the address"
        " 192.0.2.1/24; undo that first (ip link del eth1.5; ip link del ipvl0;"
        " ip address del 192.0.2.1/24 dev eth1) (EBUSY)"
    )


def test_the_other_end_of_a_cable_does_not_stand_on_it() -> None:
    near, far = link(1, kind="veth", lower=2), link(2, kind="veth", lower=1)
    assert refused(near, far) is None


def test_what_stands_on_a_port_of_another_lagg_is_refused() -> None:
    vlan = link(2, "eth1.5", kind="vlan", lower=1)
    error = refused(vlan, link(1), laggs={TAP: (), OTHER_TAP: (1,)})
    assert code(error) == "EBUSY"
    assert "stands on eth1, which is a port" in str(error)


@pytest.mark.parametrize(
    "address",
    [
        Address(socket.AF_INET, "192.0.2.1", 24, 0, 0x80),
        Address(socket.AF_INET, "169.254.0.1", 16, 253, 0x80),
        Address(socket.AF_INET6, "2001:db8::1", 64, 0, 0x80),
    ],
)
def test_an_address_is_refused_by_name_with_the_remedy(address: Address) -> None:
    link_local = Address(socket.AF_INET6, "fe80::1", 64, 253, 0x80)
    error = refused(link(1), addresses=[link_local, address])
    assert str(error) == (
        f"eth1: has the address {address}; take it away first"
        f" (ip address del {address} dev eth1) (EBUSY)"
    )


@pytest.mark.parametrize(
    ("mac", "word"),
    [
        ("00:00:00:00:00:00", "EADDRNOTAVAIL"),
        ("", "EADDRNOTAVAIL"),
        ("01:00:5e:00:00:01", "EINVAL"),
        ("ff:ff:ff:ff:ff:ff", "EINVAL"),
        ("02:00:00:00:00:00", "passes"),
    ],
)
def test_a_mac_must_be_a_station_s(mac: str, word: str) -> None:
    assert code(refused(link(1, mac=mac))) == word
