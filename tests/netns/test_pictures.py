# SPDX-License-Identifier: BSD-2-Clause
"""The documents' pictures are taken by their tool, from programs that run."""

import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.tree import ROOT

SHOWN = {
    "terminal": ("$ laggctl show", ": lacp, ", "carrier down", "history", "bucket"),
    "pictures/show-1-60": ("agreed with ", "carrier down since"),
    "pictures/show-1-120": ("agreed with ", "carrier down since"),
    "pictures/show-8-60": ("lagg0", "lagg7"),
    "pictures/show-8-120": ("lagg0", "lagg7", "standby"),
    "pictures/tree": ("\u251c\u2500", "partner "),
    "pictures/picture": ("lagg0", "LACP partner", "carrier down"),
    "pictures/top": ("8 laggs", "lost/s", "q end"),
}


def test_the_pictures_show_what_the_programs_print(tmp_path: Path) -> None:
    tool = ROOT / "tools" / "pictures"
    subprocess.run([tool, "--without-web", tmp_path], check=True, timeout=300)
    for name, words in SHOWN.items():
        picture = (tmp_path / f"{name}.svg").read_text()
        ElementTree.fromstring(picture)
        assert "\033" not in picture
        shown = re.sub(r"<[^>]+>", "", picture)
        assert [word for word in words if word not in shown] == [], name


def test_each_picture_of_the_documents_is_one_of_these() -> None:
    web = {"pictures/web.png", "pictures/web-dark.png"}
    taken = {f"{name}.svg" for name in SHOWN} | web
    kept = {
        path.relative_to(ROOT / "docs").as_posix()
        for path in (ROOT / "docs" / "pictures").iterdir()
    }
    assert kept | {"terminal.svg"} == taken
    page = (ROOT / "docs" / "PICTURES.md").read_text()
    assert {name for name in taken if f"]({name})" not in page} == set()
