# SPDX-License-Identifier: BSD-2-Clause
"""lagg-forwarder, the process: started, and seen to end.

Owns the way its socket comes to be.  We make it and the program inherits it, so that
whoever connects is heard as soon as the program runs, and nobody waits for a time.  It
lies beside its place until take_place(), which replaces what a dead one left by one
rename: one may be started long before it is needed, when we may still start programs.
"""

import errno
import os
import select
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from lagg.errors import LaggError
from lagg.forwarder.client import ForwarderClient
from lagg.paths import forwarder_program

_INHERITED = 3
_BACKLOG = 16
_MODE = 0o600


class Process:
    """A forwarder's process, by a descriptor that no other process's can be."""

    def __init__(self, pid: int, path: Path, fresh: Path | None = None) -> None:
        """`fresh`: where its socket is before it is at `path`.

        LaggError (ESRCH) when it has ended and is not our child.
        """
        self.pid = pid
        self.path = path
        self._fresh = fresh
        self._code: int | None = None
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError as error:
            raise LaggError.of_os("lagg-forwarder", "watch it", error) from error

    @classmethod
    def start(cls, path: Path) -> Self:
        """Starts one for the socket `path`, which is another's until take_place()."""
        fresh = _beside(path)
        with ExitStack() as undo:
            try:
                listener = undo.enter_context(_listening(fresh))
                pid = _spawned(listener)
            except OSError as error:
                cause = f"start {forwarder_program()}"
                raise LaggError.of_os("lagg-forwarder", cause, error) from error
            return cls(pid, path, fresh)

    @classmethod
    def waiting(cls, path: Path) -> Self | None:
        """One that another laggd started for `path` and that has nothing to do yet."""
        try:
            with ForwarderClient(_beside(path)) as client:
                return cls(client.pid, path, _beside(path))
        except LaggError:
            return None

    @classmethod
    def of(cls, client: ForwarderClient, path: Path) -> Self:
        """The one that a client is connected to, whoever started it."""
        return cls(client.pid, path)

    def take_place(self) -> None:
        """Who connects to `path` from now on has this one."""
        if self._fresh is not None:
            self._fresh.rename(self.path)
            self._fresh = None

    def end(self) -> None:
        """Ends one that has nothing to do yet; by its own door, for we may not kill."""
        with ForwarderClient(self._fresh or self.path) as client:
            client.claim()
            client.commit()
            client.end()

    def fileno(self) -> int:
        """Readable once the process has ended."""
        return self._pidfd

    def ended(self) -> bool:
        """Whether it has; then, of a child, exit_code is known."""
        if self._code is not None:
            return True
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return not _is_alive(self._pidfd)
        if result is not None:
            by_signal = result.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
            self._code = -result.si_status if by_signal else result.si_status
        return result is not None

    @property
    def exit_code(self) -> int | None:
        """What a child that has ended left; minus the signal that ended it."""
        return self._code

    def close(self) -> None:
        """Watches it no more; it goes on.  What has not taken its place leaves it."""
        os.close(self._pidfd)
        if self._fresh is not None:
            self._fresh.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _listening(path: Path) -> socket.socket:
    """A socket that nobody but this user can connect to, at any time."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        made.bind(str(path))
        path.chmod(_MODE)  # nobody can connect before listen(), so it comes in time
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _spawned(listener: socket.socket) -> int:
    """A session of its own: what a terminal says to us is not said to it."""
    program = forwarder_program()
    if not program.exists():
        cause = "it is not there: install laggd again, or run tools/setup"
        raise LaggError(str(program), cause, errno.ENOENT)
    environment = {k: v for k, v in os.environ.items() if k != "LISTEN_PID"}
    return os.posix_spawn(
        program,
        [program.name],
        environment | {"LISTEN_FDS": "1"},
        file_actions=[(os.POSIX_SPAWN_DUP2, listener.fileno(), _INHERITED)],
        setsid=True,
    )


def _is_alive(pidfd: int) -> bool:
    """Whether one runs that is not our child, of which waitid(2) tells nothing."""
    return not select.select([pidfd], [], [], 0)[0]
