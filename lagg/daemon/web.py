# SPDX-License-Identifier: BSD-2-Clause
"""A live page for a browser: the tree, rates, events and losses, to be looked at only.

Owns what `laggd --web`, which is off by default, answers: the page, which is one file,
and once a second the records and events that it draws.  Nothing can be changed by it.
Whoever is asked for by another name than an address is not answered: a foreign site
whose name was given our address (DNS rebinding) would read it by somebody's browser.
"""

import asyncio
import base64
import hashlib
import json
import re
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol, Self

from lagg.daemon.listener import HttpAnswer, HttpListener, HttpRequest, listening
from lagg.events import Event
from lagg.life import Life
from lagg.model import Health
from lagg.records import LaggRecord

OPTION = "--web"
PAGE = Path(__file__).with_name("web.html")
LIVE = "/live.json"

EVENTS_MAX = 100
"""Told to who opens the page later."""

LOOK_S = 0.5
"""What was read so shortly before is told again: all readers cost one look."""

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class WebSource(Protocol):
    """What is asked of lagg.operations.commands."""

    def health(self) -> Health:
        """How laggs and workers are."""

    def records(self, name: str | None) -> Awaitable[Sequence[LaggRecord]]:
        """The record of every lagg."""

    def subscribe(self, sink: Callable[[Event], None]) -> Callable[[], None]:
        """Has the sink told every event; answers what ends that."""


def web_listener_of(address: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket.  LaggError.  `shared`: see listening()."""
    return listening(OPTION, address, port, shared=shared)


def policy_of(page: str) -> str:
    """A Content-Security-Policy under which this page's own parts run, and no other."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_digests(page, 'script')}",
            f"style-src {_digests(page, 'style')}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _digests(page: str, tag: str) -> str:
    parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = (hashlib.sha256(part.encode()).digest() for part in parts)
    return " ".join(f"'sha256-{base64.b64encode(d).decode()}'" for d in digests)


def is_address(host: str) -> bool:
    """Whether a Host header names an address or localhost, which nobody can rebind."""
    name = re.sub(r":\d*$", "", host)
    if name == "localhost":
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


class Web(HttpListener):
    """Serves the page while it is entered; an async context manager."""

    def __init__(
        self,
        listener: socket.socket,
        source: WebSource,
        life: Life,
        complaints: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Takes the socket, which listens.

        `complaints`: what ails beside laggs and workers.
        """
        super().__init__(listener)
        self._source = source
        self._life = life
        self._complaints = complaints
        self._events = deque[Event](maxlen=EVENTS_MAX)
        self._unsubscribe: Callable[[], None] | None = None
        self._page = PAGE.read_text(encoding="utf-8")
        self._policy = policy_of(self._page)
        self._told: tuple[float, bytes] | None = None  # when, and what

    async def __aenter__(self) -> Self:
        """Serves from now on."""
        self._unsubscribe = self._source.subscribe(self._events.append)
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        """Serves no more, and cuts short who still reads."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        await super().__aexit__()

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """The page, or what it draws."""
        if not is_address(request.headers.get("host", "")):
            return HttpAnswer("403 Forbidden", b"ask by address, or as localhost\n")
        match request.path:
            case "/":
                policy = {"Content-Security-Policy": self._policy}
                kind = "text/html; charset=utf-8"
                return self._found(self._page.encode(), kind, policy)
            case path if path == LIVE:
                return self._found(await self._live(), "application/json")
        return HttpAnswer("404 Not Found", b"here are only / and /live.json\n")

    def _found(
        self, body: bytes, kind: str, more: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        return HttpAnswer("200 OK", body, kind, HEADERS | dict(more or {}))

    async def _live(self) -> bytes:
        now = time.monotonic()
        if self._told is None or now - self._told[0] > LOOK_S:
            laggs = await self._source.records(None)
            ailments = (*self._source.health().ailments, *self._complaints())
            found = {
                "host": socket.gethostname(),
                "time_ns": time.monotonic_ns(),
                "laggd": self._life.record(),
                "ailments": ailments,
                "laggs": laggs,
                "events": [_told(each) for each in self._events],
            }
            # In a thread: with many ports it takes longer than a failover may.
            octets = await asyncio.to_thread(lambda: json.dumps(found).encode())
            self._told = now, octets
        return self._told[1]


def _told(event: Event) -> dict[str, object]:
    """What the page says of an event; who asked for it is not for everybody."""
    return {
        "lagg": event.lagg,
        "port": event.port,
        "event": event.event.value,
        "details": event.details,
        "cause": event.cause,
        "at": event.at,
    }
