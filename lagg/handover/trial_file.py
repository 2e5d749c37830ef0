# SPDX-License-Identifier: BSD-2-Clause
"""The file in the state directory that has the changes on trial.

Owns that it is replaced whole, or not at all, and is on the disk when that is said.
Whoever has the directory's lock writes it.  Knows no trial: trial.py says what is in.
"""

import contextlib
import os
from pathlib import Path

from lagg.errors import LaggError


class TrialFile:
    """Bytes under a name of their own; of threads, too."""

    def __init__(self, directory: Path) -> None:
        """Nothing is read or written yet."""
        self._path = directory / "trials.json"

    @property
    def name(self) -> str:
        """What errors call it."""
        return str(self._path)

    def write(self, data: bytes) -> None:
        """Replaces what is there; nothing to keep: takes it away.  LaggError."""
        try:
            if data:
                self._replace(data)
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise LaggError.of_os(self.name, "save", error) from error

    def _replace(self, data: bytes) -> None:
        aside = self._path.with_suffix(".tmp")
        with open(aside, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self._path)

    def read(self) -> bytes:
        """What is there; empty: nothing.  LaggError."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise LaggError.of_os(self.name, "read", error) from error

    def set_aside(self) -> str:
        """Keeps what cannot be read, for a person; its name."""
        aside = self._path.with_suffix(".damaged")
        with contextlib.suppress(OSError):
            os.replace(self._path, aside)
        return aside.name
