# SPDX-License-Identifier: BSD-2-Clause
"""The partner hears where a lagg is when another port carries it."""

from scapy.layers.l2 import ARP, Ether

from lab import Lab, wait_until

ADDRESS = "10.77.0.1"


def test_a_failover_is_announced_by_the_port_that_carries_now() -> None:
    with Lab() as lab:
        near, far = lab.host("a"), lab.host("b")
        cables = [lab.cable(near, f"p{i}", far, f"q{i}") for i in range(2)]
        laggd = lab.daemon(near)
        laggd.ctl("create", "lagg0", "--port", "p0", "--port", "p1")
        near.add_address("lagg0", f"{ADDRESS}/24")
        wait_until(lambda: "ACTIVE" in laggd.port("lagg0", "p0")["flags"], 60, "p0")
        with far.packet_socket("q1") as wire:
            wire.setblocking(False)
            cables[0].cut()
            wait_until(lambda: announced(wire.recv), 60, "an ARP for our own address")


def announced(receive: object) -> bool:
    assert callable(receive)
    try:
        frame = Ether(receive(2048))
    except BlockingIOError:
        return False
    return ARP in frame and frame[ARP].psrc == frame[ARP].pdst == ADDRESS
