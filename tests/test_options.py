# SPDX-License-Identifier: BSD-2-Clause
"""A row is all that an option needs: what is made of it, and that its twin agrees."""

import dataclasses
from enum import Enum
from typing import Any

import pytest

from lagg.model import Options, PortOptions, Proto
from lagg.options import OPTIONS, PORT_OPTIONS, Kind, Option, Whole

Defaults = Options | PortOptions
ROWS = [
    *((row, Options()) for row in OPTIONS),
    *((row, PortOptions()) for row in PORT_OPTIONS),
]
IDS = [row.key for row, _ in ROWS]


def test_the_rows_are_the_fields_of_their_twins() -> None:
    for rows, twin in ((OPTIONS, Options), (PORT_OPTIONS, PortOptions)):
        fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(twin)
        assert [row.key for row in rows] == [field.name for field in fields]


@pytest.mark.parametrize(("row", "defaults"), ROWS, ids=IDS)
def test_a_row_allows_the_default_of_its_twin(row: Option, defaults: Defaults) -> None:
    default = getattr(defaults, row.key)
    match row.value:
        case Whole(least, most):
            assert default is None or (
                type(default) is int and least <= default <= most
            )
        case Kind.SWITCH:
            assert type(default) is bool
        case Kind.WORD:
            assert isinstance(default, Enum)
        case Kind.MAC:
            assert default is None
        case Kind.LAYERS | Kind.NAMES:
            assert isinstance(default, tuple)


@pytest.mark.parametrize("row", [row for row, _ in ROWS], ids=IDS)
def test_a_row_counts_for_protocols_that_there_are(row: Option) -> None:
    assert set(row.protos) <= {proto.value for proto in Proto}


def test_a_flag_of_freebsd_has_a_bit_of_its_own() -> None:
    flags = {row.freebsd.flag: row.freebsd.bit for row in OPTIONS if row.freebsd.flag}
    assert all(bit.bit_count() == 1 for bit in flags.values())
    assert len(set(flags.values())) == len(flags)
