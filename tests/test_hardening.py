# SPDX-License-Identifier: BSD-2-Clause
"""The extension and lagg-forwarder as they were built: what a mistake would meet.

Read from the ELF file itself, whatever the flags were meant to be.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from lagg import _native
from lagg.paths import forwarder_program

ET_DYN = 3  # loaded anywhere: a library, or a program that is position independent
PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 2, 0x6474E551, 0x6474E552
PF_X = 1
DT_FLAGS, DT_TEXTREL, DT_FLAGS_1 = 30, 22, 0x6FFFFFFB
DF_BIND_NOW, DF_1_NOW = 0x8, 0x1

pytestmark = pytest.mark.skipif(
    "LAGG_SANITIZE" in os.environ, reason="built for a sanitizer"
)


@dataclass(frozen=True)
class Elf:
    """The parts of a 64-bit little-endian ELF file that say how it is loaded."""

    bytes: bytes

    def segments(self) -> dict[int, tuple[int, int, int]]:
        """By type: flags, offset and size."""
        (at,) = struct.unpack_from("<Q", self.bytes, 32)
        size, count = struct.unpack_from("<HH", self.bytes, 54)
        found = {}
        for number in range(count):
            kind, flags, offset = struct.unpack_from(
                "<IIQ", self.bytes, at + number * size
            )
            (length,) = struct.unpack_from("<Q", self.bytes, at + number * size + 32)
            found[kind] = (flags, offset, length)
        return found

    def dynamic(self) -> dict[int, int]:
        _, offset, length = self.segments()[PT_DYNAMIC]
        return dict(struct.iter_unpack("<QQ", self.bytes[offset : offset + length]))


BUILT = {"extension": Path(_native.__file__), "forwarder": forwarder_program()}


@pytest.fixture(params=list(BUILT.values()), ids=list(BUILT))
def built(request: pytest.FixtureRequest) -> Elf:
    made = Elf(request.param.read_bytes())
    if made.bytes[:6] != b"\x7fELF\x02\x01":
        pytest.skip("no 64-bit little-endian ELF file")
    return made


def test_what_the_loader_fills_in_is_read_only_before_our_code_runs(
    built: Elf,
) -> None:
    dynamic = built.dynamic()
    assert PT_GNU_RELRO in built.segments()
    assert dynamic.get(DT_FLAGS, 0) & DF_BIND_NOW
    assert dynamic.get(DT_FLAGS_1, 0) & DF_1_NOW


def test_no_memory_is_both_written_and_executed(built: Elf) -> None:
    flags, _, _ = built.segments()[PT_GNU_STACK]
    assert not flags & PF_X
    assert DT_TEXTREL not in built.dynamic()


def test_a_buffer_on_the_stack_that_is_overrun_ends_the_process(
    built: Elf,
) -> None:
    assert b"__stack_chk_fail\0" in built.bytes


def test_it_is_loaded_where_nobody_knows(built: Elf) -> None:
    assert struct.unpack_from("<H", built.bytes, 16) == (ET_DYN,)
