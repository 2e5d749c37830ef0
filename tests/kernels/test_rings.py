# SPDX-License-Identifier: BSD-2-Clause
"""What a kernel leaves in a port's ring, so that nothing more comes by it.

Before 6.3 a frame whose offload packet(7) has no word for keeps its entry for good.
"""

from tests.kernels.world import ADDRESS, PEER, Machine
from tests.tree import ROOT

ROUNDS, ROUNDS_LONG = 4, 100
"""Each is several trains; a port that nobody mends is deaf after the first."""

TIMEOUT_S = 900.0


def test_no_port_is_deaf_after_trains_of_datagrams(
    machine: Machine, long_run: bool
) -> None:
    machine.run("""
        set -e
        ip link add d0 type veth peer name d1 netns peer
        ip -n peer link set d1 up
    """)
    machine.call("Create", name="lagg0", ports=["d0"], options={})
    machine.run(f"""
        set -e
        ip addr add {ADDRESS}/24 dev lagg0
        ip -n peer addr add {PEER}/24 dev d1
        ip netns exec peer sysctl -qw 'net.ipv4.ping_group_range=0 0'
    """)
    machine.until(f"ip netns exec peer ping -n -c 1 -W 1 {ADDRESS}")
    rounds = ROUNDS_LONG if long_run else ROUNDS
    trains = f"python3 {ROOT}/tests/kernels/train.py {ADDRESS} {rounds}"
    deaf = machine.run(f"ip netns exec peer {trains}", TIMEOUT_S)
    assert deaf.split() == []
