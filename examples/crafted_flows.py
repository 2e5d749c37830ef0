# SPDX-License-Identifier: BSD-2-Clause
"""Which port does a flow take?  Sends crafted frames through a lagg and looks.

Builds a lab of its own (tools/packages/lab): a host with a laggd and four ports, at
whose far ends everything that arrives is read.  Says for each flow where its frames
went, and whether the ports' counters agree.  Needs `sudo tools/setup --dev`, for scapy:

    sudo PYTHONPATH=tools/packages .venv/bin/python examples/crafted_flows.py

And with --lagghash l2, or --proto roundrobin.
"""

import argparse
import socket
import sys
from collections import Counter

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet

from lab import Daemon, Host, Lab, conserved, wait_until

PORTS = 4
FRAMES = 6
"""Frames of each flow."""

HERE, THERE = "02:00:00:00:00:01", "02:00:00:00:00:02"
MARK = b"crafted flow %03d"


def flows() -> list[tuple[str, Packet]]:
    """A name and a frame for each flow; all differ in what some layer may hash."""
    ether = Ether(src=HERE, dst=THERE)
    v4, v6 = IP(src="10.0.0.1", dst="10.0.0.2"), IPv6(src="fd00::1", dst="fd00::2")
    found: list[tuple[str, Packet]] = [
        (f"UDP, source port {port}", ether / v4 / UDP(sport=port, dport=53))
        for port in range(1000, 1006)
    ]
    found += [
        ("TCP", ether / v4 / TCP(sport=1000, dport=80)),
        ("TCP in a VLAN", ether / Dot1Q(vlan=5) / v4 / TCP(sport=1000, dport=80)),
        (
            "TCP in a VLAN in a VLAN",
            ether / Dot1AD(vlan=7) / Dot1Q(vlan=5) / v4 / TCP(sport=1000, dport=80),
        ),
        ("IPv6, UDP", ether / v6 / UDP(sport=1000, dport=53)),
        (
            "IPv6, UDP behind an option",
            ether / v6 / IPv6ExtHdrDestOpt() / UDP(sport=1000, dport=53),
        ),
        ("a first fragment", ether / v4.copy() / UDP(sport=1000, dport=53)),
        ("its last fragment", ether / v4.copy()),
        ("ARP", ether / ARP(psrc="10.0.0.1", pdst="10.0.0.2")),
    ]
    found[-3][1][IP].flags = "MF"
    found[-2][1][IP].frag, found[-2][1][IP].proto = 185, socket.IPPROTO_UDP
    return found


def listen(far: Host) -> list[socket.socket]:
    """A socket at the far end of each port."""
    return [far.packet_socket(f"q{i}") for i in range(PORTS)]


def read(listener: socket.socket) -> list[bytes]:
    """The frames of ours that wait there."""
    found: list[bytes] = []
    while True:
        try:
            frame = listener.recv(65536)
        except BlockingIOError:
            return [frame for frame in found if MARK[:12] in frame]
        found.append(frame)


def send(near: Host, crafted: list[tuple[str, Packet]]) -> None:
    """Every flow's frames, one round of all flows after the other."""
    with near.packet_socket("lagg0") as sender:
        for _ in range(FRAMES):
            for number, (_, frame) in enumerate(crafted):
                sender.send(bytes(frame / (MARK % number)))


def sent_by_port(laggd: Daemon) -> dict[str, int]:
    """What laggd itself has counted."""
    return {port["name"]: port["tx_frames"] for port in laggd.record()["ports"]}


def collect(listeners: list[socket.socket], count: int) -> list[list[bytes]]:
    """What arrived at each port, once `count` frames have."""
    found: list[list[bytes]] = [[] for _ in listeners]

    def complete() -> bool:
        for frames, listener in zip(found, listeners, strict=True):
            frames += read(listener)
        return sum(map(len, found)) >= count

    wait_until(complete, 60, f"{count} frames arrive")
    return found


def print_table(crafted: list[tuple[str, Packet]], arrived: list[list[bytes]]) -> None:
    """A line for each flow: which port carried how many of its frames."""
    print(f"{'flow':<28}" + "".join(f"{f'p{i}':>6}" for i in range(PORTS)))
    for number, (name, _) in enumerate(crafted):
        mark = MARK % number
        counts = [sum(mark in frame for frame in frames) for frames in arrived]
        print(f"{name:<28}" + "".join(f"{count or '-':>6}" for count in counts))


def run(lab: Lab, arguments: argparse.Namespace) -> bool:
    """Sends, looks, prints; whether the counters agree with what was seen."""
    near, far = lab.host("near"), lab.host("far")
    for host in (near, far):
        host.sysctl("net.ipv6.conf.default.disable_ipv6", 1)  # it would send, too
    for i in range(PORTS):
        lab.cable(near, f"p{i}", far, f"q{i}")
    listeners = listen(far)
    laggd = lab.daemon(near)
    ports = [word for i in range(PORTS) for word in ("--port", f"p{i}")]
    options = ["--proto", arguments.proto, "--lagghash", arguments.lagghash]
    options += ["--hash", arguments.hash]
    options += ["--announce-count", "0"]  # the lagg is new, and would say so by a frame
    laggd.ctl("create", "lagg0", *options, *ports)

    crafted = flows()
    copies = PORTS if arguments.proto == "broadcast" else 1
    send(near, crafted)
    arrived = collect(listeners, FRAMES * len(crafted) * copies)
    print_table(crafted, arrived)
    seen = Counter({f"p{i}": len(frames) for i, frames in enumerate(arrived)})
    counted = sent_by_port(laggd)
    print(f"{'arrived':<28}" + "".join(f"{seen[port]:>6}" for port in counted))
    print(f"{'counted by laggd':<28}" + "".join(f"{n:>6}" for n in counted.values()))
    conserved(laggd.record())
    return dict(counted) == {port: seen[port] for port in counted}


def main() -> int:
    """The command line; 0 if everything agrees."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--proto", default="loadbalance")
    parser.add_argument("--lagghash", default="l2,l3,l4")
    parser.add_argument("--hash", default="crc32c", help="or fnv1")
    with Lab() as lab:
        agree = run(lab, parser.parse_args())
    print("they agree" if agree else "they do NOT agree")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
