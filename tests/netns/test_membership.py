# SPDX-License-Identifier: BSD-2-Clause
"""packet(7) memberships of a port and the multicast list of an interface."""

import errno
from collections.abc import Iterator
from contextlib import closing

import pytest

from lab import Namespace
from lagg.errors import LaggError
from lagg.kernel.netlink import Netlink
from lagg.kernel.proc import multicast
from lagg.kernel.rx_filter import Memberships
from lagg.link import Link

ONE, TWO = "01:00:5e:7c:00:01", "01:00:5e:7c:00:02"
NOT_A_MAC = "ff:ff:ff:ff:ff:ff:ff"  # seven bytes; sorted, and so asked for, last


@pytest.fixture
def near() -> Iterator[Namespace]:
    with Namespace() as namespace:
        namespace.veth("eth0", "eth1")
        yield namespace


@pytest.fixture
def port(near: Namespace) -> Iterator[Memberships]:
    index = near.ifindex("eth0")
    memberships = near.inside(lambda: Memberships(index, "eth0"))
    yield memberships
    memberships.close()


def eth0(near: Namespace) -> Link:
    async def run() -> Link:
        with closing(Netlink()) as netlink:
            return await netlink.by_name("eth0")

    return near.arun(run)


def counts(near: Namespace) -> tuple[int, int]:
    link = eth0(near)
    return (link.promiscuity, link.allmulti)


def groups(near: Namespace) -> set[str]:
    """Ours among the groups the interface listens to."""
    index = near.ifindex("eth0")
    return {ONE, TWO} & near.inside(lambda: multicast((index,)).get(index, set()))


def test_what_is_applied_is_so_and_ends_with_the_socket(
    near: Namespace, port: Memberships
) -> None:
    port.apply(promisc=True, allmulti=True, multicast=frozenset({ONE}))
    assert (counts(near), groups(near)) == ((1, 1), {ONE})

    port.close()
    assert (counts(near), groups(near)) == ((0, 0), set())


def test_only_the_difference_is_applied(near: Namespace, port: Memberships) -> None:
    port.apply(promisc=True, allmulti=False, multicast=frozenset({ONE}))
    port.apply(promisc=True, allmulti=False, multicast=frozenset({ONE}))
    assert (counts(near), groups(near)) == ((1, 0), {ONE})

    port.apply(promisc=False, allmulti=True, multicast=frozenset({ONE, TWO}))
    assert (counts(near), groups(near)) == ((0, 1), {ONE, TWO})

    port.apply(promisc=False, allmulti=False)
    assert (counts(near), groups(near)) == ((0, 0), set())


def test_the_references_of_others_stay(near: Namespace, port: Memberships) -> None:
    index = near.ifindex("eth0")
    other = near.inside(lambda: Memberships(index, "eth0"))
    for each in (port, other):
        each.apply(promisc=True, allmulti=False, multicast=frozenset({ONE}))
    assert counts(near) == (2, 0)
    other.close()
    assert (counts(near), groups(near)) == ((1, 0), {ONE})


def test_a_refusal_changes_nothing(near: Namespace, port: Memberships) -> None:
    port.apply(promisc=False, allmulti=True, multicast=frozenset({ONE}))

    with pytest.raises(LaggError) as caught:
        port.apply(promisc=True, allmulti=False, multicast=frozenset({TWO, NOT_A_MAC}))

    assert caught.value.code == errno.EINVAL
    assert "eth0: listen to" in str(caught.value)
    assert (counts(near), groups(near)) == ((0, 1), {ONE})
    port.apply(promisc=True, allmulti=False, multicast=frozenset({TWO}))
    assert (counts(near), groups(near)) == ((1, 0), {TWO})


def test_a_second_mac_is_let_through(near: Namespace, port: Memberships) -> None:
    # Visible only where the driver filters; here it must not be refused.
    port.apply(promisc=False, allmulti=False, unicast=frozenset({"02:00:5e:00:53:09"}))
    port.apply(promisc=False, allmulti=False)
    assert counts(near) == (0, 0)


def test_a_port_that_is_gone_is_no_trouble(near: Namespace, port: Memberships) -> None:
    port.apply(promisc=True, allmulti=True, multicast=frozenset({ONE}))
    near.delete_link("eth0")
    port.apply(promisc=False, allmulti=False)
    with pytest.raises(LaggError) as caught:
        port.apply(promisc=True, allmulti=False)
    assert caught.value.code == errno.ENODEV
