# SPDX-License-Identifier: BSD-2-Clause
"""`top`: what a rate is, what the page shows, and how the command ends."""

import json
from typing import Any, cast

import pytest

from lagg import cli
from lagg.cli.said import coloured, plain
from lagg.cli.top_page import (
    BARS,
    HISTORY,
    STILL,
    History,
    Rates,
    bit_words,
    rates_json,
    spark,
    top_page,
)
from lagg.model import LaggConfig
from lagg.records import LaggRecord
from tests.control.world import World, record_of

SECOND = 1_000_000_000


def record(name: str = "lagg0", **counts: tuple[int, int]) -> LaggRecord:
    """A lagg of these ports, each with its frames and bytes sent."""
    made = cast(dict[str, Any], record_of(LaggConfig(name, ports=tuple(counts))))
    for port, (frames, sent) in zip(made["ports"], counts.values(), strict=True):
        port |= {"tx_frames": frames, "tx_bytes": sent, "drops": {"tx-full": 0}}
    return cast(LaggRecord, made)


def history(*moments: LaggRecord) -> History:
    found = History()
    for second, lagg in enumerate(moments):
        found.add([lagg], second * SECOND)
    return found


def test_a_rate_is_what_came_between_two_records() -> None:
    seen = History()
    seen.add([record(eth0=(100, 1000))], 5 * SECOND)
    seen.add([record(eth0=(300, 51000))], 7 * SECOND)
    assert seen.of("lagg0", "eth0")[-1] == Rates(100, 200_000, 0, 0, 0)


def test_without_a_record_before_nothing_moved() -> None:
    seen = history(record(eth0=(100, 1000)), record(eth0=(100, 1000), eth1=(9, 9)))
    assert list(seen.of("lagg0", "eth1")) == [STILL]


def test_a_port_that_was_attached_anew_does_not_count_backwards() -> None:
    seen = history(record(eth0=(100, 1000)), record(eth0=(3, 30)))
    assert seen.of("lagg0", "eth0")[-1] == STILL


def test_a_history_is_bounded_and_forgets_what_is_gone() -> None:
    seen = history(*(record(eth0=(n, n)) for n in range(HISTORY + 5)))
    assert len(seen.of("lagg0", "eth0")) == HISTORY
    seen.add([], 100 * SECOND)
    assert seen.laggs == []
    assert rates_json(seen) == []


PAGE = """\
laggd  12:00:00  1 lagg

lagg0  failover  link up  10 Gbit/s
  port  share  out/s  out bit/s  in/s  in bit/s  drops/s  state               both ways
  eth0   75 %    300      2.4 M     0         0        0  MASTER,ACTIVE        ▄█
  eth1   25 %    100      800 k     0         0        0  down: carrier down   ▂▃"""


def test_the_page_has_rates_shares_states_and_how_it_was() -> None:
    seen = history(
        record(eth0=(0, 0), eth1=(0, 0)),
        record(eth0=(1, 150_000), eth1=(1, 50_000)),
        record(eth0=(301, 450_000), eth1=(101, 150_000)),
    )
    page = top_page(seen, "12:00:00", 100, plain)
    assert page == PAGE


def test_drops_are_seen_with_their_reasons() -> None:
    before, after = record(eth0=(0, 0)), record(eth0=(1, 100))
    after["ports"][0]["drops"] = {"tx-full": 7}
    after["counters"]["drops"] = {"tx-full": 7, "no-port": 12, "runt": 0}
    page = top_page(history(before, after), "12:00:00", 100, plain)
    assert page.endswith("\n  dropped so far: no-port 12, tx-full 7")
    still = top_page(history(after, after), "12:00:00", 100, plain)
    assert "dropped" not in still


def test_lacp_shows_its_mux_state() -> None:
    lagg = record(eth0=(0, 0))
    cast(dict[str, Any], lagg["ports"][0])["lacp"] = {"mux": "distributing"}
    assert "distributing: carrier down" in top_page(history(lagg), "", 100, plain)


@pytest.mark.parametrize("width", [20, 80, 100, 400])
def test_no_line_is_longer_for_its_history(width: int) -> None:
    seen = history(*(record(eth0=(n, n * 1000)) for n in range(80)))
    bare = top_page(seen, "12:00:00", width, plain).splitlines()
    table = len(
        "  eth0  100 %      1        8 k     0         0        0  down: carrier"
    )
    assert max(map(len, bare)) <= max(width, table + 20)
    bright = top_page(seen, "12:00:00", width, coloured)
    for code in ("1", "31", "32", "33", "0"):
        bright = bright.replace(f"\033[{code}m", "")
    assert bright.splitlines() == bare


def test_a_bar_is_empty_for_nothing_only_and_full_for_the_most() -> None:
    rates = [Rates(0, bits, 0, 0, 0) for bits in (0, 1, 500, 1000)]
    assert spark(rates, 1000, 60) == f"{BARS[0]}{BARS[1]}{BARS[4]}{BARS[8]}"
    assert spark(rates, 1000, 2) == f"{BARS[4]}{BARS[8]}"
    assert spark([STILL] * 3, 0, 60) == "   "
    assert spark(rates, 1000, 0) == ""


def test_bits_are_for_reading() -> None:
    numbers = (0, 999, 999.7, 1500, 2_400_000, 10**10, 5 * 10**15)
    assert [bit_words(bits) for bits in numbers] == [
        *("0", "999", "1 k", "1.5 k", "2.4 M", "10 G", "5000 T")
    ]


@pytest.fixture
def world(world: World) -> World:
    world.call("Create", name="lagg0", ports=["eth0"])
    return world


@pytest.mark.usefixtures("world")
def test_it_ends_after_its_pages(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["top", "--count", "2", "--interval", "0.1"]) == 0
    shown = capfd.readouterr().out
    assert shown.count("lagg0  failover  link down") == 2
    assert "\033" not in shown
    words = ["top", "lagg0", "--count", "1", "--interval", "0.1", "--json"]
    assert cli.main(words) == 0
    (lagg,) = json.loads(capfd.readouterr().out)
    assert lagg["ports"][0] == {"name": "eth0", **STILL._asdict()}


@pytest.mark.parametrize("words", ["--count 0", "--interval 0", "--interval x"])
def test_what_cannot_be_meant_is_usage(words: str) -> None:
    assert cli.main(["top", *words.split()]) == 2
