# SPDX-License-Identifier: BSD-2-Clause
"""A host: a network namespace with a name, and what is done and seen inside it.

Owns one thread inside the namespace, in which sockets are opened and rtnetlink is
asked.  Knows no laggd.
"""

import array
import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

from pyroute2 import IPRoute

CLONE_NEWNET = 0x40000000
NETNS_DIRECTORY = Path("/run/netns")
STOP_SECONDS = 5.0

IFF = {
    "UP": 0x1,
    "BROADCAST": 0x2,
    "LOOPBACK": 0x8,
    "RUNNING": 0x40,
    "NOARP": 0x80,
    "PROMISC": 0x100,
    "ALLMULTI": 0x200,
    "MULTICAST": 0x1000,
    "LOWER_UP": 0x10000,
}
"""linux/if.h's flags, as `ip link` calls them."""

_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_IFREQ = struct.Struct("16sP16x")

P = ParamSpec("P")
T = TypeVar("T")


class CommandError(Exception):
    """A command inside a host failed; says which, and what it wrote."""

    def __init__(self, command: tuple[str, ...], code: int, output: str) -> None:
        super().__init__(f"{' '.join(command)}: exit {code}\n{output.rstrip()}")
        self.code = code
        self.output = output


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """An interface, as the kernel describes it."""

    name: str
    ifindex: int
    mac: str
    mtu: int
    flags: frozenset[str]  # those of IFF
    promiscuity: int  # how many want it promiscuous, packet sockets included
    allmulti: int
    carrier: bool
    kind: str | None  # "veth", "tun", ...

    @property
    def up(self) -> bool:
        """Administratively."""
        return "UP" in self.flags


class Host:
    """A namespace, made and removed by its Lab."""

    def __init__(self, name: str, netns: str, directory: Path) -> None:
        """`netns` is what `ip netns` calls it; `directory` is for its files."""
        self.name = name
        self.netns = netns
        self.directory = directory
        self._started: list[subprocess.Popen[Any]] = []
        directory.mkdir()
        _ip("netns", "add", netns)
        try:
            self._thread = ThreadPoolExecutor(1, initializer=_enter, initargs=(netns,))
            self._netlink = self._thread.submit(IPRoute).result()
        except BaseException:
            _ip("netns", "del", netns)
            raise

    def close(self) -> None:
        """Ends what was started inside, and removes the namespace."""
        try:
            while self._started:
                _end(self._started.pop())
            self._thread.submit(self._netlink.close).result()
            self._thread.shutdown()
        finally:
            _ip("netns", "del", self.netns)

    # ---- commands and functions ----------------------------------------------------

    def command(self, *words: str | Path) -> tuple[str, ...]:
        """The command that runs `words` inside, from anywhere on this machine."""
        return ("ip", "netns", "exec", self.netns, *map(str, words))

    def run(
        self, *words: str | Path, check: bool = True, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command inside.  CommandError when it fails, unless not `check`ed."""
        command = self.command(*words)
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise CommandError(command, done.returncode, done.stdout + done.stderr)
        return done

    def popen(
        self,
        *words: str | Path,
        stdout: int | IO[Any] = subprocess.PIPE,
        stderr: int | IO[Any] = subprocess.PIPE,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Starts a command inside; the host ends it when nobody did before.

        In a session of its own, as a daemon's: ^C is for us to see and to take down in
        order, and the scheduler gives it a share as large as any other session's.
        """
        process = subprocess.Popen(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            start_new_session=True,
            env=environment,
        )
        self._started.append(process)
        return process

    def pids(self) -> list[int]:
        """The processes inside; this one is none of them."""
        listed = subprocess.run(
            ["ip", "netns", "pids", self.netns],
            capture_output=True,
            text=True,
            check=True,
        )
        return [int(pid) for pid in listed.stdout.split() if int(pid) != os.getpid()]

    def inside(self, function: Callable[P, T], *args: P.args, **kw: P.kwargs) -> T:
        """Calls a function in the host's thread: sockets it opens are the host's."""
        return self._thread.submit(function, *args, **kw).result()

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of this host, for use in any thread."""
        return self.inside(socket.socket, family, kind, protocol)

    def packet_socket(self, name: str, protocol: int = 0x0003) -> socket.socket:
        """A raw packet socket on an interface (ETH_P_ALL), not blocking."""
        opened = self.open_socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol)
        )
        opened.bind((name, protocol))
        opened.setblocking(False)
        return opened

    def proc_net(self, name: str) -> str:
        """/proc/net/NAME of this host, as "dev_mcast"."""
        return self.inside(Path(f"/proc/thread-self/net/{name}").read_text)

    def sysctl(self, name: str, value: object) -> None:
        """Sets "net.ipv4.conf.all.forwarding" and the like."""
        path = Path("/proc/sys") / name.replace(".", "/")
        self.inside(path.write_text, str(value))

    # ---- interfaces ----------------------------------------------------------------

    def netlink(self, method: str, *args: object, **kw: object) -> Any:  # noqa: ANN401
        """A call of pyroute2's IPRoute, inside; its answer has no type."""
        return self.inside(getattr(self._netlink, method), *args, **kw)

    def ifindex(self, name: str) -> int:
        """OSError when there is no such interface."""
        return self.inside(socket.if_nametoindex, name)

    def has_link(self, name: str) -> bool:
        """Whether there is an interface of that name."""
        return name in self.links()

    def links(self) -> tuple[str, ...]:
        """The names of all interfaces."""
        return tuple(name for _, name in self.inside(socket.if_nameindex))

    def link(self, name: str) -> LinkFacts:
        """An interface as it is now.  OSError when there is none."""
        (message,) = self.netlink("get_links", self.ifindex(name))
        kind = message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND")
        return LinkFacts(
            name=message.get_attr("IFLA_IFNAME"),
            ifindex=message["index"],
            mac=message.get_attr("IFLA_ADDRESS"),
            mtu=message.get_attr("IFLA_MTU"),
            flags=frozenset(
                word for word, bit in IFF.items() if message["flags"] & bit
            ),
            promiscuity=message.get_attr("IFLA_PROMISCUITY"),
            allmulti=message.get_attr("IFLA_ALLMULTI") or 0,
            carrier=bool(message.get_attr("IFLA_CARRIER")),
            kind=kind,
        )

    def set_link(self, name: str, **changes: object) -> None:
        """`ip link set`: state="down", mtu=9000, address="02:..", ifname="new"."""
        self.netlink("link", "set", index=self.ifindex(name), **changes)

    def delete_link(self, name: str) -> None:
        """`ip link del`."""
        self.netlink("link", "del", index=self.ifindex(name))

    def complete(self, name: str) -> None:
        """What leaves by an interface is segmented and has its checksums, as on a wire.

        For who reads it with a packet socket and passes it on as it came.
        """
        value = array.array("I", [_ETHTOOL_STXCSUM, 0])
        request = _IFREQ.pack(name.encode(), value.buffer_info()[0])
        with self.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            fcntl.ioctl(opened, _SIOCETHTOOL, request)

    def add_address(self, name: str, address: str) -> None:
        """An address as "10.0.0.1/24" or "fd00::1/64"; no duplicate detection."""
        ip, _, prefix = address.partition("/")
        flags = {"flags": 0x02} if ":" in ip else {}  # IFA_F_NODAD
        index = self.ifindex(name)
        self.netlink(
            "addr", "add", index=index, address=ip, prefixlen=int(prefix), **flags
        )

    def addresses(self, name: str) -> frozenset[str]:
        """The addresses of an interface, as "10.0.0.1/24"."""
        found = self.netlink("get_addr", index=self.ifindex(name))
        return frozenset(
            f"{each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}" for each in found
        )


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandError(("ip", *words), done.returncode, done.stderr)


def _enter(netns: str) -> None:
    """Moves the calling thread into a namespace; Python has setns from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(NETNS_DIRECTORY / netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns", netns)
    finally:
        os.close(descriptor)


def _end(process: subprocess.Popen[Any]) -> None:
    """SIGTERM, and SIGKILL for who does not listen; closes its pipes."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)  # one that is stopped would not hear it
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
