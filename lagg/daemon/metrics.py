# SPDX-License-Identifier: BSD-2-Clause
"""Prometheus metrics: the records of `show --json` under names that dashboards know.

Owns the listener of `laggd --metrics`, which is off by default.  Knows no operation but
what tells the records.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from lagg.daemon.families import FAMILIES, OF_DAEMON, Family
from lagg.errors import LaggError
from lagg.life import Life
from lagg.model import Health
from lagg.records import DaemonRecord, LaggRecord

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CLIENTS_MAX = 8
"""Connections at a time; further ones are closed at once."""

REQUEST_SECONDS = 5
"""Seconds for a client to ask, and again to read the answer."""

REQUEST_BYTES_MAX = 8192

TEXT = "text/plain; version=0.0.4; charset=utf-8"

R = TypeVar("R")


def names() -> list[str]:
    """Every metric as it is scraped."""
    families = (*OF_DAEMON, *FAMILIES)
    ours = [f"{each.name}_total" if each.counts else each.name for each in families]
    return ["laggd_ailments", *ours]


def text_of(laggs: Sequence[LaggRecord], ailments: int, daemon: DaemonRecord) -> bytes:
    """The page a scrape gets.  Takes milliseconds a lagg; any thread may call."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(laggs, ailments, daemon))
    return generate_latest(registry)


class _Page:
    """A collector of prometheus_client that knows one moment."""

    def __init__(
        self,
        laggs: Sequence[LaggRecord],
        ailments: int,
        daemon: DaemonRecord,
    ) -> None:
        self._laggs = laggs
        self._ailments = ailments
        self._daemon = daemon

    def collect(self) -> Iterable["Metric"]:
        from prometheus_client.core import GaugeMetricFamily

        for family in OF_DAEMON:
            yield _filled(family, [self._daemon])
        yield GaugeMetricFamily(
            "laggd_ailments",
            "Workers, upkeep and files that do not work",
            value=self._ailments,
        )
        for each in FAMILIES:
            yield _filled(each, self._laggs)


def _filled(family: Family[R], records: Iterable[R]) -> "Metric":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if family.counts else GaugeMetricFamily
    made = kind(family.name, family.text, labels=family.labels)
    for record in records:
        for labels, value in family.samples(record):
            made.add_metric(labels, value)
    return made


# ---- the listener ------------------------------------------------------------------


class RecordSource(Protocol):
    """What is asked of lagg.operations.commands."""

    def health(self) -> Health:
        """How laggs and workers are."""

    def records(self, name: str | None) -> Awaitable[Sequence[LaggRecord]]:
        """The record of every lagg."""


def listener_of(address: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket.  LaggError: no prometheus_client, or the kernel refuses.

    `shared`: with another laggd of this user, which is to be replaced.
    """
    thing = f"--metrics {address}:{port}"
    try:
        import prometheus_client  # noqa: F401  its absence is to be told at start
    except ImportError as error:
        cause = "needs prometheus_client: install python3-prometheus-client, or laggd"
        raise LaggError(thing, f"{cause}[metrics] by pip", errno.ENOPKG) from error
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, reuse_port=shared)
    except OSError as error:
        # create_server() says the address again.
        code = error.errno or errno.EIO
        raise LaggError(thing, f"cannot listen: {os.strerror(code)}", code) from error


class Metrics:
    """Answers scrapes while it is entered; an async context manager."""

    def __init__(
        self,
        listener: socket.socket,
        source: RecordSource,
        life: Life,
        complaints: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Takes the socket, which listens.

        `complaints`: what ails beside laggs and workers.
        """
        self._source = source
        self._listener = listener
        self._life = life
        self._complaints = complaints
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        """Serves from now on."""
        self._server = await asyncio.start_server(
            self._connected, sock=self._listener, limit=REQUEST_BYTES_MAX
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Serves no more, and cuts short who still reads."""
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.transport.abort()
        if self._clients:
            await asyncio.wait(self._clients.values())

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if len(self._clients) >= CLIENTS_MAX:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._clients[writer] = task
        try:
            # A client that goes or dawdles is its own affair.
            with suppress(
                OSError, TimeoutError, asyncio.IncompleteReadError, ValueError
            ):
                await self._answer(reader, writer)
        finally:
            del self._clients[writer]
            writer.transport.abort()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async with asyncio.timeout(REQUEST_SECONDS):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError:
                return
        request = head.split(b"\r\n", 1)[0].split()
        status, body = await self._page_of(request)
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {TEXT}", "Connection: close"]
        lines.append(f"Content-Length: {len(body)}")
        told = b"" if request[:1] == [b"HEAD"] else body  # RFC 9110 9.3.2
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + told)
        async with asyncio.timeout(REQUEST_SECONDS):
            await writer.drain()
            writer.write_eof()
            while await reader.read(REQUEST_BYTES_MAX):
                pass  # until it has all, and closes

    async def _page_of(self, request: Sequence[bytes]) -> tuple[str, bytes]:
        """The HTTP status and body for the words of a request line."""
        if request[:1] not in ([b"GET"], [b"HEAD"]):
            return "405 Method Not Allowed", b"GET and HEAD only\n"
        if request[1:2] != [b"/metrics"]:
            return "404 Not Found", b"here is only /metrics\n"
        laggs = await self._source.records(None)
        ailments = len(self._source.health().ailments) + len(self._complaints())
        # In a thread: with many ports it takes longer than a failover may.
        return "200 OK", await asyncio.to_thread(
            text_of, laggs, ailments, self._life.record()
        )
