# SPDX-License-Identifier: BSD-2-Clause
"""Mutants of the hot path: a sample of each file's is drawn, and the C programs judge.

Owns a directory of its own in which everything is compiled.  A mutant that does not
compile, or whose object code is the original's, is none, and assertions are left alone:
they hold in any case.  One is killed when a program fails, aborts or hangs.  The
mutants are universalmutator's.  Run by tools/mutate.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
TESTS = ROOT / "tests" / "native"
CC = ("gcc", "-std=gnu11", "-O2", "-pthread", f"-I{NATIVE}", f"-I{TESTS}")

JUDGES = {
    "hash": ("hash_vectors", "frame_cases", "worker_transmit_cases"),
    "distributor": ("distributor_cases", "worker_transmit_cases"),
    "frame": (
        "frame_cases",
        "hash_vectors",
        "checksum_cases",
        "worker_transmit_cases",
        "worker_receive_cases",
    ),
    "snapshot": ("snapshot_cases", "device_cases", "snapshot_torture"),
    "transmit": (
        "worker_transmit_cases",
        "worker_refusal_cases",
        "hold_cases",
        "call_count_cases",
        "device_worker_cases",
    ),
    "receive": (
        "worker_receive_cases",
        "worker_large_cases",
        "call_count_cases",
        "device_worker_cases",
    ),
    "hold": ("hold_cases", "worker_transmit_cases", "device_worker_cases"),
}
"""The programs that look at a file, the quick ones first."""

HANGS_S = 60
"""The slowest program takes a tenth of it on a busy machine."""

INVALID, EQUIVALENT, KILLED, SURVIVED = "invalid", "equivalent", "killed", "survived"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutant; `change` is its difference, as a patch."""

    fate: str
    change: str


class Bench:
    """Where mutants of one file are compiled and judged."""

    def __init__(self, stem: str, directory: Path) -> None:
        """Compiles the original, the other files and the judges without the file."""
        self._stem = stem
        self._directory = directory
        self._source = NATIVE / f"{stem}.c"
        self._others = [
            self._compile(path, directory / f"{path.stem}.o")
            for path in sorted(NATIVE.glob("*.c"))
            if path != self._source
        ]
        self._judges = {
            name: self._compile(TESTS / f"{name}.c", directory / f"{name}.judge.o")
            for name in JUDGES[stem]
        }
        original = self._compile(self._source, directory / "original.o")
        self._code = _code(original)

    def mutants(self) -> Sequence[Path]:
        """All that universalmutator makes of the file, in a fixed order."""
        made = self._directory / "mutants"
        made.mkdir()
        words = ("mutate", str(self._source), "--noCheck", "--mutantDir", str(made))
        mutate = str(Path(sys.executable).with_name(words[0]))
        subprocess.run((mutate, *words[1:]), check=True, stdout=subprocess.DEVNULL)
        every = sorted(made.glob("*.c"), key=lambda path: (len(path.name), path.name))
        return [path for path in every if "assert(" not in self._change(path)]

    def judge(self, mutant: Path) -> Verdict:
        """Compiles and tries one mutant; may run beside others."""
        room = Path(tempfile.mkdtemp(dir=self._directory))
        try:
            return Verdict(self._fate(mutant, room), self._change(mutant))
        finally:
            shutil.rmtree(room)

    def _fate(self, mutant: Path, room: Path) -> str:
        copy = room / self._source.name  # its name is in what assert() says
        shutil.copy(mutant, copy)
        try:
            made = self._compile(copy, room / "mutant.o")
            if _code(made) == self._code:
                return EQUIVALENT
            survives = all(self._passes(made, room))
        except subprocess.CalledProcessError:
            return INVALID  # or it calls what is nowhere
        return SURVIVED if survives else KILLED

    def _passes(self, made: Path, room: Path) -> Iterator[bool]:
        for name, judge in self._judges.items():
            program = room / name
            objects = (str(path) for path in (judge, made, *self._others))
            command = (*CC, *objects, "-o", str(program))
            subprocess.run(command, check=True, capture_output=True)
            yield _exits_well(program)

    def _compile(self, source: Path, target: Path) -> Path:
        # The path is left out: assert() would put it into the object.
        command = (*CC, "-w", "-c", source.name, "-o", str(target))
        subprocess.run(command, cwd=source.parent, check=True, capture_output=True)
        return target

    def _change(self, mutant: Path) -> str:
        ours, theirs = (
            path.read_text().splitlines() for path in (self._source, mutant)
        )
        found = unified_diff(ours, theirs, f"native/{self._stem}.c", "mutant", n=0)
        return "\n".join(line for line in found if line[:3] not in ("---", "+++"))


def _code(made: Path) -> bytes:
    """The object without symbols and notes: what runs, and what it refers to."""
    bare = made.with_suffix(".bare")
    subprocess.run(("objcopy", "--strip-debug", str(made), str(bare)), check=True)
    return bare.read_bytes()


def _exits_well(program: Path) -> bool:
    with subprocess.Popen(
        (str(program),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        try:
            return running.wait(HANGS_S) == 0
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, 9)
            return False


def _judged(stem: str, sample: int, seed: int) -> Counter[str]:
    fates: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(stem, Path(directory))
        mutants = list(bench.mutants())
        random.Random(f"{seed}:{stem}").shuffle(mutants)
        for verdict in _verdicts(bench, mutants, sample):
            fates[verdict.fate] += 1
            if verdict.fate == SURVIVED:
                print(f"{stem}: survived\n{verdict.change}", flush=True)
    return fates


def _verdicts(bench: Bench, mutants: Sequence[Path], sample: int) -> Iterator[Verdict]:
    """Tries as many mutants as it takes until `sample` were killed or survived."""
    beside = os.cpu_count() or 1
    tried = 0
    with ThreadPoolExecutor(beside) as pool:
        for first in range(0, len(mutants), beside):
            for verdict in pool.map(bench.judge, mutants[first : first + beside]):
                tried += verdict.fate in (KILLED, SURVIVED)
                yield verdict
            if tried >= sample:
                return


def main() -> None:
    """Prints each survivor as a patch, and a line of sums for each file."""
    parser = argparse.ArgumentParser(prog="tools/mutate native")
    parser.add_argument("file", nargs="*", choices=[[], *JUDGES], help="default: all")
    parser.add_argument("--sample", type=int, default=200, help="of each file")
    parser.add_argument("--seed", type=int, default=1, help="which ones are drawn")
    wanted = parser.parse_args()
    for stem in wanted.file or JUDGES:
        fates = _judged(stem, wanted.sample, wanted.seed)
        tried = fates[KILLED] + fates[SURVIVED]
        print(f"{stem}: {fates[KILLED]} of {tried} killed; {dict(fates)}", flush=True)


if __name__ == "__main__":
    main()
