# SPDX-License-Identifier: BSD-2-Clause
"""One laggd from its start on: since when it is there, and as which version.

Owns what `laggctl status`, `show -v` and the metrics tell of the daemon itself, and how
a time of day is told.  Knows no lagg.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

import lagg
from lagg.frozen import dataclass
from lagg.lacp.values import NS
from lagg.records import DaemonRecord, HalfRecord


def time_of_day(at_ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339, UTC, to the microsecond."""
    seconds, ns = divmod(at_ns, NS)
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ns // 1000:06}Z"


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
            "trials": [],  # who has them says
        }
