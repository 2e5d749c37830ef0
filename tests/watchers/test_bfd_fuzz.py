# SPDX-License-Identifier: BSD-2-Clause
"""Whatever comes in, a BFD session counts it or acts upon it, and goes on."""

from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.tree import ROOT

TARGET = ROOT / "tests" / "fuzz" / "bfd.py"


def _load() -> Any:  # noqa: ANN401
    spec = spec_from_file_location("fuzz_bfd", TARGET)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


one_input = _load().one_input


@given(st.binary(max_size=800))
def test_the_fuzz_target_takes_any_bytes(octets: bytes) -> None:
    one_input(octets)
