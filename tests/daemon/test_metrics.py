# SPDX-License-Identifier: BSD-2-Clause
"""Metrics: the record under Prometheus' names, the page, and who may not have it."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lagg.daemon import listener as http
from lagg.daemon.families import FAMILIES, OF_DAEMON
from lagg.daemon.metrics import (
    Metrics,
    listener_of,
    names,
    text_of,
)
from lagg.errors import LaggError
from lagg.life import Life
from lagg.model import LaggConfig
from lagg.records import DaemonRecord, LaggRecord, PortLacpRecord
from tests.control.world import FakeCommands, record_of
from tests.tree import ROOT

LAGG = LaggConfig("lagg0", ports=("eth0", "eth1"))

DAEMON: DaemonRecord = {
    "version": "2.0",
    "pid": 7,
    "started_at": "2017-07-14T02:40:00Z",
    "uptime_s": 10,
    "forwarder": {
        "version": "1.9",
        "pid": 6,
        "uptime_s": 50,
        "deaths": 2,
        "answers": False,
    },
    "adoptions": 3,
    "control_away_s": 0.25,
    "trials": [],
}

Page = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(page: bytes) -> Page:
    """Every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def record() -> LaggRecord:
    """A lagg whose first port has LACP's counters, too, and is watched."""
    found = record_of(LAGG)
    counters = {"lacpdu_rx": 7, "flaps": 1, "bad": {"runt": 2}}
    found["ports"][0]["lacp"] = cast(PortLacpRecord, {"counters": counters})
    found["ports"][0]["watch"] = [
        {
            "kind": "arp",
            "target": "192.0.2.1",
            "state": "down",
            "since": "2017-07-14T02:40:00Z",
            "reason": "no reply for 3 x 100 ms",
            "failures": 4,
            "bad": {"ttl": 5},
        }
    ]
    return found


def test_a_page_says_what_the_record_says() -> None:
    page = read(text_of([record()], 1, DAEMON))
    assert page[key("laggd_ailments")] == 1
    assert page[key("laggd_start_time_seconds", process="laggd")] == 1.5e9
    assert page[key("laggd_start_time_seconds", process="lagg-forwarder")] == 1.5e9 - 40
    versions = {"laggd": "2.0", "lagg-forwarder": "1.9"}
    for process, version in versions.items():
        assert page[key("laggd_build_info", process=process, version=version)] == 1
    assert page[key("laggd_adoptions_total")] == 3
    assert page[key("laggd_control_away_seconds")] == 0.25
    assert page[key("laggd_forwarder_deaths_total")] == 2
    assert page[key("laggd_forwarder_answers")] == 0
    assert page[key("laggd_lagg_tx_in_frames_total", lagg="lagg0")] == 10
    of_drop = key("laggd_lagg_dropped_frames_total", lagg="lagg0", reason="no-port")
    assert page[of_drop] == record()["counters"]["drops"]["no-port"] == 3
    eth0 = {"lagg": "lagg0", "port": "eth0"}
    assert page[key("laggd_port_tx_bytes_total", **eth0)] == 150_000_000
    assert page[key("laggd_port_speed_bits_per_second", **eth0)] == 10_000_000_000
    assert page[key("laggd_port_flag", **eth0, flag="active")] == 1
    assert page[key("laggd_port_flag", lagg="lagg0", port="eth1", flag="active")] == 0
    watch = {"watch": "1", "kind": "arp", "target": "192.0.2.1"}
    assert page[key("laggd_port_watch_alive", **eth0, **watch)] == 0
    assert page[key("laggd_port_watch_failures_total", **eth0, **watch)] == 4
    bad = key("laggd_port_watch_bad_frames_total", **eth0, **watch, reason="ttl")
    assert page[bad] == 5
    heard = key("laggd_port_lacp_events_total", **eth0, event="lacpdu_rx")
    assert page[heard] == 7
    assert page[key("laggd_port_lacp_bad_frames_total", **eth0, reason="runt")] == 2


def test_every_name_is_on_a_page_and_nothing_else_is() -> None:
    page = read(text_of([record()], 0, DAEMON))
    assert {name for name, _ in page} == set(names())
    assert len(names()) == len(set(names())) == len(OF_DAEMON) + len(FAMILIES) + 1


def test_every_name_is_documented() -> None:
    text = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
    assert [name for name in names() if f"`{name}`" not in text] == []


# ---- the listener ------------------------------------------------------------------


def listener() -> socket.socket:
    return listener_of("127.0.0.1", 0)


async def ask(where: tuple[str, int], request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*where)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


def answers(*requests: bytes) -> list[bytes]:
    """What a listener of one lagg answers to each, asked one after the other."""

    async def run() -> list[bytes]:
        commands = FakeCommands()
        await commands.create(LAGG)
        door = listener()
        async with Metrics(door, commands, Life()):
            where = door.getsockname()
            return [await ask(where, request) for request in requests]

    return asyncio.run(run())


def test_a_scrape_gets_the_page() -> None:
    (answer,) = answers(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert read(body)[key("laggd_lagg_ports", lagg="lagg0")] == 2


def test_who_asks_for_the_head_alone_gets_that() -> None:
    head, whole = answers(
        b"HEAD /metrics HTTP/1.1\r\n\r\n", b"GET /metrics HTTP/1.1\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0\r\n" not in head
    assert len(whole) > len(head)


def test_other_questions_are_refused() -> None:
    first, second, third = answers(
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\n\r\n",
        b"\r\n\r\n",
    )
    assert first.startswith(b"HTTP/1.1 404 ")
    assert second.startswith(b"HTTP/1.1 405 ")
    assert third.startswith(b"HTTP/1.1 405 ")


def test_a_question_without_an_end_gets_no_answer() -> None:
    assert answers(b"x" * (http.REQUEST_BYTES_MAX + 1)) == [b""]


def test_one_client_too_many_is_turned_away_and_the_others_stay() -> None:
    async def run() -> tuple[bytes, bytes]:
        door = listener()
        async with Metrics(door, FakeCommands(), Life()):
            where = door.getsockname()
            idle = [
                await asyncio.open_connection(*where) for _ in range(http.CLIENTS_MAX)
            ]
            one_more, last = await asyncio.open_connection(*where)
            try:
                late = await asyncio.wait_for(one_more.read(), 60)
            except ConnectionResetError:
                late = b""
            idle[0][1].write(b"GET /metrics HTTP/1.1\r\n\r\n")
            first = await asyncio.wait_for(idle[0][0].readline(), 60)
            for _, writer in (*idle, (one_more, last)):
                writer.close()
            return late, first

    assert asyncio.run(run()) == (b"", b"HTTP/1.1 200 OK\r\n")


# ---- the command line --------------------------------------------------------------


@contextmanager
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_an_address_that_is_taken_is_named() -> None:
    with taken() as port, pytest.raises(LaggError) as refusal:
        listener_of("127.0.0.1", port)
    assert str(refusal.value) == (
        f"--metrics 127.0.0.1:{port}: cannot listen: Address already in use"
        " (EADDRINUSE)"
    )


def test_without_prometheus_client_the_remedy_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(LaggError, match="install python3-prometheus-client, or laggd"):
        listener_of("127.0.0.1", 0)


@pytest.mark.parametrize("word", ["9750", ":9750", "localhost:9750", "::1:65536", "x:"])
def test_what_is_no_address_is_a_usage_error(word: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.control.world", "--metrics", word],
        cwd=ROOT,
        env={"PYTHONPATH": "tools/packages"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "argument --metrics: " in done.stderr


def test_metrics_are_off_by_default_and_cost_no_import() -> None:
    program = (
        "import sys, lagg.daemon.process; print('prometheus_client' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
