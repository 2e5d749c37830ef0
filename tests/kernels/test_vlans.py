# SPDX-License-Identifier: BSD-2-Clause
"""What stands above lagg0 is heard below it, by NICs that filter, with nobody sniffing.

A tcpdump makes a NIC promiscuous and hides all of this.
"""

import pytest

from lab import wait_until
from lab.vm import nic
from tests.kernels.world import DEADLINE_S, Machine

HERE, THERE = "10.5.0.1", "10.5.0.2"
PINGS = 5

long = pytest.mark.long
KINDS = [
    *("virtio", "e1000"),
    *(pytest.param(kind, marks=long) for kind in ("e1000e", "vmxnet3", "rtl8139")),
]


def reachable(machine: Machine) -> int:
    """How many pings of so many are answered, once one was."""
    machine.until(f"ping -n -c 1 -W 1 {THERE}")
    return machine.pings(THERE, PINGS)


def peer_vlan(machine: Machine, protocol: str = "802.1q") -> None:
    """VLAN 5 of the peer, with an address."""
    machine.run(f"""
        set -e
        ip -n peer link add link agg name agg.5 type vlan protocol {protocol} id 5
        ip -n peer addr add {THERE}/24 dev agg.5
        ip -n peer link set agg.5 up
    """)


def vlan_above(machine: Machine, words: str = "type vlan") -> None:
    """VLAN 5 of lagg0, with an address; `words` as ip-link(8) has them."""
    machine.run(f"""
        set -e
        ip link add link lagg0 name d5 {words} id 5
        ip addr add {HERE}/24 dev d5
        ip link set d5 up
    """)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vlan_above_the_lagg_receives(machine: Machine, kind: str) -> None:
    machine.lagg(machine.nics(kind))
    peer_vlan(machine)
    vlan_above(machine)
    assert reachable(machine) == PINGS


@pytest.mark.parametrize("kind", KINDS)
def test_a_watch_in_a_vlan_hears_its_answer(machine: Machine, kind: str) -> None:
    """Though no VLAN stands on the lagg, nobody registered one with its NIC."""

    def alive() -> bool:
        ports = machine.call("List", name="lagg0")["laggs"][0]["ports"]
        return {each["state"] for port in ports for each in port["watch"]} == {"up"}

    machine.lagg(machine.nics(kind), proto="failover")
    peer_vlan(machine)
    watch = f"arp,target={THERE},vlan=5"
    machine.call("Set", name="lagg0", options={"watch": [watch]})
    wait_until(alive, DEADLINE_S, "both ports are answered")


@long
def test_a_vlan_with_a_mac_of_its_own_receives(machine: Machine) -> None:
    machine.lagg(machine.nics("e1000"))
    peer_vlan(machine)
    vlan_above(machine, "address 02:00:5e:00:53:99 type vlan")
    assert reachable(machine) == PINGS


@long
def test_a_service_vlan_above_the_lagg_receives(machine: Machine) -> None:
    machine.lagg(machine.nics("e1000"))
    peer_vlan(machine, "802.1ad")
    vlan_above(machine, "type vlan protocol 802.1ad")
    assert reachable(machine) == PINGS


@long
def test_a_bridge_that_knows_vlans_receives_by_the_lagg(machine: Machine) -> None:
    machine.lagg(machine.nics("virtio"))
    peer_vlan(machine)
    machine.run(f"""
        set -e
        ip link add d0 type bridge vlan_filtering 1
        ip link set lagg0 master d0
        ip link set d0 up
        bridge vlan add dev lagg0 vid 5
        bridge vlan add dev d0 vid 5 self
        ip link add link d0 name d5 type vlan id 5
        ip addr add {HERE}/24 dev d5
        ip link set d5 up
    """)
    assert reachable(machine) == PINGS


@long
def test_a_failover_is_announced_in_the_vlans_above(machine: Machine) -> None:
    one, other = machine.nics("virtio")
    machine.lagg((one, other), proto="failover")
    machine.run(f"""
        set -e
        ip -n peer link set agg type bridge vlan_filtering 1
        for end in w{one} w{other}; do bridge -n peer vlan add dev $end vid 5; done
    """)
    vlan_above(machine)
    learned = f"bridge -n peer fdb show br agg | grep '^{nic.mac(one)} dev w%d vlan 5'"
    machine.run(f"ping -n -c 1 -W 1 {THERE} || true")  # so that the bridge knows it
    machine.until(learned % one)
    machine.pull(one)
    machine.until(learned % other)
