# SPDX-License-Identifier: BSD-2-Clause
"""A network namespace, and what is done and seen inside it.

Owns the threads in which that runs: a socket belongs to the namespace of the thread
that opens it.  Knows no laggd, and no command: those are host.py's.
"""

import array
import asyncio
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

from pyroute2 import IPRoute

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

THREADS = 4
"""An event loop in one does not keep the others from changing the namespace."""

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


def kernel() -> tuple[int, ...]:
    """The version of the kernel that runs, as (6, 12)."""
    return tuple(int(number) for number in os.uname().release.split(".")[:2])


class Namespace:
    """A network namespace: a new one without a name, or one of a descriptor.

    The kernel takes one without a name away when its threads and sockets are gone,
    whatever becomes of its maker.
    """

    def __init__(
        self, descriptor: int | None = None, *, threads: int = THREADS
    ) -> None:
        """A `descriptor` is closed in the end; a new namespace has nothing but lo."""
        self.descriptor = _made() if descriptor is None else descriptor
        self._threads = ThreadPoolExecutor(
            threads, initializer=_enter, initargs=(self.descriptor,)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Waits for what runs inside."""
        self._threads.shutdown()
        os.close(self.descriptor)

    # ---- functions -----------------------------------------------------------------

    def inside(self, function: Callable[P, T], *args: P.args, **kw: P.kwargs) -> T:
        """Calls a function inside, and waits: sockets it opens are this namespace's."""
        return self._threads.submit(function, *args, **kw).result()

    def arun(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs a coroutine in an event loop of its own, inside."""
        return self.inside(lambda: asyncio.run(main()))

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of this namespace, for use in any thread."""
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
        """/proc/net/NAME of this namespace, as "dev_mcast"."""
        return self.inside(Path(f"/proc/thread-self/net/{name}").read_text)

    def sysctl(self, name: str, value: object) -> None:
        """Sets "net.ipv4.conf.all.forwarding" and the like."""
        path = Path("/proc/sys") / name.replace(".", "/")
        self.inside(path.write_text, str(value))

    # ---- interfaces ----------------------------------------------------------------

    def netlink(self, method: str, *args: object, **kw: object) -> Any:  # noqa: ANN401
        """A call of pyroute2's IPRoute, inside; its answer has no type."""
        return self.inside(self._ask, method, args, kw)

    def _ask(
        self, method: str, args: tuple[object, ...], kw: dict[str, object]
    ) -> object:
        with self._route() as route:
            answer = getattr(route, method)(*args, **kw)
            return tuple(answer) if isinstance(answer, Iterator) else answer

    @contextmanager
    def _route(self) -> Iterator[IPRoute]:
        """For one call, in one of the threads."""
        with IPRoute() as route:
            yield route

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

    def rename(self, name: str, new: str) -> None:
        """Gives a link that is up another name; Linux before 6.2 refuses that."""
        self.set_link(name, state="down")
        self.set_link(name, ifname=new)
        self.set_link(new, state="up")

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

    def veth(self, name: str, peer: str, other: "Namespace | None" = None) -> None:
        """A pair of links, both up; the peer goes to `other` if there is one."""
        far: dict[str, object] = {"ifname": peer}
        if other is not None:
            far["net_ns_fd"] = other.descriptor
        self.netlink("link", "add", ifname=name, kind="veth", peer=far)
        self.set_link(name, state="up")
        (other or self).set_link(peer, state="up")


def _made() -> int:
    """A new namespace, by its descriptor."""
    with ThreadPoolExecutor(1) as maker:
        return maker.submit(_unshared).result()


def _unshared() -> int:
    """Makes a namespace for the calling thread."""
    _checked(LIBC.unshare(CLONE_NEWNET))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(descriptor: int) -> None:
    """Moves the calling thread into a namespace; Python has setns from 3.12 on."""
    _checked(LIBC.setns(descriptor, CLONE_NEWNET))


def _checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
