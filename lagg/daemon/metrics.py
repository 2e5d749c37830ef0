# SPDX-License-Identifier: BSD-2-Clause
"""Prometheus metrics: the records of `show --json` under names that dashboards know.

Owns the names, and the listener of `laggd --metrics`, which is off by default.  Knows
no operation but what tells the records.  A counter begins anew with its lagg or port.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from lagg.errors import LaggError
from lagg.life import Life
from lagg.model import Health, PortFlag
from lagg.records import DaemonRecord, LaggRecord, PortRecord

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CLIENTS_MAX = 8
"""Connections at a time; further ones are closed at once."""

REQUEST_SECONDS = 5
"""Seconds for a client to ask, and again to read the answer."""

REQUEST_BYTES_MAX = 8192

TEXT = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[tuple[str, ...], float]  # label values, value


R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Family(Generic[R]):
    """A metric: its name, what its labels are called, and its samples of a record."""

    name: str  # of a counter without "_total"
    text: str
    counts: bool
    labels: tuple[str, ...]
    samples: Callable[[R], Iterable[Sample]]


def _of_lagg(
    name: str, text: str, value: Callable[[LaggRecord], float], *, counts: bool = False
) -> Family[LaggRecord]:
    def samples(each: LaggRecord) -> Iterable[Sample]:
        yield (each["name"],), value(each)

    return Family(f"laggd_lagg_{name}", text, counts, ("lagg",), samples)


def _of_ports(
    name: str, text: str, value: Callable[[PortRecord], float], *, counts: bool = False
) -> Family[LaggRecord]:
    def samples(each: LaggRecord) -> Iterable[Sample]:
        for port in each["ports"]:
            yield (each["name"], port["name"]), value(port)

    return Family(f"laggd_port_{name}", text, counts, ("lagg", "port"), samples)


def _lagg_words(each: LaggRecord) -> Iterable[Sample]:
    yield (each["name"], each["proto"], each["mac"]), 1


def _lagg_drops(each: LaggRecord) -> Iterable[Sample]:
    for reason, frames in each["counters"]["drops"].items():
        yield (each["name"], reason), frames


def _port_drops(each: LaggRecord) -> Iterable[Sample]:
    for port in each["ports"]:
        for reason, frames in port["drops"].items():
            yield (each["name"], port["name"], reason), frames


def _port_departures(each: LaggRecord) -> Iterable[Sample]:
    for port in each["ports"]:
        for cause, times in port["departures"].items():
            yield (each["name"], port["name"], cause), times


def _port_flags(each: LaggRecord) -> Iterable[Sample]:
    for port in each["ports"]:
        for flag in PortFlag:
            labels = (each["name"], port["name"], flag.value.lower())
            yield labels, flag.value in port["flags"]


def _lacp_events(each: LaggRecord) -> Iterable[Sample]:
    for port in each["ports"]:
        counters = port["lacp"]["counters"] if port["lacp"] else None
        for event, count in (counters or {}).items():
            if isinstance(count, int):  # what is bad has names of its own
                yield (each["name"], port["name"], event), count


def _lacp_bad(each: LaggRecord) -> Iterable[Sample]:
    for port in each["ports"]:
        if port["lacp"]:
            for reason, count in port["lacp"]["counters"]["bad"].items():
                yield (each["name"], port["name"], reason), count


FAMILIES = (
    Family(
        "laggd_lagg_info",
        "1; laggproto and MAC of lagg0 are labels",
        False,
        ("lagg", "proto", "mac"),
        _lagg_words,
    ),
    _of_lagg("up", "1 while administratively up", lambda a: a["up"]),
    _of_lagg("carrier", "1 while a port carries frames", lambda a: a["link"] == "up"),
    _of_lagg(
        "carrier_losses", "Times it went", lambda a: a["link_losses"], counts=True
    ),
    _of_lagg("mtu_bytes", "MTU", lambda a: a["mtu"]),
    _of_lagg(
        "speed_bits_per_second",
        "What the ports that carry have together; 0 when unknown",
        lambda a: a["speed_mbps"] * 1_000_000,
    ),
    _of_lagg(
        "failovers",
        "Times that another port or group of ports took over",
        lambda a: a["failovers"],
        counts=True,
    ),
    _of_lagg("ports", "Attached ports", lambda a: len(a["ports"])),
    _of_lagg(
        "publications", "Snapshots published", lambda a: a["generation"], counts=True
    ),
    _of_lagg(
        "limbo_snapshots",
        "Replaced snapshots that a worker may still see",
        lambda a: a["limbo"]["snapshots"],
    ),
    _of_lagg(
        "limbo_oldest_seconds",
        "Since the oldest of them was replaced; grows when a worker is stuck",
        lambda a: a["limbo"]["oldest_ms"] / 1000,
    ),
    _of_lagg(
        "tx_in_frames",
        "Frames the host gave to the lagg",
        lambda a: a["counters"]["tx_in"],
        counts=True,
    ),
    _of_lagg(
        "tx_out_frames",
        "Frames the lagg gave to ports",
        lambda a: a["counters"]["tx_out"],
        counts=True,
    ),
    _of_lagg(
        "rx_in_frames",
        "Frames ports gave to the lagg",
        lambda a: a["counters"]["rx_in"],
        counts=True,
    ),
    _of_lagg(
        "rx_out_frames",
        "Frames the lagg gave to the host",
        lambda a: a["counters"]["rx_out"],
        counts=True,
    ),
    Family(
        "laggd_lagg_dropped_frames",
        "Frames not delivered, by reason",
        True,
        ("lagg", "reason"),
        _lagg_drops,
    ),
    _of_ports("carrier", "1 while it has its link", lambda p: p["link"] == "up"),
    _of_ports(
        "speed_bits_per_second",
        "What ethtool says; 0 when unknown",
        lambda p: p["speed_mbps"] * 1_000_000,
    ),
    _of_ports("held", "1 while nothing is given to it", lambda p: p["held"]),
    _of_ports(
        "suppressed",
        "1 while it is kept out, for it was lost too often",
        lambda p: p["damping"]["suppressed"],
    ),
    _of_ports(
        "penalty",
        "For losing its link: 1000 each time, halved every 5 s",
        lambda p: p["damping"]["penalty"],
    ),
    _of_ports(
        "failures",
        "Times that it was used, and left for want of its link or path",
        lambda p: p["failures"],
        counts=True,
    ),
    Family(
        "laggd_port_departures",
        "Times that it was left, by cause; hold, damping and agreement included",
        True,
        ("lagg", "port", "cause"),
        _port_departures,
    ),
    _of_ports(
        "state_since_seconds",
        "Since when it is usable, or is not, in seconds since 1970",
        lambda p: datetime.fromisoformat(p["state_since"]).timestamp(),
    ),
    Family(
        "laggd_port_flag",
        "1 while the port has this laggport flag",
        False,
        ("lagg", "port", "flag"),
        _port_flags,
    ),
    _of_ports("tx_frames", "Frames sent", lambda p: p["tx_frames"], counts=True),
    _of_ports("tx_bytes", "Bytes sent", lambda p: p["tx_bytes"], counts=True),
    _of_ports("rx_frames", "Frames received", lambda p: p["rx_frames"], counts=True),
    _of_ports("rx_bytes", "Bytes received", lambda p: p["rx_bytes"], counts=True),
    _of_ports(
        "rings_reopened",
        "Receive rings that could not move, opened anew",
        lambda p: p["rings_reopened"],
        counts=True,
    ),
    Family(
        "laggd_port_dropped_frames",
        "Frames not delivered, by port and reason",
        True,
        ("lagg", "port", "reason"),
        _port_drops,
    ),
    Family(
        "laggd_port_lacp_events",
        "LACPDUs, markers, flaps and churns, while laggproto is lacp",
        True,
        ("lagg", "port", "event"),
        _lacp_events,
    ),
    Family(
        "laggd_port_lacp_bad_frames",
        "Slow-protocol frames that are none, by reason",
        True,
        ("lagg", "port", "reason"),
        _lacp_bad,
    ),
)


def _started(daemon: DaemonRecord) -> Iterable[Sample]:
    at_s = datetime.fromisoformat(daemon["started_at"]).timestamp()
    yield ("laggd",), at_s
    if daemon["forwarder"] is not None:
        yield (FORWARDER,), at_s + daemon["uptime_s"] - daemon["forwarder"]["uptime_s"]


def _versions(daemon: DaemonRecord) -> Iterable[Sample]:
    yield ("laggd", daemon["version"]), 1
    if daemon["forwarder"] is not None:
        yield (FORWARDER, daemon["forwarder"]["version"]), 1


def _adoptions(daemon: DaemonRecord) -> Iterable[Sample]:
    yield (), daemon["adoptions"]


def _away(daemon: DaemonRecord) -> Iterable[Sample]:
    yield (), daemon["control_away_s"] or 0


def _deaths(daemon: DaemonRecord) -> Iterable[Sample]:
    if daemon["forwarder"] is not None:
        yield (), daemon["forwarder"]["deaths"]


def _answers(daemon: DaemonRecord) -> Iterable[Sample]:
    if daemon["forwarder"] is not None:
        yield (), daemon["forwarder"]["answers"]


FORWARDER = "lagg-forwarder"

OF_DAEMON = (
    Family("laggd_build_info", "1", False, ("process", "version"), _versions),
    Family(
        "laggd_start_time_seconds",
        "Since when a process is there, in seconds since 1970",
        False,
        ("process",),
        _started,
    ),
    Family(
        "laggd_adoptions",
        "laggds that went on with the laggs of another one, one after the other",
        True,
        (),
        _adoptions,
    ),
    Family(
        "laggd_control_away_seconds",
        "Since the end of the last laggd until this one acted; 0: there was none",
        False,
        (),
        _away,
    ),
    Family(
        "laggd_forwarder_deaths",
        "Processes carrying frames that ended while this laggd ran",
        True,
        (),
        _deaths,
    ),
    Family(
        "laggd_forwarder_answers",
        "1 while the process that carries frames does what it is told",
        False,
        (),
        _answers,
    ),
)


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
        status, body = await self._page_of(head.split(b"\r\n", 1)[0].split())
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {TEXT}", "Connection: close"]
        lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        async with asyncio.timeout(REQUEST_SECONDS):
            await writer.drain()
            writer.write_eof()
            while await reader.read(REQUEST_BYTES_MAX):
                pass  # until it has all, and closes

    async def _page_of(self, request: Sequence[bytes]) -> tuple[str, bytes]:
        """The HTTP status and body for the words of a request line."""
        if request[:1] != [b"GET"]:
            return "405 Method Not Allowed", b"GET only\n"
        if request[1:2] != [b"/metrics"]:
            return "404 Not Found", b"here is only /metrics\n"
        laggs = await self._source.records(None)
        ailments = len(self._source.health().ailments) + len(self._complaints())
        # In a thread: with many ports it takes longer than a failover may.
        return "200 OK", await asyncio.to_thread(
            text_of, laggs, ailments, self._life.record()
        )
