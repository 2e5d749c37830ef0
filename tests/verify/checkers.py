# SPDX-License-Identifier: BSD-2-Clause
"""The checkers: how each is run on a variant, and when it has found something.

Knows no variant by name.  A checker that is not on this machine says so and how to get
it; what it would have found is then not known, and nobody may claim it.
"""

import os
import re
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.verify.install import CACHE, ROOT, which_clang
from tests.verify.variants import INTERNAL_H, Variant

GET = "sudo tools/verify --install"
TIMEOUT_S = 120

SOURCES = ("native/*.[ch]", "tests/native/*.h", "tests/verify/*.*")
PRODUCTION = ("native/epoch.c", "native/snapshot.c")
ORDERS = ("relaxed", "acquire", "release", "acq_rel", "seq_cst")

COMMON = ["-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread"]
INCLUDE = ["-Inative", "-Itests/native", "-Itests/verify"]
SANITIZED = ["-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
ADDRESS = [*SANITIZED, "-fsanitize=address,undefined"]
THREAD = [*SANITIZED, "-fsanitize=thread"]

OPTIONS = {
    "TSAN_OPTIONS": "halt_on_error=1",
    "ASAN_OPTIONS": "detect_stack_use_after_return=1",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a checker said of a variant."""

    found: bool
    seconds: float
    output: str


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended."""

    status: int
    output: str


def run(command: list[str], cwd: Path, timeout_s: float = TIMEOUT_S) -> Ran:
    """Runs it to its end, whatever that is."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | OPTIONS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )
    return Ran(done.returncode, done.stdout)


def must_run(command: list[str], cwd: Path) -> str:
    """Runs what may not fail; returns what it printed."""
    ran = run(command, cwd)
    assert ran.status == 0, f"{' '.join(command)}: {ran.status}\n{ran.output}"
    return ran.output


def program(name: str) -> str | None:
    """From the cache, else from the system."""
    return shutil.which(name, path=f"{CACHE / 'bin'}:{os.environ.get('PATH', '')}")


# ---- the sources of a variant ------------------------------------------------------


def sources(variant: Variant, directory: Path) -> Path:
    """A copy of what is checked, with the variant's edits; made once."""
    tree = directory / f"tree-{variant.name}"
    if tree.exists():
        return tree
    for pattern in SOURCES:
        for path in ROOT.glob(pattern):
            target = tree / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    for edit in variant.edits:
        text = (tree / edit.file).read_text()
        times = text.count(edit.old)
        assert times == 1, f"{variant.name}: {times} times in {edit.file}:\n{edit.old}"
        (tree / edit.file).write_text(text.replace(edit.old, edit.new))
    return tree


def orders_of(tree: Path) -> dict[str, str]:
    """EPOCH_* of native/internal.h, as the preprocessor sees them, by short name."""
    macros = must_run(["gcc", "-E", "-dM", "-Inative", INTERNAL_H], tree)
    found = re.findall(
        r"^#define (EPOCH_\w+) memory_order_(\w+)$", macros, re.MULTILINE
    )
    orders = dict(found)
    used = set(re.findall(r"EPOCH_\w+", (tree / "native/epoch.c").read_text()))
    assert orders.keys() == used, "every order of epoch.c is in internal.h, and used"
    return orders


def defines(tree: Path) -> list[str]:
    """The orders for a preprocessor: names as numbers, and each EPOCH_* as a name."""
    names = [f"-D{name}={number}" for number, name in enumerate(ORDERS)]
    return names + [f"-D{name}={order}" for name, order in orders_of(tree).items()]


# ---- the checkers ------------------------------------------------------------------


class Checker(ABC):
    """One column of the table."""

    name: str

    @abstractmethod
    def missing(self) -> str:
        """Why it cannot run here and what to do; "" when it can."""

    @abstractmethod
    def look(self, variant: Variant, tree: Path) -> tuple[bool, str]:
        """Whether it found a fault, and all it said."""

    def concerns(self, variant: Variant) -> bool:
        """Whether something is expected of it, one way or the other."""
        return variant.is_good or self.name in variant.found_by

    def check(self, variant: Variant, directory: Path) -> Result:
        """Runs it, in a directory of its own below this one."""
        mine = directory / f"{variant.name}-{self.name}"
        mine.mkdir(parents=True)
        tree = sources(variant, mine)
        started = time.monotonic()
        found, output = self.look(variant, tree)
        return Result(found, time.monotonic() - started, output)


def absent(name: str) -> str:
    return "" if program(name) else f"{name} is not here; get it: {GET}"


def compile_command(variant: Variant, compiler: str, flags: list[str]) -> list[str]:
    """All but the program's own main file."""
    command = [compiler, *COMMON, *INCLUDE, *flags]
    command += [f"-D{variant.define}"] if variant.define else []
    command += [f"tests/verify/{variant.rendering}.c"]
    return command + (list(PRODUCTION) if variant.rendering == "ours" else [])


class Storm(Checker):
    """storm.c under a sanitizer: only as good as its luck, but on the real machine."""

    SAID = re.compile(
        r"ERROR: \w+Sanitizer|WARNING: \w+Sanitizer|runtime error:|fault:"
    )
    # A variant with a fault storms until it is found, ours for as long as we can wait.
    GOOD_MS = "1000"
    FAULTY_MS = "10000"

    def __init__(self, name: str, flags: list[str], *, clang: bool) -> None:
        self.name = name
        self.flags = flags
        self.clang = clang

    def missing(self) -> str:
        if self.clang and not which_clang():
            return f"clang is not here; get it: {GET}"
        return ""

    def look(self, variant: Variant, tree: Path) -> tuple[bool, str]:
        compiler = (which_clang() or "clang") if self.clang else "gcc"
        command = compile_command(variant, compiler, self.flags)
        must_run([*command, "tests/verify/storm.c", "-o", "storm"], tree)
        duration = self.GOOD_MS if variant.is_good else self.FAULTY_MS
        # Older ThreadSanitizers do not know the address layouts of newer kernels.
        ran = run(["setarch", "--addr-no-randomize", "./storm", duration], tree)
        found = self.SAID.search(ran.output) is not None
        # Whatever else makes it fail, a vacuous run above all, is no finding.
        assert found == (ran.status != 0), f"exit {ran.status}\n{ran.output}"
        assert found or re.search(r"^\d+ frames, 0 lost, ", ran.output, re.MULTILINE)
        return found, ran.output


class Schedules(Checker):
    """schedules.c: every order of steps with so many preemptions, under ASan."""

    name = "schedules"
    PREEMPTIONS = "3"

    def missing(self) -> str:
        return ""

    def look(self, variant: Variant, tree: Path) -> tuple[bool, str]:
        stepping = ["-include", "tests/verify/stepping.h"]
        flags = [*ADDRESS, *(stepping if variant.rendering == "ours" else [])]
        command = compile_command(variant, "gcc", flags)
        must_run([*command, "tests/verify/schedules.c", "-o", "schedules"], tree)
        ran = run(["./schedules", "explore", self.PREEMPTIONS], tree)
        found = re.search(r"^schedule: ", ran.output, re.MULTILINE) is not None
        assert found == (ran.status != 0), f"exit {ran.status}\n{ran.output}"
        tried = re.search(r"^(\d+) schedules$", ran.output, re.MULTILINE)
        assert found or (tried is not None and int(tried[1]) > 1000), ran.output
        return found, ran.output


class Spin(Checker):
    """epoch.pml, lagg4.pml: every interleaving; the epoch with store buffers."""

    name = "spin"

    def missing(self) -> str:
        return absent("spin")

    def look(self, variant: Variant, tree: Path) -> tuple[bool, str]:
        model = "epoch.pml" if variant.rendering == "ours" else "lagg4.pml"
        flags = [f"-D{variant.define}"] if variant.define else defines(tree)
        must_run(["spin", *flags, "-a", f"tests/verify/{model}"], tree)
        must_run(["gcc", "-O1", "-w", "-DSAFETY", "pan.c", "-o", "pan"], tree)
        output = must_run(["./pan", "-m100000"], tree)
        errors = re.search(r"errors: (\d+)$", output, re.MULTILINE)
        assert errors is not None, output
        assert "max search depth too small" not in output, output
        return int(errors[1]) > 0, output


class Cbmc(Checker):
    """epoch_cbmc.c and lagg4_cbmc.c: every execution of a bounded program."""

    BOUNDS: ClassVar = {True: ["-DREADERS=2"], False: ["-DREADERS=1"]}

    def __init__(self, memory_model: str) -> None:
        self.name = f"cbmc-{memory_model}"
        self.memory_model = memory_model

    def missing(self) -> str:
        return absent("cbmc")

    def look(self, variant: Variant, tree: Path) -> tuple[bool, str]:
        model = "epoch_cbmc.c" if variant.rendering == "ours" else "lagg4_cbmc.c"
        flags = [*defines(tree), "-DUPDATES=2", *self.BOUNDS[variant.is_good]]
        flags += [f"-D{variant.define}"] if variant.define else []
        source = f"tests/verify/{model}"
        # Its own C library is another Debian's: it gets preprocessed text.
        must_run(["gcc", "-std=gnu11", "-E", *flags, source, "-o", "model.i"], tree)
        cbmc = program("cbmc") or "cbmc"
        ran = run([cbmc, "--mm", self.memory_model, "model.i"], tree)
        failed = re.findall(r"^\[.*: FAILURE$", ran.output, re.MULTILINE)
        proven = "VERIFICATION SUCCESSFUL" in ran.output
        assert bool(failed) != proven, ran.output
        return bool(failed), ran.output


class Herd(Checker):
    """epoch.litmus under RC11, the C11 memory model as repaired."""

    name = "herd7"

    def missing(self) -> str:
        return absent("herd7")

    def look(self, variant: Variant, tree: Path) -> tuple[bool, str]:
        return self.look_at(orders_of(tree), tree)

    def look_at(self, orders: dict[str, str], tree: Path) -> tuple[bool, str]:
        """Checks epoch.litmus with these memory orders."""
        text = (tree / "tests/verify/epoch.litmus").read_text()
        # The longest first: no name may be read as the beginning of another.
        for name in sorted(orders, key=len, reverse=True):
            assert name in text, name
            text = text.replace(name, f"memory_order_{orders[name]}")
        (tree / "filled.litmus").write_text(text)
        herd7 = program("herd7") or "herd7"
        output = must_run([herd7, "-model", "rc11.cat", "filled.litmus"], tree)
        observed = re.search(r"^Observation epoch (\w+)", output, re.MULTILINE)
        assert observed is not None, output
        # A data race is undefined behaviour, whatever the final state.
        return observed[1] != "Never" or "Flag" in output, output


HERD = Herd()

CHECKERS: tuple[Checker, ...] = (
    Storm("tsan-gcc", THREAD, clang=False),
    Storm("tsan-clang", THREAD, clang=True),
    Storm("asan-gcc", ADDRESS, clang=False),
    Storm("asan-clang", ADDRESS, clang=True),
    Schedules(),
    Spin(),
    Cbmc("sc"),
    Cbmc("tso"),
    Cbmc("pso"),
    HERD,
)
