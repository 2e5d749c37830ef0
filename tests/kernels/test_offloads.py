# SPDX-License-Identifier: BSD-2-Clause
"""What a driver has on: offloads that stop a ring, queues that overtake each other.

Receive offloads that packet(7) has no word for are off while an interface is a port.
"""

from functools import partial

import pytest

from lab import wait_until
from tests.kernels.world import DEADLINE_S, Machine

long = pytest.mark.long

VETH = "ip link add d0 {} type veth peer name d1; ip link set d1 up"
BY_XDP, BY_PACKET = "xdp+packet", "packet"


def on(name: str, offload: str) -> str:
    """A script that succeeds if an offload of an interface is on."""
    return f"ethtool -k {name} | grep -q '^{offload}: on'"


def taken_and_given_back(machine: Machine, name: str, offload: str) -> None:
    """An offload that is on is off while the interface is a port, and then on again."""
    machine.run(on(name, offload))
    machine.call("Create", name="lagg0", ports=[name], options={})
    machine.run(f"! {on(name, offload)}")
    machine.call("Destroy", name="lagg0")
    machine.until(on(name, offload))


@long
def test_large_receive_offload_is_off_while_an_interface_is_a_port(
    machine: Machine,
) -> None:
    one, _ = machine.nics("vmxnet3")
    taken_and_given_back(machine, f"n{one}", "large-receive-offload")


@pytest.mark.parametrize("offload", ["rx-gro-list", "rx-udp-gro-forwarding"])
def test_offloads_that_stop_a_ring_are_off_while_an_interface_is_a_port(
    machine: Machine, offload: str
) -> None:
    machine.run(VETH.format(""))
    machine.run(f"ethtool -K d0 gro on {offload} on")
    taken_and_given_back(machine, "d0", offload)


def test_a_port_that_gets_several_queues_sends_by_the_packet_socket(
    machine: Machine,
) -> None:
    def sends_by(way: str) -> bool:
        (port,) = machine.call("List", name="lagg0")["laggs"][0]["ports"]
        return bool(port["tx"] == way)

    machine.run(VETH.format("numtxqueues 4 numrxqueues 4"))
    machine.run("ethtool -L d0 rx 1 tx 1")
    machine.call("Create", name="lagg0", ports=["d0"], options={})
    assert sends_by(BY_XDP)
    for queues, way in ((4, BY_PACKET), (1, BY_XDP)):
        machine.run(f"ethtool -L d0 tx {queues}")
        wait_until(partial(sends_by, way), DEADLINE_S, way)
