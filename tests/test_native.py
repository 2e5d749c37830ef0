# SPDX-License-Identifier: BSD-2-Clause
"""Builds and runs tests/native/*.c with all of native/: strictly, and sanitized.

A program proves its case by exiting 0 after printing "N checks", N above 0.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.program import CACHE
from tests.tree import native_c_files

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(native_c_files())
LINKED = [source for source in SOURCES if source.name != "main.c"]
PROGRAMS = sorted((ROOT / "tests" / "native").glob("*.c"))

INCLUDE = ["-Inative", "-Inative/forwarder", "-Itests/native"]
COMMON = ["-std=gnu11", "-g", "-pthread", '-DLAGG_VERSION="test"', *INCLUDE]
STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
SANITIZED = ["-O1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]

RUN_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Flavour:
    """One way to compile everything."""

    name: str
    flags: tuple[str, ...]
    wrapper: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        return ["gcc", *COMMON, *self.flags]


FLAVOURS = (
    Flavour("strict", ("-O2", *STRICT)),
    Flavour("asan-ubsan", (*SANITIZED, "-fsanitize=address,undefined")),
    # Older ThreadSanitizers do not know the address layouts of newer kernels.
    Flavour(
        "tsan", (*SANITIZED, "-fsanitize=thread"), ("setarch", "--addr-no-randomize")
    ),
)

OPTIONS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


SKIPPED = 77
"""A program's exit code when the machine does not allow it, its reason printed."""


def run(command: list[str], what: str) -> str:
    """Runs from the project root; returns all it printed; fails with that."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | OPTIONS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout)
    assert done.returncode == 0, f"{what}: exit {done.returncode}\n{done.stdout}"
    return done.stdout


class Workshop:
    """Objects and programs, compiled once for each flavour and state of the sources.

    Owns .venv/lab/c-*/.
    """

    def __init__(self) -> None:
        self.directory = CACHE / f"c-{_digest()}"
        self.directory.mkdir(parents=True, exist_ok=True)
        for old in set(CACHE.glob("c-*")) - {self.directory}:
            shutil.rmtree(old, ignore_errors=True)

    def objects(self, flavour: Flavour) -> list[str]:
        """Compiles what is missing; xdist workers wait for each other here."""
        with (self.directory / f"{flavour.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return [
                self._made(flavour, f"{source.stem}.o", "-c", str(source))
                for source in SOURCES
            ]

    def program(self, flavour: Flavour, source: Path) -> str:
        self.objects(flavour)
        needed = [self._target(flavour, f"{linked.stem}.o") for linked in LINKED]
        return self._made(flavour, source.stem, str(source), *map(str, needed))

    def _made(self, flavour: Flavour, name: str, *words: str) -> str:
        target = self._target(flavour, name)
        if not target.exists():
            fresh = f"{target}.{os.getpid()}"  # other runs may do the same
            run([*flavour.command, *words, "-o", fresh], f"gcc {name}")
            Path(fresh).rename(target)
        return str(target)

    def _target(self, flavour: Flavour, name: str) -> Path:
        return self.directory / f"{flavour.name}-{name}"


def _digest() -> str:
    text = [run(["gcc", "--version"], "gcc --version"), repr(FLAVOURS), repr(COMMON)]
    for place in (ROOT / "native", ROOT / "tests" / "native"):
        text += [f"{p} {p.read_text()}" for p in sorted(place.rglob("*.[ch]"))]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


@pytest.fixture(scope="session")
def workshop() -> Workshop:
    return Workshop()


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
def test_the_hot_path_compiles_without_a_warning(
    workshop: Workshop, flavour: Flavour
) -> None:
    assert len(workshop.objects(flavour)) == len(SOURCES) > 0


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_native(workshop: Workshop, program: Path, flavour: Flavour) -> None:
    command = [*flavour.wrapper, workshop.program(flavour, program)]
    output = run(command, program.name)
    checks = re.search(r"^(\d+) checks$", output, re.MULTILINE)
    assert checks is not None, f"no line 'N checks':\n{output}"
    assert int(checks[1]) > 0, output
