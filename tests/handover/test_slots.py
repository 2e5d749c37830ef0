# SPDX-License-Identifier: BSD-2-Clause
"""Two slots in a memfd: the newest value that is whole counts, whatever is cut off."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.errors import LaggError
from lagg.handover.slots import SLOT_BYTES, VALUE_BYTES_MAX, Slots


@pytest.fixture
def slots() -> Iterator[Slots]:
    with closing(Slots.create("lagg0")) as made:
        yield made


def image(slots: Slots) -> bytes:
    return os.pread(slots.fileno(), 2 * SLOT_BYTES, 0)


def reopened(slots: Slots) -> Slots:
    """As another process has it."""
    return Slots(os.dup(slots.fileno()), "lagg0")


def test_nothing_is_read_where_nothing_was_written(slots: Slots) -> None:
    assert slots.read() is None
    with closing(reopened(slots)) as other:
        assert other.read() is None


def test_what_was_written_last_is_read_by_whoever_has_the_memory(slots: Slots) -> None:
    for value in (b"one", b"", b"three", b"x" * 70_000, b"five"):
        slots.write(value)
        with closing(reopened(slots)) as other:
            assert other.read() == slots.read() == value


def test_a_successor_goes_on_where_the_writer_ended(slots: Slots) -> None:
    for value in (b"one", b"two", b"three", b"four"):
        with closing(reopened(slots)) as other:
            before = other.read()
            other.write(value)
        assert slots.read() == value != before


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_write_that_is_cut_off_anywhere_leaves_what_was_there(
    slots: Slots, writes: int
) -> None:
    for n in range(writes):
        slots.write(b"value %d, of another length" % n * (n + 1))
    kept, before = slots.read(), image(slots)
    slots.write(b"the new value")
    after = image(slots)
    changed = [n for n in range(len(before)) if before[n] != after[n]]
    first, last = changed[0], changed[-1]
    for cut in range(first, last + 1):
        torn = after[first:cut] + before[cut : last + 1]
        assert os.pwrite(slots.fileno(), torn, first) == len(torn)
        with closing(reopened(slots)) as other:
            assert other.read() == kept
            other.write(b"and on")
            assert other.read() == b"and on"
        os.pwrite(slots.fileno(), after[:SLOT_BYTES], 0)
        os.pwrite(slots.fileno(), after[SLOT_BYTES:], SLOT_BYTES)
    assert slots.read() == b"the new value"


def test_a_value_that_is_too_long_is_refused_and_what_was_there_stays(
    slots: Slots,
) -> None:
    slots.write(b"x" * VALUE_BYTES_MAX)
    with pytest.raises(LaggError) as refusal:
        slots.write(b"y" * (VALUE_BYTES_MAX + 1))
    assert refusal.value.code == errno.EFBIG
    assert str(VALUE_BYTES_MAX + 1) in str(refusal.value)
    assert slots.read() == b"x" * VALUE_BYTES_MAX


def test_nobody_can_take_the_memory_away(slots: Slots) -> None:
    for size in (0, 4 * SLOT_BYTES):
        with pytest.raises(PermissionError):
            os.ftruncate(slots.fileno(), size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(slots.fileno(), fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_memory_that_is_none_of_these_is_refused() -> None:
    descriptor = os.memfd_create("another")
    try:
        with pytest.raises(LaggError) as refusal:
            Slots(descriptor, "lagg0")
        assert refusal.value.code == errno.EINVAL
    finally:
        os.close(descriptor)


@given(st.binary(max_size=200), st.integers(0, 1), st.integers(0, 60))
def test_whatever_is_put_there_a_value_is_read_that_was_written_or_none(
    octets: bytes, slot: int, offset: int
) -> None:
    with closing(Slots.create("lagg0")) as slots:
        slots.write(b"one")
        slots.write(b"two")
        os.pwrite(slots.fileno(), octets, slot * SLOT_BYTES + offset)
        with closing(reopened(slots)) as other:
            assert other.read() in {b"one", b"two", None}
            other.write(b"three")
            assert other.read() == b"three"


def test_two_slots_of_which_neither_is_whole_are_no_death_of_a_writer(
    slots: Slots,
) -> None:
    for value in (b"one", b"two"):
        slots.write(value)
    for offset in (0, SLOT_BYTES):
        os.pwrite(slots.fileno(), b"?", offset + 20)
    with closing(reopened(slots)) as other, pytest.raises(LaggError) as refusal:
        other.read()
    assert refusal.value.code == errno.EPROTO


def test_memory_is_taken_by_what_was_written_alone(slots: Slots) -> None:
    slots.write(b"x" * 10_000)
    assert os.fstat(slots.fileno()).st_blocks * 512 < 64 << 10
