# SPDX-License-Identifier: BSD-2-Clause
"""Pinned and moved buckets of a lagg at work: where they are, and what they outlive."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from lab import Lab, wait_until
from lagg.control.client import Client
from lagg.errors import LaggError
from tests.netns.outliving import PORTS, Outliving
from tests.netns.steer import DEADLINE_S, LAGG

BUCKET = 17
FOR_MS = 60_000


@pytest.fixture(params=["loadbalance", "lacp"])
def world(request: pytest.FixtureRequest) -> Iterator[Outliving]:
    with Lab() as lab:
        made = Outliving(lab, request.param)
        yield made
        made.close()


def call(world: Outliving, method: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401
    with Client(str(world.pair.a.laggd.socket)) as client:
        return client.call(method, name=LAGG, **words)


def pins(world: Outliving) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call(world, "List")["laggs"][0]["pins"]
    return found


def deal(world: Outliving) -> list[str]:
    return [row["port"] for row in call(world, "Buckets")["buckets"]]


def pin_of(bucket: int, port: str, *, carries: bool = True) -> dict[str, Any]:
    return {"bucket": bucket, "port": port, "left_ms": None, "carries": carries}


def test_a_pin_outlives_a_kill_a_restart_and_other_protocols(world: Outliving) -> None:
    before = deal(world)
    port = next(each for each in PORTS if each != before[BUCKET])
    placed = call(world, "Pin", bucket=BUCKET, port=port)["placed"]
    assert placed == {"bucket": BUCKET, "buckets": 256, "port": port}
    wanted = [*before[:BUCKET], port, *before[BUCKET + 1 :]]
    assert deal(world) == wanted
    call(world, "Pin", bucket=BUCKET + 1, port=port, for_ms=FOR_MS)
    world.kill()
    world.start()
    lasting, timed = pins(world)
    assert lasting == pin_of(BUCKET, port)
    assert 0 < timed["left_ms"] < FOR_MS
    call(world, "Unpin", bucket=BUCKET + 1)
    assert deal(world) == wanted
    call(world, "Set", proto="roundrobin")
    assert pins(world) == [pin_of(BUCKET, port, carries=False)]
    call(world, "Set", proto="loadbalance")
    assert deal(world) == wanted
    saved = world.pair.a.laggd.ctl("save")
    assert f'pin = ["{BUCKET}={port}"]' in saved
    call(world, "Unpin", bucket=BUCKET)
    assert deal(world) == before


def test_a_pin_for_a_time_ends_by_itself_also_after_a_kill(world: Outliving) -> None:
    before = deal(world)
    port = next(each for each in PORTS if each != before[BUCKET])
    call(world, "Pin", bucket=BUCKET, port=port, for_ms=2000)
    world.kill()
    world.start()
    wait_until(lambda: pins(world) == [], DEADLINE_S, "the time is over")
    assert deal(world) == before


def test_a_moved_bucket_stays_until_a_port_comes(world: Outliving) -> None:
    before = deal(world)
    port = next(each for each in PORTS if each != before[BUCKET])
    call(world, "Move", bucket=BUCKET, port=port)
    wanted = [*before[:BUCKET], port, *before[BUCKET + 1 :]]
    assert deal(world) == wanted
    world.kill()
    world.start()
    assert deal(world) == wanted


REFUSED = [
    ("Pin", {"port": "p9"}, "lagg0: port p9: not a port of this lagg (ENOENT)"),
    ("Unpin", {}, "lagg0: bucket 17 is not pinned (ENOENT)"),
    ("Move", {"port": "p9"}, "lagg0: port p9: not a port of this lagg (ENOENT)"),
]


def test_what_is_refused_names_the_thing_and_changes_nothing() -> None:
    with Lab() as lab, closing(Outliving(lab, "loadbalance")) as world:
        before = deal(world)
        for method, words, complaint in REFUSED:
            with pytest.raises(LaggError) as refused:
                call(world, method, bucket=BUCKET, **words)
            assert str(refused.value) == complaint
        call(world, "Pin", bucket=BUCKET, port=before[BUCKET])
        with pytest.raises(LaggError, match="unpin it first"):
            call(world, "Move", bucket=BUCKET, port="p0")
        call(world, "Unpin", bucket=BUCKET)
        call(world, "Set", port={"p2": {"hold": True}})
        with pytest.raises(LaggError, match="lagg0: port p2: cannot carry: held"):
            call(world, "Move", bucket=BUCKET, port="p2")
        call(world, "Set", port={"p2": {"hold": False}})
        call(world, "Set", options={"hash": "fnv1"})
        with pytest.raises(LaggError, match="hash fnv1 has no buckets"):
            call(world, "Pin", bucket=BUCKET, port="p0")
        call(world, "Set", options={"hash": "crc32c"}, proto="failover")
        with pytest.raises(LaggError, match="laggproto failover has no flow table"):
            call(world, "Pin", bucket=BUCKET, port="p0")
        call(world, "Set", proto="loadbalance")
        assert deal(world) == before
        assert pins(world) == []
