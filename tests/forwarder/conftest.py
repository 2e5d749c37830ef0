# SPDX-License-Identifier: BSD-2-Clause
"""The worlds of these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forwarder.world import Running


@pytest.fixture
def forwarder(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.close()
