# SPDX-License-Identifier: BSD-2-Clause
"""What the kernel drops of the host's frames on their way to a lagg's TAP.

It tells one number, which grows.  Owns under which reasons that is counted: under the
one of the time.  Knows no plan and no netlink.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from lagg.errors import LaggError
from lagg.handover.saved import SavedHostDrops
from lagg.model import Counters, Drop

log = logging.getLogger(__name__)


class HostDrops:
    """The frames of one lagg that the kernel dropped before its TAP was read."""

    def __init__(
        self, read: Callable[[], int | None], saved: SavedHostDrops | None = None
    ) -> None:
        """`read` tells how many there were so far, None when the TAP is gone.

        It may raise LaggError.  Those that were before are not counted, unless another
        did, who has `saved` what he knew.
        """
        self._read = read
        saved = saved or SavedHostDrops(seen=self._now() or 0)
        self._seen = saved.seen
        self._dropped = dict(saved.dropped)

    def saved(self) -> SavedHostDrops:
        """What another one goes on from."""
        return SavedHostDrops(self._seen, tuple(self._dropped.items()))

    def count(self, reason: Drop) -> None:
        """Counts under this reason what was dropped since the last call."""
        now = self._now()
        if now is None:  # gone, and we are not told yet
            return
        fresh = max(now - self._seen, 0)
        self._dropped[reason] = self._dropped.get(reason, 0) + fresh
        self._seen = now

    def added_to(self, total: Counters) -> Counters:
        """The counters with these, which were on their way out."""
        drops = {
            drop: frames + self._dropped.get(drop, 0)
            for drop, frames in total.drops.items()
        }
        tx_in = total.tx_in + sum(self._dropped.values())
        return replace(total, tx_in=tx_in, drops=drops)

    def _now(self) -> int | None:
        try:
            return self._read()
        except LaggError as error:  # counted the next time
            log.warning("%s", error)
            return None
