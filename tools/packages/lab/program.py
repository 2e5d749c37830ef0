# SPDX-License-Identifier: BSD-2-Clause
"""Programs in C for a lab: compiled when first wanted, and again when they change.

Owns .venv/lab/.  Knows not what they do.
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lab.daemon import ROOT
from lab.host import CommandError

HERE = Path(__file__).parent
CACHE = ROOT / ".venv" / "lab"
NATIVE = ROOT / "native"
CFLAGS = ("-std=gnu11", "-O2", "-g", "-pthread", "-Wall", "-Wextra", "-Wconversion")
ACROSS = ("-flto",)
HARDENED = ("-D_FORTIFY_SOURCE=2", "-fstack-protector", "-fstack-clash-protection")
"""Both as laggd's hot path is compiled: see native/build.py."""


@cache
def build(name: str, source: Path = HERE, *, native: bool = False) -> Path:
    """The program made of NAME*.c in a directory, up to date; safe beside other builds.

    With `native`, of laggd's hot path as well.
    """
    sources = sorted({*source.glob(f"{name}*.[ch]"), *source.glob("lab.h")})
    sources += sorted(NATIVE.glob("*.[ch]")) if native else []
    flags = (*CFLAGS, *HARDENED, *ACROSS) if native else CFLAGS
    text = b"".join(path.read_bytes() for path in sources) + " ".join(flags).encode()
    program = CACHE / f"{name}-{hashlib.sha256(text).hexdigest()[:16]}"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            made = Path(directory, name)
            files = [str(path) for path in sources if path.suffix == ".c"]
            _compile((*flags, *files), made)
            os.replace(made, program)
    return program


def _compile(words: Sequence[str], program: Path) -> None:
    command = ("gcc", f"-I{NATIVE}", *words, "-o", str(program))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandError(command, done.returncode, done.stderr)
