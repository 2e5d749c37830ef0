# SPDX-License-Identifier: BSD-2-Clause
"""What a port was is remembered, and put back whatever became of it."""

import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from lab import Namespace, wait_until
from lagg.errors import LaggError
from lagg.kernel.netlink import DeafPorts, Netlink
from lagg.link import Address, AddrGenMode, Link
from lagg.ports.originals import Original, StateFile, put_back, remember
from lagg.ports.takeover import Takeover
from tests.netns.steer import DEADLINE_S

MAC, LAGG_MAC = "02:00:5e:00:53:01", "02:00:5e:00:53:99"

T = TypeVar("T")


@pytest.fixture
def near() -> Iterator[Namespace]:
    with Namespace() as namespace:
        namespace.veth("eth0", "eth1")
        namespace.set_link("eth0", state="down")
        namespace.set_link("eth0", address=MAC, state="up")
        # The kernel gives it when it has seen the carrier, some time later.
        wait_until(lambda: namespace.addresses("eth0"), DEADLINE_S, "an address")
        yield namespace


def ask(near: Namespace, question: Callable[[Netlink], Awaitable[T]]) -> T:
    async def run() -> T:
        with closing(Netlink()) as netlink:
            return await question(netlink)

    return near.arun(run)


def eth0(near: Namespace) -> tuple[Link, tuple[str, ...]]:
    """The link and its addresses."""

    async def look(netlink: Netlink) -> tuple[Link, tuple[str, ...]]:
        link = await netlink.by_name("eth0")
        addresses = await netlink.addresses(link.ifindex)
        return link, tuple(sorted(str(each) for each in addresses))

    return ask(near, look)


async def enslave(netlink: Netlink, original: Original) -> None:
    """What attach does to a port, and more."""
    index = original.ifindex
    await netlink.set_addr_gen_mode(index, AddrGenMode.NONE)
    for address in original.addresses:
        await netlink.delete_address(index, address)
    await netlink.set_mac(index, LAGG_MAC)
    await netlink.set_mtu(index, 9000)
    await netlink.set_up(index, not original.up)


def with_link_local(near: Namespace) -> None:
    """Two link-local addresses: not only what the kernel would make again."""

    async def add(netlink: Netlink) -> None:
        index = near.ifindex("eth0")
        for text in ("fe80::1", "fe80::2"):
            await netlink.add_address(index, link_local(text))

    ask(near, add)


def link_local(text: str) -> Address:
    return Address(socket.AF_INET6, text, 64, 253, 0x82)


def test_everything_is_put_back(near: Namespace) -> None:
    with_link_local(near)
    before = eth0(near)

    async def there_and_back(netlink: Netlink) -> bool:
        original = await remember(netlink, near.ifindex("eth0"))
        await enslave(netlink, original)
        assert (await netlink.by_name("eth0")).mac == LAGG_MAC
        return await put_back(netlink, original)

    assert ask(near, there_and_back)
    after = eth0(near)
    assert {"fe80::1/64", "fe80::2/64"} <= set(after[1])
    assert after[1] == before[1]
    for each in ("mac", "mtu", "up", "addr_gen_mode", "name"):
        assert getattr(after[0], each) == getattr(before[0], each), each


def test_putting_back_what_is_as_it_was_changes_nothing(near: Namespace) -> None:
    with_link_local(near)
    before = eth0(near)

    async def back(netlink: Netlink) -> bool:
        return await put_back(netlink, await remember(netlink, near.ifindex("eth0")))

    assert ask(near, back)
    assert eth0(near)[1] == before[1]


def test_a_port_that_was_down_is_down_again(near: Namespace) -> None:
    near.set_link("eth0", state="down")

    async def there_and_back(netlink: Netlink) -> bool:
        original = await remember(netlink, near.ifindex("eth0"))
        await enslave(netlink, original)
        return await put_back(netlink, original)

    assert ask(near, there_and_back)
    link, addresses = eth0(near)
    assert (link.up, link.mac, addresses) == (False, MAC, ())


def test_ipv6_that_a_small_mtu_took_comes_back(near: Namespace) -> None:
    async def there_and_back(netlink: Netlink) -> bool:
        index = near.ifindex("eth0")
        await netlink.set_addr_gen_mode(index, AddrGenMode.NONE)
        await netlink.add_address(index, link_local("fe80::1"))
        original = await remember(netlink, index)
        await netlink.set_mtu(index, 1000)
        return await put_back(netlink, original)

    assert ask(near, there_and_back)
    link, addresses = eth0(near)
    assert link.addr_gen_mode == AddrGenMode.NONE
    assert "fe80::1/64" in addresses


def test_one_step_that_fails_does_not_keep_the_others_from_being_done(
    near: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    async def there_and_back(netlink: Netlink) -> bool:
        original = await remember(netlink, near.ifindex("eth0"))
        await enslave(netlink, original)
        return await put_back(netlink, replace(original, mtu=1 << 20))

    assert not ask(near, there_and_back)
    assert eth0(near)[0].mac == MAC
    (record,) = caplog.records
    assert record.getMessage().startswith("eth0: not put back: eth0: set MTU 1048576")


def test_a_port_that_is_gone_is_no_failure(near: Namespace) -> None:
    async def back(netlink: Netlink) -> bool:
        original = await remember(netlink, near.ifindex("eth0"))
        near.delete_link("eth0")
        with pytest.raises(LaggError):
            await remember(netlink, original.ifindex)
        return await put_back(netlink, original)

    assert ask(near, back)


@pytest.mark.parametrize(
    "other",
    [
        lambda original: replace(original, name="eth7"),
        lambda original: replace(original, kind="vlan"),
        lambda original: replace(original, permanent_mac=LAGG_MAC),
    ],
)
def test_another_interface_with_that_ifindex_is_left_alone(
    near: Namespace, other: Callable[[Original], Original]
) -> None:
    async def back(netlink: Netlink) -> bool:
        original = await remember(netlink, near.ifindex("eth0"))
        await netlink.set_mac(original.ifindex, LAGG_MAC)
        return await put_back(netlink, other(original))

    assert ask(near, back)
    assert eth0(near)[0].mac == LAGG_MAC


def test_a_port_in_custody_is_put_back_under_a_name_that_no_event_told_of_yet(
    near: Namespace, tmp_path: Path
) -> None:
    """Found by tools/soak --seed 1: the port kept its lagg's MAC for good."""

    async def there_and_back(netlink: Netlink) -> Link:
        with closing(DeafPorts(0)) as deaf:
            takeover = await Takeover.after_the_dead(netlink, deaf, StateFile(tmp_path))
            index = (await netlink.by_name("eth0")).ifindex
            link = await netlink.link(index)
            await takeover.take(link, hears_local=False)
            await netlink.set_mac(index, LAGG_MAC)
            subprocess.run(["ip", "link", "set", "eth0", "name", "new0"], check=True)
            await takeover.give_back(index)
            takeover.close()
            return await netlink.link(index)

    after = ask(near, there_and_back)
    assert (after.name, after.mac) == ("new0", MAC)


def test_what_is_asked_of_a_port_that_was_given_back_is_refused(
    near: Namespace, tmp_path: Path
) -> None:
    """As when a worker did not let go of it: it is still named, and not ours."""

    async def ask_late(netlink: Netlink) -> list[str]:
        with closing(DeafPorts(0)) as deaf:
            takeover = await Takeover.after_the_dead(netlink, deaf, StateFile(tmp_path))
            index = (await netlink.by_name("eth0")).ifindex
            link = await netlink.link(index)
            await takeover.take(link, hears_local=False)
            await takeover.give_back(index)
            said = []
            try:
                await takeover.rename(index, "new0")
            except LaggError as error:
                said.append(error.cause)
            try:
                takeover.mtu_found(index)
            except LaggError as error:
                said.append(error.cause)
            takeover.close()
            return said

    assert ask(near, ask_late) == ["was put back"] * 2
