# SPDX-License-Identifier: BSD-2-Clause
"""What a driver has on: offloads that stop a ring, queues that overtake each other.

Receive offloads that packet(7) has no word for are off while an interface is a port.
"""

from functools import partial

import pytest

from lab import wait_until
from tests.kernels.world import DEADLINE_S, Machine

long = pytest.mark.long

VETH = "ip link add d{0} {2} type veth peer name d{1}; ip link set d{1} up"
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
    machine.run(VETH.format(0, 1, ""))
    machine.run(f"ethtool -K d0 gro on {offload} on")
    taken_and_given_back(machine, "d0", offload)


@pytest.mark.parametrize("ports", [["d0"], ["d0", "d2"]])
def test_a_port_that_gets_several_queues_sends_by_the_packet_socket(
    machine: Machine, ports: list[str]
) -> None:
    """One port is asked for by itself, of several all there are."""

    def send_by(way: str) -> bool:
        found = machine.call("List", name="lagg0")["laggs"][0]["ports"]
        return [port["tx"] for port in found] == [way] * len(ports)

    def give(queues: int) -> None:
        machine.run("".join(f"ethtool -L {port} tx {queues};" for port in ports))

    for number in (0, 2):
        machine.run(VETH.format(number, number + 1, "numtxqueues 4 numrxqueues 4"))
        machine.run(f"ethtool -L d{number} rx 1 tx 1")
    machine.call("Create", name="lagg0", ports=ports, options={})
    assert send_by(BY_XDP)
    for queues, way in ((4, BY_PACKET), (1, BY_XDP)):
        give(queues)
        wait_until(partial(send_by, way), DEADLINE_S, way)
