# SPDX-License-Identifier: BSD-2-Clause
"""The supervisor (systemd, or who speaks its protocol): what it is told of laggd.

Owns sd_notify(3), the status line, and the watchdog's rule: a sign of life only from a
laggd whose event loop turns and whose workers all work.  Knows no kernel interface.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, Self

from lagg.events import Event
from lagg.model import Health
from lagg.tasks import Tasks

_log = logging.getLogger(__name__)

BEATS = 3
"""Signs of life in the time after which the supervisor takes us for dead."""

STATUS_SECONDS_MIN = 0.5
"""Between two status lines, however much happens."""

AILING_SECONDS = 0.5
"""Until all is looked at again while something ails: what is well again says so soon.
A forwarder that is killed for its silence, after 12 s, must cost no laggd its life."""


class HealthSource(Protocol):
    """What is asked of lagg.operations.commands."""

    def health(self) -> Health:
        """How laggs and workers are."""

    def subscribe(self, sink: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `sink` with each event until the result is called."""


def notify(state: str) -> None:
    """sd_notify(3): tells the supervisor, if there is one.  "READY=1", "STATUS=..."."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
        try:
            notifier.sendto(state.encode(), address)
        except OSError as error:
            _log.warning("the supervisor cannot be told %r: %s", state, error)


def watchdog_seconds() -> float | None:
    """After how long a silence we are taken for dead; None: nobody waits for signs."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    words = os.environ.get("WATCHDOG_USEC", "")
    return int(words) / 1_000_000 if words.isdecimal() and int(words) > 0 else None


def status_of(health: Health, complaints: Sequence[str] = ()) -> str:
    """One line: "2 laggs, 4 ports, 3 carry", what ails, and what is to be put right."""
    counts = (
        f"{health.laggs} lagg{'' if health.laggs == 1 else 's'}",
        f"{health.ports} port{'' if health.ports == 1 else 's'}",
        f"{health.carrying} carr{'ies' if health.carrying == 1 else 'y'}",
    )
    return "; ".join((", ".join(counts), *health.ailments, *complaints))


class Pulse:
    """Keeps the supervisor told while it is entered; an async context manager."""

    def __init__(
        self, source: HealthSource, complaints: Callable[[], Sequence[str]] = tuple
    ) -> None:
        """Nothing is told before it is entered, and nothing if nobody supervises.

        `complaints`: of what keeps laggd from nothing, but is to be put right.
        """
        self._source = source
        self._complaints = complaints
        self._tasks = Tasks()
        self._status = ""
        self._told: Health | None = None

    async def __aenter__(self) -> Self:
        """Tells the status as it is now, and begins."""
        if os.environ.get("NOTIFY_SOCKET"):
            self._tasks.keep("telling the supervisor", self._run)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Tells nothing any more."""
        await self._tasks.close()

    async def _run(self) -> None:
        limit_s = watchdog_seconds()
        rest_s = None if limit_s is None else limit_s / BEATS
        news = asyncio.Event()
        unsubscribe = self._source.subscribe(lambda _: news.set())
        try:
            while True:
                self._beat(alive=limit_s is not None)
                await asyncio.sleep(min(STATUS_SECONDS_MIN, rest_s or 1))
                ails = self._told is not None and self._told.ailments
                with suppress(TimeoutError):
                    await asyncio.wait_for(
                        news.wait(), AILING_SECONDS if ails else rest_s
                    )
                news.clear()
        finally:
            unsubscribe()

    def _beat(self, *, alive: bool) -> None:
        """The status if it is another, and the sign of life if all is well."""
        health = self._source.health()
        status = status_of(health, self._complaints())
        words = [] if status == self._status else [f"STATUS={status}"]
        if alive and not health.ailments:
            words.append("WATCHDOG=1")
        known = self._told.ailments if self._told else ()
        for ailment in set(health.ailments) - set(known):
            _log.error("%s", ailment)
        self._told, self._status = health, status
        if words:
            notify("\n".join(words))
