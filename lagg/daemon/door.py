# SPDX-License-Identifier: BSD-2-Clause
"""Where clients find laggd: its control socket, and one that only reads.

Owns who may connect, that one laggd listens at a path, that another one can take its
place there in one step, and what is left of those that died.  Knows nobody who
connects.
"""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lagg.control.server import BACKLOG
from lagg.errors import LaggError

MEMBERS = 0o660
EVERYBODY = 0o666
"""Modes of a socket: who may connect to it."""


@dataclass(slots=True)
class Door:
    """A listening socket, of which there is one, and where clients find it."""

    listener: socket.socket
    path: Path
    now_at: Path  # beside it, until another laggd has let go of it

    def take_place(self) -> None:
        """Who connects to `path` from now on comes to this one."""
        if self.now_at != self.path:
            self.now_at.rename(self.path)
            self.now_at = self.path


@contextmanager
def claimed(
    path: Path, gid: int, mode: int = MEMBERS, *, beside: bool
) -> Iterator[Door]:
    """The one at `path`, of the group `gid`; its file goes with it.  LaggError.

    `mode`: MEMBERS or EVERYBODY; `beside`: another laggd may have that place until
    take_place().
    """
    at = path.with_name(f"{path.name}.{os.getpid()}") if beside else path
    try:
        _make_directory(path.parent)
        with _locked(path.parent):
            _remove_unplaced(path)
            door = Door(_bound(at, gid, mode), path, at)
    except OSError as error:
        raise LaggError.of_os(str(path), "cannot listen", error) from error
    try:
        yield door
    finally:
        door.now_at.unlink(missing_ok=True)
        door.listener.close()


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(parents=True)
        directory.chmod(0o755)  # whatever the umask: clients must pass through it


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keeps two laggds from replacing the same stale socket at the same time."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _bound(path: Path, gid: int, mode: int) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.bind(str(path))
        # Nobody can connect before listen(), so these two come in time.
        _give(path, gid)
        path.chmod(mode)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _give(path: Path, gid: int) -> None:
    if path.stat().st_gid == gid:  # where laggd's unit refuses it the call itself
        return
    try:
        os.chown(path, -1, gid)
    except PermissionError as error:
        cause = f"uid {os.geteuid()} cannot give it to group {gid}: it is no member"
        raise LaggError(str(path), cause, errno.EPERM) from error


def _remove_stale(path: Path) -> None:
    """Removes the socket of a dead laggd.  Raises LaggError when one answers."""
    if not path.is_socket():
        return  # bind() says what is wrong with anything else
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # a crowd waits there, so somebody listens
    raise LaggError(str(path), "another laggd listens here", errno.EADDRINUSE)


def _remove_unplaced(path: Path) -> None:
    """Removes the sockets of those that died before they could take its place."""
    for beside in path.parent.glob(f"{path.name}.*"):
        with suppress(LaggError):
            _remove_stale(beside)
