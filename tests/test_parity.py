# SPDX-License-Identifier: BSD-2-Clause
"""docs/PARITY.md says what is true: each behaviour has a row, each row a test."""

import re

import pytest

from tests.tree import ROOT

PARITY = (ROOT / "docs" / "PARITY.md").read_text()

SERIES = {
    "F-ID": 5,
    "F-ACT": 5,
    "F-H": 7,
    "F-DT": 5,
    "F-ST": 4,
    "R": 20,
}
WORDS = {
    "F-TX": "NONE RR FO LB BC LACP SEED TAG MEMBER DOWN",  # codespell:ignore fo
    "F-RX": "NONE DEF FO LACP TYPE",  # codespell:ignore fo
    "F-PR": "MTU MAC UP FLAGS MC CAP VLAN PORTIOCTL NETMAP",
    "F-AT": "IDEM",
}


def test_every_behaviour_of_lagg4_has_a_row() -> None:
    numbered = (f"{name}-{i + 1}" for name, n in SERIES.items() for i in range(n))
    named = (
        f"{name}-{word}" for name, words in WORDS.items() for word in words.split()
    )
    missing = [row for row in (*numbered, *named) if f"| {row} |" not in PARITY]
    assert missing == []


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PARITY))))
def test_a_test_named_in_parity_exists(name: str) -> None:
    sources = (ROOT / "tests").rglob("test_*.py")
    assert any(f"def {name}(" in path.read_text() for path in sources)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`(tests/native/\w+\.c)`", PARITY)))
)
def test_a_c_test_named_in_parity_exists(path: str) -> None:
    assert (ROOT / path).is_file()
