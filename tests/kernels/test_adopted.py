# SPDX-License-Identifier: BSD-2-Clause
"""A laggd that finds the laggs of one that was killed looks at all that it missed.

Before Linux 6.6 ethtool lists nothing for who asks as later kernels allow.
"""

from tests.kernels.world import Machine

MTU = "/sys/class/net/n0/mtu"


def test_what_was_changed_while_there_was_no_laggd_is_put_right(
    machine: Machine,
) -> None:
    machine.lagg(machine.nics("virtio"))
    machine.crash("ip link set n0 mtu 1400")
    machine.until(f"[ $(cat {MTU}) = 1500 ]")
