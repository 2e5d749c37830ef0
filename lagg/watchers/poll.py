# SPDX-License-Identifier: BSD-2-Clause
"""The watcher `poll`: a driver that tells late, or never, is asked for its carrier.

Owns when it is asked, and the verdict that its answers come to.  Knows no driver and no
way to ask one.
"""

from lagg.lacp.values import NS_OF_MS, Instant
from lagg.watchers.watcher import Ends, Watcher
from lagg.watches import LinkWatch, WatchState


class Poll(Watcher):
    """The watch of one port."""

    def __init__(self, watch: LinkWatch, _: Ends, state: WatchState) -> None:
        """`state`: see kinds.Maker."""
        self._watch = watch
        self.state = state
        self.reason = "the driver was not asked yet"
        self._missed = 0
        self._asks = False
        self._ask_at: Instant | None = None

    @property
    def asks(self) -> bool:
        """Whether the driver is to be asked."""
        return self._asks

    def due_at(self) -> Instant | None:
        """When tick() is to be called; None: not before link() or told()."""
        return self._ask_at

    def tick(self, now: Instant) -> list[bytes]:
        """Asks, if it is time; nothing leaves by the port."""
        if self._ask_at is not None and now >= self._ask_at:
            self._asks, self._ask_at = True, None
        return []

    def change(self, watch: LinkWatch, now: Instant) -> None:
        """Another interval, or as many to miss; none that is longer is waited out."""
        self._watch = watch
        if self._ask_at is not None:
            self._ask_at = min(self._ask_at, now + watch.interval_ms * NS_OF_MS)

    def heard(self, frame: bytes, now: Instant) -> list[bytes]:
        """Nothing: of a carrier no frame tells."""
        return []

    def told(self, carrier: bool | None, now: Instant) -> None:
        """What the driver answered; None: it cannot be asked."""
        if not self._asks:  # the carrier was lost meanwhile, and that is known
            return
        self._asks, self._ask_at = False, now + self._watch.interval_ms * NS_OF_MS
        self._missed = self._missed + 1 if carrier is False else 0
        if carrier is None:
            self.reason = "the driver cannot be asked"
        elif carrier:
            self.state, self.reason = WatchState.UP, "the driver has a carrier"
        elif self._missed >= self._watch.missed_max:
            self.state = WatchState.DOWN
            times = f"{self._missed} x {self._watch.interval_ms} ms"
            self.reason = f"the driver has no carrier for {times}"

    def link(self, up: bool, now: Instant) -> None:
        """The kernel tells of a carrier from now on, or of none."""
        self._missed, self._asks = 0, False
        self._ask_at = now if up else None
        if not up:
            self.state, self.reason = WatchState.DOWN, "carrier down"
