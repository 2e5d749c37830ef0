# SPDX-License-Identifier: BSD-2-Clause
"""The messages between laggd and lagg-forwarder, as values and as bytes.

Owns the border to the C structs of native/lagg.h; no cffi value leaves this file.  A
reply that is not sound is a ValueError.  Knows no socket.
"""

import re
from enum import IntEnum
from typing import Any

from lagg._native import ffi, lib
from lagg.frozen import dataclass


class Word(IntEnum):
    """What a message is about: enum lagg_word, which says what each one does."""

    HELLO = 0
    LIST = 1
    CLAIM = 2
    COMMIT = 3
    GO = 4
    REFUSE = 5
    PUT = 6
    DEL = 7
    OPEN = 8
    MAP = 9
    MAP_RINGS = 10
    UNMAP = 11
    UNMAP_RINGS = 12
    DRAIN = 13
    RUN = 14
    STOP = 15
    CLOSE = 16
    LEASE = 17
    END = 18
    YIELD = 19
    DONE = 20
    RESUME = 21
    LEAVE = 22


UNASKED = frozenset({Word.YIELD, Word.DONE, Word.RESUME})
"""What the forwarder says by itself."""

MAJOR: int = lib.LAGG_PROTOCOL_MAJOR
MINOR: int = lib.LAGG_PROTOCOL_MINOR
NAMES_MAX: int = lib.LAGG_NAMES_MAX
PAGE_NAMES: int = lib.LAGG_PAGE_NAMES
IDS_MAX: int = lib.LAGG_IDS_MAX
LEASE_BYTES_MAX: int = lib.LAGG_LEASE_BYTES_MAX
LEASE_SHIFT: int = lib.LAGG_LEASE_SHIFT
LEASES_MAX: int = lib.LAGG_LEASES_MAX
SESSIONS_MAX: int = LEASES_MAX - lib.LAGG_LEASE_BFD
"""BFD sessions of a port that have a lease."""

SESSIONS_SINCE = 1
"""The minor version of the protocol that knows them."""

FRESH: int = lib.LAGG_FRESH
AGAIN: int = lib.LAGG_AGAIN
REPLY_BYTES: int = ffi.sizeof("struct lagg_reply")

TEXT_BYTES_MAX: int = lib.LAGG_NAME_BYTES - 1
"""What a name may have at most, and a reason."""

_NAME = re.compile(rf"[a-z0-9/.-]{{1,{TEXT_BYTES_MAX}}}")
_ERRNO_MAX = 4095

assert {word.name: word.value for word in Word} == {
    name.removeprefix("LAGG_"): getattr(lib, name)
    for name in (f"LAGG_{word.name}" for word in Word)
}
assert len(Word) == lib.LAGG_WORDS_COUNT


def layout() -> int:
    """The hash of the shared memories' layout that this process has in mind."""
    return int(lib.lagg_layout())


def name_is_sound(name: str) -> bool:
    """Whether a descriptor can be kept under it."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class ForwarderRequest:
    """What laggd asks for; what a word does not use stays as it is here."""

    word: Word
    lagg: int = 0  # its id, 1 ... IDS_MAX
    slot: int = 0
    argument: int = 0
    name: str = ""
    payload: bytes = b""  # LEASE's frame

    def pack(self) -> bytes:
        """A struct lagg_request.  ValueError when a name or the payload is too long."""
        name = self.name.encode()
        if len(name) > TEXT_BYTES_MAX or len(self.payload) > LEASE_BYTES_MAX:
            raise ValueError(f"{self}: longer than a message can carry")
        packed = ffi.new("struct lagg_request *")
        packed.what = self.word
        packed.lagg, packed.slot, packed.argument = self.lagg, self.slot, self.argument
        packed.bytes_count = len(self.payload)
        ffi.memmove(packed.name, name, len(name))
        ffi.memmove(packed.bytes, self.payload, len(self.payload))
        return bytes(ffi.buffer(packed))

    def __str__(self) -> str:
        """As an error names it: "MAP lagg 1 slot 3"."""
        words = [self.word.name]
        words += [f"lagg {self.lagg}"] if self.lagg else []
        words += [f"slot {self.slot}"] if self.slot else []
        words += [self.name] if self.name else []
        return " ".join(words)


Order = tuple[bytes, int]
"""A frame to be repeated, and how often, in ms; b"", 0: none."""

Leased = tuple[int, int, int]
"""Who repeats it: id, slot, and 0 for LACP or the number of a BFD session, from 1."""


def lease(leased: Leased, order: Order) -> ForwarderRequest:
    """What has this repeated while there is no owner."""
    (lagg, slot, number), (frame, period_ms) = leased, order
    how = number << LEASE_SHIFT | period_ms
    return ForwarderRequest(Word.LEASE, lagg, slot, how, payload=frame)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the forwarder says, sound as such."""

    word: Word
    error: int  # 0 or a positive errno
    argument: int
    generation: int
    major: int
    minor: int
    text: str
    names: tuple[str, ...]  # each comes with a descriptor


def unpack(message: bytes) -> Reply:
    """The Reply that these bytes are; ValueError says what is wrong with them."""
    if len(message) != REPLY_BYTES:
        raise ValueError(f"{len(message)} bytes, not {REPLY_BYTES}")
    reply = ffi.from_buffer("struct lagg_reply *", message)
    if reply.what >= len(Word):
        raise ValueError(f"no such word: {reply.what}")
    if not -_ERRNO_MAX <= reply.error <= 0:
        raise ValueError(f"no errno: {reply.error}")
    if reply.count > PAGE_NAMES:
        raise ValueError(f"{reply.count} names, more than {PAGE_NAMES}")
    return Reply(
        word=Word(reply.what),
        error=-reply.error,
        argument=reply.argument,
        generation=reply.generation,
        major=reply.major,
        minor=reply.minor,
        text=_text(reply.text),
        names=tuple(_name(reply.names[number]) for number in range(reply.count)),
    )


def _text(field: Any) -> str:  # noqa: ANN401  cffi's, and stays here
    """What people read: nothing in it can do anything to a terminal or a log."""
    text = bytes(ffi.buffer(field)).partition(b"\0")[0].decode(errors="replace")
    return "".join(char if char.isprintable() else "?" for char in text)


def _name(field: Any) -> str:  # noqa: ANN401  cffi's, and stays here
    name = _text(field)
    if not name_is_sound(name):
        raise ValueError(f"no name of a descriptor: {name!r}")
    return name
