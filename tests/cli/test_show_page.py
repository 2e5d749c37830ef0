# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl show` as a page: what it says beside the table."""

import pytest

from lagg.cli.lines import event_line, status_line
from lagg.cli.said import EXPECTED, WARNING, coloured, plain
from lagg.cli.show_page import show_page
from lagg.control.messages import AskerJson, EventJson
from lagg.model import Drop
from lagg.plan.plan import REFUSALS
from lagg.records import DaemonRecord, HalfRecord, WatchRecord
from tests.control.world import SINCE, a_record


def test_show_tells_who_holds_replaced_snapshots() -> None:
    held = a_record(limbo={"snapshots": 2, "oldest_ms": 350, "worker": 1})
    line = "  worker 1 may still use older ones, replaced 350 ms ago\n"
    assert line in show_page([held], plain, verbose=True)
    assert "worker" not in show_page([held], plain)
    newest = "  every worker uses the newest snapshot\n"
    assert newest in show_page([a_record()], plain, verbose=True)


@pytest.mark.parametrize(
    ("proto", "key", "words"),
    [
        ("failover", "failover_rx_all", "failover_rx_all on"),
        ("roundrobin", "rr_limit", "rr_limit 9"),
        ("loadbalance", "lagghash", "lagghash l3,l4"),
        ("lacp", "lacp_strict", "lacp_strict off"),
        ("none", "mac_policy", "mac_policy own"),
    ],
)
def test_show_prints_the_options_that_count_and_are_not_the_default_s(
    proto: str, key: str, words: str
) -> None:
    other: dict[str, object] = {
        "lacp_strict": False,
        "failover_rx_all": True,
        "rr_limit": 9,
    }
    other |= {"lagghash": ["l3", "l4"], "mac_policy": "own"}
    usual = a_record(proto=proto)
    assert key not in show_page([usual], plain)
    assert f"  {key} " in show_page([usual], plain, verbose=True)
    usual["options"][key] = other[key]
    lines = show_page([usual], plain).splitlines()
    assert lines[3:5] == [f"  {words}", ""]
    usual["proto"] = "broadcast"
    assert (key in show_page([usual], plain)) == (key == "mac_policy")


def test_frames_that_nobody_missed_are_told_apart_from_those_that_were_lost() -> None:
    page = a_record()
    page["counters"]["drops"] = {"not-accepted": 14, "no-port": 3, "tx-full": 0}
    page["ports"][1]["drops"] = {"not-accepted": 14}
    lines = show_page([page], coloured).splitlines()
    assert lines[-2:] == [
        "  besides   14 not for us (standby)",
        coloured("  lost      no-port 3", WARNING),
    ]
    page["counters"]["drops"]["no-port"] = 0
    whole = show_page([page], coloured)
    assert "lost" not in whole
    assert f"\033[{WARNING}m" not in whole
    assert "    14 not for us (standby)" in show_page([page], plain, verbose=True)


def test_nobody_misses_what_is_refused_for_its_macs() -> None:
    refused = {drop.value for drop in REFUSALS}
    assert refused < set(EXPECTED) < {drop.value for drop in Drop}


def test_show_says_who_took_over_last_and_the_ports_that_are_preferred() -> None:
    page = a_record(failovers=3)
    page["last_failover"] = {"from": "eth1", "to": "eth0", "cause": "x", "at": SINCE}
    page["ports"][0]["priority"] = 5
    shown = show_page([page], plain, clock=lambda at: f"<{at[:10]}>").splitlines()
    day = f"<{SINCE[:10]}>"
    assert shown[:5] == [
        f"lagg0: failover, link up since {day}, 10 Gbit/s",
        "  carries by eth0: the primary carries all",
        f"  last failover {day}: eth1 -> eth0 (x), 3 times so far",
        "  mac 02:00:5e:00:53:01  mtu 1500",
        "  priority eth0 5, eth1 0",
    ]


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
    assert [line for line in whole if "watch " in line] == [good, bad, bad]


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
        "details": "eth0 -> eth1",
        "time_ns": 1,
        "at": "2026-01-02T03:04:05.000006Z",
        "cause": "eth0 down",
        "by": by,
    }
    line = event_line(event, "03:04:05", plain)
    place = "03:04:05 lagg0 port eth1 active-port"
    assert line == f"{place}: eth0 -> eth1 (eth0 down){words}"


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
        "trials": [],
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
