# SPDX-License-Identifier: BSD-2-Clause
"""Whatever comes in, a BFD session counts it or acts upon it, and goes on."""

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bfd import one_input


@given(st.binary(max_size=800))
def test_the_fuzz_target_takes_any_bytes(octets: bytes) -> None:
    one_input(octets)
