# SPDX-License-Identifier: BSD-2-Clause
"""A laggd in a host, driven as its users do: laggctl, signals, its log.

Owns the process, its socket and its state directory, and the end of a forwarder that
it leaves.  Knows no driver.
"""

import json
import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lab.host import CommandError, Host
from lab.waiting import SLOWNESS, wait_until
from lagg.control.client import Client, NoDaemonError
from lagg.errors import LaggError

ROOT = Path(__file__).resolve().parents[3]
LAGGD = ROOT / ".venv" / "bin" / "laggd"
LAGGCTL = ROOT / ".venv" / "bin" / "laggctl"

START_SECONDS = END_SECONDS = 60.0
"""Long, for a machine that runs other tests."""

OVERLOAD = ("tap-overrun", "ring-overrun", "tap-full", "tx-full")
"""Reasons of a machine that is too slow: with these counted a frame may be lost."""

LOG_LINES = 40

AS_USER = "LAGG_AS_USER"
"""Set in the environment: every laggd runs as packaging/laggd.service starts it."""

UNPRIVILEGED = 64_997
"""A uid and gid that nobody has."""

INSIDE = "--inside"
"""An option with which the workers are threads of laggd, and end with it."""

_UCRED = struct.Struct("=iII")


class Refused(CommandError):
    """laggctl failed; `output` is the line it wrote."""


class Successor:
    """A laggd that laggctl has started, as far as Daemon needs a process of it."""

    def __init__(self, pid: int) -> None:
        """`pid`: of a process that runs."""
        self.pid = pid
        self._end: int | None = os.pidfd_open(pid)  # readable then

    def poll(self) -> int | None:
        """0 once it has ended, whatever its exit code was: it is no child of ours."""
        return 0 if self._ended(0) else None

    def wait(self, timeout: float) -> int:
        """What poll() says at its end; subprocess.TimeoutExpired."""
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return 0

    def send_signal(self, number: signal.Signals) -> None:
        """To it, and never to another that has its pid now."""
        if self._end is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._end, number)

    def _ended(self, timeout_s: float) -> bool:
        if self._end is not None:
            waiting = select.poll()
            waiting.register(self._end, select.POLLIN)
            if not waiting.poll(1000 * timeout_s):
                return False
            os.close(self._end)
            self._end = None
        return True


class Daemon:
    """One laggd, running once it is made."""

    def __init__(
        self,
        host: Host,
        *,
        config: Path | None = None,
        log_level: str = "debug",
        options: Sequence[str] = (),
        place: str = "",
    ) -> None:
        """Starts it, with `options` of its command line, until its socket accepts.

        `place`: where a second one of a host has its socket and state directory.
        """
        self.host = host
        self._prefix: tuple[str, ...] = ()
        if os.environ.get(AS_USER):
            self._prefix = _as_user(host)
        self.socket = host.directory / "run" / place / "laggd.sock"
        self.state_dir = host.directory / "run" / place / "state"
        self.log = host.directory / "laggd.log"
        self._options = ["--log-level", log_level, *options]
        if config is not None:
            self.configure(config)
        if self._prefix:
            self._options.append("--seccomp")
        self._process: subprocess.Popen[str] | Successor | None = None
        self.start()

    @property
    def pid(self) -> int:
        """The pid of laggd itself; `ip netns exec` has become it."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it (again); TimeoutError or CommandError with its log if it fails."""
        places = ("--socket", self.socket, "--state-dir", self.state_dir)
        with self.log.open("a") as log:
            self._process = self.host.popen(
                *self._prefix, LAGGD, *places, *self._options, stdout=log, stderr=log
            )
        wait_until(self._answers, START_SECONDS, f"laggd in {self.host.name} listens")

    def _answers(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            raise CommandError((str(LAGGD),), code, self.log_tail())
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def limit(self, *limits: str) -> None:
        """When it is started next, it has these limits: prlimit(1)'s words."""
        self._prefix = ("prlimit", *limits, *self._prefix)

    def configure(self, config: Path) -> None:
        """When it is started next, it reads this file."""
        self._options += ["--config", str(config)]

    def restart(self) -> dict[str, Any]:
        """`laggctl restart`; what it says.  All that follows is of the next laggd."""
        said = dict(json.loads(self.ctl("--json", "restart")))
        self.followed(said["pid"])
        return said

    def followed(self, pid: int) -> None:
        """By the laggd that has its place now, of which all that follows is."""
        self.awaited()
        self._process = Successor(pid)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        return self._end(signal.SIGTERM)

    def leave(self) -> int:
        """SIGUSR2, by which it ends and its laggs do not; returns the exit code."""
        return self._end(signal.SIGUSR2)

    def kill(self) -> int:
        """SIGKILL; returns when it is dead."""
        return self._end(signal.SIGKILL)

    def refused(self) -> int:
        """Starts it; the exit code by which it ends on its own, soon."""
        with suppress(CommandError):  # which may be at once
            self.start()
        return self.awaited()

    def awaited(self) -> int:
        """The exit code, once it has ended."""
        assert self._process is not None
        return self._process.wait(END_SECONDS * SLOWNESS)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self.awaited()

    def send(self, number: signal.Signals) -> None:
        """A signal that does not end it."""
        assert self._process is not None
        self._process.send_signal(number)

    # ---- its forwarder ------------------------------------------------------------

    def forwarder(self) -> int | None:
        """The pid of who serves at its state directory's forwarder.sock; None: nobody.

        Not of its parent, which listens: it is asked, by what is no word, and as the
        user that it runs as, for it answers nobody else.
        """
        path = self.state_dir / "forwarder.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            asked.settimeout(END_SECONDS)
            try:
                with _being(path.stat().st_uid):
                    asked.connect(str(path))
                asked.send(b"who")
                _, told, _, _ = asked.recvmsg(1, socket.CMSG_SPACE(_UCRED.size))
            except OSError:
                return None
        return next((int(_UCRED.unpack(who)[0]) for _, _, who in told), None)

    @property
    def carrier(self) -> int:
        """The pid of the process that has the workers."""
        return self.forwarder() or self.pid

    def kill_forwarder(self) -> None:
        """SIGKILL, if there is one; returns when nobody of that pid has the socket."""
        pid = self.forwarder()
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.forwarder() != pid, END_SECONDS, f"{pid} is dead")

    def close(self) -> None:
        """Ends all that runs in its host, and after it the forwarder that it left."""
        self.host.end_started()
        if isinstance(self._process, Successor):
            self.stop()
        pid = self.forwarder()
        if pid is not None:
            end_family(pid)

    # ---- its log -------------------------------------------------------------------

    def log_tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text().splitlines()[-LOG_LINES:])

    def show_log(self) -> None:
        """To stderr, where a failed test shows it."""
        print(f"---- laggd in {self.host.name}, {self.log}:", file=sys.stderr)
        print(self.log_tail(), file=sys.stderr)

    # ---- laggctl -------------------------------------------------------------------

    def ctl(self, *words: str) -> str:
        """Runs laggctl; returns what it printed.  Refused when it did not work."""
        done = self.try_ctl(*words)
        if done.returncode != 0:
            raise Refused(("laggctl", *words), done.returncode, done.stderr)
        return done.stdout

    def try_ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs laggctl; whatever comes of it is returned."""
        return subprocess.run(
            [LAGGCTL, "--socket", self.socket, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=90 * SLOWNESS,
        )

    def records(self, name: str | None = None) -> list[dict[str, Any]]:
        """All lagg records, or the one of that name, as `show --json` prints them.

        Asked by the socket itself: who waits looks often, and laggctl is a process.
        """
        try:
            with Client(str(self.socket)) as asked:
                found: list[dict[str, Any]] = asked.call("List", name=name)["laggs"]
        except (LaggError, NoDaemonError) as error:
            raise Refused(("laggctl", "show", name or ""), 1, str(error)) from error
        return found

    def record(self, name: str = "lagg0") -> dict[str, Any]:
        """`show --json` of one lagg."""
        return self.records(name)[0]

    def port(self, name: str, port: str) -> dict[str, Any]:
        """The part of a record that is about one port.  KeyError when it has none."""
        ports = {each["name"]: each for each in self.record(name)["ports"]}
        found: dict[str, Any] = ports[port]
        return found

    def drops(self, name: str = "lagg0") -> dict[str, int]:
        """The reasons that have counted anything."""
        drops: dict[str, int] = self.record(name)["counters"]["drops"]
        return {reason: frames for reason, frames in drops.items() if frames}


def end_family(pid: int) -> None:
    """Ends a lagg-forwarder of which this process serves."""
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    if Path(f"/proc/{parent}/comm").read_text() == "lagg-forwarder\n":
        os.kill(int(parent), signal.SIGKILL)  # first, or it has another one serve
    os.kill(pid, signal.SIGKILL)


def _as_user(host: Host) -> tuple[str, ...]:
    """What starts a program in `host` without root, with the unit's two capabilities.

    And with a /dev/net/tun that all may open, as udev makes it.
    """
    run = host.directory / "run"
    run.mkdir(exist_ok=True)
    os.chown(run, UNPRIVILEGED, UNPRIVILEGED)
    host.directory.parent.chmod(0o711)
    node = host.directory / "tun"
    if not node.exists():
        os.mknod(node, 0o666 | stat.S_IFCHR, Path("/dev/net/tun").stat().st_rdev)
        node.chmod(0o666)
    both = "-all,+net_admin,+net_raw"
    return (
        *("sh", "-c", 'mount --bind "$0" /dev/net/tun && exec "$@"', str(node)),
        *("setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}"),
        *("--clear-groups", "--no-new-privs", f"--bounding-set={both}"),
        *(f"--inh-caps={both}", f"--ambient-caps={both}"),
    )


@contextmanager
def _being(uid: int) -> Iterator[None]:
    """The whole process is that user meanwhile."""
    before = os.geteuid()
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(before)


def conserved(record: Mapping[str, Any]) -> None:
    """Asserts that every frame of a lagg was delivered or counted as dropped."""
    counters = record["counters"]
    taken = counters["tx_in"] + counters["rx_in"]
    given = counters["tx_out"] + counters["rx_out"] + sum(counters["drops"].values())
    assert taken == given, f"{record['name']}: {taken - given} frames: {counters}"


def overload(drops: Mapping[str, int]) -> int:
    """Sums the frames that were dropped for want of CPU."""
    return sum(drops.get(why, 0) for why in OVERLOAD)
