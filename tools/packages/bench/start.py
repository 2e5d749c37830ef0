# SPDX-License-Identifier: BSD-2-Clause
"""How long laggd takes to start: the interpreter, what it imports, and until READY=1.

Run as `tools/bench start`.  Each row contains those above it.  Python's bytecode is
kept, as that of an installed laggd is; what is printed are milliseconds, of the wall
and of the CPU: on a machine that does other things the second says more.
"""

import argparse
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from subprocess import Popen
from time import monotonic
from typing import NamedTuple

from lab import Lab
from lab.daemon import LAGGD

PYTHON = LAGGD.with_name("python")
IMPORTS = "import lagg.daemon.process, lagg.operations.commands"
PORTS = ("p0", "p1")
ROUNDS = 9
TIMEOUT_S = 60.0


class Took(NamedTuple):
    """Milliseconds of one start."""

    wall: float
    cpu: float


class Starter:
    """A host with two cables, where programs are started and timed."""

    def __init__(self, lab: Lab) -> None:
        """Compiles all that is imported, so that no round does."""
        self.host, far = lab.host("near"), lab.host("far")
        for port in PORTS:
            lab.cable(self.host, port, far, f"far-{port}")
        self._config = self.host.directory / "laggd.toml"
        ports = ", ".join(f'"{port}"' for port in PORTS)
        self._config.write_text(f'[[lagg]]\nname = "lagg0"\nports = [{ports}]\n')
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.settimeout(TIMEOUT_S)
        self._told.bind(str(self.host.directory / "notify"))
        self.ready()

    def close(self) -> None:
        """Closes where laggd tells that it is ready."""
        self._told.close()

    def interpreter(self) -> Took:
        """One that does nothing."""
        return self._timed(_ended, PYTHON, "-c", "pass")

    def imports(self) -> Took:
        """One that loads what laggd is made of."""
        return self._timed(_ended, PYTHON, "-c", IMPORTS)

    def ready(self) -> Took:
        """Laggd, until its lagg is there and its socket answers."""
        run = self.host.directory / "run"
        places = ("--socket", run / "laggd.sock", "--state-dir", run / "state")
        words = (LAGGD, *places, "--config", self._config, "--log-level", "warning")
        return self._timed(self._until_ready, *words)

    def _timed(self, wait: Callable[["Popen[str]"], None], *words: str | Path) -> Took:
        began_s = monotonic()
        process = self.host.popen(*words, environment=self._environment())
        wait(process)
        took_ms = 1000 * (monotonic() - began_s)
        cpu_ms = _cpu_ms(process.pid)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_S)
        return Took(took_ms, cpu_ms)

    def _until_ready(self, process: "Popen[str]") -> None:
        while b"READY=1" not in self._told.recv(4096):
            assert process.poll() is None, "it is told of a laggd that lives"

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key[:6] != "PYTHON"}
        return kept | {
            "NOTIFY_SOCKET": str(self._told.getsockname()),
            "PYTHONPYCACHEPREFIX": str(self.host.directory / "bytecode"),
        }


def _ended(process: "Popen[str]") -> None:
    """Waits for the end, and leaves what is there to be read of it."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def _cpu_ms(pid: int) -> float:
    """User's and system's, of a process that lives or waits to be asked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(words: Sequence[str] | None = None) -> None:
    """Measures all in turn, so that a noisy minute is shared; prints the medians."""
    parser = argparse.ArgumentParser(prog="tools/bench start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    rounds = parser.parse_args(words).rounds
    with Lab("start") as lab:
        starter = Starter(lab)
        rows = (starter.interpreter, starter.imports, starter.ready)
        found = [[row() for row in rows] for _ in range(rounds)]
        starter.close()
    print("| | wall, ms | least | CPU, ms | least |\n|---|---|---|---|---|")
    for row, took in zip(rows, zip(*found, strict=True), strict=True):
        print(f"| {row.__name__} | {_shown(took)} |")


def _shown(took: Sequence[Took]) -> str:
    columns = zip(*took, strict=True)
    return " | ".join(f"{median(each):.0f} | {min(each):.0f}" for each in columns)


if __name__ == "__main__":
    main()
