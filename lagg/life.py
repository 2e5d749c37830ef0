# SPDX-License-Identifier: BSD-2-Clause
"""One laggd from its start on: since when it is there, and as which version.

Owns what `laggctl status`, `show -v` and the metrics tell of the daemon itself.  Knows
no lagg.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import lagg
from lagg.records import DaemonRecord, HalfRecord


@dataclass(frozen=True, slots=True)
class Succession:
    """Who carries frames for this laggd, and which laggds were before it."""

    forwarder: Callable[[], HalfRecord | None] = lambda: None
    adoptions: int = 0  # as DaemonRecord has them
    away_s: float | None = None


class Life:
    """Begins when it is made."""

    def __init__(self) -> None:
        """To be made once, when laggd starts."""
        self.started_at_s = time.time()  # since 1970
        self._began_s = time.monotonic()
        self.succession = Succession()  # until it is known

    def record(self) -> DaemonRecord:
        """What there is to tell now."""
        started = datetime.fromtimestamp(self.started_at_s, UTC)
        return {
            "version": lagg.__version__,
            "pid": os.getpid(),
            "started_at": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "uptime_s": int(time.monotonic() - self._began_s),
            "forwarder": self.succession.forwarder(),
            "adoptions": self.succession.adoptions,
            "control_away_s": self.succession.away_s,
        }
