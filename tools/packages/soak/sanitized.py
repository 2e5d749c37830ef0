# SPDX-License-Identifier: BSD-2-Clause
"""A laggd whose extension is built under sanitizers, beside the one in .venv.

Owns .venv/lab/sanitized-*: copies of our C sources, what was made of them, and links to
the Python of the tree, of which a change needs no compiler.  What the sanitizers say is
in the daemon's log, and in its exit code; ASan also ends it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.daemon import LAGGD, ROOT, START_SECONDS, Daemon
from lab.host import CommandError, Host
from lab.program import CACHE
from lab.waiting import wait_until

PACKAGE = ROOT / "lagg"
MADE = frozenset({"_native.abi3.so", "lagg-forwarder"})
"""What a build makes in the package."""

QUARANTINE_MB = 16
"""What is freed last stays poisoned; ASan's own 256 MB would hide a leak."""


@dataclass(frozen=True, slots=True)
class Sanitizer:
    """How the extension is built, and what a Python needs that loads it."""

    flags: str  # of -fsanitize=
    runtimes: tuple[str, ...]
    options: Mapping[str, str]
    prefix: tuple[str, ...] = ()
    laggd: tuple[str, ...] = ()  # its options


SANITIZERS = {
    "asan": Sanitizer(
        "address,undefined",
        ("libasan.so", "libubsan.so"),
        {
            # Python itself leaks on purpose at exit.
            "ASAN_OPTIONS": f"detect_leaks=0:quarantine_size_mb={QUARANTINE_MB}",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        },
    ),
    "tsan": Sanitizer(
        "thread",
        ("libtsan.so",),
        {"TSAN_OPTIONS": "second_deadlock_stack=1"},
        # Older ThreadSanitizers do not know the address layouts of newer kernels.
        ("setarch", "--addr-no-randomize"),
        # What laggd publishes orders what the forwarder's threads do, and it sees the
        # order of one process alone.
        ("--inside",),
    ),
}
"""By the name that users have for them."""


class SanitizedDaemon(Daemon):
    """As any other, in the environment of the sanitized copy."""

    def __init__(self, host: Host, sanitizer: Sanitizer, log_level: str) -> None:
        """Starts it until its socket accepts, and it has the extension."""
        self._sanitizer = sanitizer
        super().__init__(host, log_level=log_level, options=sanitizer.laggd)

    def start(self) -> None:
        """Starts it (again); TimeoutError or CommandError with its log if it fails."""
        places = ("--socket", self.socket, "--state-dir", self.state_dir)
        copy = build(self._sanitizer.flags)
        with self.log.open("a") as log:
            self._process = self.host.popen(
                *self._sanitizer.prefix,
                LAGGD,
                *places,
                *self._options,
                stdout=log,
                stderr=log,
                environment=os.environ | environment(copy, self._sanitizer),
            )
        wait_until(self._answers, START_SECONDS, f"laggd in {self.host.name} listens")
        # It listens before it has the extension.
        maps, extension = Path(f"/proc/{self.pid}/maps"), f"{copy}/lagg/_native"
        wait_until(lambda: extension in maps.read_text(), START_SECONDS, extension)


def environment(copy: Path, sanitizer: Sanitizer) -> dict[str, str]:
    """What makes Python take the sanitized copy."""
    return {
        "PYTHONPATH": str(copy),
        "LD_PRELOAD": " ".join(map(_runtime, sanitizer.runtimes)),
        **sanitizer.options,
    }


def _runtime(name: str) -> str:
    found = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


def build(flags: str) -> Path:
    """The copy of what is in the tree now; safe beside other builds."""
    sources = _sources()
    digest = hashlib.sha256(flags.encode())
    for path in sources:
        digest.update(path.read_bytes())
    kind = f"sanitized-{flags.replace(',', '-')}"
    copy = CACHE / f"{kind}-{digest.hexdigest()[:16]}"
    if not copy.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            made = Path(directory, "made")
            _make(sources, made, flags)
            _remove_old(kind)
            made.rename(copy)
    _link(PACKAGE, copy / "lagg")
    return copy


def _sources() -> list[Path]:
    """All that a build reads."""
    single = [ROOT / name for name in ("pyproject.toml", "setup.py", "README.md")]
    found = {path for path in ROOT.glob("native/**/*.[chp]*") if path.is_file()}
    return [*single, PACKAGE / "__init__.py", *sorted(found)]


def _link(package: Path, copy: Path) -> None:
    """Gives the copy of a package all that it has and the copy has not."""
    for path in package.iterdir():
        if path.name not in MADE and path.name != "__pycache__":
            with suppress(FileExistsError):
                (copy / path.name).symlink_to(path)


def _make(sources: list[Path], copy: Path, flags: str) -> None:
    for path in sources:
        there = copy / path.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there)
    command = (sys.executable, "setup.py", "-q", "build_ext", "--inplace")
    done = subprocess.run(
        command,
        cwd=copy,
        env=os.environ | {"LAGG_SANITIZE": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CommandError(command, done.returncode, done.stdout + done.stderr)


def _remove_old(kind: str) -> None:
    """Copies of sources that are no more; one that is in use is loaded already."""
    for path in CACHE.glob(f"{kind}-*"):
        shutil.rmtree(path, ignore_errors=True)
