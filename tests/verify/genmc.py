# SPDX-License-Identifier: BSD-2-Clause
"""GenMC on native/epoch.c itself: tools/verify --genmc PROGRAM.

GenMC is packaged nowhere and takes minutes to build, so it is no column of the table.
What it must find is what herd7 must: both follow C11's own rules.
"""

import re
import tempfile
from pathlib import Path

from tests.verify.checkers import run, sources
from tests.verify.variants import INTERNAL_H, MUTATIONS, VARIANTS, Edit, Variant

MODELS = ("rc11", "imm", "sc")
FAULTY_MODEL = "rc11"  # a data race is no fault to the others, which are of machines
BOUNDS = ["-DREADERS=3", "-DUPDATES=2"]
SOURCE = "tests/verify/epoch_genmc.c"
OF_THE_EPOCH = ("ours", "V4", "V5", "V6")


def weakened(macro: str, order: str, tree: Path) -> Variant:
    """Ours with one memory order changed."""
    text = (tree / INTERNAL_H).read_text()
    line = re.search(rf"^#define {macro} memory_order_\w+\n", text, re.MULTILINE)
    assert line is not None, macro
    edit = Edit(INTERNAL_H, line[0], f"#define {macro} memory_order_{order}\n")
    found_by = frozenset({"genmc"} if MUTATIONS[macro, order] else ())
    return Variant(f"{macro}={order}", "", "", edits=(edit,), found_by=found_by)


def variants(tree: Path) -> list[Variant]:
    """The variants of the epoch alone, and every way to weaken one of its orders."""
    named = [variant for variant in VARIANTS if variant.name in OF_THE_EPOCH]
    return named + [weakened(macro, order, tree) for macro, order in MUTATIONS]


def look(program: str, model: str, tree: Path) -> tuple[bool, str]:
    """Whether GenMC finds a fault in this tree under this memory model; what it did."""
    # Its own assert.h knows no static_assert.
    flags = ["-std=gnu11", "-Dstatic_assert=_Static_assert", "-Inative", *BOUNDS]
    ran = run([program, f"--{model}", "--", *flags, SOURCE], tree)
    explored = re.search(r"executions explored: (\d+)", ran.output)
    clean = "No errors were detected" in ran.output
    assert clean or re.search(r"Error: |violation|race", ran.output), ran.output
    return not clean, f"{explored[1]} executions" if clean and explored else ""


def measure(program: str) -> list[str]:
    """Prints what GenMC says of each; returns what was not as it must be."""
    wrong = []
    with tempfile.TemporaryDirectory(prefix="lagg-genmc-") as directory:
        ours = sources(VARIANTS[0], Path(directory))
        for variant in variants(ours):
            tree = sources(variant, Path(directory))
            for model in MODELS if variant.is_good else [FAULTY_MODEL]:
                found, output = look(program, model, tree)
                said = "found" if found else "clean"
                print(f"{variant.name:32} {model:5} {said:6} {output}", flush=True)
                if found == variant.is_good:
                    wrong.append(f"{variant.name} {model}: {said}")
    return wrong
