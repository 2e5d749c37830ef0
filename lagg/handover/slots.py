# SPDX-License-Identifier: BSD-2-Clause
"""A value in memory that outlives who wrote it, even if he is killed while he writes.

Owns two slots in a memfd: they are written in turn, and the newest that is whole
counts.  Whoever else has the memfd may put anything there, so what is read is bytes
that somebody wrote, and no more.  Knows no value.
"""

import errno
import fcntl
import hashlib
import os
import struct
from typing import Self

from lagg.errors import LaggError

SLOT_BYTES = 1 << 20
"""A lagg of 32 ports under LACP takes 80 kB; what was never written takes no memory."""

_HEAD = struct.Struct("<QQ32s")  # sequence, bytes of the value, SHA-256 of both and it
_SUMMED = struct.Struct("<QQ")
_SEQUENCE_MAX = 1 << 62
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW

VALUE_BYTES_MAX = SLOT_BYTES - _HEAD.size


class Slots:
    """One value, for one writer."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Goes on with what is in a memfd that create() made; owns the descriptor.

        `name`: whose value it is, for errors.  LaggError (EINVAL): another file.
        """
        self._descriptor = descriptor
        self._name = name
        if os.fstat(descriptor).st_size != 2 * SLOT_BYTES:
            cause = f"its saved state has not 2 slots of {SLOT_BYTES} bytes"
            raise LaggError(name, cause, errno.EINVAL)
        found = self._newest()
        self._sequence = 0 if found is None else found[0]

    @classmethod
    def create(cls, name: str) -> Self:
        """Empty slots.  LaggError."""
        try:
            flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
            descriptor = os.memfd_create(f"laggd:{name}", flags)
            os.ftruncate(descriptor, 2 * SLOT_BYTES)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        except OSError as error:
            raise LaggError.of_os(name, "make memory for its state", error) from error
        return cls(descriptor, name)

    def fileno(self) -> int:
        """The memfd."""
        return self._descriptor

    def close(self) -> None:
        """Closes it; what is in it lives as long as another descriptor of it."""
        os.close(self._descriptor)

    def write(self, value: bytes) -> None:
        """Has `value` in place of what was there.  LaggError: what was there is.

        The head goes first, and with the sum in it: of whatever is cut off before its
        end the sum is wrong.
        """
        if len(value) > VALUE_BYTES_MAX:
            cause = f"its state has {len(value)} bytes, of {VALUE_BYTES_MAX} at most"
            raise LaggError(self._name, cause, errno.EFBIG)
        sequence = self._sequence + 1
        head = _HEAD.pack(sequence, len(value), _sum(sequence, value))
        try:
            written = os.pwrite(self._descriptor, head + value, _offset(sequence))
        except OSError as error:
            raise LaggError.of_os(self._name, "save its state", error) from error
        if written != len(head) + len(value):
            raise LaggError(self._name, "its state was saved in part", errno.EIO)
        self._sequence = sequence

    def read(self) -> bytes | None:
        """What was written last, whole; None: nothing was.

        LaggError (EPROTO): both slots were written and neither is whole, which no
        death of a writer does.
        """
        found = self._newest()
        if found is None and all(map(self._is_written, range(2))):
            cause = "its saved state is damaged: neither of its slots is whole"
            raise LaggError(self._name, cause, errno.EPROTO)
        return None if found is None else found[1]

    def _is_written(self, index: int) -> bool:
        return any(os.pread(self._descriptor, _HEAD.size, _offset(index)))

    def _newest(self) -> tuple[int, bytes] | None:
        found = (self._slot(0), self._slot(1))
        return max((each for each in found if each is not None), default=None)

    def _slot(self, index: int) -> tuple[int, bytes] | None:
        """The sequence and the value in a slot; None: it holds none."""
        slot = os.pread(self._descriptor, SLOT_BYTES, _offset(index))
        if len(slot) < _HEAD.size:
            return None
        sequence, length, digest = _HEAD.unpack_from(slot)
        value = slot[_HEAD.size : _HEAD.size + length]
        sound = (
            0 < sequence < _SEQUENCE_MAX
            and sequence % 2 == index
            and len(value) == length
            and digest == _sum(sequence, value)
        )
        return (sequence, value) if sound else None


def _offset(sequence: int) -> int:
    return sequence % 2 * SLOT_BYTES


def _sum(sequence: int, value: bytes) -> bytes:
    return hashlib.sha256(_SUMMED.pack(sequence, len(value)) + value).digest()
