# SPDX-License-Identifier: BSD-2-Clause
"""`top`: what a rate is, what the page shows, and how the command ends."""

import json
from typing import Any, cast

import pytest

from lagg import cli
from lagg.cli.fold import columns_of
from lagg.cli.said import coloured, plain
from lagg.cli.top_page import BARS, Order, Scale, TopView, bit_words, spark, top_page
from lagg.cli.top_rates import HISTORY, STILL, History, Rates, rates_json
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
    assert seen.of("lagg0", "eth0")[-1] == Rates(100, 200_000, 0, 0, 0, 0)


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


@pytest.fixture
def seen() -> History:
    return history(
        record(eth0=(0, 0), eth1=(0, 0)),
        record(eth0=(1, 150_000), eth1=(1, 50_000)),
        record(eth0=(301, 450_000), eth1=(101, 150_000)),
    )


def cells(line: str) -> list[str]:
    return [each.strip() for each in line.split("  ") if each.strip()]


def test_the_page_has_rates_shares_states_and_how_it_was(seen: History) -> None:
    head, *lines = top_page(seen, "12:00:00", 130, plain).splitlines()
    assert head == "laggd  12:00:00  1 lagg"
    assert [cells(line) for line in lines] == [
        [
            *("port", "share", "out bit/s", "in bit/s", "out/s", "in/s", "lost/s"),
            *("history", "state"),
        ],
        [
            *("lagg0", "3.2 M", "0", "400", "0", "0", "▄█"),
            "failover, up, 10 Gbit/s",
        ],
        ["eth0", "75 %", "2.4 M", "0", "300", "0", "0", "▄█", "primary, active"],
        ["eth1", "25 %", "800 k", "0", "100", "0", "0", "▂▃", "carrier down"],
    ]


def test_what_a_standby_was_not_to_take_is_no_loss() -> None:
    before, after = record(eth0=(0, 0)), record(eth0=(1, 100))
    for lagg, frames in ((before, 0), (after, 7)):
        lagg["ports"][0]["drops"] = {"not-accepted": frames, "tx-full": frames}
    seen = history(before, after)
    rates = seen.of("lagg0", "eth0")[-1]
    assert (rates.drops, rates.lost) == (14, 7)
    assert top_page(seen, "", 200, plain).count("; lost so far: no-port 3") == 1


def test_lacp_shows_its_mux_state() -> None:
    lagg = record(eth0=(0, 0))
    cast(dict[str, Any], lagg["ports"][0]).update(
        lacp={"mux": "distributing"}, reason=None
    )
    assert top_page(history(lagg), "", 100, plain).endswith("primary, distributing")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 400])
def test_no_line_is_wider_than_the_terminal(seen: History, width: int) -> None:
    bare = top_page(seen, "12:00:00", width, plain).splitlines()
    assert max(map(len, bare)) <= width
    assert all("bit/s" in cell for cell in cells(bare[1])[1:3] if width < 60)
    bright = top_page(seen, "12:00:00", width, coloured)
    assert "\033[32m" in bright
    assert [columns_of(line) for line in bright.splitlines()] == [*map(len, bare)]


def names_in(page: str) -> list[str]:
    return [line.split()[0] for line in page.splitlines()[2:]]


@pytest.mark.parametrize(
    ("view", "names"),
    [
        (TopView(), "b p q a r s"),
        (TopView(order=Order.NAME), "a r s b p q"),
        (TopView(order=Order.OUT), "b q p a r s"),
        (TopView(order=Order.IN), "a r s b p q"),
        (TopView(backwards=True), "a s r b q p"),
        (TopView(order=Order.OUT, ports=False), "b a"),
    ],
)
def test_it_is_sorted_as_is_asked(view: TopView, names: str) -> None:
    found = History()
    laggs = [record("b", p=(0, 0), q=(0, 0)), record("a", r=(0, 0), s=(0, 0))]
    found.add(laggs, 0)
    later = [record("b", p=(1, 10), q=(2, 20)), record("a", r=(1, 5), s=(1, 5))]
    found.add(later, SECOND)
    assert names_in(top_page(found, "", 100, plain, view)) == names.split()


def test_a_full_bar_is_what_is_asked() -> None:
    seen = history(record(e=(0, 0), f=(0, 0)), record(e=(1, 100), f=(1, 1000)))
    bars = {}
    for scale in Scale:
        lines = top_page(seen, "", 120, plain, TopView(scale=scale)).splitlines()
        bars[scale] = cells(lines[3])[7]
    assert bars == {
        Scale.LAGG: BARS[1],
        Scale.PORT: BARS[-1],
        Scale.SPEED: BARS[1],  # 800 bit/s of 20 Gbit/s: not nothing
    }


def test_a_bar_is_empty_for_nothing_only_and_full_for_the_most() -> None:
    rates = [Rates(0, bits, 0, 0, 0, 0) for bits in (0, 1, 500, 1000)]
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
    assert shown.count("failover, down: no active port") == 2
    assert "\033" not in shown
    words = ["top", "lagg0", "--count", "1", "--interval", "0.1", "--json"]
    assert cli.main(words) == 0
    (lagg,) = json.loads(capfd.readouterr().out)
    assert lagg["ports"][0] == {"name": "eth0", **STILL._asdict()}


@pytest.mark.parametrize("words", ["--count 0", "--interval 0", "--interval x"])
def test_what_cannot_be_meant_is_usage(words: str) -> None:
    assert cli.main(["top", *words.split()]) == 2
