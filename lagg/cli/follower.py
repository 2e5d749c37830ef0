# SPDX-License-Identifier: BSD-2-Clause
"""Whichever laggd there is: for commands that run for long, and outlive it.

Owns the connections, the wait for the next laggd, and what is said of it: a line on
stderr when laggd is gone and one when it is back, and among the events one that tells
of the gap.  Knows no command.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from lagg.cli.output import warn
from lagg.control.client import LOOKS, START_S, Client, NoDaemonError
from lagg.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lagg.control.messages import EventJson

T = TypeVar("T")

RETRY_S = 0.1
"""Between two looks whether there is a laggd again."""


class Follower:
    """Calls and events, of one laggd after another; a context manager."""

    def __init__(self, path: str) -> None:
        """Connects when it is first asked for something, as Client does.

        Only who was there is waited for, and who starts just now: else NoDaemonError.
        """
        self._path = path
        self._asked: Client | None = None
        self._heard: Client | None = None
        self._events: Iterator[dict[str, Any]] = iter(())
        self._was_there = False
        self._gone_at: float | None = None  # monotonic
        self._gap: EventJson | None = None  # which next_event() is to tell of

    def __enter__(self) -> Self:
        """The follower itself; its connections end with the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connections."""
        self._close()

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """The reply to one of LOOKS, by the next laggd if this one goes.

        LaggError when it is refused.
        """
        assert method in LOOKS, "what may be done is not to be done again"
        return self._lasting(lambda: self._caller().call(method, **parameters))

    def listen(self) -> Client:
        """Has every change told from now on; the connection by which, for poll(2)."""
        return self._lasting(self._listen)

    def next_event(self) -> EventJson:
        """Waits for the next event; after a gap the first tells of that."""
        while True:
            self.listen()
            if self._gap is not None:
                gap, self._gap = self._gap, None
                return gap
            try:
                return cast("EventJson", next(self._events)["event"])
            except (NoDaemonError, StopIteration):
                self._lose()

    @property
    def unread(self) -> bool:
        """Whether next_event() has one to tell of, whatever poll(2) says."""
        if self._heard is None:
            return True
        return self._gap is not None or self._heard.unread

    def _client(self) -> Client:
        return Client(self._path, 0 if self._was_there else START_S)

    def _caller(self) -> Client:
        if self._asked is None:
            self._asked = self._client()
        return self._asked

    def _listen(self) -> Client:
        if self._heard is None:
            self._heard = self._client()
            self._events = self._heard.stream("Monitor")
            next(self._events)  # says only that events follow
        return self._heard

    def _lasting(self, act: Callable[[], T]) -> T:
        while True:
            try:
                found = act()
            except NoDaemonError:
                if not self._was_there:
                    raise
                self._lose()
            else:
                self._find()
                return found

    def _lose(self) -> None:
        self._close()
        if self._gone_at is None:
            warn("laggd is gone; waiting")
            self._gone_at = time.monotonic()
        time.sleep(RETRY_S)

    def _find(self) -> None:
        self._was_there = True
        if self._gone_at is not None:
            warn("laggd is back")
            self._gap = _gap(time.monotonic() - self._gone_at)
            self._gone_at = None

    def _close(self) -> None:
        for client in (self._asked, self._heard):
            if client is not None:
                client.close()
        self._asked = self._heard = None


def _gap(away_s: float) -> EventJson:
    return {
        "lagg": "",
        "port": None,
        "event": EventKind.EVENTS_LOST.value,
        "details": f"laggd was away for {away_s:.1f} s, what happened then is not told",
        "time_ns": time.monotonic_ns(),
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "cause": None,
        "by": None,
    }
