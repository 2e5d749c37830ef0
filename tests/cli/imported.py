# SPDX-License-Identifier: BSD-2-Clause
"""The files of other systems that the tests of `import` read: tests/data/import.

A folder for each case: the files, and the laggd.toml that is to come of them.
"""

from lagg.cli.importing.text import Source
from tests.tree import ROOT

DATA = ROOT / "tests" / "data" / "import"
WANTED = "laggd.toml"
CASES = sorted(path.name for path in DATA.iterdir())


def sources(case: str) -> list[Source]:
    paths = (path for path in sorted((DATA / case).iterdir()) if path.name != WANTED)
    return [Source(path.name, path.read_text(encoding="utf-8")) for path in paths]
