# SPDX-License-Identifier: BSD-2-Clause
"""The README's picture is taken by its tool, from programs that run."""

import re
import subprocess
from pathlib import Path

from tests.tree import ROOT


def test_the_picture_shows_what_the_programs_print(tmp_path: Path) -> None:
    file = tmp_path / "terminal.svg"
    subprocess.run([ROOT / "tools" / "pictures", file], check=True, timeout=120)
    picture = file.read_text()
    shown = re.sub(r"<[^>]+>", "", picture)
    for word in ("$ laggctl show", ": lacp, ", "carrier down", "both ways", "bucket"):
        assert word in shown
    assert "\033" not in picture
    assert "docs/terminal.svg" in (ROOT / "README.md").read_text()
