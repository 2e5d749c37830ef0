# SPDX-License-Identifier: BSD-2-Clause
"""The offloads of an interface, off and on, its queues and speed: ethtool(8), which a
fresh machine lacks.

Owns ETHTOOL_S...'s numbers.  Knows no lagg.
"""

import array
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from lab import Host

_SIOCETHTOOL = 0x8946
_GSET, _GSET_BYTES = 0x1, 44
_SCHANNELS = 0x3D
_SET = {"tx": 0x17, "sg": 0x19, "tso": 0x1F}
_GSTRINGS, _GFEATURES, _SFEATURES = 0x1B, 0x3A, 0x3B
_ETH_SS_FEATURES, _NAME_BYTES = 4, 32
_MOST_WORDS = 8  # of 32 features each
_ACTIVE = 2  # of available, requested, active, never changed
_IFREQ = struct.Struct("16sP16x")


@contextmanager
def without(host: Host, name: str, *offloads: str) -> Iterator[None]:
    """Switches the named of "tx" (checksums), "sg" and "tso" off during the block."""
    for offload in offloads:
        _set(host, name, offload, on=False)
    yield
    for offload in reversed(offloads):
        _set(host, name, offload, on=True)


def set_queues(name: str, *, receive: int, transmit: int) -> None:
    """How many an interface of this namespace has, of those it was made with."""
    limits, others = (0, 0, 0, 0), (0, 0)
    value = array.array("I", [_SCHANNELS, *limits, receive, transmit, *others])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        _ask(opened, name, value)


def speed_mbps(name: str) -> int:
    """What an interface of this thread's namespace carries; -1: unknown."""
    value = array.array("I", [_GSET] + [0] * (_GSET_BYTES // 4 - 1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        _ask(opened, name, value)
    told = value.tobytes()
    return int.from_bytes(told[12:14] + told[28:30], "little", signed=True)


def _set(host: Host, name: str, offload: str, *, on: bool) -> None:
    value = array.array("I", [_SET[offload], on])
    with host.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        _ask(opened, name, value)


def features(name: str) -> set[str]:
    """The names of those that are on, of an interface of this thread's namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        names, words = _names(opened, name), _words(opened, name)
    return {
        each
        for number, each in enumerate(names)
        if words[number // 32][_ACTIVE] >> number % 32 & 1
    }


def set_feature(name: str, feature: str, *, on: bool) -> None:
    """Sets one, of an interface of this thread's namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        number = _names(opened, name).index(feature)
        words = len(_words(opened, name))
        value = array.array("I", [_SFEATURES, words, *([0, 0] * words)])
        valid = 2 + number // 32 * 2
        value[valid] = 1 << number % 32
        value[valid + 1] = on << number % 32
        _ask(opened, name, value)


def _names(opened: socket.socket, name: str) -> list[str]:
    room = _MOST_WORDS * 32 * _NAME_BYTES // 4
    value = array.array("I", [_GSTRINGS, _ETH_SS_FEATURES, 0, *([0] * room)])
    _ask(opened, name, value)
    text = value[3:].tobytes()
    starts = range(0, value[2] * _NAME_BYTES, _NAME_BYTES)
    return [text[n : n + _NAME_BYTES].partition(b"\0")[0].decode() for n in starts]


def _words(opened: socket.socket, name: str) -> list["array.array[int]"]:
    value = array.array("I", [_GFEATURES, _MOST_WORDS, *([0] * (4 * _MOST_WORDS))])
    _ask(opened, name, value)
    return [value[2 + 4 * n : 6 + 4 * n] for n in range(value[1])]


def _ask(opened: socket.socket, name: str, value: "array.array[int]") -> None:
    request = _IFREQ.pack(os.fsencode(name), value.buffer_info()[0])
    fcntl.ioctl(opened, _SIOCETHTOOL, request)
