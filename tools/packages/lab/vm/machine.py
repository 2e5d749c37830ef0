# SPDX-License-Identifier: BSD-2-Clause
"""A virtual machine in a host, for a kernel of its own.

Owns QEMU's process, and the way to a shell inside: a serial port that takes scripts.
It is emulated (TCG), so that it runs wherever the tests do.  Knows not what it boots.
"""

import base64
import itertools
import json
import shlex
import socket
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.host import CommandError, Host
from lab.vm.image import EMULATOR, Image
from lab.waiting import wait_until

WAIT_S = 0.2  # between two looks at whether a guest has ended
BOOT_SECONDS = 300.0
"""Long, for a machine that runs other tests; an idle one takes four, or twenty."""

ARGUMENTS = (
    "console=ttyS0 panic=-1 quiet mitigations=off nokaslr net.ifnames=0 nowatchdog"
    " random.trust_cpu=on tsc=reliable no_timer_check"
)


class Shell:
    """One serial port: a script goes in, its output comes back; one at a time."""

    def __init__(self, path: Path) -> None:
        """Connects; whoever reads inside may come later.  OSError: not there yet."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._answers = self._socket.makefile()
        self._lock = threading.Lock()

    def run(self, script: str, timeout_s: float) -> str:
        """What it printed.  CommandError when it failed, TimeoutError, EOFError."""
        with self._lock:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(base64.b64encode(script.encode()) + b"\n")
            answer = self._answers.readline()
        if not answer:
            raise EOFError("the virtual machine is gone")
        status, _, packed = answer.strip().partition(" ")
        output = base64.b64decode(packed).decode()
        if status != "0":
            raise CommandError(("vm", script), int(status), output)
        return output

    def close(self) -> None:
        """Hangs up."""
        self._answers.close()
        self._socket.close()


class Guest:
    """A process inside, as far as a stream needs it: see lab.stream.Process."""

    def __init__(self, vm: "Vm", directory: str, words: Sequence[str]) -> None:
        """Starts it; `directory` is for its output, inside."""
        self.stderr = self
        self.returncode: int | None = None
        self._vm, self._directory = vm, directory
        command = f"{shlex.join(words)} >out 2>err & child=$!; echo $child >pid"
        follow = f"( {command}; wait $child; echo $? >status ) >/dev/null 2>&1 &"
        vm.run(f"mkdir {directory}; cd {directory}; {follow}")

    def _read(self, name: str) -> str:
        return self._vm.run(f"cat {self._directory}/{name} 2>/dev/null; true")

    def readline(self) -> str:
        """The first line of its complaints, when there is one."""
        wait_until(
            lambda: self._read("err") or self.poll() is not None, 60, "a guest speaks"
        )
        return self._read("err").partition("\n")[0] + "\n"

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        status = self._read("status")
        self.returncode = int(status) if status else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; subprocess.TimeoutExpired."""
        seconds = 60 if timeout is None else timeout
        rounds = f"for round in $(seq {int(seconds / WAIT_S) + 1})"
        there = f"[ -s {self._directory}/status ]"  # and is written
        self._vm.run(
            f"{rounds}; do {there} && break; sleep {WAIT_S}; done", 3 * seconds
        )
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._directory, seconds)
        return code

    def terminate(self) -> None:
        """SIGTERM."""
        self._vm.run(f"kill $(cat {self._directory}/pid) 2>/dev/null; true")

    def communicate(self) -> tuple[str, str]:
        """What it printed, and complained of, until its end."""
        self.wait()
        return self._read("out"), self._read("err")


class Vm:
    """A machine that has booted; the host ends it."""

    def __init__(
        self,
        host: Host,
        image: Image,
        nics: Sequence[str],
        *,
        arguments: str = "",
        memory_mb: int = 256,
        processors: int = 1,
    ) -> None:
        """Boots; `nics` are QEMU's words for them, `arguments` are for the kernel."""
        self.host = host
        self.log = host.directory / "console.log"
        self.image = image
        size = ["-m", str(memory_mb), "-smp", str(processors)]
        words = [*self._command(f"{ARGUMENTS} {arguments}"), *size, *nics]
        with (host.directory / "qemu.log").open("w") as log:
            self._process = host.popen(*words, stdout=log, stderr=log)
        self._shell: Shell | None = None
        wait_until(self._listens, BOOT_SECONDS, "QEMU listens")
        self._guests = itertools.count()
        try:
            self.run("true", BOOT_SECONDS)
        except (OSError, EOFError):  # it is slow, or gone
            self.close()
            raise TimeoutError(f"it did not boot:\n{self.log.read_text()}") from None

    def popen(self, *words: str | Path) -> Guest:
        """Starts a program inside."""
        return Guest(self, f"/run/guest{next(self._guests)}", list(map(str, words)))

    def close(self) -> None:
        """Hangs up; the host ends the process."""
        if self._shell is not None:
            self._shell.close()

    @property
    def _port(self) -> Path:
        return self.host.directory / "shell.sock"

    def _listens(self) -> bool:
        code = self._process.poll()
        if code is not None:
            log = (self.host.directory / "qemu.log").read_text()
            raise CommandError((EMULATOR,), code, log)
        with suppress(FileNotFoundError, ConnectionRefusedError):
            self._shell = Shell(self._port)
        return self._shell is not None

    @property
    def _monitor(self) -> Path:
        return self.host.directory / "qmp.sock"

    def _command(self, arguments: str) -> list[str]:
        booted = self.image
        # Whoever started it may be killed, and can end nothing then.
        words = ["setpriv", "--pdeathsig", "KILL", EMULATOR]
        words += ["-nodefaults", "-no-user-config", "-no-reboot"]
        words += ["-display", "none", "-machine", "pc,usb=off,vmport=off,hpet=off"]
        words += ["-accel", "tcg", "-cpu", "max,la57=off"]
        words += ["-kernel", str(booted.kernel), "-initrd", str(booted.initramfs)]
        words += ["-append", arguments, "-serial", f"file:{self.log}"]
        words += ["-qmp", f"unix:{self._monitor},server=on,wait=off"]
        words += ["-chardev", f"socket,id=shell,path={self._port},server=on,wait=off"]
        words += ["-device", "virtio-serial-pci"]
        words += ["-device", "virtserialport,chardev=shell"]
        for number, path in enumerate(booted.disks):
            drive = f"if=none,id=disk{number},file={path},format=raw,cache=unsafe"
            words += ["-drive", f"{drive},snapshot=on"]
            words += ["-device", f"virtio-blk-pci,drive=disk{number}"]
        return words

    def run(self, script: str, timeout_s: float = 120.0) -> str:
        """Runs a script inside; what it printed.  CommandError when it failed."""
        assert self._shell is not None
        return self._shell.run(script, timeout_s)

    def set_carrier(self, name: str, *, up: bool) -> None:
        """Sets the carrier of a NIC by what `nic` calls it, as "nic0"."""
        self._ask("set_link", name=name, up=up)

    def _ask(self, command: str, **arguments: object) -> Any:  # noqa: ANN401
        """One QMP command; its answer, which has no type."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as monitor:
            monitor.settimeout(60)
            monitor.connect(str(self._monitor))
            with monitor.makefile("rw") as lines:
                lines.readline()  # the greeting
                _call(lines, "qmp_capabilities", {})
                return _call(lines, command, arguments)


def _call(lines: Any, command: str, arguments: dict[str, object]) -> Any:  # noqa: ANN401
    lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    lines.flush()
    while True:
        answer = json.loads(lines.readline())
        if "error" in answer:
            raise RuntimeError(f"QMP {command}: {answer['error']['desc']}")
        if "return" in answer:
            return answer["return"]
