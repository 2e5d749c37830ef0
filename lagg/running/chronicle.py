# SPDX-License-Identifier: BSD-2-Clause
"""What is told of one lagg: to the log, and to everyone who monitors; and its history.

Owns when news is told, and that a change of several options is told as one.  Knows no
workers and who follows events.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from lagg.events import WARNINGS, Event, EventKind
from lagg.life import time_of_day
from lagg.plan.changes import News, active_news, news, option_news
from lagg.plan.history import LaggPast
from lagg.plan.plan import Plan
from lagg.plan.shape import Shape
from lagg.tasks import asker, rehearsed

log = logging.getLogger(__name__)


class Chronicle:
    """Tells of a lagg, which is named each time, for it may be renamed."""

    def __init__(
        self, emit: Callable[[Event], None], history: LaggPast | None = None
    ) -> None:
        """`emit`: to those who monitor; `history`: that of a laggd before, if any."""
        self._emit = emit
        self.history = history or LaggPast(carrier_since_ns=time.time_ns())
        self._in_change = False  # see one_change()

    def tell(
        self,
        lagg: str,
        event: EventKind,
        details: str,
        port: str | None = None,
        cause: str | None = None,
        *,
        warns: bool = False,
    ) -> None:
        """Tells what happened; `warns`: an operator is to look at it this time."""
        place = f"{lagg}: {port}" if port else lagg
        now_ns, at = time.monotonic_ns(), time_of_day(time.time_ns())
        told = Event(lagg, port, event, details, now_ns, at, cause, by=asker())
        level = logging.WARNING if warns or event in WARNINGS else logging.INFO
        why = f" ({cause})" if cause else ""
        words = ": ".join(filter(None, (place, event.value, details)))
        if not rehearsed():
            log.log(level, "%s%s", words, why, extra={"event": told})
        self._emit(told)

    def tell_of(
        self, lagg: str, before: Shape, was: Plan, after: Shape, now: Plan
    ) -> None:
        """Tells what differs from one shape and its plan to the next, and keeps it."""
        at_ns = time.time_ns()
        carried, carries = bool(was.tx_slots), bool(now.tx_slots)
        found = self.history.then(before, after, at_ns)
        self.history = found.with_carrier(carried, carries, at_ns)
        self._tell_all(lagg, news(before, after))
        if not self._in_change:
            self._tell_all(lagg, option_news(before, after))
        self._tell_all(lagg, active_news(before, was, after, now))

    def count_balanced(self, buckets: int) -> None:
        """Counts buckets that have moved for their load."""
        balanced = self.history.balanced + buckets
        self.history = replace(self.history, balanced=balanced)

    @contextmanager
    def one_change(self, lagg: Callable[[], tuple[str, Shape]]) -> Iterator[None]:
        """What the options of `lagg` have become inside is told at the end.

        It answers the name and shape of the moment.
        """
        assert not self._in_change, "operations take turns"
        (_, before), self._in_change = lagg(), True
        try:
            yield
        finally:
            self._in_change = False
            name, after = lagg()
            self._tell_all(name, option_news(before, after))

    def _tell_all(self, lagg: str, found: Iterable[News]) -> None:
        for each in found:
            self.tell(
                *(lagg, each.event, each.details, each.port, each.cause),
                warns=each.warns,
            )
