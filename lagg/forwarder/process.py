# SPDX-License-Identifier: BSD-2-Clause
"""lagg-forwarder, the process: started, and seen to end.

Owns the way its socket comes to be.  We make it and the program inherits it, so that
whoever connects is heard as soon as the program runs, and nobody waits for a time.
"""

import errno
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

from lagg.errors import LaggError
from lagg.paths import forwarder_program

_INHERITED = 3
_BACKLOG = 16
_MODE = 0o600


class Process:
    """A process of a forwarder, by a descriptor that no other process's can be.

    What is started is the parent of the one that serves and of its standby.
    """

    def __init__(self, pid: int) -> None:
        """LaggError (ESRCH) when it has ended and is not our child."""
        self.pid = pid
        self._code: int | None = None
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError as error:
            raise LaggError.of_os("lagg-forwarder", "watch it", error) from error

    @classmethod
    def start(cls, path: Path) -> Self:
        """Starts one at `path`; whoever had that is not found there any more."""
        try:
            with _listening(path) as listener:
                pid = _spawned(listener)
        except OSError as error:
            cause = f"start {forwarder_program()}"
            raise LaggError.of_os("lagg-forwarder", cause, error) from error
        return cls(pid)

    def fileno(self) -> int:
        """Readable once the process has ended."""
        return self._pidfd

    def ended(self, wait_ms: int = 0) -> bool:
        """Whether it has within that time; then, of a child, exit_code is known."""
        if self._code is not None:
            return True
        if not is_readable(self._pidfd, wait_ms):
            return False
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:  # waitid(2) tells only of children
            return True
        if result is not None:
            by_signal = result.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
            self._code = -result.si_status if by_signal else result.si_status
        return result is not None

    @property
    def exit_code(self) -> int | None:
        """What a child that has ended left; minus the signal that ended it."""
        return self._code

    def kill(self) -> None:
        """Ends it at once, even if it is stopped.  LaggError."""
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, if it has not ended.  LaggError."""
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return
        except OSError as error:
            cause = f"send it {number.name}"
            raise LaggError.of_os("lagg-forwarder", cause, error) from error

    def close(self) -> None:
        """Watches it no more; it goes on."""
        os.close(self._pidfd)


def wake(pid: int) -> None:
    """Has a process go on that was stopped.  LaggError."""
    process = Process(pid)
    try:
        process.send(signal.SIGCONT)
    finally:
        process.close()


def is_readable(fd: int, wait_ms: int) -> bool:
    """Whether it is within that time; select(2) would not take a high number."""
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(wait_ms))


@contextmanager
def places(path: Path, beside: Path) -> Iterator[Callable[[], object]]:
    """What has `beside` be found at `path`, unless this is left by an error."""
    before = path.with_name(f"{path.name}.old")
    try:
        before.unlink(missing_ok=True)
        os.link(path, before)
    except OSError as error:
        raise LaggError.of_os(str(before), "link it", error) from error
    try:
        yield partial(_rename, beside, path)
    except BaseException:
        before.rename(path)
        raise
    finally:
        before.unlink(missing_ok=True)


def _rename(beside: Path, path: Path) -> None:
    try:
        beside.rename(path)
    except OSError as error:
        raise LaggError.of_os(str(path), "take its place", error) from error


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
