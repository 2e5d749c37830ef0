# SPDX-License-Identifier: BSD-2-Clause
"""One laggd from its start on: since when it is there, and as which version.

Owns what `laggctl status`, `show -v` and the metrics tell of the daemon itself.  Knows
no lagg.
"""

import os
import time
from datetime import UTC, datetime

import lagg
from lagg.records import DaemonRecord


class Life:
    """Begins when it is made."""

    def __init__(self) -> None:
        """To be made once, when laggd starts."""
        self.started_at_s = time.time()  # since 1970
        self._began_s = time.monotonic()

    def record(self) -> DaemonRecord:
        """What there is to tell now."""
        started = datetime.fromtimestamp(self.started_at_s, UTC)
        return {
            "version": lagg.__version__,
            "pid": os.getpid(),
            "started_at": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "uptime_s": int(time.monotonic() - self._began_s),
            "forwarder": None,
            "adoptions": 0,
            "control_away_s": None,
        }
