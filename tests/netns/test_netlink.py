# SPDX-License-Identifier: BSD-2-Clause
"""Links, addresses and speed, read from and set in the running kernel."""

import errno
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest

from lab import Namespace
from lagg.errors import LaggError
from lagg.kernel.netlink import Netlink, generic
from lagg.kernel.netlink.generic import Generic
from lagg.link import Address, AddrGenMode, Link, Modes, Reception
from tests.netns.taps import tap

MAC = "02:00:5e:00:53:01"
LINK_LOCAL = Address(socket.AF_INET6, "fe80::53", 64, 253, 0x82)


def ask(near: Namespace, question: Callable[[Netlink], Awaitable[object]]) -> object:
    """Asks one thing of a Netlink of the namespace."""

    async def run() -> object:
        with closing(Netlink()) as netlink:
            return await question(netlink)

    return near.arun(run)


def link_of(near: Namespace, name: str) -> Link:
    link = ask(near, lambda netlink: netlink.by_name(name))
    assert isinstance(link, Link)
    return link


def refusal(near: Namespace, request: Callable[[Netlink], Awaitable[object]]) -> str:
    with pytest.raises(LaggError) as caught:
        ask(near, request)
    return str(caught.value)


def test_a_link_tells_what_it_is(near: Namespace) -> None:
    near.veth("eth0", "eth1")
    near.netlink("link", "add", ifname="br0", kind="bridge")
    near.netlink("link", "add", ifname="m0", kind="macvlan", link=near.ifindex("eth1"))
    near.set_link("eth0", master=near.ifindex("br0"), mtu=2000, ifalias="uplink")

    eth0, eth1, m0 = (link_of(near, name) for name in ("eth0", "eth1", "m0"))

    assert (eth0.kind, eth0.mtu, eth0.arphrd, eth0.alias) == ("veth", 2000, 1, "uplink")
    assert (eth0.up, eth0.lower_up) == (True, True)
    assert eth0.master == near.ifindex("br0")
    assert eth0.lower == eth1.ifindex
    assert eth0.promiscuity == 1  # the bridge's
    assert (m0.kind, m0.lower, m0.up, m0.active) == (
        "macvlan",
        eth1.ifindex,
        False,
        False,
    )
    assert link_of(near, "lo").loopback


def test_a_peer_in_another_namespace_is_no_ifindex_of_ours(
    near: Namespace, far: Namespace
) -> None:
    far.veth("spare0", "spare1")  # so that the ends have different indexes
    near.veth("eth0", "eth1", far)
    assert link_of(near, "eth0").lower == 0


def test_the_dump_holds_every_link_of_the_namespace(near: Namespace) -> None:
    for number in range(60):  # more than one datagram
        near.netlink("link", "add", ifname=f"a{number}", kind="veth", peer=f"b{number}")
    links = ask(near, lambda netlink: netlink.links())
    assert isinstance(links, dict)
    assert len(links) == 121
    assert {index: link.ifindex for index, link in links.items()} == {
        index: index for index in links
    }


def test_everything_can_be_set(near: Namespace) -> None:
    near.veth("eth0", "eth1")
    index = near.ifindex("eth0")

    async def set_all(netlink: Netlink) -> None:
        await netlink.set_mac(index, MAC)
        await netlink.set_mtu(index, 3000)
        await netlink.set_addr_gen_mode(index, AddrGenMode.NONE)
        await netlink.set_alias(index, "lagg0's")
        await netlink.set_up(index, False)

    ask(near, set_all)

    eth0 = link_of(near, "eth0")
    assert (eth0.mac, eth0.mtu, eth0.up) == (MAC, 3000, False)
    assert (eth0.addr_gen_mode, eth0.alias) == (AddrGenMode.NONE, "lagg0's")


def test_addr_gen_mode_is_none_where_ipv6_is_off(near: Namespace) -> None:
    near.veth("eth0", "eth1")
    near.set_link("eth0", mtu=1000)  # too small for IPv6
    assert link_of(near, "eth0").addr_gen_mode is None


def test_addresses_come_and_go(near: Namespace) -> None:
    near.veth("eth0", "eth1")
    near.add_address("eth0", "192.0.2.1/24")
    near.add_address("eth1", "192.0.2.2/24")
    index = near.ifindex("eth0")

    async def exchange(netlink: Netlink) -> tuple[Address, ...]:
        await netlink.set_addr_gen_mode(index, AddrGenMode.NONE)
        for address in await netlink.addresses(index):
            if address.link_local:
                await netlink.delete_address(index, address)
        await netlink.add_address(index, LINK_LOCAL)
        return await netlink.addresses(index)

    addresses = ask(near, exchange)
    assert isinstance(addresses, tuple)
    assert [str(each) for each in addresses] == ["192.0.2.1/24", "fe80::53/64"]
    assert [each.link_local for each in addresses] == [False, True]


def test_a_refusal_names_interface_step_and_cause(near: Namespace) -> None:
    near.veth("eth0", "eth1")
    index = near.ifindex("eth0")

    async def too_large(netlink: Netlink) -> None:
        await netlink.links()
        await netlink.set_mtu(index, 1 << 20)

    assert refusal(near, too_large) == (
        "eth0: set MTU 1048576: Invalid argument:"
        " mtu greater than device maximum (EINVAL)"
    )
    assert refusal(near, lambda netlink: netlink.set_up(77, True)) == (
        "interface 77: set up: No such device (ENODEV)"
    )
    assert "nope: look up the interface: No such device" in refusal(
        near, lambda netlink: netlink.by_name("nope")
    )
    assert "(EEXIST)" in refusal(near, twice(index))


def twice(index: int) -> Callable[[Netlink], Awaitable[object]]:
    async def run(netlink: Netlink) -> None:
        await netlink.add_address(index, LINK_LOCAL)
        await netlink.add_address(index, LINK_LOCAL)

    return run


def test_a_mac_that_wants_the_link_down_is_set_and_the_link_is_up_again(
    near: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    near.veth("eth0", "eth1")
    index = near.ifindex("eth0")
    refuse_while_up(monkeypatch)

    ask(near, lambda netlink: netlink.set_mac(index, MAC))

    assert (link_of(near, "eth0").mac, link_of(near, "eth0").up) == (MAC, True)


def test_the_link_is_up_again_though_the_mac_was_refused(
    near: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    near.veth("eth0", "eth1")
    index = near.ifindex("eth0")
    refuse_while_up(monkeypatch)

    request = refusal(near, lambda netlink: netlink.set_mac(index, "01:00:00:00:00:01"))

    assert "(EADDRNOTAVAIL)" in request
    assert link_of(near, "eth0").up


def refuse_while_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every driver one that cannot change its MAC while it is up."""
    real = Netlink._set

    async def fake(
        self: Netlink, ifindex: int, step: str, attribute: tuple[str, object]
    ) -> None:
        if attribute[0] == "IFLA_ADDRESS" and (await self.link(ifindex)).up:
            raise LaggError("eth0", step, errno.EBUSY)
        await real(self, ifindex, step, attribute)

    monkeypatch.setattr(Netlink, "_set", fake)


def test_speed_is_ethtool_s_and_a_tap_s_can_be_set(near: Namespace) -> None:
    near.veth("eth0", "eth1")
    descriptor = near.inside(lambda: tap("lagg0"))
    eth0, lagg0, lo = (near.ifindex(name) for name in ("eth0", "lagg0", "lo"))

    async def found(netlink: Netlink) -> tuple[Modes, ...]:
        await netlink.set_speed(lagg0, 20_000)
        set_to = await netlink.modes(lagg0)
        await netlink.set_speed(lagg0, 0)
        return (
            set_to,
            await netlink.modes(lagg0),
            await netlink.modes(eth0),
            await netlink.modes(lo),
        )

    assert ask(near, found) == (Modes(20_000), Modes(0), Modes(10_000), Modes(0))
    assert "(ENODEV)" in refusal(near, lambda netlink: netlink.modes(77))
    os.close(descriptor)


def test_half_duplex_is_ethtool_s(near: Namespace) -> None:
    descriptor = near.inside(lambda: tap("eth0"))
    eth0 = near.ifindex("eth0")
    wanted = [Modes(100, full_duplex=False), Modes(100)]

    async def found(netlink: Netlink) -> list[Modes]:
        seen = []
        with closing(Generic()) as generic:
            for modes in wanted:
                await generic.set_modes(eth0, modes)
                seen.append(await netlink.modes(eth0))
        return seen

    assert ask(near, found) == wanted
    os.close(descriptor)


def test_a_wired_interface_is_not_wireless(near: Namespace) -> None:
    near.veth("eth0", "eth1")
    index = near.ifindex("eth0")
    assert ask(near, lambda netlink: netlink.wireless(index)) is False


def test_a_vlan_filter_that_is_on_is_seen(
    near: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another VLAN feature in its place: nothing but hardware filters."""
    near.veth("eth0", "eth1")
    eth0, lo = near.ifindex("eth0"), near.ifindex("lo")

    async def found(netlink: Netlink) -> tuple[bool, ...]:
        return (
            await netlink.filters_vlans(eth0),
            await netlink.filters_vlans(lo),
            await netlink.filters_vlans(77),
        )

    assert ask(near, found) == (False, False, False)
    monkeypatch.setattr(generic, "_VLAN_FILTERS", (b"rx-vlan-hw-parse\0",))
    assert ask(near, found) == (True, False, False)


def test_who_wants_more_of_an_interface_is_counted(near: Namespace) -> None:
    near.veth("eth0", "eth1")
    index = near.ifindex("eth0")
    near.netlink("link", "add", ifname="br0", kind="bridge")
    near.set_link("eth0", master=near.ifindex("br0"))

    async def found(netlink: Netlink) -> tuple[Reception | None, ...]:
        return netlink.reception(index), netlink.reception(77)

    assert ask(near, found) == (Reception(promiscuity=1, allmulti=1), None)


def test_the_ends_of_a_new_cable_know_each_other(near: Namespace) -> None:
    async def found(netlink: Netlink) -> dict[str, int]:
        await netlink.links()  # known from here on by what is told
        near.netlink("link", "add", ifname="eth0", kind="veth", peer={"ifname": "eth1"})
        links = await netlink.links()
        return {link.name: link.lower for link in links.values()}

    lower = ask(near, found)
    eth0, eth1 = near.ifindex("eth0"), near.ifindex("eth1")
    assert lower == {"lo": 0, "eth0": eth1, "eth1": eth0}
