# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl balance`: what it says of a load, and of what would move for it."""

import json
from collections.abc import Mapping

import pytest

from lagg import cli
from lagg.cli.balance import FlowsJson, balance_page, flow_lines
from lagg.cli.flow_samples import SAMPLES, WINDOW_S, Samples, one_in
from lagg.cli.said import plain
from lagg.control.messages import BalanceJson, balance_json
from lagg.model import BUCKETS, Proto
from lagg.plan.balance import FlowLoad
from lagg.plan.balance_report import report
from tests.control.world import World
from tests.plan.test_election import shape_of

MB = 1_000_000
SKEWED = {0: 40 * MB, 2: 30 * MB, 1: 10 * MB}
"""The first of two ports has most: in two of its buckets."""


def looked(load: Mapping[int, int]) -> BalanceJson:
    """Even buckets are eth0's, odd ones eth1's; both are to carry as much."""
    sizes = [load.get(bucket, 0) for bucket in range(BUCKETS)]
    flow_load = FlowLoad(sizes, [0, 1] * (BUCKETS // 2), {0: 1, 1: 1})
    return balance_json(report(shape_of(Proto.LOADBALANCE, ports=2), flow_load, 1000))


def page(load: Mapping[int, int], *, dry_run: bool = True) -> list[str]:
    return balance_page("lagg0", looked(load), plain, dry_run=dry_run).splitlines()


def test_each_port_has_its_load_beside_its_share() -> None:
    assert page(SKEWED, dry_run=False) == [
        "lagg0: 80 MB/s by all ports",
        "  port  speed      weight  share  load     part   buckets  heaviest",
        "  eth0  1 Gbit/s   1       50.0%  70 MB/s  87.5%  128      "
        "0 (50.0%), 2 (37.5%)",
        "  eth1  10 Gbit/s  1       50.0%  10 MB/s  12.5%  128      1 (12.5%)",
    ]


def test_a_dry_run_says_what_would_move_and_the_spread_before_and_after() -> None:
    assert page(SKEWED)[4:] == [
        "  1 bucket would move, and the busiest port carry",
        "  1.00 times its share in place of 1.75:",
        "    bucket 2 to eth1, 30 MB/s",
    ]
    assert page({0: 40 * MB, 1: 40 * MB})[4:] == ["  nothing would move"]


def test_without_any_load_nothing_is_divided() -> None:
    lines = page({})
    assert lines[0] == "lagg0: 0 B/s by all ports"
    assert lines[-1] == "  nothing would move"


def test_for_programs_both_are_one_record() -> None:
    found = looked(SKEWED)
    assert (found["ms"], found["peak"], found["peak_after"]) == (1000, 1.75, 1.0)
    assert found["moves"] == [{"bucket": 2, "bytes": 30 * MB, "port": "eth1"}]
    eth0, eth1 = found["ports"]
    assert (eth0["bytes"], eth0["bytes_after"]) == (70 * MB, 40 * MB)
    assert (eth0["buckets"], eth0["buckets_after"]) == (128, 127)
    assert eth1["heaviest"] == [{"bucket": 1, "bytes": 10 * MB, "port": "eth1"}]
    assert eth0["share"] == eth1["share"] == 0.5


def test_it_is_asked_of_laggd(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.call("Create", name="lagg0", proto="loadbalance", ports=["eth0", "eth1"])
    world.commands.bucket_frames = [MB] * BUCKETS
    assert cli.main(["balance", "lagg0", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert [port["bytes"] for port in found["ports"]] == [BUCKETS * MB]
    assert cli.main(["balance", "lagg0", "--dry-run"]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "  nothing would move"
    assert cli.main(["balance", "lagg7"]) == 1
    assert "lagg7: no such lagg" in capfd.readouterr().err


FOUND: FlowsJson = {
    "ms": 5012,
    "bytes_per_s": 60 * MB,
    "samples": 300,
    "one_of": 7,
    "heaviest": [
        {
            "flow": "src=192.0.2.1 dst=192.0.2.2 proto=tcp sport=1 dport=2",
            "bytes_per_s": 40 * MB,
            "error": 2 * MB,
            "bucket": 17,
            "ports": ["eth1"],
        },
        {
            "flow": "smac=02:00:00:00:00:01 dmac=02:00:00:00:00:02",
            "bytes_per_s": MB,
            "error": 300_000,
            "bucket": None,
            "ports": [],
        },
    ],
}


def test_the_heaviest_flows_have_their_bounds_bucket_and_port() -> None:
    assert flow_lines(FOUND, plain) == [
        "  heaviest flows, by 300 frames sampled in 5.0 s:",
        "  flow                                                   load               "
        "bucket  port",
        "  src=192.0.2.1 dst=192.0.2.2 proto=tcp sport=1 dport=2  40 MB/s ± 2 MB/s   "
        "17      eth1",
        "  smac=02:00:00:00:00:01 dmac=02:00:00:00:00:02          1 MB/s ± 300 kB/s  "
        "-       none",
    ]
    assert flow_lines({**FOUND, "heaviest": []}, plain) == ["  no frame was sampled"]


def test_of_many_frames_few_are_sampled_and_of_few_all() -> None:
    assert one_in(0) == one_in(SAMPLES / WINDOW_S) == 1
    assert one_in(50 * SAMPLES / WINDOW_S) == 50


def test_samples_tell_each_flow_s_part_and_by_how_much_it_may_be_wrong() -> None:
    samples = Samples()
    for number in range(400):
        sender = 1 if number % 4 else 2
        samples.add(bytes(6) + bytes([sender] * 6) + b"\x88\xb5", 1000)
    heavy, light = samples.flows()
    assert (samples.count, heavy.part, light.part) == (400, 0.75, 0.25)
    # 1.96 * sqrt(0.75 * 0.25 / 400)
    assert heavy.error == light.error == pytest.approx(0.0424, abs=0.0001)
    assert heavy.words.startswith("smac=01:01:")
    assert heavy.frame[6] == 1
    assert Samples().flows() == []
