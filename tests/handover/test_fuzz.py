# SPDX-License-Identifier: BSD-2-Clause
"""What is altered at random is refused as it is to be, or gone on with."""

import random

from tests.fuzz.adopter import one_input

INPUTS, INPUTS_LONG = 300, 200_000


def test_nothing_that_a_forwarder_gives_is_more_than_refused(
    rng: random.Random, long_run: bool
) -> None:
    for _ in range(INPUTS_LONG if long_run else INPUTS):
        octets = rng.randbytes(8)
        print(f"one_input({octets!r})")
        one_input(octets)
