# SPDX-License-Identifier: BSD-2-Clause
"""The usual lab: two hosts, cables between them, a laggd on each, a lagg on each.

Owns names and addresses, so that tests need not: host a has ports p0, p1, ... and
10.77.0.1, fd77::1; host b has q0, q1, ... and 10.77.0.2, fd77::2; the lagg is lagg0.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from lab.daemon import Daemon, conserved
from lab.host import Host
from lab.lab import Lab
from lab.ping import Pings, ping
from lab.stream import Stream, StreamResult
from lab.waiting import wait_until

LAGG = "lagg0"
READY_SECONDS = 120.0
"""Longer than a port is held whose partner changes too often: 60 s."""


@dataclass(frozen=True, slots=True)
class End:
    """One side of the pair."""

    host: Host
    laggd: Daemon
    address: str
    address6: str

    def record(self) -> dict[str, Any]:
        """The record of its lagg0."""
        return self.laggd.record(LAGG)


@dataclass(slots=True)
class Streaming:
    """Streams both ways, while they run; the results are there after the block."""

    streams: tuple[Stream, Stream]
    results: tuple[StreamResult, ...] = ()

    @property
    def there(self) -> StreamResult:
        """From a to b."""
        return self.results[0]

    @property
    def back(self) -> StreamResult:
        """From b to a."""
        return self.results[1]


class Pair:
    """Two laggs that are each other's partner."""

    def __init__(
        self,
        lab: Lab,
        *,
        cables: int = 2,
        proto: str = "failover",
        options: tuple[str, ...] = (),
        ports: int | None = None,
        patched: bool = False,
        like_hardware: bool = False,
        log_level: str = "info",
        laggd: tuple[str, ...] = (),
    ) -> None:
        """`ports` of the `cables` are attached at once (default all), in order.

        `options` go to `laggctl create` on both sides, `laggd` to both daemons.
        Returns when pings pass, unless the protocol is none or there is no port.
        """
        hosts = (lab.host("a"), lab.host("b"))
        self.cables = [
            lab.cable(
                hosts[0],
                f"p{i}",
                hosts[1],
                f"q{i}",
                patched=patched,
                like_hardware=like_hardware,
            )
            for i in range(cables)
        ]
        attached = cables if ports is None else ports
        words = (LAGG, "--proto", proto, *options)
        daemon = partial(lab.daemon, log_level=log_level, options=laggd)
        self.a = _end(hosts[0], 1, (*words, *_ports("p", attached)), daemon)
        self.b = _end(hosts[1], 2, (*words, *_ports("q", attached)), daemon)
        if attached and proto != "none":
            self.wait_until_ready()

    @property
    def ends(self) -> tuple[End, End]:
        """Both sides."""
        return self.a, self.b

    def wait_until_ready(self) -> None:
        """Until pings pass, so that nothing is lost to address resolution."""
        for ipv6 in (False, True):
            wait_until(
                partial(self._answers, ipv6=ipv6), READY_SECONDS, "host b answers pings"
            )

    def _answers(self, *, ipv6: bool) -> bool:
        to = self.b.address6 if ipv6 else self.b.address
        return ping(self.a.host, to, count=1, wait_s=0.1).lost == 0

    def wait_until_links(self, count: int) -> None:
        """Until `count` ports have their link, on both sides."""
        for end in self.ends:
            wait_until(
                partial(self._links, end, count), READY_SECONDS, f"{count} links up"
            )

    def _links(self, end: End, count: int) -> bool:
        return [port["link"] for port in end.record()["ports"]].count("up") == count

    def wait_until_agreed(self, count: int, deadline_s: float = READY_SECONDS) -> float:
        """LACP: until `count` ports distribute at both ends, which know it; seconds."""

        def agreed() -> bool:
            return all(agreeing(end.record()) == count for end in self.ends)

        return wait_until(agreed, deadline_s, f"{count} ports agree")

    def ctl(self, command: str, *words: str) -> None:
        """Runs laggctl COMMAND lagg0 WORDS... on a, then on b."""
        for end in self.ends:
            end.laggd.ctl(command, LAGG, *words)

    def ping(self, *, count: int = 3, ipv6: bool = False, size: int = 56) -> Pings:
        """From a to b."""
        to = self.b.address6 if ipv6 else self.b.address
        return ping(self.a.host, to, count=count, size=size)

    def start(self, **shape: Any) -> tuple[Stream, Stream]:  # noqa: ANN401
        """Starts a stream from a to b and one back; keywords as Stream's."""
        a, b = self.a, self.b
        there = Stream(a.host, b.host, b.address, **shape)
        return there, Stream(b.host, a.host, a.address, **shape)

    def stream(
        self,
        *,
        seconds: float,
        **shape: Any,  # noqa: ANN401
    ) -> tuple[StreamResult, StreamResult]:
        """Streams both ways, to their end; keywords as Stream's."""
        there, back = self.start(seconds=seconds, **shape)
        return there.result(), back.result()

    @contextmanager
    def streaming(self, **shape: Any) -> Iterator[Streaming]:  # noqa: ANN401
        """Streams both ways while the block runs; keywords as Stream's.

        The senders end after the block in good order: nothing is in flight then.
        """
        run = Streaming(self.start(**shape))
        yield run
        for stream in run.streams:
            stream.stop()
        run.results = tuple(stream.result() for stream in run.streams)

    def conserved(self) -> None:
        """Asserts for both laggs that every frame was delivered or counted."""
        for end in self.ends:
            conserved(end.record())


def agreeing(record: dict[str, Any]) -> int:
    """LACP: how many ports distribute, and their partner knows."""
    return sum(
        port["lacp"]["actor"]["state"] == port["lacp"]["partner"]["state"]
        for port in record["ports"]
        if "DISTRIBUTING" in port["flags"]
    )


def _end(
    host: Host, number: int, words: tuple[str, ...], daemon: Callable[[Host], Daemon]
) -> End:
    laggd = daemon(host)
    laggd.ctl("create", *words)
    end = End(host, laggd, f"10.77.0.{number}", f"fd77::{number}")
    host.add_address(LAGG, f"{end.address}/24")
    host.add_address(LAGG, f"{end.address6}/64")
    return end


def _ports(letter: str, count: int) -> list[str]:
    return [word for i in range(count) for word in ("--port", f"{letter}{i}")]
