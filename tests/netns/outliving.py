# SPDX-License-Identifier: BSD-2-Clause
"""Two laggs whose workers run in forwarders of their own, and what is to outlive laggd.

    a: lagg0 = p0 p1 p2  ------------  q0 q1 q2 = lagg0 :b

Owns the deaths: of a's laggd, of its forwarder, and that the next laggd is there.
"""

import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lab import Host, Lab, Pair, ping, wait_until
from tests.leftovers import nft_tables
from tests.netns.bare import silence
from tests.netns.partners import Steered, know
from tests.netns.steer import DEADLINE_S, LAGG

CABLES = 3
PORTS = ("p0", "p1", "p2")

PROTOS = ("failover", "roundrobin", "loadbalance", "broadcast", "lacp")
"""Each that carries."""

TCP_PORT = 5100
WORD = b"are you there"

MACVLAN, ALTNAME = "m0", "lagg-to-the-core"
ROUTED, NEIGHBOUR = "192.0.2.0/24", "10.77.0.77"

Facts = dict[str, Any]


TCP_INFO_BYTES = 104
_RETRANSMITTED = struct.Struct("=100xI")  # struct tcp_info, tcpi_total_retrans
_PAUSE_S = 0.002


class Conversation:
    """A TCP connection, which is asked whether it lives, and talks all the while."""

    def __init__(self, pair: Pair) -> None:
        kind = socket.AF_INET, socket.SOCK_STREAM
        self._near, self._far = (end.host.open_socket(*kind) for end in pair.ends)
        with self._far as listener:
            listener.bind((pair.b.address, TCP_PORT))
            listener.listen()
            self._near.connect((pair.b.address, TCP_PORT))
            self._far, _ = listener.accept()
        for each in (self._near, self._far):
            each.settimeout(DEADLINE_S)
        self._turns: list[float] = []
        self._enough = threading.Event()
        self._talk = threading.Thread(target=self._talk_on, daemon=True)
        self._talk.start()

    def _talk_on(self) -> None:
        while not self._enough.wait(_PAUSE_S):
            began_s = time.monotonic()
            for one, other in ((self._near, self._far), (self._far, self._near)):
                one.sendall(WORD)
                assert other.recv(len(WORD), socket.MSG_WAITALL) == WORD
            self._turns.append(time.monotonic() - began_s)

    def go_on(self) -> None:
        """Returns when two more words have come each way."""
        wanted = len(self._turns) + 2
        wait_until(lambda: len(self._turns) >= wanted, DEADLINE_S, "TCP goes on")

    def close(self) -> None:
        """Says how long the longest turn took, and what the kernel sent again."""
        self._enough.set()
        self._talk.join()
        again = [self._retransmitted(each) for each in (self._near, self._far)]
        longest_ms = 1000 * max(self._turns)
        print(
            f"TCP: {len(self._turns)} turns, longest {longest_ms:.1f} ms, again {again}"
        )
        self._near.close()
        self._far.close()

    def _retransmitted(self, end: socket.socket) -> int:
        told = end.getsockopt(socket.SOL_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        (count,) = _RETRANSMITTED.unpack(told)
        return int(count)


class Sniffer:
    """A packet socket bound to lagg0, as tcpdump has one."""

    def __init__(self, host: Host) -> None:
        self._socket = host.packet_socket(LAGG)

    def __enter__(self) -> "Sniffer":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def require_alive(self) -> None:
        """Asserts that it was told of no error, and hears what comes now."""
        assert self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        self._drain()
        wait_until(self._drain, DEADLINE_S, "it hears")

    def _drain(self) -> int:
        """Reads all that waits: how many frames."""
        count = 0
        with suppress(BlockingIOError):
            while self._socket.recv(64):
                count += 1
        return count


class Outliving(Steered):
    """The pair; all that is killed is a's."""

    def __init__(self, lab: Lab, proto: str, *options: str) -> None:
        super().__init__(Pair(lab, cables=CABLES, proto=proto, options=options))
        self.proto = proto
        if proto == "lacp":
            self.pair.wait_until_agreed(CABLES)

    @property
    def host(self) -> Host:
        return self.pair.a.host

    @property
    def forwarder(self) -> int:
        """The pid of a's."""
        pid = self.pair.a.laggd.forwarder()
        assert pid is not None
        return pid

    @property
    def forwarder_socket(self) -> Path:
        return self.pair.a.laggd.state_dir / "forwarder.sock"

    def kill(self) -> None:
        self.pair.a.laggd.kill()

    def start(self) -> None:
        """The next laggd; returns when it has adopted."""
        self.pair.a.laggd.start()
        self.a.reconnect()
        self.a.record()  # answered only then

    def kill_forwarder(self) -> None:
        """Returns when another one has its place."""
        pid = self.forwarder
        os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: self.pair.a.laggd.forwarder() not in (None, pid),
            DEADLINE_S,
            "another forwarder has the place",
        )

    def held(self) -> tuple[int, ...]:
        """Descriptors, and mappings of sockets and memfds, of laggd and the forwarder.

        Last, what the forwarder has for itself, in KiB: heap, stacks, libraries' data.
        """
        found = []
        for pid in (self.pair.a.laggd.pid, self.forwarder):
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
            mapped = [line for line in lines if "socket:" in line or "memfd:" in line]
            found += [len(os.listdir(f"/proc/{pid}/fd")), len(mapped)]
        status = Path(f"/proc/{self.forwarder}/status").read_text()
        return *found, int(status.partition("\nVmData:")[2].split()[0])

    def passed(self, frames: int) -> None:
        """Until so many more have left and come by a's lagg0, which counts copies."""
        sent, came = self._frames()
        sent, came = sent + frames, came + frames * (1 + self.copies)

        def both() -> bool:
            now = self._frames()
            return now[0] >= sent and now[1] >= came

        wait_until(both, DEADLINE_S, "frames flow")

    @property
    def copies(self) -> int:
        """How often a frame comes beside the first time."""
        return CABLES - 1 if self.proto == "broadcast" else 0

    def _frames(self) -> tuple[int, int]:
        (message,) = self.host.netlink("get_links", self.host.ifindex(LAGG))
        counts = message.get_attr("IFLA_STATS64")
        return counts["tx_packets"], counts["rx_packets"]


@contextmanager
def outliving(proto: str) -> Iterator[Outliving]:
    """The pair by this protocol, for as long as the block runs."""
    with Lab() as lab:
        made = Outliving(lab, proto)
        yield made
        made.close()


class Left:
    """One laggd, whose cables end in bare interfaces of another host."""

    def __init__(self, lab: Lab) -> None:
        self.near, self.far = lab.host("near"), lab.host("far")
        for host in (self.near, self.far):
            silence(host)
        for port in PORTS:
            lab.cable(self.near, port, self.far, port.replace("p", "q"))
        self._found = self._ports()
        self.laggd = lab.daemon(self.near)

    def create(self, proto: str = "loadbalance") -> None:
        words = [word for port in PORTS for word in ("--port", port)]
        self.laggd.ctl("create", LAGG, "--proto", proto, *words)

    def kill(self) -> None:
        self.laggd.kill()

    def start(self) -> None:
        """The next laggd; returns when it has adopted."""
        self.laggd.start()
        self.record()

    def killed(self) -> None:
        """And followed."""
        self.kill()
        self.start()

    def replaced(self) -> None:
        """laggd, by another that goes on."""
        self.laggd.restart()

    def forwarder_killed(self) -> None:
        """And followed."""
        self.laggd.kill_forwarder()
        wait_until(lambda: self.laggd.forwarder(), DEADLINE_S, "its standby serves")

    def record(self) -> dict[str, Any]:
        return self.laggd.record()

    def use(self, port: str) -> None:
        """By somebody else, as it is: it carries frames both ways."""
        for host, name, address in (
            (self.near, port, "10.79.0.1"),
            (self.far, port.replace("p", "q"), "10.79.0.2"),
        ):
            host.add_address(name, f"{address}/24")
        assert ping(self.near, "10.79.0.2").lost == 0
        self.near.run("ip", "address", "flush", "dev", port)

    def untouched(self) -> None:
        """Asserts that the ports are as they were found, and that nothing is left."""
        assert self.remains() == []
        assert self._ports() == self._found

    def remains(self) -> list[str]:
        """What is left of laggd in the host: interfaces, tables, processes."""
        links = [name for name in self.near.links() if name[0] not in "lpx"]
        laggs = [name for name in self.near.links() if name.startswith("lagg")]
        return [*links, *laggs, *self.tables(), *map(str, self.near.pids())]

    def tables(self) -> set[str]:
        return self.near.inside(nft_tables)

    def _ports(self) -> dict[str, Facts]:
        return {port: facts(self.near, port) for port in PORTS}


def furnish(host: Host) -> None:
    """Puts on lagg0 what is lost with it."""
    host.run("ip", "link", "property", "add", "dev", LAGG, "altname", ALTNAME)
    lagg = host.ifindex(LAGG)
    host.netlink("link", "add", ifname=MACVLAN, kind="macvlan", link=lagg)
    host.set_link(MACVLAN, state="up")
    host.add_address(MACVLAN, "10.78.0.1/24")
    host.run("ip", "route", "add", ROUTED, "via", "10.77.0.2", "dev", LAGG)
    know(host, LAGG, NEIGHBOUR, "02:5e:00:00:53:77")
    wait_until(
        lambda: (
            not host.run("ip", "-oneline", "-6", "addr", "show", "tentative").stdout
        ),
        DEADLINE_S,
        "no address is on its way",
    )


def steady(record: dict[str, Any]) -> dict[str, Any]:
    """What of a lagg's record does not move while its ports stay as they are."""
    ports = [
        {key: each[key] for key in ("name", "flags", "link", "tx", "reason")}
        for each in record["ports"]
    ]
    moving = {"counters", "generation", "ports"}
    return {k: v for k, v in record.items() if k not in moving} | {"ports": ports}


def facts(host: Host, name: str = LAGG) -> Facts:
    """What others have put on an interface, or hold of it."""
    words = {
        "link": ("-details", "link", "show", "dev", name),
        "addresses": ("address", "show", "dev", name),
        "routes": ("route", "show", "table", "all", "dev", name),
        "routes6": ("-6", "route", "show", "table", "all", "dev", name),
        "neighbours": ("neighbour", "show", "nud", "permanent", "dev", name),
        "groups": ("maddress", "show", "dev", name),
    }
    return {
        key: json.loads(host.run("ip", "-json", *each).stdout or "[]")
        for key, each in words.items()
    }
