# SPDX-License-Identifier: BSD-2-Clause
"""Every fault there is a rendering of, and which checkers must find it.

The one place: the tests, tools/verify and the table in docs/VERIFICATION.md are made
from it.  A fault of ours is an edit of the very files it would be made in, so it cannot
drift from them: an edit whose text is not there any more fails.
"""

from dataclasses import dataclass

EPOCH_C = "native/epoch.c"
INTERNAL_H = "native/internal.h"
SNAPSHOT_C = "native/snapshot.c"
OURS_C = "tests/verify/ours.c"
CBMC_C = "tests/verify/epoch_cbmc.c"
LITMUS = "tests/verify/epoch.litmus"
PROMELA = "tests/verify/epoch.pml"

# What finds it, by the names in checkers.py.
STORMS = frozenset({"tsan-gcc", "tsan-clang", "asan-gcc", "asan-clang"})
RACES = frozenset({"tsan-gcc", "tsan-clang"})
CRASHES = frozenset({"asan-gcc", "asan-clang"})
STEPPED = frozenset({"schedules", "spin"})
CBMC = frozenset({"cbmc-sc", "cbmc-tso", "cbmc-pso"})


@dataclass(frozen=True, slots=True)
class Edit:
    """In the file, the one 'old' becomes 'new'."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to build a lagg: ours, lagg(4)'s, or ours with a fault in it.

    Attributes:
        name: as in the table.
        what: the fault, for a person.
        rules: the rows of PARITY it is about.
        rendering: the C file in tests/verify; "ours" is with the production code.
        define: what is defined for the rendering and the models of lagg(4).
        edits: what makes the fault.
        found_by: the checkers that must find it; the others must not be asked.
    """

    name: str
    what: str
    rules: str
    rendering: str = "ours"
    define: str = ""
    edits: tuple[Edit, ...] = ()
    found_by: frozenset[str] = frozenset()

    @property
    def is_good(self) -> bool:
        """Whether every checker must find nothing."""
        return not self.found_by


def orders(**weaker: str) -> tuple[Edit, ...]:
    """Weakens EPOCH_*; the code and every model take them from there."""
    strong = {
        "ENTER_STORE": "seq_cst",
        "ROOT_LOAD": "seq_cst",
        "LEAVE_STORE": "release",
    }
    return tuple(
        Edit(
            INTERNAL_H,
            f"#define EPOCH_{name} memory_order_{strong[name]}\n",
            f"#define EPOCH_{name} memory_order_{order}\n",
        )
        for name, order in weaker.items()
    )


ADVANCE_FIRST = (
    Edit(
        EPOCH_C,
        "    uint32_t old ="
        " atomic_exchange_explicit(root, fresh, EPOCH_ROOT_EXCHANGE);\n"
        "\n"
        "    epoch_advance(epoch, ticket);\n"
        "    return old;\n",
        "    epoch_advance(epoch, ticket);\n"
        "    return atomic_exchange_explicit(root, fresh, EPOCH_ROOT_EXCHANGE);\n",
    ),
    Edit(
        PROMELA,
        "old = root; root = fresh; /* one exchange: nobody else stores it */\n"
        "\tnow++; ticket[old] = now;\n",
        "now++; old = root; ticket[old] = now; root = fresh;\n",
    ),
    Edit(
        CBMC_C,
        "    EXCHANGE(old, root, fresh, EPOCH_ROOT_EXCHANGE);\n"
        "    EXCHANGE(ticket, now, ticket + 1, EPOCH_ADVANCE);\n",
        "    EXCHANGE(ticket, now, ticket + 1, EPOCH_ADVANCE);\n"
        "    EXCHANGE(old, root, fresh, EPOCH_ROOT_EXCHANGE);\n",
    ),
    Edit(
        LITMUS,
        "  int old = atomic_exchange_explicit(root, 1, EPOCH_ROOT_EXCHANGE);\n"
        "  int ticket = atomic_fetch_add_explicit(now, 1, EPOCH_ADVANCE);\n",
        "  int ticket = atomic_fetch_add_explicit(now, 1, EPOCH_ADVANCE);\n"
        "  int old = atomic_exchange_explicit(root, 1, EPOCH_ROOT_EXCHANGE);\n",
    ),
)

ROOT_TWICE = (
    Edit(
        OURS_C,
        "        wire = wires[snap",
        "        snap = &pool.snapshots[atomic_load_explicit(\n"
        "            &pool.root, memory_order_acquire)];\n"
        "        wire = wires[snap",
    ),
    Edit(PROMELA, "assert(count - 1 <", "snap = root; assert(count - 1 <"),
    Edit(
        CBMC_C,
        "    assert(count == 0 ||",
        "    LOAD(snap, root, EPOCH_ROOT_LOAD);\n    assert(count == 0 ||",
    ),
    Edit(
        LITMUS,
        "  int snap = first;\n",
        "  int snap = atomic_load_explicit(root, EPOCH_ROOT_LOAD);\n",
    ),
)

FREE_AT_ONCE = (
    Edit(
        SNAPSHOT_C,
        "if (epoch_passed(&store->epoch, snap->ticket, &reader)) {",
        "if (epoch_passed(&store->epoch, snap->ticket, &reader) || true) {",
    ),
    Edit(
        PROMELA,
        "(seen[reader] == OUTSIDE || seen[reader] >= ticket[which]);",
        "skip;",
    ),
    Edit(CBMC_C, "if (passed(ticket + 1)) {", "if (passed(ticket + 1) || true) {"),
    Edit(
        LITMUS,
        "if (holds == 0) { *alive0 = 0; } else { if (holds == 2) { *alive0 = 0; } }",
        "*alive0 = 0;",
    ),
)

BLOCKS_INSIDE = (
    Edit(
        OURS_C,
        "    if (ports_count != 0) {\n",
        "    while (!atomic_load(&control_done)) {\n        step_blocked();\n    }\n"
        "    if (ports_count != 0) {\n",
    ),
    Edit(PROMELA, "snap = root;\n", "snap = root; (control_done);\n"),
)

VARIANTS = (
    Variant("ours", "the production code, unchanged", "R-1 … R-8"),
    Variant(
        "V1",
        "port count beside the port list, both plain, the count loaded twice",
        "R-1, R-2",
        rendering="lagg4_list",
        define="LIST",
        found_by=STORMS | STEPPED | CBMC,
    ),
    Variant(
        "V2",
        "the review's proposal: count with acquire and release, then the list",
        "R-2",
        rendering="lagg4_list",
        define="REVIEWED",
        # No data race: ThreadSanitizer only sees it crash, and is not asked.
        found_by=CRASHES | STEPPED | CBMC,
    ),
    Variant(
        "V3",
        "protocol beside its private state, which is freed at once",
        "R-4, R-5",
        rendering="lagg4_protocol",
        define="PROTOCOL",
        found_by=STORMS | STEPPED | CBMC,
    ),
    Variant(
        "R-3",
        "the table cleared and refilled in place",
        "R-3",
        rendering="lagg4_table",
        define="TABLE",
        found_by=STORMS | STEPPED | CBMC,
    ),
    Variant(
        "V4",
        "epoch: entering stores with release and loads the root with acquire",
        "R-4",
        edits=orders(ENTER_STORE="release", ROOT_LOAD="acquire"),
        # On a sequentially consistent machine it is no fault.
        found_by=frozenset({"spin", "cbmc-tso", "cbmc-pso", "herd7"}),
    ),
    Variant(
        "V5",
        "epoch: the clock advances before the root is exchanged",
        "R-4",
        edits=ADVANCE_FIRST,
        found_by=STEPPED | CBMC | {"herd7"},
    ),
    Variant(
        "V6",
        "epoch: leaving is relaxed",
        "R-4",
        edits=orders(LEAVE_STORE="relaxed"),
        found_by=RACES | {"herd7"},
    ),
    Variant(
        "V7",
        "the root loaded twice in a section",
        "R-1, R-5",
        edits=ROOT_TWICE,
        found_by=STEPPED | CBMC | {"herd7"},
    ),
    Variant(
        "V8",
        "unpublished, and reused at once",
        "R-4, R-7, R-8",
        edits=FREE_AT_ONCE,
        found_by=STORMS | STEPPED | CBMC | {"herd7"},
    ),
    Variant(
        "V9",
        "a worker blocks inside a section",
        "R-15",
        edits=BLOCKS_INSIDE,
        found_by=STEPPED,
    ),
)

# Every way to weaken one order, and whether herd7 must find it.  What it need not find
# is harmless, and docs/VERIFICATION.md says why.
MUTATIONS: dict[tuple[str, str], bool] = {
    ("EPOCH_ENTER_LOAD", "relaxed"): True,
    ("EPOCH_ENTER_STORE", "release"): True,
    ("EPOCH_ENTER_STORE", "relaxed"): True,
    ("EPOCH_ROOT_LOAD", "acquire"): True,
    ("EPOCH_ROOT_LOAD", "relaxed"): True,
    ("EPOCH_ROOT_EXCHANGE", "acq_rel"): True,
    ("EPOCH_ROOT_EXCHANGE", "release"): True,
    ("EPOCH_ROOT_EXCHANGE", "acquire"): True,
    ("EPOCH_ROOT_EXCHANGE", "relaxed"): True,
    ("EPOCH_LEAVE_STORE", "relaxed"): True,
    ("EPOCH_ADVANCE", "acq_rel"): False,
    ("EPOCH_ADVANCE", "release"): False,
    ("EPOCH_ADVANCE", "acquire"): True,
    ("EPOCH_ADVANCE", "relaxed"): True,
    ("EPOCH_SCAN_LOAD", "acquire"): True,
    ("EPOCH_SCAN_LOAD", "relaxed"): True,
}
