# SPDX-License-Identifier: BSD-2-Clause
"""What the kernel tells in /proc and by name, and not by netlink.

Owns that its text is bytes: an interface may be called anything that has no blank in
it, whatever the locale is, and a table is cut at the kernel's blanks, not at those of
Unicode.  Knows no lagg.
"""

import os
import socket
import time
from collections import Counter
from collections.abc import Container, Iterator

from lagg.errors import LaggError

_NET = "/proc/thread-self/net/"
"""The calling thread's namespace; "/proc/net" is that of the main thread."""

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def listeners() -> Counter[str]:
    """How many packet sockets take every frame, by interface; "": on all interfaces.

    LaggError.
    """
    rows = (row for row in rows_of("ptype") if row and row[0] == b"ALL")
    return Counter(_text(row[1]) if len(row) > 2 else "" for row in rows)


def multicast(ifindexes: Container[int]) -> dict[int, frozenset[str]]:
    """The multicast MACs that interfaces of this thread's namespace have joined.

    Read for all at once, for it takes the kernel time for each interface there is.
    LaggError.
    """
    found: dict[int, set[str]] = {}
    # Columns: ifindex, name, references, global references, address in hex.
    for line in _lines(_NET + "dev_mcast"):
        ifindex = int(line.split(maxsplit=1)[0])
        if ifindex in ifindexes:
            mac = bytes.fromhex(line.split()[4].decode()).hex(":")
            found.setdefault(ifindex, set()).add(mac)
    return {ifindex: frozenset(macs) for ifindex, macs in found.items()}


def ifindex_of(name: str) -> int:
    """The interface of this name now.  OSError when there is none."""
    # Python encodes a name here by the locale, and everywhere else as UTF-8.
    return socket.if_nametoindex(os.fsdecode(name.encode(errors="surrogateescape")))


def boot_id() -> str:
    """The kernel's id of this boot.  LaggError."""
    (line,) = _lines(_BOOT_ID)
    return line.strip().decode()


def uptime_s(pid: int) -> int:
    """For how many whole seconds a process runs.  LaggError."""
    (line,) = _lines(f"/proc/{pid}/stat")
    # After the name, which may contain anything; proc_pid_stat(5) counts from 1.
    began_ticks = int(line.rpartition(b")")[2].split()[22 - 3])
    began_s = began_ticks / os.sysconf("SC_CLK_TCK")
    return max(0, int(time.clock_gettime(time.CLOCK_BOOTTIME) - began_s))


def rows_of(table: str) -> Iterator[list[bytes]]:
    """The words of each line of a table of /proc/net, as "arp".  LaggError."""
    return (line.split() for line in _lines(_NET + table))


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


def _lines(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as lines:
            yield from lines
    except OSError as error:
        raise LaggError.of_os(path, "read", error) from error
