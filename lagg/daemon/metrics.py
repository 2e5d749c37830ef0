# SPDX-License-Identifier: BSD-2-Clause
"""Prometheus metrics: the records of `show --json` under names that dashboards know.

Owns what `laggd --metrics`, which is off by default, answers.  Knows no operation but
what tells the records.
"""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from lagg.daemon.families import FAMILIES, OF_DAEMON, Family
from lagg.daemon.listener import (
    HttpAnswer,
    HttpListener,
    HttpRequest,
    listening,
)
from lagg.errors import LaggError
from lagg.life import Life
from lagg.model import Health
from lagg.records import DaemonRecord, LaggRecord

if TYPE_CHECKING:
    from prometheus_client.core import Metric

OPTION = "--metrics"
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
    try:
        import prometheus_client  # noqa: F401  its absence is to be told at start
    except ImportError as error:
        cause = "needs prometheus_client: install python3-prometheus-client, or laggd"
        thing = f"{OPTION} {address}:{port}"
        raise LaggError(thing, f"{cause}[metrics] by pip", errno.ENOPKG) from error
    return listening(OPTION, address, port, shared=shared)


class Metrics(HttpListener):
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
        super().__init__(listener)
        self._source = source
        self._life = life
        self._complaints = complaints

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """The page of one moment, at /metrics."""
        if request.path != "/metrics":
            return HttpAnswer("404 Not Found", b"here is only /metrics\n")
        laggs = await self._source.records(None)
        ailments = len(self._source.health().ailments) + len(self._complaints())
        # In a thread: with many ports it takes longer than a failover may.
        page = await asyncio.to_thread(text_of, laggs, ailments, self._life.record())
        return HttpAnswer("200 OK", page, TEXT)
