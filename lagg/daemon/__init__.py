# SPDX-License-Identifier: BSD-2-Clause
"""laggd, the process: start and stop, reloads, its supervisor, its metrics.

Owns the manners of a service.  Knows no kernel interface and no protocol.
"""

import gc


def main() -> int:
    """Laggd's command; returns the exit code."""
    gc.disable()  # until the process has loaded what it is made of: all of it stays
    from lagg.daemon import process

    return process.main()
