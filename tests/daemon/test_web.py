# SPDX-License-Identifier: BSD-2-Clause
"""The page of `laggd --web`: what is answered to whom, and that it loads nothing."""

import asyncio
import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence

import pytest

from lagg.cli.said import EXPECTED
from lagg.daemon import web
from lagg.daemon.web import PAGE, Web, is_address, policy_of, web_listener_of
from lagg.errors import LaggError
from lagg.events import EventKind
from lagg.life import Life
from lagg.model import LaggConfig
from lagg.records import LaggRecord
from tests.control.world import FakeCommands, happened
from tests.tree import ROOT

LAGG = LaggConfig("lagg0", ports=("eth0", "eth1"))
TEXT = PAGE.read_text(encoding="utf-8")


async def ask(where: tuple[str, int], request: str) -> tuple[str, bytes]:
    reader, writer = await asyncio.open_connection(*where)
    writer.write(request.replace("\n", "\r\n").encode())
    try:
        answer = await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body


class Looked(FakeCommands):
    """Commands that count how often records are read."""

    looks = 0

    async def records(self, name: str | None) -> tuple[LaggRecord, ...]:
        self.looks += 1
        return await super().records(name)


def answers(
    *requests: str, commands: FakeCommands | None = None, events: int = 0
) -> list[tuple[str, bytes]]:
    """Head and body that each gets, asked one after the other."""

    async def run() -> list[tuple[str, bytes]]:
        source = commands or FakeCommands()
        await source.create(LAGG)
        door = web_listener_of("127.0.0.1", 0)
        where = door.getsockname()
        async with Web(door, source, Life(), lambda: ["a file is wrong"]):
            for number in range(events):
                source.emit(happened(EventKind.LINK, "lagg0", f"{number}", number))
            found = [await ask(where, request) for request in requests]
        assert source.sinks == []
        return found

    return asyncio.run(run())


def get(path: str, host: str = "127.0.0.1:9751") -> str:
    return f"GET {path} HTTP/1.1\nHost: {host}\n\n"


def test_the_page_comes_with_a_policy_under_which_it_loads_nothing() -> None:
    ((head, body),) = answers(get("/"))
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert body.decode() == TEXT
    (policy,) = re.findall(r"Content-Security-Policy: (.*)", head)
    assert policy.rstrip("\r") == policy_of(TEXT)
    for line in (
        "Content-Type: text/html; charset=utf-8",
        "X-Content-Type-Options: nosniff",
        "Cross-Origin-Resource-Policy: same-origin",
        "Referrer-Policy: no-referrer",
        "Cache-Control: no-store",
    ):
        assert line in head.split("\r\n")


def test_the_policy_lets_the_page_s_own_parts_run_and_no_other() -> None:
    rules = dict(each.split(" ", 1) for each in policy_of(TEXT).split("; "))
    assert rules.pop("default-src") == "'none'"
    assert rules.pop("connect-src") == "'self'"
    assert rules.pop("img-src") == "data:"
    for tag in ("script", "style"):
        (part,) = re.findall(rf"<{tag}>(.*?)</{tag}>", TEXT, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert rules.pop(f"{tag}-src") == f"'sha256-{digest}'"
    assert set(rules.values()) == {"'none'"}


def test_the_page_names_nothing_outside_of_it() -> None:
    named = re.findall(r"(?:https?:)?//[\w.]+[\w/.]*|url\(|@import|\bsrc=", TEXT)
    assert named == ["http://www.w3.org/2000/svg"]
    assert re.findall(r'href="([^"]*)"', TEXT) == ["data:,"]
    assert "innerHTML" not in TEXT
    assert " style=" not in TEXT


def test_the_page_and_laggctl_know_the_same_frames_that_nobody_missed() -> None:
    (table,) = re.findall(r"const EXPECTED = (\{.*?\});", TEXT)
    assert json.loads(table) == EXPECTED


def test_what_it_draws_are_records_and_the_last_events() -> None:
    ((head, body),) = answers(get("/live.json"), events=web.EVENTS_MAX + 5)
    assert "Content-Type: application/json" in head
    found = json.loads(body)
    assert [lagg["name"] for lagg in found["laggs"]] == ["lagg0"]
    assert found["laggs"][0]["ports"][1]["reason"] == "carrier down"
    assert found["ailments"] == ["a file is wrong"]
    assert found["laggd"]["pid"] > 0
    assert found["time_ns"] > 0
    events = found["events"]
    assert [event["details"] for event in events] == [
        str(n) for n in range(5, web.EVENTS_MAX + 5)
    ]
    assert set(events[0]) == {"lagg", "port", "event", "details", "cause", "at"}


def test_many_who_look_at_a_time_cost_one_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web, "LOOK_S", 3600)
    commands = Looked()
    one, other = answers(get("/live.json"), get("/live.json"), commands=commands)
    assert one == other
    assert commands.looks == 1


@pytest.mark.parametrize(
    ("host", "may"),
    [
        *((host, True) for host in ("127.0.0.1", "127.0.0.1:9751", "[::1]:9751")),
        *((host, True) for host in ("localhost", "localhost:9751", "192.0.2.7:80")),
        *((host, False) for host in ("", "evil.example", "evil.example:9751")),
        *((host, False) for host in ("localhost.evil.example", "127.0.0.1.evil", "x")),
    ],
)
def test_only_who_asks_by_address_is_answered(host: str, may: bool) -> None:
    assert is_address(host) is may


def test_a_foreign_site_whose_name_has_our_address_gets_nothing() -> None:
    foreign = (get("/", "evil.example"), get("/live.json", "evil.example"))
    for head, body in answers(*foreign, "GET /live.json HTTP/1.1\n\n"):
        assert head.startswith("HTTP/1.1 403 ")
        assert b"lagg0" not in body


def statuses(requests: Sequence[str]) -> list[str]:
    return [head.split(" ")[1] for head, _ in answers(*requests)]


def test_there_is_nothing_else_and_nothing_can_be_changed() -> None:
    host = "Host: 127.0.0.1\n\n"
    methods = ("POST", "PUT", "DELETE", "OPTIONS", "")
    assert statuses([f"{method} / HTTP/1.1\n{host}" for method in methods]) == [
        "405"
    ] * len(methods)
    assert (
        statuses([get("/web.html"), get("/../web.py"), get("/live.json/x")])
        == ["404"] * 3
    )


def test_an_address_that_is_taken_is_named() -> None:
    with web_listener_of("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LaggError, match=f"--web 127.0.0.1:{port}: cannot listen"):
            web_listener_of("127.0.0.1", port)


@pytest.mark.parametrize("word", ["x", "localhost:9751", "65536", "127.0.0.1:", ":1"])
def test_what_is_no_address_is_a_usage_error(word: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.control.world", "--web", word],
        cwd=ROOT,
        env={"PYTHONPATH": "tools/packages"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "argument --web: " in done.stderr


def test_it_is_off_unless_asked_for_and_loopback_unless_said() -> None:
    from lagg.daemon.command_line import make_parser

    parser = make_parser()
    assert parser.parse_args([]).web is None
    assert parser.parse_args(["--web", "9751"]).web == ("127.0.0.1", 9751)
    assert parser.parse_args(["--web", "[::1]:1"]).web == ("::1", 1)
    program = "import sys, lagg.daemon.process; print('lagg.daemon.web' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
