# SPDX-License-Identifier: BSD-2-Clause
"""Describes lagg._native to cffi: API mode, stable ABI.

Owns the compiler flags of the extension and of lagg-forwarder, which setup.py makes of
the same files.  The declarations are not here: they are the [abi] block of lagg.h, so
that Python and C cannot disagree.
"""

import os
import re
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent

# setuptools wants sources relative to the directory it builds in, the project root.
SOURCES = sorted(f"native/{path.name}" for path in HERE.glob("*.c"))
HEADERS = sorted(f"native/{path.name}" for path in HERE.glob("*.h"))

PROGRAM = "lagg-forwarder"
PROGRAM_FOLDER = HERE / "forwarder"
PROGRAM_SOURCES = [
    *SOURCES,
    *sorted(f"native/forwarder/{path.name}" for path in PROGRAM_FOLDER.glob("*.c")),
]

# CPython's own flags carry -DNDEBUG, which would take our assertions out.
FLAGS = ["-std=gnu11", "-O2", "-g", "-UNDEBUG", "-fvisibility=hidden", "-pthread"]

# What makes a mistake of ours end laggd rather than serve whoever found it: functions
# with a buffer on the stack are watched; the strong kind, which watches most of those
# that each frame goes through, costs another twentieth of the hot path.  -U first: a
# distribution's own flags may have set another value.
HARDENED = [
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=2",
    "-fstack-protector",
    "-fstack-clash-protection",
]
HARDENED_LINK = ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]

# Files are parts of the design; the compiler may look across: a sixth of the hot
# path's instructions out, a twelfth in (tools/bench --only instructions).  Not where
# sanitizers look at each access: it would compile for twice as long, for no speed.
ACROSS = [] if os.environ.get("LAGG_SANITIZE") else ["-flto"]


def abi(header: str) -> str:
    """The text between the [abi] markers of lagg.h; ValueError when they are gone."""
    block = re.search(r"/\* \[abi\] \*/\n(.*?)/\* \[/abi\] \*/", header, re.DOTALL)
    if block is None:
        raise ValueError("native/lagg.h: no [abi] ... [/abi] block")
    return block[1]


def sanitizer_flags() -> list[str]:
    """Flags for LAGG_SANITIZE, for example "address,undefined"; usually none.

    Without _FORTIFY_SOURCE, whose functions no sanitizer looks into; and with as much
    optimisation as tests/test_native.py has, which is compiled in half the time.
    """
    names = os.environ.get("LAGG_SANITIZE")
    if not names:
        return []
    without = ["-fno-omit-frame-pointer", "-U_FORTIFY_SOURCE"]
    return [f"-fsanitize={names}", "-O1", *without]


COMPILE = [*FLAGS, *HARDENED, *ACROSS, *sanitizer_flags()]
LINK = [
    *("-O2", "-pthread", *HARDENED, *HARDENED_LINK, *ACROSS),
    *sanitizer_flags(),
]

ffibuilder = FFI()
ffibuilder.cdef(abi((HERE / "lagg.h").read_text(encoding="utf-8")))
ffibuilder.set_source(
    "lagg._native",
    '#include "lagg.h"',
    sources=SOURCES,
    depends=HEADERS,
    include_dirs=["native"],
    extra_compile_args=COMPILE,
    extra_link_args=LINK,
)
