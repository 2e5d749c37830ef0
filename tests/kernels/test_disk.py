# SPDX-License-Identifier: BSD-2-Clause
"""What is inside a machine is the tree under test, whole, and what runs its tests."""

import importlib.metadata
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from lab.vm import disk
from tests.tree import ROOT, tree


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("disk") / "tree"
    disk.copied(ROOT, made)
    return made


def lacking(copy: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if not (copy / name).exists()]


def test_every_file_of_the_tree_is_inside(copy: Path) -> None:
    assert lacking(copy, (str(path.relative_to(ROOT)) for path in tree())) == []


def test_every_file_of_pytest_is_inside(copy: Path) -> None:
    files = [str(each.locate()) for each in importlib.metadata.files("pytest") or ()]
    names = [os.path.relpath(each, ROOT) for each in files]
    assert len(names) > 50
    assert lacking(copy, names) == []
