# SPDX-License-Identifier: BSD-2-Clause
"""Two laggds in two namespaces, each the other's partner, with four cables between.

Owns what both ends do together, and real traffic between their stacks.
"""

import hashlib
import json
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from lab import End, Host, Lab, Pair, StreamResult, wait_until
from lab.waiting import SLOWNESS
from tests.netns.steer import DEADLINE_S, LAGG, Steer, Tally

PORTS = (("p0", "p1", "p2", "p3"), ("q0", "q1", "q2", "q3"))

WAYS: dict[str, dict[str, Any]] = {
    "failover": {"proto": "failover"},
    "roundrobin": {"proto": "roundrobin"},
    "loadbalance": {"proto": "loadbalance"},
    "loadbalance-fnv1": {"proto": "loadbalance", "hash": "fnv1"},
    "broadcast": {"proto": "broadcast"},
}
"""Every way to carry frames: what to set."""

SO_RCVBUFFORCE = 33
TCP_PORT, UDP_PORT = 5100, 5200
CHUNK_BYTES = 1 << 18
SECONDS = 60.0 * SLOWNESS


class Steered:
    """A pair, and a connection to each laggd; both know each other's MAC for good."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.steers = tuple(Steer(end.laggd) for end in pair.ends)
        for end, other in (pair.ends, pair.ends[::-1]):
            for address in (other.address, other.address6):
                know(end.host, LAGG, address, other.host.link(LAGG).mac)

    @property
    def a(self) -> Steer:
        return self.steers[0]

    @property
    def b(self) -> Steer:
        return self.steers[1]

    def close(self) -> None:
        for steer in self.steers:
            steer.close()

    def set(self, **change: Any) -> None:  # noqa: ANN401
        """On both ends."""
        for steer in self.steers:
            steer.set(**change)


class Partners(Steered):
    """Failover is what both run before each test."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(Pair(lab, cables=len(PORTS[0])))

    def put_back(self) -> None:
        for cable in self.pair.cables:
            cable.mend()
        for end, steer, ports in zip(self.pair.ends, self.steers, PORTS, strict=True):
            for port in ports:
                end.host.set_link(port, state="up")
            steer.put_back(ports)
        self.pair.wait_until_ready()

    def copies(self) -> int:
        """How often a frame arrives."""
        ports = [port["link"] for port in self.a.record()["ports"]]
        return ports.count("up") if self.a.record()["proto"] == "broadcast" else 1

    def both_ways(self, act: Callable[[End, End], None]) -> None:
        """`act(from, to)` in both directions, one after the other."""
        act(self.pair.a, self.pair.b)
        act(self.pair.b, self.pair.a)


def know(host: Host, name: str, address: str, mac: str) -> None:
    """Makes a neighbour known to `host` for good: nothing is lost to ARP."""
    host.run(
        *("ip", "neigh", "replace", address, "lladdr", mac),
        *("dev", name, "nud", "permanent"),
    )


# ---- streams -----------------------------------------------------------------------


def flowed(partners: Partners, frames: int) -> None:
    """Until so many more frames have gone into a's lagg."""

    def taken() -> int:
        return int(partners.a.record()["counters"]["tx_in"])

    wanted = taken() + frames
    wait_until(lambda: taken() >= wanted, DEADLINE_S, "frames flow")


def lost_nothing(tallies: Sequence[Tally], *results: StreamResult) -> None:
    """No frame is missing, but for what this machine was too busy to carry."""
    overload = sum(tally.overload for tally in tallies)
    drops = [tally.drops for tally in tallies]
    lost = sum(result.lost for result in results)
    assert lost <= overload, f"{drops}; {'; '.join(map(str, results))}"


# ---- TCP ---------------------------------------------------------------------------


@cache
def content(size: int) -> bytes:
    """`size` bytes of which no two parts are alike."""
    return Random(size).randbytes(size)


def carry(sender: End, receiver: End, size: int, *, ipv6: bool = False) -> None:
    """Moves `size` bytes by TCP and asserts that they arrive as they are."""
    exchange(((sender, receiver),), size, ipv6=ipv6)


def exchange(ways: Sequence[tuple[End, End]], size: int, *, ipv6: bool = False) -> None:
    """As `carry`, for several (sender, receiver) at a time."""
    wanted = hashlib.md5(content(size)).hexdigest()
    with ThreadPoolExecutor(2 * len(ways)) as threads:
        received = []
        for sender, receiver in ways:
            listener = _listener(receiver, ipv6)
            received.append(threads.submit(_receive, listener))
            threads.submit(_send, _connected(sender, receiver, ipv6), size)
        assert [each.result() for each in received] == [wanted] * len(ways)


def _family(ipv6: bool) -> socket.AddressFamily:
    return socket.AF_INET6 if ipv6 else socket.AF_INET


def _address(end: End, ipv6: bool) -> str:
    return end.address6 if ipv6 else end.address


def _listener(receiver: End, ipv6: bool) -> socket.socket:
    listener = receiver.host.open_socket(_family(ipv6), socket.SOCK_STREAM)
    listener.settimeout(SECONDS)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((_address(receiver, ipv6), TCP_PORT))
    listener.listen()
    return listener


def _connected(sender: End, receiver: End, ipv6: bool) -> socket.socket:
    connection = sender.host.open_socket(_family(ipv6), socket.SOCK_STREAM)
    connection.settimeout(SECONDS)
    # Reno, the default in some kernels, takes reordering for loss.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    connection.connect((_address(receiver, ipv6), TCP_PORT))
    return connection


def _send(connection: socket.socket, size: int) -> None:
    with connection:
        connection.sendall(content(size))


def _receive(listener: socket.socket) -> str:
    digest = hashlib.md5()
    with listener, listener.accept()[0] as connection:
        connection.settimeout(SECONDS)
        while chunk := connection.recv(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Iperf:
    """What iperf3 measured."""

    seconds: float
    mbit_per_s: float


def iperf(sender: End, receiver: End, seconds: float) -> Iperf:
    """One stream of iperf3 with cubic."""
    server = receiver.host.popen("iperf3", "--server", "--one-off", "--forceflush")
    assert server.stdout is not None
    while "listening" not in (line := server.stdout.readline()):
        assert line, "iperf3 ended"
    done = sender.host.run(
        *("iperf3", "--client", receiver.address, "--congestion", "cubic"),
        *("--time", str(seconds), "--json"),
    )
    server.communicate(timeout=SECONDS)
    total = json.loads(done.stdout)["end"]["sum_received"]
    return Iperf(total["seconds"], total["bits_per_second"] / 1e6)


# ---- UDP ---------------------------------------------------------------------------


def udp_socket(end: End, address: str = "", port: int = UDP_PORT) -> socket.socket:
    """Bound, not blocking, with room for all that a test sends."""
    opened = end.host.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    opened.bind((address, port))
    opened.setblocking(False)
    return opened


def arrived(receiver: socket.socket, wanted: Counter[bytes]) -> Counter[bytes]:
    """All datagrams that came until these had come as often as wanted."""
    found: Counter[bytes] = Counter()

    def complete() -> bool:
        with suppress(BlockingIOError):
            while True:
                found[receiver.recv(1 << 16)] += 1
        return found >= wanted

    wait_until(complete, DEADLINE_S, f"{wanted.total()} datagrams arrive")
    return found
