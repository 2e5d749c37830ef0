# SPDX-License-Identifier: BSD-2-Clause
"""What was left is looked at as a whole: names no laggd gives, laggs that are one."""

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from lagg.errors import LaggError
from lagg.handover.saved import SavedLagg
from lagg.handover.slots import Slots
from lagg.operations.adopt import Left
from tests.handover.test_saved import with_lacp

Saved = Callable[[SavedLagg], int]

LAGG = with_lacp()
OTHER = replace(LAGG, link=replace(LAGG.link, ifindex=99, name="lagg1"))


@pytest.fixture
def saved() -> Iterator[Saved]:
    """The memory of a lagg."""
    with ExitStack() as stack:

        def save(lagg: SavedLagg) -> int:
            slots = stack.enter_context(closing(Slots.create(lagg.link.name)))
            slots.write(lagg.text())
            return slots.fileno()

        yield save


def refused(kept: dict[str, int]) -> str:
    with pytest.raises(LaggError) as refusal:
        Left.of(kept)
    assert refusal.value.code == errno.EPROTO
    return str(refusal.value)


@pytest.mark.parametrize("lagg", ["0", "01", "1025", str(10**19)])
def test_a_name_of_no_lagg_of_ours_is_refused(lagg: str) -> None:
    assert f"'{lagg}/state'" in refused({f"{lagg}/state": -1})


@pytest.mark.parametrize("slot", ["32", "00", str(10**19)])
def test_a_name_of_no_slot_is_refused(slot: str) -> None:
    assert f"'1/{slot}/tx'" in refused({f"1/{slot}/tx": -1})


def test_a_lagg_is_left_once(saved: Saved) -> None:
    found = Left.of({"1/state": saved(LAGG), "1/31/tx": 0, "nft": 0})
    assert [each.saved for each in found.laggs] == [LAGG]
    assert found.laggs[0].slots == {31}
    kept = {"1/state": saved(LAGG), "2/state": saved(LAGG)}
    assert refused(kept).startswith("lagg 2: ")


def test_no_two_laggs_have_one_port(saved: Saved) -> None:
    said = refused({"1/state": saved(LAGG), "7/state": saved(OTHER)})
    assert said.startswith("lagg 7: what laggd left of it has 10, and so has another")
