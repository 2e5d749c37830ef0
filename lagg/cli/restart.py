# SPDX-License-Identifier: BSD-2-Clause
"""The commands that end the laggd that runs: for another one to go on, or for good.

Owns how it ends and how the other one is started: by systemd, where its unit is whose
process it is; else by a signal, and as the one that runs was, by its command line, and
where it runs.  What passes between the two is theirs.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, cast

from lagg.cli.daemon import laggd_of
from lagg.cli.output import DONE, say
from lagg.config.files import ConfigError, load
from lagg.control.client import Client, NoDaemonError
from lagg.errors import LaggError
from lagg.paths import DEFAULT_CONFIG

if TYPE_CHECKING:
    import argparse

    from lagg.records import DaemonRecord, LaggRecord

PATIENCE_S = 60
"""For a laggd to import what it needs and to adopt every lagg, on a busy machine."""

BAD_CONFIG = 78
"""laggd's exit code."""

STOP_S = 300
"""For every port of thousands to be put back, as the unit's TimeoutStopSec=."""

_TURN_S = 0.02
_NAMESPACES = ("net", "mnt")


def restart(arguments: argparse.Namespace) -> int:
    """Starts the successor, and says what went on."""
    with laggd_of(arguments) as laggd:
        before = _status(laggd)
        running = Running.of(laggd.pid)
    running.require_replaceable()
    unit = running.unit()
    if unit is None:
        with TemporaryFile() as said:
            process = running.successor(said)
            after, laggs = _awaited(arguments.socket, process, said, running)
    else:
        running.require_sound_files()
        _have_unit("restart", unit)
        after, laggs = _found(arguments.socket)
    ports = sum(len(lagg["ports"]) for lagg in laggs)
    kept = _forwarder_pid(before) == _forwarder_pid(after)
    away_s = after["control_away_s"] or 0.0
    if arguments.json:
        found = {"laggs": len(laggs), "ports": ports, "control_away_s": away_s}
        say(json.dumps(found | {"forwarder_kept": kept, "pid": after["pid"]}))
    else:
        forwarder = "forwarder kept" if kept else "another forwarder"
        what = f"adopted {_many(len(laggs), 'lagg')}, {_many(ports, 'port')}"
        say(f"{what}; away {away_s * 1000:.0f} ms; {forwarder}")
    return DONE


def stop(arguments: argparse.Namespace) -> int:
    """Ends laggd and its forwarder, every port put back; returns when it has ended."""
    with laggd_of(arguments) as laggd:
        running = Running.of(laggd.pid)
    if running.service is not None and _main_pid(running.service) == running.pid:
        _have_unit("stop", running.service)
    else:
        running.end()
    if arguments.json:
        say(json.dumps({"pid": running.pid}))
    else:
        say(f"laggd, pid {running.pid}, has ended")
    return DONE


@dataclass(frozen=True)
class Running:
    """The laggd that runs, as /proc tells of it."""

    pid: int
    uid: int
    words: tuple[str, ...]
    environment: dict[str, str]
    service: str | None  # of systemd, in whose control group it is

    @classmethod
    def of(cls, pid: int) -> Running:
        """LaggError: who asks may not know."""
        place = Path(f"/proc/{pid}")
        try:
            status = (place / "status").read_text(errors="replace")
            words = _texts(place / "cmdline")
            pairs = (each.partition("=") for each in _texts(place / "environ"))
            environment = {name: value for name, _, value in pairs}
            cgroup = (place / "cgroup").read_text(errors="replace")
        except OSError as error:
            cause = f"cannot see how it was started: {error.strerror}; be root"
            raise LaggError("laggd", cause, error.errno or errno.EIO) from error
        uid = int(status.partition("\nUid:")[2].split()[1])
        return cls(pid, uid, tuple(words), environment, _service(cgroup))

    def is_there(self) -> bool:
        """Whether it runs still."""
        return Path(f"/proc/{self.pid}/exe").exists()  # of one that has ended, never

    def end(self) -> None:
        """SIGTERM; returns when it has put all back and ended.  LaggError."""
        if "NOTIFY_SOCKET" in self.environment:
            cause = "a supervisor that is no systemd has started it: stop it there"
            raise LaggError("laggd", cause, errno.EOPNOTSUPP)
        try:
            os.kill(self.pid, signal.SIGTERM)
        except OSError as error:
            raise LaggError.of_os(f"pid {self.pid}", "end it", error) from error
        deadline_s = time.monotonic() + STOP_S
        while self.is_there():
            if time.monotonic() > deadline_s:
                cause = f"has not ended in {STOP_S} s; its log says at what it is"
                raise LaggError(f"pid {self.pid}", cause, errno.ETIMEDOUT)
            time.sleep(_TURN_S)

    def require_replaceable(self) -> None:
        """LaggError: another laggd cannot go on with its laggs; says what to do."""
        if "--inside" in self.words:
            cause = "runs with --inside, so its frames would stop with it"
            raise LaggError("laggd", f"{cause}: stop and start it", errno.EOPNOTSUPP)

    def unit(self) -> str | None:
        """The unit whose process it is; None: it was started by hand.

        LaggError: another supervisor has started it, or we could not start its like.
        """
        if self.service is not None and _main_pid(self.service) == self.pid:
            return self.service
        if "NOTIFY_SOCKET" in self.environment:
            cause = "a supervisor that is no systemd has started it: restart it there"
            raise LaggError("laggd", cause, errno.EOPNOTSUPP)
        if self.uid != os.geteuid():
            cause = f"runs as uid {self.uid}, and only that user can start its like"
            raise LaggError("laggd", cause, errno.EPERM)
        return None

    def require_sound_files(self) -> None:
        """LaggError: its successor would refuse them, and nobody be there any more."""
        words = iter(self.words)
        named = [w.partition("=")[2] for w in self.words if w.startswith("--config=")]
        named += [next(words, "") for word in words if word == "--config"]
        file = Path(f"/proc/{self.pid}/cwd", *named[-1:] or (DEFAULT_CONFIG,))
        try:
            load(file, required=bool(named))
        except ConfigError as error:
            why = str(error).partition("\n")[0]
            cause = f"not replaced: its configuration is bad: {why}; pid {self.pid}"
            raise LaggError("laggd", f"{cause} goes on", errno.ECANCELED) from error

    def successor(self, said: IO[bytes]) -> subprocess.Popen[bytes]:
        """Starts one like it, which lives on without us.  LaggError.

        If it ends, the reason is in `said`, a file: a pipe would not live on.
        """
        words = [word for word in self.words if word != "--replace"]
        place = f"/proc/{self.pid}"
        try:
            return subprocess.Popen(
                [*self._elsewhere(), *words, "--replace"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=_opened(f"{place}/fd/2"),
                cwd=f"{place}/cwd",
                env=self.environment,
                start_new_session=True,
            )
        except OSError as error:
            raise LaggError.of_os(words[0], "start it", error) from error

    def _elsewhere(self) -> list[str]:
        """What takes a program to where it runs, if that is not here."""
        ours, its = Path("/proc/self/ns"), Path(f"/proc/{self.pid}/ns")
        if all((ours / each).samefile(its / each) for each in _NAMESPACES):
            return []
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--wd", "--"]


def _service(cgroup: str) -> str | None:
    """The service that a file /proc/PID/cgroup is of; it need not have started it."""
    last = (line.rpartition("/")[2] for line in cgroup.splitlines())
    return next((name for name in last if name.endswith(".service")), None)


def _systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemctl", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _main_pid(service: str) -> int | None:
    try:
        shown = _systemctl("show", "--value", "--property=MainPID", service)
    except OSError:
        return None  # there is no systemd here
    word = shown.stdout.strip()
    return int(word) if word.isdecimal() else None


def _have_unit(verb: str, unit: str) -> None:
    """Returns when the successor serves, or the one has stopped.  LaggError: not so."""
    done = _systemctl(verb, unit)
    if done.returncode != 0:
        why = done.stderr.strip().partition("\n")[0]
        raise LaggError(unit, f"systemctl {verb}: {why}", errno.ECANCELED)


def _texts(path: Path) -> list[str]:
    """What is ended by NULs in a file of /proc."""
    return [os.fsdecode(each) for each in path.read_bytes().split(b"\0") if each]


def _opened(path: str) -> int | None:
    """Where the other one's log goes; None, which is ours, when it cannot be opened."""
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None


def _awaited(
    path: str, process: subprocess.Popen[bytes], said: IO[bytes], before: Running
) -> tuple[DaemonRecord, list[LaggRecord]]:
    """What the successor says of itself once it answers.  LaggError: it never will."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        code = process.poll()
        if code is not None:
            raise LaggError("laggd", _no_successor(code, said, before), errno.ECANCELED)
        try:
            status, laggs = _found(path)
            if status["pid"] == process.pid:
                return status, laggs
        except NoDaemonError:
            pass  # between the two
        time.sleep(_TURN_S)
    process.kill()  # it has taken nothing, or its place is free for the next
    cause = f"the new one (pid {process.pid}) did not answer in {PATIENCE_S} s"
    raise LaggError("laggd", cause, errno.ETIMEDOUT)


def _no_successor(code: int, said: IO[bytes], before: Running) -> str:
    """Why it has ended, and who is there now."""
    said.seek(0)
    why = said.read().decode(errors="replace").partition("\n")[0]
    if code < 0:
        why = f"it was killed ({signal.Signals(-code).name})"
    elif code == BAD_CONFIG:
        why = f"its configuration is bad: {why}"
    why = why or f"it ended ({code}), see its log"
    if before.is_there():
        return f"not replaced: {why}; pid {before.pid} goes on"
    return f"replaced, and then: {why}; frames go on, and nobody controls: start laggd"


def _found(path: str) -> tuple[DaemonRecord, list[LaggRecord]]:
    """What the one that serves says of itself."""
    with Client(path) as laggd:
        return _status(laggd), cast("list[LaggRecord]", laggd.call("List")["laggs"])


def _status(laggd: Client) -> DaemonRecord:
    return cast("DaemonRecord", laggd.call("Status")["laggd"])


def _forwarder_pid(status: DaemonRecord) -> int | None:
    return None if status["forwarder"] is None else status["forwarder"]["pid"]


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
