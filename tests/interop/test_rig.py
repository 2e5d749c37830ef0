# SPDX-License-Identifier: BSD-2-Clause
"""The real partners with each other, without us: that the rig itself carries LACP.

A fault of the rig shows here, and not as one of ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab import Host, Lab, ovs, ping, wait_until
from lab.bond import Bond
from lab.ovs import BRIDGE, OpenVswitch
from lab.partner import Lacp, Member
from lab.vm import image
from tests.interop.world import agreed

PORTS = ("p0", "p1", "p2", "p3")
MAC = "02:00:5e:00:53:01"
AGREE_S = 60.0
PINGS = 20


@dataclass(frozen=True, slots=True)
class Rig:
    """Open vSwitch in `host`, cabled to the kernel's bond in its virtual machine."""

    host: Host
    switch: OpenVswitch
    bond: Bond

    def members(self) -> tuple[Member, ...]:
        return self.switch.members() + self.bond.members()


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    if why := ovs.missing() or image.missing():
        pytest.skip(why)
    with Lab() as lab:
        host = lab.host("ovs")
        bond = Bond(lab, host, PORTS)
        switch = OpenVswitch(host, PORTS, MAC)
        host.set_link(BRIDGE, state="up")
        host.add_address(BRIDGE, "10.77.0.1/24")
        yield Rig(host, switch, bond)
        bond.close()


@pytest.mark.parametrize(
    ("lacp", "octet", "ports"),
    [(Lacp(fast=True), 0x3F, 2), (Lacp(fast=False), 0x3D, 4)],
    ids=["fast", "slow"],
)
def test_open_vswitch_and_the_kernel_bond_agree_and_carry(
    rig: Rig, lacp: Lacp, octet: int, ports: int
) -> None:
    rig.switch.set_lacp(lacp, PORTS[:ports])
    rig.bond.configure(lacp, ports)
    wait_until(
        lambda: agreed(rig.members(), 2 * ports, octet, octet), AGREE_S, "both agree"
    )
    assert ping(rig.host, rig.bond.address, count=PINGS).lost == 0
