# SPDX-License-Identifier: BSD-2-Clause
"""A running lagg-forwarder for these tests, and what can be seen of it from outside."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lagg.errors import LaggError
from lagg.forwarder.client import ForwarderClient, Heard
from lagg.forwarder.process import Process
from lagg.forwarder.wire import Word
from tests.waiting import wait_until

DEADLINE_S = 30
"""For what takes milliseconds; a wait ends when it has come."""


class Running:
    """A forwarder's family on a socket of its own.  Owns its end."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "forwarder.sock"
        self.process = Process.start(self.path)
        self._stack = ExitStack()

    @property
    def pid(self) -> int:
        """The process that serves."""
        with ForwarderClient(self.path) as client:
            return client.pid

    def kill(self) -> int:
        """Kills the process that serves, and returns the pid of the next one."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.pid != pid, DEADLINE_S, "another one serves")
        return self.pid

    def family(self) -> set[int]:
        """The children of the parent: who serves and who stands by."""
        parent = self.process.pid
        listed = Path(f"/proc/{parent}/task/{parent}/children").read_text("utf-8")
        return set(map(int, listed.split()))

    def wait_whole(self) -> int:
        """Returns the standby's pid once there is one."""
        pid = self.pid
        wait_until(lambda: len(self.family()) == 2, DEADLINE_S, "a standby is there")
        (standby,) = self.family() - {pid}
        return standby

    def client(self, heard: Heard = lambda _: None) -> ForwarderClient:
        return self._stack.enter_context(ForwarderClient(self.path, heard))

    def owner(self, heard: Heard = lambda _: None) -> ForwarderClient:
        """A client that is the owner, where nobody is."""
        client = self.client(heard)
        client.claim()
        client.commit()
        return client

    def raw(self) -> socket.socket:
        """A connection that says what a ForwarderClient would not."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stack.callback(made.close)
        made.settimeout(DEADLINE_S)
        made.connect(str(self.path))
        return made

    def wait_ended(self) -> int | None:
        """The family's exit code, as Process.exit_code."""
        assert self.process.ended(DEADLINE_S * 1000), "it does not end"
        return self.process.exit_code

    def close(self) -> None:
        self._stack.close()
        if not self.process.ended():
            children = self.family()
            os.kill(self.process.pid, signal.SIGKILL)
            for pid in children:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.wait_ended()
        self.process.close()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process is stopped by SIGSTOP meanwhile, as the kernel sees it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: _state(pid) == "T", DEADLINE_S, f"{pid} is stopped")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def status(pid: int) -> dict[str, str]:
    """What /proc says of a process."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def _state(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return stat.rpartition(")")[2].split()[0]


def descriptors(of: ForwarderClient) -> int:
    """How many the process has that serves a client."""
    return len(os.listdir(f"/proc/{of.pid}/fd"))


def same(fd: int, other: int) -> bool:
    """Whether two descriptors are of one open file, as far as fstat(2) can tell."""
    one, two = os.fstat(fd), os.fstat(other)
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)


def refusal(error: LaggError) -> tuple[str, str]:
    """What was refused, in a word, and the errno."""
    return error.cause.partition(":")[0], error.errno_name


def hear(client: ForwarderClient) -> Word:
    """The next thing that the forwarder says to a client unasked."""
    heard: list[Word] = []

    def listened() -> bool:
        client.listen()
        return bool(heard)

    client._heard = heard.append
    wait_until(listened, DEADLINE_S, "something is heard")
    (word,) = heard
    return word


@contextmanager
def listed(client: ForwarderClient) -> Iterator[dict[str, int]]:
    """All that is kept; closed at the end."""
    kept = client.list()
    try:
        yield kept
    finally:
        for fd in kept.values():
            os.close(fd)
