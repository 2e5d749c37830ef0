# SPDX-License-Identifier: BSD-2-Clause
"""What is altered at random is refused as it is to be, or gone on with."""

import random
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

from tests.tree import ROOT

TARGET = ROOT / "tests" / "fuzz" / "adopter.py"
INPUTS, INPUTS_LONG = 300, 200_000


def _load() -> Any:  # noqa: ANN401
    spec = spec_from_file_location("fuzz_adopter", TARGET)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_that_a_forwarder_gives_is_more_than_refused(
    rng: random.Random, long_run: bool
) -> None:
    one_input = _load().one_input
    for _ in range(INPUTS_LONG if long_run else INPUTS):
        octets = rng.randbytes(8)
        print(f"one_input({octets!r})")
        one_input(octets)
