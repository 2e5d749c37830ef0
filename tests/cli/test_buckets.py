# SPDX-License-Identifier: BSD-2-Clause
"""`stats --buckets`: what is said of each bucket, what is printed, what is refused."""

import json

import pytest

from lagg import cli
from lagg.errors import LaggError
from lagg.model import HashKind, LaggConfig, Options, Proto
from lagg.plan.explain import Bucket, buckets
from lagg.plan.plan import plan
from lagg.plan.shape import Shape
from tests.control.world import World, shape_of

PORTS = ("eth0", "eth1", "eth2")  # eth2 is down
NOTHING = [0] * 256

PAGE = """\
lagg0: 2 000 frames by 256 buckets
  port                  buckets                    frames
  eth0              129 (50.4%)             1 900 (95.0%)
  eth1              127 (49.6%)                100 (5.0%)
  bucket   0  eth0                          1 500 (75.0%)
  bucket   6  eth0                            400 (20.0%)
  bucket 255  eth1                             100 (5.0%)
"""


def shape(proto: Proto, *ports: str, kind: HashKind = HashKind.CRC32C) -> Shape:
    return shape_of(LaggConfig("lagg0", proto, ports, options=Options(hash=kind)))


def said_of(of: Shape, frames: list[int]) -> tuple[Bucket, ...]:
    return buckets("lagg0", of, plan(of), frames)


@pytest.fixture
def world(world: World) -> World:
    world.call("Create", name="lagg0", proto="loadbalance", ports=[*PORTS])
    return world


# What is said


def test_each_bucket_has_the_port_that_carries_it_now() -> None:
    of = shape(Proto.LOADBALANCE, *PORTS)
    slots = plan(of).tx_slots
    assert said_of(of, [*range(256)]) == tuple(
        Bucket(index, of.at(slot).link.name, index) for index, slot in enumerate(slots)
    )


def test_what_a_longer_table_sent_is_told_without_a_port() -> None:
    of = shape(Proto.LOADBALANCE, *PORTS, kind=HashKind.FNV1)
    assert said_of(of, [0, 5, 1, 0, 7, *NOTHING[5:]]) == (
        Bucket(0, "eth0", 0),
        Bucket(1, "eth1", 5),
        Bucket(2, "eth0", 1),  # for eth2
        Bucket(4, None, 7),
    )
    assert said_of(shape(Proto.LOADBALANCE), [1, *NOTHING[1:]]) == (Bucket(0, None, 1),)


@pytest.mark.parametrize("proto", ["failover", "roundrobin", "broadcast", "none"])
def test_without_a_flow_table_it_is_refused(proto: str) -> None:
    with pytest.raises(LaggError) as refused:
        said_of(shape(Proto(proto), *PORTS), NOTHING)
    assert str(refused.value) == (
        f"lagg0: laggproto {proto} has no flow table;"
        " loadbalance, lacp, tlb and alb have one (EOPNOTSUPP)"
    )


# What is printed


def test_the_page_has_shares_of_the_table_and_of_the_frames(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    sent = world.commands.bucket_frames
    sent[0], sent[6], sent[255] = 1500, 400, 100
    assert cli.main(["stats", "lagg0", "--buckets"]) == 0
    assert capfd.readouterr() == (PAGE, "")


def test_only_the_busiest_buckets_are_on_the_page(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.commands.bucket_frames[:] = range(256)
    assert cli.main(["stats", "lagg0", "--buckets"]) == 0
    rows = capfd.readouterr().out.splitlines()
    found = [int(row.split()[1]) for row in rows if row.startswith("  bucket ")]
    assert found == [255, 254, 253, 252, 251, 250, 249, 248]


@pytest.mark.usefixtures("world")
def test_a_lagg_that_sent_nothing_has_a_page(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stats", "lagg0", "--buckets"]) == 0
    assert "0 frames by 256 buckets" in capfd.readouterr().out


def test_buckets_of_earlier_tables_are_a_dash(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.call("Detach", name="lagg0", ports=[*PORTS])
    world.commands.bucket_frames[9] = 4
    assert cli.main(["stats", "lagg0", "--buckets"]) == 0
    rows = [row.split() for row in capfd.readouterr().out.splitlines()]
    assert rows[0] == ["lagg0:", "4", "frames", "by", "0", "buckets"]
    assert rows[2:] == [
        ["-", "0", "(0.0%)", "4", "(100.0%)"],
        ["bucket", "9", "-", "4", "(100.0%)"],
    ]


def test_json_is_what_the_socket_says(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.commands.bucket_frames[255] = 3
    assert cli.main(["stats", "lagg0", "--buckets", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found == world.call("Buckets", name="lagg0")["parameters"]["buckets"]
    assert len(found) == 256
    assert found[255] == {"bucket": 255, "port": "eth1", "frames": 3}


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ([], 2, "stats: --buckets is of one lagg: give its NAME"),
        (["lagg9"], 1, "lagg9: "),
        (["lagg1"], 1, "lagg1: laggproto failover has no flow table; loadbalance"),
    ],
)
def test_what_has_no_buckets_is_one_line(
    world: World,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    line: str,
) -> None:
    world.call("Create", name="lagg1")
    assert cli.main(["stats", *words, "--buckets"]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"laggctl: {line}")
    assert err.count("\n") == 1
