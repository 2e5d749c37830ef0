# SPDX-License-Identifier: BSD-2-Clause
"""Who is at the other end of the control socket, as the kernel attests it.

Owns who may change things on which socket, and how a peer is called.  Knows no call
and no lagg.
"""

import grp
import logging
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from lagg.events import Asker
from lagg.frozen import dataclass

SO_PEERGROUPS = 59
"""asm-generic/socket.h; Python's socket module does not name it."""

_UCRED = struct.Struct("iII")
_GETSOCKOPT_BYTES_MAX = 1024  # what Python's getsockopt() allows: 256 groups

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the kernel attests it."""

    uid: int
    groups: frozenset[int]
    pid: int = 0  # as Asker has it

    @property
    def asker(self) -> Asker:
        """Who it is, for whoever is told what it asks for."""
        return Asker(self.uid, self.pid, program_of(self.pid))

    def may_change(self, gid: int) -> bool:
        """Root, the daemon's own user, and members of the socket's group may."""
        return self.uid in (0, os.geteuid()) or gid in self.groups


Denial = Callable[[Peer], str | None]
"""Why a peer of a socket may change nothing, with the remedy; None: it may."""


def of_members(gid: int) -> Denial:
    """The rule of the control socket: may_change()."""

    def denial(peer: Peer) -> str | None:
        if peer.may_change(gid):
            return None
        return f"uid {peer.uid} is neither root nor in group {group_name(gid)}"

    return denial


def of_nobody(control: Path) -> Denial:
    """The rule of a socket that only reads, beside the control socket."""
    return lambda _: f"this socket only reads; changes are made at {control}"


def peer_of(connection: socket.socket) -> Peer:
    """Who connected, with every group; without groups when they are too many."""
    ucred = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(ucred)
    try:
        packed = connection.getsockopt(
            socket.SOL_SOCKET, SO_PEERGROUPS, _GETSOCKOPT_BYTES_MAX
        )
    except OSError as error:
        # ERANGE above 256 groups: too few rights are the safe side to err on.
        _log.warning("the groups of uid %d cannot be read: %s", uid, error)
        packed = b""
    groups = struct.unpack(f"{len(packed) // 4}I", packed)
    return Peer(uid, frozenset((gid, *groups)), pid)


def program_of(pid: int) -> str | None:
    """What ps(1) calls a process, fit for a terminal.

    None when that cannot be read: it has ended, or is hidden as by ProtectProc=.
    """
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            name = file.read().removesuffix(b"\n").decode(errors="backslashreplace")
    except OSError:
        return None
    # It calls itself what it likes: an escape sequence, say.
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in name)


def group_name(gid: int) -> str:
    """The group's name, or its number when it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
