# SPDX-License-Identifier: BSD-2-Clause
"""Marker protocol (802.1AX 6.5): who answers markers, and who remembers its own.

Owns a port's two limits and its outstanding markers.  A response is never answered,
whoever sent it; one that nobody asked for is counted.  Knows no LACP.
"""

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Self

from lagg.frozen import dataclass
from lagg.lacp.limit import Limit
from lagg.lacp.pdu import Marker
from lagg.lacp.values import U32, Instant

WINDOW_NS = 1_000_000_000
RESPONSES_PER_WINDOW = 5
MARKERS_PER_WINDOW = 2
"""With three LACPDUs, ten slow-protocol frames a second (802.3 57A.2) at most."""

RESPONSE_WAIT_NS = 1_000_000_000
"""A marker without an answer for so long is given up: what waits for it moves on."""

OUTSTANDING_MAX = 256
"""Far more than MARKERS_PER_WINDOW lets be: a bound for what is read from elsewhere."""


@dataclass(frozen=True, slots=True)
class SavedMarkers:
    """All that a MarkerPort is."""

    outstanding: Annotated[tuple[tuple[U32, Instant], ...], range(OUTSTANDING_MAX + 1)]
    responses: Annotated[tuple[Instant, ...], range(RESPONSES_PER_WINDOW + 1)]
    markers: Annotated[tuple[Instant, ...], range(MARKERS_PER_WINDOW + 1)]


@dataclass(slots=True, eq=False)
class MarkerPort:
    """The marker protocol of one port."""

    outstanding: dict[int, Instant] = field(default_factory=dict)  # by transaction
    _responses: Limit = field(
        default_factory=lambda: Limit(RESPONSES_PER_WINDOW, WINDOW_NS)
    )
    _markers: Limit = field(
        default_factory=lambda: Limit(MARKERS_PER_WINDOW, WINDOW_NS)
    )

    def saved(self) -> SavedMarkers:
        """What of() makes another one of, which goes on as this one."""
        return SavedMarkers(
            tuple(self.outstanding.items()), self._responses.taken, self._markers.taken
        )

    @classmethod
    def of(cls, saved: SavedMarkers) -> Self:
        """The one of a port that was saved."""
        return cls(
            dict(saved.outstanding),
            Limit(RESPONSES_PER_WINDOW, WINDOW_NS, saved.responses),
            Limit(MARKERS_PER_WINDOW, WINDOW_NS, saved.markers),
        )

    def response_to(self, marker: Marker, now: Instant) -> Marker | None:
        """The answer to a marker; None: the limit has no place for one."""
        if not self._responses.take(now):
            return None
        return Marker(marker.port, marker.system, marker.transaction, response=True)

    def ask(
        self, requester: tuple[int, str], transaction: int, now: Instant
    ) -> Marker | None:
        """A marker of our own, outstanding from now on; None: too many were sent.

        `requester`: the port's number on the wire, and its system's MAC.
        """
        if not self._markers.take(now):
            return None
        self.outstanding[transaction] = now + RESPONSE_WAIT_NS
        return Marker(*requester, transaction)

    def answered(self, response: Marker, requester: tuple[int, str]) -> bool:
        """Whether this answers a marker of ours, which it does once."""
        ours = (response.port, response.system) == requester
        return ours and self.outstanding.pop(response.transaction, None) is not None

    def give_up(self, now: Instant) -> Iterator[int]:
        """Takes back the transactions that waited too long, and answers with them."""
        for transaction, until in list(self.outstanding.items()):
            if until <= now:
                del self.outstanding[transaction]
                yield transaction

    def deadline(self) -> Instant | None:
        """The instant from which give_up() has something to do."""
        return min(self.outstanding.values(), default=None)
