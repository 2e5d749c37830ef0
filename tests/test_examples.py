# SPDX-License-Identifier: BSD-2-Clause
"""The configurations in examples/ are good ones.  tests/netns runs the programs."""

from pathlib import Path

import pytest

from lagg.config import load
from tests.tree import ROOT

FILES = sorted((ROOT / "examples").glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_example_is_a_configuration_that_laggd_takes(file: Path) -> None:
    laggs = load(file)
    assert laggs[0].proto.value == file.stem
    assert all(lagg.ports for lagg in laggs)
