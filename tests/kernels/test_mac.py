# SPDX-License-Identifier: BSD-2-Clause
"""lagg0's MAC under udev, which gives one to each interface that has none of its own.

MACAddressPolicy=persistent, in the 99-default.link of every Debian.
"""

import pytest

from lab.vm import nic
from tests.kernels.world import Machine

TRIES, TRIES_LONG = 2, 5


@pytest.fixture
def tries(long_run: bool) -> int:
    """udev is a race; one that it wins is seen soon."""
    return TRIES_LONG if long_run else TRIES


def address(machine: Machine) -> str:
    """lagg0's, when udev has done what it does."""
    return machine.run("udevadm settle; cat /sys/class/net/lagg0/address").strip()


def test_a_new_lagg_has_its_first_ports_mac_whatever_udev_does(
    machine: Machine, tries: int
) -> None:
    found = []
    for _ in range(tries):
        machine.call("Create", name="lagg0", ports=["n0", "n1"], options={})
        found.append(address(machine))
        machine.call("Destroy", name="lagg0")
    assert found == [nic.mac(0)] * tries


def test_a_lagg_that_was_empty_gets_its_first_ports_mac(
    machine: Machine, tries: int
) -> None:
    found = []
    for _ in range(tries):
        machine.call("Create", name="lagg0", ports=[], options={})
        address(machine)
        machine.call("Attach", name="lagg0", ports=["n0"])
        found.append(address(machine))
        machine.call("Destroy", name="lagg0")
    assert found == [nic.mac(0)] * tries
