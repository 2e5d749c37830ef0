# SPDX-License-Identifier: BSD-2-Clause
"""Builds and runs tests/native/*.c with native/*.c: strictly, and sanitized.

A program proves its case by exiting 0 after printing "N checks", N above 0.
"""

import fcntl
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "native").glob("*.c"))
PROGRAMS = sorted((ROOT / "tests" / "native").glob("*.c"))

COMMON = ["-std=gnu11", "-g", "-pthread", "-Inative", "-Itests/native"]
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
    """Objects of native/*.c, compiled once for each flavour and test run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def objects(self, flavour: Flavour) -> list[str]:
        """Compiles what is missing; xdist workers wait for each other here."""
        with (self.directory / f"native-{flavour.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return [self._object(flavour, source) for source in SOURCES]

    def _object(self, flavour: Flavour, source: Path) -> str:
        target = self.directory / f"{flavour.name}-{source.stem}.o"
        if not target.exists():
            fresh = f"{target}.new"
            run(
                [*flavour.command, "-c", str(source), "-o", fresh], f"gcc {source.name}"
            )
            Path(fresh).rename(target)
        return str(target)

    def program(self, flavour: Flavour, source: Path) -> str:
        target = str(self.directory / f"{flavour.name}-{source.stem}")
        command = [*flavour.command, str(source), *self.objects(flavour), "-o", target]
        run(command, f"gcc {source.name}")
        return target


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Workshop:
    base = tmp_path_factory.getbasetemp()
    # A worker's own directory is inside the one that all of the run share.
    return Workshop(base if worker_id == "master" else base.parent)


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
