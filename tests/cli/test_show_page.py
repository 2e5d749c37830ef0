# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl show` as a page: what it says beside the table."""

import pytest

from lagg.cli.show_page import event_line, plain, show_page, status_line
from lagg.control.messages import AskerJson, EventJson
from lagg.records import DaemonRecord, HalfRecord, WatchRecord
from tests.control.world import a_record


def test_show_tells_who_holds_replaced_snapshots() -> None:
    held = a_record(limbo={"snapshots": 2, "oldest_ms": 350, "worker": 1})
    line = "  2 replaced snapshots in use by worker 1, the oldest for 350 ms\n"
    assert line in show_page([held], plain)
    assert "replaced" not in show_page([a_record()], plain)
    assert "no replaced snapshot in use" in show_page([a_record()], plain, verbose=True)


def test_show_says_why_a_port_is_promiscuous_when_asked_for_more() -> None:
    page = a_record()
    page["ports"][0]["promisc"] = "its lagg is"
    line = "  eth0 is promiscuous: its lagg is"
    assert line in show_page([page], plain, verbose=True).splitlines()
    assert "promiscuous" not in show_page([page], plain)
    assert "promiscuous" not in show_page([a_record()], plain, verbose=True)


def test_show_warns_of_what_somebody_uses_a_port_for() -> None:
    page = a_record()
    page["ports"][0]["warnings"] = ["has vlan eth0.7 on it"]
    assert "    warning: has vlan eth0.7 on it\n" in show_page([page], plain)


def test_show_tells_what_a_watch_found_if_it_is_bad_or_more_is_asked_for() -> None:
    page = a_record()
    since = "2026-01-02T03:04:05.000006Z"
    up = WatchRecord(
        kind="poll",
        target="",
        state="up",
        since=since,
        reason="it answers",
        failures=0,
        bad={},
    )
    down = WatchRecord(
        kind="arp",
        target="192.0.2.1",
        state="down",
        since=since,
        reason="no reply to 4 probes",
        failures=1,
        bad={"ttl": 3, "length": 1},
    )
    page["ports"][0]["watch"] = [up, down]
    page["ports"][1]["watch"] = [down]  # it has no carrier, which says all
    bad = f"    watch arp 192.0.2.1 down since {since}: no reply to 4 probes, lost once"
    bad += ", bad: ttl 3, length 1"
    good = f"    watch poll up since {since}: it answers, lost 0 times"
    told = [line for line in show_page([page], plain).splitlines() if "watch" in line]
    assert told == [bad]
    whole = show_page([page], plain, verbose=True).splitlines()
    assert [line for line in whole if "watch" in line] == [good, bad, bad]


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (None, ""),
        ({"uid": 0, "pid": 7, "program": "laggctl"}, ", by laggctl, pid 7, uid 0"),
        ({"uid": 0, "pid": 7, "program": None}, ", by pid 7, uid 0"),
        ({"uid": 1000, "pid": 0, "program": None}, ", by uid 1000"),
    ],
)
def test_an_event_says_its_cause_and_who_asked(
    by: AskerJson | None, words: str
) -> None:
    event: EventJson = {
        "lagg": "lagg0",
        "port": "eth1",
        "event": "active-port",
        "details": "carries the lagg now",
        "time_ns": 1,
        "at": "2026-01-02T03:04:05.000006Z",
        "cause": "eth0 down",
        "by": by,
    }
    line = event_line(event, "03:04:05", plain)
    place = "03:04:05 lagg0 port eth1 active-port"
    assert line == f"{place}: carries the lagg now (eth0 down){words}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (7200, "2 h 0 min"),
        (3 * 86_400 + 4 * 3600 + 59, "3 d 4 h"),
    ],
)
def test_the_status_line_has_the_two_largest_units_and_each_process(
    seconds: int, words: str
) -> None:
    status: DaemonRecord = {
        "version": "1.2",
        "pid": 7,
        "uptime_s": seconds,
        "started_at": "",
        "forwarder": None,
        "adoptions": 0,
        "control_away_s": None,
    }
    assert status_line(status) == f"laggd 1.2, pid 7, for {words}"
    forwarder: HalfRecord = {
        "version": "1.3",
        "pid": 8,
        "uptime_s": seconds,
        "deaths": 0,
        "answers": True,
    }
    status["forwarder"] = forwarder
    assert status_line(status) == (
        f"laggd 1.2, pid 7, for {words}; lagg-forwarder 1.3, pid 8, for {words}"
    )
    status["adoptions"], status["control_away_s"] = 2, 0.309
    forwarder["deaths"], forwarder["answers"] = 1, False
    assert status_line(status) == (
        f"laggd 1.2, pid 7, for {words}, adopted 2 times, away 0.31 s;"
        f" lagg-forwarder 1.3, pid 8, for {words}, died once, does not answer"
    )
