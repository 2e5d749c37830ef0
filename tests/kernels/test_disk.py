# SPDX-License-Identifier: BSD-2-Clause
"""What is inside a machine is the tree under test, whole."""

from pathlib import Path

from lab.vm import disk
from tests.tree import ROOT, tree


def test_every_file_of_the_tree_is_inside(tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    disk.copied(ROOT, copy)
    names = [path.relative_to(ROOT) for path in tree()]
    assert [name for name in names if not (copy / name).exists()] == []
