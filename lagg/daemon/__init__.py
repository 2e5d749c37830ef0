# SPDX-License-Identifier: BSD-2-Clause
"""laggd, the process: start and stop, reloads, its supervisor, its metrics.

Owns the manners of a service.  Knows no kernel interface and no protocol.
"""

import gc
import sys
from typing import Any


def main() -> int:
    """Laggd's command; returns the exit code."""
    gc.disable()  # until the process has loaded what it is made of: all of it stays
    _load_asyncio()
    from lagg.daemon import process

    return process.main()


def _load_asyncio() -> None:
    """Without TLS, as where Python has none: a twentieth of the start, and of no use.

    Whoever wants it later has it.
    """
    if "ssl" in sys.modules:
        return
    modules: dict[str, Any] = sys.modules
    modules["ssl"] = None
    try:
        import asyncio  # noqa: F401
    finally:
        del modules["ssl"]
