# SPDX-License-Identifier: BSD-2-Clause
"""The model of the hash in native/dedup.c, two others' word on it, and its vectors."""

import re
import subprocess
import sys

import pytest

from tests.kernel.sip_model import COUNTING, KEYS, SIZES, ZERO, siphash, text
from tests.tree import ROOT

VECTORS = ROOT / "tests" / "native" / "dedup_vectors.h"


def test_the_model_gives_the_papers_own_number() -> None:
    said = siphash(COUNTING, bytes(range(15)), rounds=2, last=4)
    assert said == 0xA129CA6149BE45E5


@pytest.mark.skipif(
    sys.hash_info.algorithm != "siphash13", reason="this Python hashes another way"
)
def test_the_model_gives_what_python_itself_computes() -> None:
    program = "print([hash(bytes(range(size))) for size in range(1, 40)])"
    said = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "0"},  # the key is zero
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    wanted = [siphash(ZERO, bytes(range(size))) for size in range(1, 40)]
    assert [int(word) % 2**64 for word in said.strip("[]\n").split(",")] == wanted


def test_the_vectors_are_the_model_s() -> None:
    rows = re.findall(r"\{(\d+), (\d+), (0x[0-9a-f]{16})\}", VECTORS.read_text())
    found = [(int(key), int(size), int(said, 16)) for key, size, said in rows]
    assert found == [
        (number, size, siphash(key, text(size)))
        for number, key in enumerate(KEYS)
        for size in SIZES
    ]
