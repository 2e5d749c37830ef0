# SPDX-License-Identifier: BSD-2-Clause
"""Any interface of this network namespace, through the ioctls of netdevice(7).

Owns their numbers and layouts, and those of the one message that has no ioctl.  For
what ifconfig(8) does beside lagg(4): the client loads no netlink library, which would
cost every command its start-up.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from fcntl import ioctl
from typing import NamedTuple

from lagg.errors import LaggError

IFF_UP, IFF_BROADCAST, IFF_DEBUG, IFF_LOOPBACK, IFF_POINTOPOINT = 1, 2, 4, 8, 0x10
IFF_NOARP, IFF_PROMISC, IFF_ALLMULTI, IFF_MULTICAST = 0x80, 0x100, 0x200, 0x1000

_GET_FLAGS, _SET_FLAGS = 0x8913, 0x8914
_GET_ADDRESS, _SET_ADDRESS = 0x8915, 0x8916
_GET_BROADCAST, _SET_BROADCAST = 0x8919, 0x891A
_GET_NETMASK, _SET_NETMASK = 0x891B, 0x891C
_GET_MTU, _SET_MTU = 0x8921, 0x8922
_SET_MAC, _GET_MAC = 0x8924, 0x8927
_ARPHRD_ETHER = 1
_REQUEST = struct.Struct("16s24s")  # struct ifreq
_NAME_BYTES_MAX = 15  # its name's, less the NUL
_INT_MAX = 2**31 - 1
_RTM_SETLINK, _IFLA_IFALIAS, _REQUEST_AND_ACK = 19, 20, 0x5
DESCRIPTION_BYTES_MAX = 255
"""The kernel's IFALIASZ less its NUL."""


class Inet(NamedTuple):
    """An IPv4 address; each as "192.0.2.1"."""

    address: str
    netmask: str
    broadcast: str


class Facts(NamedTuple):
    """An interface as the kernel describes it."""

    name: str
    flags: int  # IFF_*
    mac: str
    mtu: int
    inet: Inet | None  # the first one


def facts(name: str) -> Facts:
    """LaggError (ENODEV) when there is none of this name here."""
    return Facts(
        name,
        flags=_flags(name),
        mac=_ask(name, _GET_MAC)[2:8].hex(":"),
        mtu=int(struct.unpack_from("i", _ask(name, _GET_MTU))[0]),
        inet=_inet(name),
    )


def names() -> list[str]:
    """Every interface of this namespace."""
    return [name for _, name in socket.if_nameindex()]


def set_flag(name: str, flag: int, on: bool) -> None:
    """IFF_UP, IFF_PROMISC, IFF_NOARP or IFF_DEBUG, set or cleared.  LaggError."""
    flags = _flags(name)
    flags = flags | flag if on else flags & ~flag
    _ask(name, _SET_FLAGS, struct.pack("H", flags & 0xFFFF), "set its flags")


def set_mtu(name: str, mtu: int) -> None:
    """In bytes.  LaggError."""
    if not 0 <= mtu <= _INT_MAX:
        raise LaggError(name, f"set the MTU: {mtu} is none", errno.EINVAL)
    _ask(name, _SET_MTU, struct.pack("i", mtu), "set the MTU")


def set_mac(name: str, mac: str) -> None:
    """The hardware address.  LaggError."""
    address = struct.pack("H", _ARPHRD_ETHER) + bytes.fromhex(mac.replace(":", ""))
    _ask(name, _SET_MAC, address, "set the MAC")


def set_inet(
    name: str, address: str, netmask: str | None, broadcast: str | None
) -> None:
    """The first IPv4 address; without a mask, its class's.  LaggError."""
    _ask(name, _SET_ADDRESS, _sockaddr(address), f"set the address {address}")
    if netmask is not None:
        _ask(name, _SET_NETMASK, _sockaddr(netmask), f"set the netmask {netmask}")
    if broadcast is not None:
        doing = f"set the broadcast address {broadcast}"
        _ask(name, _SET_BROADCAST, _sockaddr(broadcast), doing)


def set_description(name: str, text: str) -> None:
    """What ip(8) shows as alias; "" takes it away.  LaggError."""
    described = os.fsencode(text)
    if len(described) > DESCRIPTION_BYTES_MAX or b"\0" in described:
        cause = f"a description has at most {DESCRIPTION_BYTES_MAX} bytes"
        raise LaggError(name, cause, errno.EINVAL)
    try:
        index = socket.if_nametoindex(name)
    except OSError as error:
        raise LaggError(name, "no such interface", errno.ENODEV) from error
    link = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)
    alias = struct.pack("=HH", 4 + len(described), _IFLA_IFALIAS) + described
    body = link + alias + b"\0" * (-len(alias) % 4)
    head = struct.pack("=IHHII", 16 + len(body), _RTM_SETLINK, _REQUEST_AND_ACK, 1, 0)
    code = _acknowledged(head + body)
    if code != 0:
        cause = f"set the description: {os.strerror(code)}"
        raise LaggError(name, cause, code)


def _acknowledged(message: bytes) -> int:
    """0, or the errno with which rtnetlink(7) refuses."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE
    ) as asking:
        asking.send(message)
        answer = asking.recv(4096)
    return -int(struct.unpack_from("=i", answer, 16)[0])


def _flags(name: str) -> int:
    return int(struct.unpack_from("H", _ask(name, _GET_FLAGS))[0])


def _inet(name: str) -> Inet | None:
    try:
        found = [_ask(name, r) for r in (_GET_ADDRESS, _GET_NETMASK, _GET_BROADCAST)]
    except LaggError as error:
        if error.code == errno.EADDRNOTAVAIL:
            return None
        raise
    return Inet(*(socket.inet_ntoa(each[4:8]) for each in found))


def _sockaddr(address: str) -> bytes:
    return struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(address))


def _ask(name: str, request: int, value: bytes = b"", doing: str = "read it") -> bytes:
    """The union of struct ifreq after an ioctl."""
    named = os.fsencode(name)
    if len(named) > _NAME_BYTES_MAX or b"\0" in named:  # the struct would cut it off
        raise LaggError(name, "no such interface", errno.ENODEV)
    packed = _REQUEST.pack(named, value)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = ioctl(asking, request, packed)
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise LaggError(name, "no such interface", errno.ENODEV) from error
            raise LaggError.of_os(name, doing, error) from error
    return answer[16:]
