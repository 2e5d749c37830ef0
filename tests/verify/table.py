# SPDX-License-Identifier: BSD-2-Clause
"""The table in docs/VERIFICATION.md, made from variants.py and from measured times."""

import re

from tests.verify.checkers import CHECKERS
from tests.verify.install import ROOT
from tests.verify.variants import MUTATIONS, VARIANTS, Variant

PAGE = ROOT / "docs" / "VERIFICATION.md"
BEGIN = "<!-- tools/verify --write: begin -->\n"
END = "<!-- end -->\n"

Seconds = dict[tuple[str, str], float]


def cell(variant: Variant, checker: str, seconds: Seconds) -> str:
    if not variant.is_good and checker not in variant.found_by:
        return "·"
    word = "clean" if variant.is_good else "found"
    return f"{word} {seconds.get((variant.name, checker), 0):.1f} s"


def mutations() -> str:
    found = sum(MUTATIONS.values())
    harmless = ", ".join(
        f"`{name}` as `{order}`"
        for (name, order), must in MUTATIONS.items()
        if not must
    )
    return (
        f"herd7 on every way to weaken one order: {found} of {len(MUTATIONS)} found. "
        f"Harmless: {harmless}.\n"
    )


def render(seconds: Seconds) -> str:
    """The table, with the seconds that are known."""
    names = [checker.name for checker in CHECKERS]
    rows = [["", "fault", "rules", *names], ["---"] * (3 + len(names))]
    rows += [
        [variant.name, variant.what, variant.rules]
        + [cell(variant, name, seconds) for name in names]
        for variant in VARIANTS
    ]
    lines = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"{lines}\n{mutations()}"


def without_times(text: str) -> str:
    return re.sub(r" \d+\.\d s\b", "", text)


def parts(page: str) -> tuple[str, str, str]:
    """What stands before, between and after the marks."""
    before, _, rest = page.partition(BEGIN)
    table, _, after = rest.partition(END)
    return before, table, after


def write(seconds: Seconds) -> None:
    """Puts it where the page has its marks."""
    before, _, after = parts(PAGE.read_text())
    PAGE.write_text(f"{before}{BEGIN}{render(seconds)}{END}{after}")
