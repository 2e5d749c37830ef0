# SPDX-License-Identifier: BSD-2-Clause
"""The lab itself: what was made, and that it goes away again.

Owns a name no other lab has, a directory of that name under /tmp, and the namespaces
whose names begin with it.  A lab holds a lock in its directory for as long as it lives,
so that what a killed one left is known and can be removed.
"""

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from lab.cable import Cable, Patched, Plug, Veth
from lab.daemon import Daemon
from lab.host import NETNS_DIRECTORY, Host

PREFIX = "lagg-"
PANEL = "panel"
_KEPT = "kept"
_LOCK = "lock"


class Lab:
    """A context manager; everything is made by its methods and gone at its end."""

    def __init__(self, label: str | None = None) -> None:
        """`label` is the middle of all names; by default this process's id."""
        self.name = f"{PREFIX}{label or os.getpid()}-{secrets.token_hex(3)}"
        self.hosts: dict[str, Host] = {}
        self.daemons: list[Daemon] = []
        self._parts = ExitStack()
        self._keep = False

    def __enter__(self) -> Self:
        """Makes the lab's directory."""
        remove_abandoned()
        with _no_interrupt():
            self._make_directory()
        return self

    def _make_directory(self) -> None:
        """Locked before it has its name, or another lab would find it abandoned."""
        self.directory = Path(tempfile.gettempdir(), self.name)
        fresh = self.directory.with_name(f".{self.name}")
        fresh.mkdir(mode=0o700)
        lock = (fresh / _LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh.rename(self.directory)
        self._parts.callback(lock.close)
        self._parts.callback(shutil.rmtree, self.directory, ignore_errors=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Removes everything; shows the daemons' logs when something went wrong."""
        if isinstance(error, Exception):
            for daemon in self.daemons:
                daemon.show_log()
        with _no_interrupt():
            if self._keep:
                self._parts.pop_all()
            self._parts.close()

    def keep(self) -> None:
        """Leaves everything up at the end: `remove(name)` takes it away."""
        (self.directory / _KEPT).touch()
        self._keep = True

    def host(self, name: str) -> Host:
        """A new host, with nothing in it but lo."""
        with _no_interrupt():
            host = Host(name, f"{self.name}-{name}", self.directory / name)
            self._parts.callback(host.close)
        host.set_link("lo", state="up")
        self.hosts[name] = host
        return host

    def cable(
        self,
        near: Host,
        name: str,
        far: Host,
        far_name: str,
        *,
        patched: bool = False,
        like_hardware: bool = False,
    ) -> Cable:
        """A cable between interfaces `name` and `far_name`, which it makes, both up.

        Cut, a plain one takes the carrier of `name` and sets `far_name` down; a patched
        one takes the carrier of both.  Of an interface `like_hardware` the kernel tells
        a loss of carrier only if it told of none within a second; of others, at once.
        """
        plug, far_plug = Plug(near, name), Plug(far, far_name)
        if not patched:
            return Veth(plug, far_plug, like_hardware=like_hardware)
        return self.patched(plug, far_plug, like_hardware=like_hardware)

    def patched(
        self, plug: Plug, far_plug: Plug, *, like_hardware: bool = False
    ) -> Patched:
        """As `cable`, of the kind that can lose frames while it carries."""
        panel = self.hosts.get(PANEL) or self.host(PANEL)
        return Patched(plug, far_plug, panel, like_hardware=like_hardware)

    def daemon(
        self,
        host: Host,
        *,
        config: Path | None = None,
        log_level: str = "debug",
        options: Sequence[str] = (),
        place: str = "",
    ) -> Daemon:
        """A laggd in a host, as Daemon(); runs, and its socket accepts."""
        daemon = Daemon(
            host, config=config, log_level=log_level, options=options, place=place
        )
        self.take(daemon)
        return daemon

    def take(self, daemon: Daemon) -> None:
        """Has a daemon that somebody else has started end with the lab."""
        self.daemons.append(daemon)
        self._parts.callback(daemon.close)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """A signal inside comes after it, so that nothing is made and not remembered."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal comes here
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    both = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, note) for each in both]
    try:
        yield
    finally:
        for each, handler in zip(both, before, strict=True):
            signal.signal(each, handler)
        if came:
            signal.raise_signal(came[0])


def abandoned(*, kept: bool = False) -> list[str]:
    """The labs whose maker is gone; those it wanted kept only on request."""
    return [
        directory.name
        for directory in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"))
        if _is_free(directory / _LOCK) and (kept or not (directory / _KEPT).exists())
    ]


def _is_free(lock: Path) -> bool:
    try:
        with lock.open() as held:
            # Shared: another may be looking at the same time.
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
    except OSError:
        return False  # held, or no lab


def remove_abandoned() -> None:
    """Removes what killed labs have left, except those that were to be kept."""
    for name in abandoned():
        remove(name)


def remove(name: str) -> None:
    """Removes a lab without its maker: processes, namespaces, files."""
    for path in NETNS_DIRECTORY.glob(f"{name}-*"):
        _end_all(path.name)
        subprocess.run(["ip", "netns", "del", path.name], check=False)
    shutil.rmtree(Path(tempfile.gettempdir(), name), ignore_errors=True)


def _end_all(netns: str) -> None:
    """Kills what runs in a namespace of ours: nothing but ours ever does."""
    listed = subprocess.run(
        ["ip", "netns", "pids", netns], capture_output=True, text=True, check=False
    )
    for pid in listed.stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue  # it was faster
