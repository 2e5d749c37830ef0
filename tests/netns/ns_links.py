# SPDX-License-Identifier: BSD-2-Clause
"""Network namespaces without a name, and the links tests put into them.

Owns some threads for each namespace, in which everything about it runs: sockets belong
to the namespace of the thread that opens them, children to that of the thread that
starts them.  The kernel takes the namespace away when the last of both is gone,
whatever becomes of the test.
"""

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from pyroute2 import IPRoute

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

THREADS = 4
"""An event loop in one does not keep the others from changing the namespace."""

TUNSETIFF = 0x400454CA
TUNSETCARRIER = 0x400454E2
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x1000, 0x4000

ETH_P_ALL = 0x0003
ETH_P_IP = 0x0800
ETH_P_ARP = 0x0806

T = TypeVar("T")


def _checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _make() -> int:
    """Makes a namespace for the calling thread; returns a descriptor of it."""
    _checked(LIBC.unshare(CLONE_NEWNET))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(descriptor: int) -> None:
    _checked(LIBC.setns(descriptor, CLONE_NEWNET))


def kernel() -> tuple[int, ...]:
    """The version of the kernel that runs, as (6, 12)."""
    return tuple(int(number) for number in os.uname().release.split(".")[:2])


class Namespace:
    """A new network namespace with nothing in it but lo."""

    def __init__(self) -> None:
        with ThreadPoolExecutor(1) as maker:
            self.descriptor = maker.submit(_make).result()
        self._threads = ThreadPoolExecutor(
            THREADS, initializer=_enter, initargs=(self.descriptor,)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown()
        os.close(self.descriptor)

    def run(self, function: Callable[[], T]) -> T:
        """Calls `function` in the namespace and waits for its result."""
        return self._threads.submit(function).result()

    def arun(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs a coroutine in an event loop of its own in the namespace."""
        return self.run(lambda: asyncio.run(main()))

    def link(self, command: str, name: str = "", **arguments: object) -> None:
        """One `ip link` command, on the link `name` unless it adds one."""

        def run() -> None:
            with IPRoute() as ipr:
                if name:
                    arguments["index"] = socket.if_nametoindex(name)
                ipr.link(command, **arguments)

        self.run(run)

    def rename(self, name: str, new: str) -> None:
        """Gives a link that is up another name; Linux before 6.2 refuses that."""
        self.link("set", name, state="down")
        self.link("set", name, ifname=new)
        self.link("set", new, state="up")

    def veth(self, name: str, peer: str, other: "Namespace | None" = None) -> None:
        """A pair of links, both up; the peer goes to `other` if there is one."""
        far: dict[str, object] = {"ifname": peer}
        if other is not None:
            far["net_ns_fd"] = other.descriptor
        self.link("add", ifname=name, kind="veth", peer=far)
        self.link("set", name, state="up")
        (other or self).link("set", peer, state="up")

    def address(self, name: str, address: str, prefixlen: int = 24) -> None:
        def run() -> None:
            with IPRoute() as ipr:
                index = socket.if_nametoindex(name)
                ipr.addr("add", index=index, address=address, prefixlen=prefixlen)

        self.run(run)

    def ifindex(self, name: str) -> int:
        return self.run(lambda: socket.if_nametoindex(name))

    def packet_socket(self, name: str, protocol: int = ETH_P_ALL) -> socket.socket:
        """A raw packet socket on a link, not blocking."""

        def run() -> socket.socket:
            opened = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol)
            )
            opened.bind((name, protocol))
            opened.setblocking(False)
            return opened

        return self.run(run)


def waiting(opened: socket.socket) -> list[bytes]:
    """The frames that wait in a packet socket."""
    received = []
    with suppress(BlockingIOError):
        while True:
            received.append(opened.recv(2048))
    return received


def tap(name: str, *, offloads: bool = False) -> int:
    """A TAP in the calling thread's namespace; it lives as long as the descriptor.

    With `offloads` a virtio_net_hdr stands before each frame.
    """
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if offloads else 0)
    request = struct.pack("16sH22x", name.encode(), flags)
    fcntl.ioctl(descriptor, TUNSETIFF, request)
    return descriptor


def set_tap_carrier(descriptor: int, on: bool) -> None:
    fcntl.ioctl(descriptor, TUNSETCARRIER, struct.pack("i", on))
