# SPDX-License-Identifier: BSD-2-Clause
"""A host: a network namespace with a name, and the processes inside it.

Owns those, and a connection to rtnetlink.  Knows no laggd.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pyroute2 import IPRoute

from lab.namespace import Namespace
from lab.waiting import SLOWNESS

NETNS_DIRECTORY = Path("/run/netns")
STOP_SECONDS = 5.0 * SLOWNESS


class CommandError(Exception):
    """A command inside a host failed; says which, and what it wrote."""

    def __init__(self, command: tuple[str, ...], code: int, output: str) -> None:
        super().__init__(f"{' '.join(command)}: exit {code}\n{output.rstrip()}")
        self.code = code
        self.output = output


class Host(Namespace):
    """A namespace, made and removed by its Lab."""

    def __init__(self, name: str, netns: str, directory: Path) -> None:
        """`netns` is what `ip netns` calls it; `directory` is for its files."""
        self.name = name
        self.netns = netns
        self.directory = directory
        self._started: list[subprocess.Popen[Any]] = []
        directory.mkdir()
        _ip("netns", "add", netns)
        try:
            place = os.open(NETNS_DIRECTORY / netns, os.O_RDONLY | os.O_CLOEXEC)
            super().__init__(place, threads=1)
            self._netlink = self.inside(IPRoute)
        except BaseException:
            _ip("netns", "del", netns)
            raise

    def end_started(self) -> None:
        """Ends what popen() started; of that pids() has nothing until it is inside."""
        while self._started:
            _end(self._started.pop())

    def close(self) -> None:
        """Ends what was started inside, and removes the namespace."""
        try:
            self.end_started()
            self.inside(self._netlink.close)
            super().close()
        finally:
            _ip("netns", "del", self.netns)

    @contextmanager
    def _route(self) -> Iterator[IPRoute]:
        """The one connection: there is one thread."""
        yield self._netlink

    # ---- commands ------------------------------------------------------------------

    def command(self, *words: str | Path) -> tuple[str, ...]:
        """The command that runs `words` inside, from anywhere on this machine."""
        if words[0] == "ip":  # it goes there by itself
            return ("ip", "-netns", self.netns, *map(str, words[1:]))
        return ("ip", "netns", "exec", self.netns, *map(str, words))

    def run(
        self, *words: str | Path, check: bool = True, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command inside.  CommandError when it fails, unless not `check`ed."""
        command = self.command(*words)
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s * SLOWNESS,
        )
        if check and done.returncode != 0:
            raise CommandError(command, done.returncode, done.stdout + done.stderr)
        return done

    def popen(
        self,
        *words: str | Path,
        stdout: int | IO[Any] = subprocess.PIPE,
        stderr: int | IO[Any] = subprocess.PIPE,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Starts a command inside; the host ends it when nobody did before.

        In a session of its own, as a daemon's: ^C is for us to see and to take down in
        order, and the scheduler gives it a share as large as any other session's.
        """
        process = subprocess.Popen(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            start_new_session=True,
            env=environment,
        )
        self._started.append(process)
        return process

    def pids(self) -> list[int]:
        """The processes inside; this one is none of them."""
        listed = subprocess.run(
            ["ip", "netns", "pids", self.netns],
            capture_output=True,
            text=True,
            check=True,
        )
        return [int(pid) for pid in listed.stdout.split() if int(pid) != os.getpid()]


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandError(("ip", *words), done.returncode, done.stderr)


def _end(process: subprocess.Popen[Any]) -> None:
    """SIGTERM, and SIGKILL for who does not listen; closes its pipes."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)  # one that is stopped would not hear it
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
