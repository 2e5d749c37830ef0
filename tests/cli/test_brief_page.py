# SPDX-License-Identifier: BSD-2-Clause
"""What a first look shows: several laggs, a line each, and the tree."""

import re
from collections.abc import Sequence

import pytest

from lagg import cli
from lagg.cli.brief_page import brief_page, tree_page
from lagg.cli.fold import columns_of
from lagg.cli.said import coloured, plain
from lagg.records import LaggRecord
from tests.control.world import World, a_record


def test_of_each_lagg_a_line_says_who_carries_and_why_others_do_not(
    laggs: Sequence[LaggRecord],
) -> None:
    assert brief_page(laggs, None, plain).splitlines() == [
        "lagg    link  proto     speed      ports",
        "lagg0   up    failover  10 Gbit/s  1/2    eth0; eth1 carrier down",
        "lagg1   up    lacp      10 Gbit/s  2/2    eth0 eth1 with 02:00:5e:00:53:99"
        ", key 7",
        "lagg20  down  failover  10 Gbit/s  0/0    no ports; waiting for eth7, eth8",
    ]


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(
    laggs: Sequence[LaggRecord], width: int
) -> None:
    lines = brief_page(laggs, width, plain).splitlines()
    assert max(map(len, lines)) <= width
    whole = brief_page(laggs, None, plain).splitlines()
    for line, told in zip(lines, whole, strict=True):
        assert line == told or (line.endswith("...") and told.startswith(line[:-3]))


@pytest.mark.parametrize("width", [20, 60, 80])
def test_no_line_of_the_tree_is_wider_either(
    laggs: Sequence[LaggRecord], width: int
) -> None:
    long = "waiting for the aggregator, and for much else that takes a long time"
    lagg = a_record(link="down")
    lagg["ports"][0]["reason"] = long
    page = tree_page("tor", [*laggs, lagg], width, coloured)
    assert max(map(columns_of, page.splitlines())) <= width
    assert long in tree_page("tor", [lagg], None, plain)


def test_colours_do_not_count_as_width(laggs: Sequence[LaggRecord]) -> None:
    page = brief_page(laggs, 60, coloured)
    assert re.sub("\033\\[[0-9]*m", "", page) == brief_page(laggs, 60, plain)


def test_the_tree_has_ports_shares_and_partners(laggs: Sequence[LaggRecord]) -> None:
    assert tree_page("tor", laggs, None, plain).splitlines() == [
        "tor",
        "├─ lagg0  failover, link up, 10 Gbit/s",
        "│  ├─ eth0  up    10 Gbit/s  sends 50 %, receives 50 %",
        "│  └─ eth1  down  -          carrier down",
        "├─ lagg1  lacp, link up, 10 Gbit/s",
        "│  ├─ eth0  up    10 Gbit/s  sends 75 %, receives 0 %",
        "│  ├─ eth1  down  -          sends 25 %, receives 100 % -> port 1",
        "│  └─ partner 02:00:5e:00:53:99, key 7",
        "└─ lagg20  failover, link down (no ports), 10 Gbit/s",
        "   ├─ eth7  -    waited for",
        "   └─ eth8  -    waited for",
    ]


def test_show_of_one_is_whole_and_of_several_brief(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*words: str) -> str:
        assert cli.main(["show", *words]) == 0
        return capsys.readouterr().out

    world.call("Create", name="lagg0")
    assert shown().startswith("lagg0: failover, ")
    world.call("Create", name="lagg1")
    assert [line.split()[0] for line in shown().splitlines()] == [
        *("lagg", "lagg0", "lagg1")
    ]
    assert shown("lagg1").startswith("lagg1: failover, ")
    assert "\nlagg0: failover, " in shown("-v")
    assert "├─ lagg0  failover" in shown("--tree")
    assert "└─ lagg1  failover" in shown("lagg1", "--tree")
