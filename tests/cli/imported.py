# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of `import` read: files of other systems, or bonding's options.

Of the files in tests/data/import each case has a folder: they, and the laggd.toml that
is to come of them.
"""

from lagg.cli.importing.bonding import set_options
from lagg.cli.importing.draft import Draft
from lagg.cli.importing.text import Source
from tests.tree import ROOT

DATA = ROOT / "tests" / "data" / "import"
WANTED = "laggd.toml"
CASES = sorted(path.name for path in DATA.iterdir())


def sources(case: str) -> list[Source]:
    paths = (path for path in sorted((DATA / case).iterdir()) if path.name != WANTED)
    return [Source(path.name, path.read_text(encoding="utf-8")) for path in paths]


def imported(**options: str) -> Draft:
    """The bond of three ports that has these options."""
    draft = Draft("bond0")
    for port in ("eth0", "eth1", "eth2"):
        draft.add_port(port)
    set_options(draft, options)
    return draft
