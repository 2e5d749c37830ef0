# SPDX-License-Identifier: BSD-2-Clause
"""Each fault is found by the checkers that can, and ours is found clean by all of them.

The table is tests/verify/variants.py, the checkers tests/verify/checkers.py.  What was
not checked for want of a checker stands in the warnings of the run, and is no pass.
"""

import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.tree import ROOT
from tests.verify import checkers, table
from tests.verify.checkers import CHECKERS, HERD, ORDERS, Checker
from tests.verify.story import ENDS
from tests.verify.variants import MUTATIONS, VARIANTS, Edit, Variant

OURS = VARIANTS[0]
PAIRS = [(v, c) for v in VARIANTS for c in CHECKERS if c.concerns(v)]
SVG = ROOT / "docs" / "race.svg"

pytestmark = [
    pytest.mark.slow,
    # Where a skipped test is one letter among hundreds, this is a paragraph.
    pytest.mark.filterwarnings("always:NOT VERIFIED:UserWarning"),
]


def need(checker: Checker) -> None:
    """Skips, loudly, when the checker is not here."""
    reason = checker.missing()
    if reason:
        warnings.warn(f"NOT VERIFIED by {checker.name}: {reason}", stacklevel=2)
        pytest.skip(reason)


@pytest.mark.parametrize(
    ("variant", "checker"), PAIRS, ids=[f"{v.name}-{c.name}" for v, c in PAIRS]
)
def test_the_checker_finds_the_fault_and_only_the_fault(
    variant: Variant, checker: Checker, tmp_path: Path
) -> None:
    need(checker)
    result = checker.check(variant, tmp_path)
    assert result.found != variant.is_good, result.output


def test_every_fault_has_a_checker_that_is_always_here() -> None:
    here = {"tsan-gcc", "asan-gcc", "schedules", "spin"}
    assert [v.name for v in VARIANTS if not v.is_good and not v.found_by & here] == []


def test_an_edit_that_no_longer_fits_its_file_fails(tmp_path: Path) -> None:
    stale = replace(OURS, name="stale", edits=(Edit("native/epoch.c", "now", ""),))
    missing = replace(OURS, name="gone", edits=(Edit("native/epoch.c", "seq-cst", ""),))
    for variant in (stale, missing):
        with pytest.raises(AssertionError, match=f"{variant.name}: "):
            checkers.sources(variant, tmp_path)


# ---- the memory orders -------------------------------------------------------------


def test_every_weaker_order_is_in_the_table(tmp_path: Path) -> None:
    weaker = {
        "acquire": {"relaxed"},
        "release": {"relaxed"},
        "acq_rel": {"acquire", "release", "relaxed"},
    }
    orders = checkers.orders_of(checkers.sources(OURS, tmp_path))
    for name, order in orders.items():
        tried = {new for macro, new in MUTATIONS if macro == name}
        kind = name.rpartition("_")[2]
        strict = {"LOAD": {"acquire"}, "STORE": {"release"}}
        below = strict.get(kind, {"acq_rel"})
        want = below if order == "seq_cst" else {order}
        want = want | set().union(*(weaker[o] for o in want))
        assert tried == want - {order}, name


@pytest.mark.parametrize("mutation", MUTATIONS, ids="-".join)
def test_herd7_finds_an_order_that_is_too_weak(
    mutation: tuple[str, str], tmp_path: Path
) -> None:
    need(HERD)
    macro, order = mutation
    assert order in ORDERS
    tree = checkers.sources(OURS, tmp_path)
    found, output = HERD.look_at(checkers.orders_of(tree) | {macro: order}, tree)
    assert found == MUTATIONS[mutation], output


# ---- what is shown -----------------------------------------------------------------


def test_the_table_in_the_documents_is_of_these_variants_and_checkers() -> None:
    _, written, _ = table.parts(table.PAGE.read_text())
    made = table.without_times(table.render({}))
    assert table.without_times(written) == made, "run: tools/verify --write"


def test_the_race_is_told_to_the_end_and_the_picture_is_of_it(tmp_path: Path) -> None:
    picture = tmp_path / "race.svg"
    done = subprocess.run(
        [sys.executable, "tools/race", "--seconds", "1", "--svg", str(picture)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    untold = [said for said in (*ENDS.values(), " 0 lost") if said not in done.stdout]
    assert untold == [], done.stdout
    assert picture.read_text() == SVG.read_text(), "run: tools/race --svg docs/race.svg"
    assert ElementTree.parse(SVG).getroot().tag.endswith("svg")
