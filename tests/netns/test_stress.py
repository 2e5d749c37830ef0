# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's lagg stress, and harder: everything at once, and clients that die midway.

`tools/soak --seed N` is the same for as long as wanted.
"""

import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from lab import Lab, wait_until
from lab.daemon import LAGGCTL
from lagg.control.client import Client
from soak.sanitized import SANITIZERS
from soak.soak import Soak
from soak.traces import connections, ports_of

SECONDS, SECONDS_LONG = 10.0, 60.0
RATE = 20_000  # frames a second
RATE_SANITIZED = 8_000
FRAMES_MIN = 1000
DEADLINE_S = 60.0

DEATHS, DEATHS_MAX = 20, 200
WANTED = (("killed", "done"), ("killed", "not"))
"""What a death leaves is chance: more are killed until both have happened."""

PAIR = ("p3", "p4")


@pytest.mark.parametrize("sanitizer", [None, *SANITIZERS])
def test_everything_at_once_breaks_nothing(
    sanitizer: str | None, rng: Random, long_run: bool
) -> None:
    seed = rng.getrandbits(32)
    rate = RATE_SANITIZED if sanitizer else RATE
    with Lab() as lab:
        soak = Soak(lab, seed, rate=rate, sanitizer=sanitizer)
        report = soak.run(SECONDS_LONG if long_run else SECONDS)
    print(f"tools/soak --seed {seed}\n{report}")
    assert report.faults == []
    assert report.idle == [], "never succeeded: nothing is shown of it"
    for way in ("tx_in", "tx_out", "rx_in", "rx_out"):
        assert report.frames["lagg0"][way] > FRAMES_MIN, way
    assert report.readings > 0


# ---- a client that dies midway -----------------------------------------------------


@pytest.fixture(scope="module")
def world() -> Iterator[Soak]:
    with Lab() as lab:
        soak = Soak(lab, seed=0)
        soak.laggd.ctl("create", "lagg0", "--port", "p6")
        yield soak


@dataclass(frozen=True, slots=True)
class Request:
    """What to do, what undoes it, and which lagg has the ports in between."""

    words: tuple[str, ...]
    undo: tuple[str, ...]
    lagg: str


REQUESTS = {
    "attach": Request(("attach", "lagg0", *PAIR), ("detach", "lagg0", *PAIR), "lagg0"),
    "create": Request(
        ("create", "lagg1", "--mtu", "1400", *(f"--port={port}" for port in PAIR)),
        ("destroy", "lagg1"),
        "lagg1",
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_whose_client_was_killed_is_done_whole_or_not_at_all(
    world: Soak, name: str, rng: Random
) -> None:
    request = REQUESTS[name]
    before = ports_of(world.host)
    moment_s = wait_for(world, request)
    came_to: Counter[tuple[str, str]] = Counter()
    for death in range(DEATHS_MAX):
        if death >= DEATHS and all(came_to[each] for each in WANTED):
            break
        killed = kill_after(world, request, moment_s * rng.uniform(0.8, 1.2))
        done = is_done(world, request, before)
        came_to["killed" if killed else "ended", "done" if done else "not"] += 1
        if done:
            world.laggd.ctl(*request.undo)
        wait_until(
            lambda: ports_of(world.host) == before, DEADLINE_S, "ports as before"
        )
        # Nearer to where the one turns into the other.
        moment_s *= 0.8 if done else 1.25
    print(f"{name}: {dict(came_to)}")
    assert came_to["killed", "done"], "none was killed midway"
    assert came_to["killed", "not"], "none was killed before laggd knew"


def wait_for(world: Soak, request: Request) -> float:
    """How long it takes when nobody dies: until the client has ended."""
    client = start(world, request)
    try:
        return wait_until(lambda: client.poll() is not None, DEADLINE_S, "it ends")
    finally:
        assert client.wait() == 0
        world.laggd.ctl(*request.undo)


def kill_after(world: Soak, request: Request, seconds: float) -> bool:
    """Whether it had to be; returns when laggd has ended what it was told."""
    client = start(world, request)
    try:
        client.wait(seconds)
    except subprocess.TimeoutExpired:
        client.kill()
    killed = client.wait() != 0
    wait_until(lambda: connections(world.laggd) == 0, DEADLINE_S, "all is read")
    with Client(str(world.laggd.socket)) as barrier:  # changes run one after the other
        barrier.call("Set", name="lagg0", options={"rr_limit": 1})
    return killed


def start(world: Soak, request: Request) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([LAGGCTL, "--socket", world.laggd.socket, *request.words])


def is_done(world: Soak, request: Request, before: dict[str, dict[str, Any]]) -> bool:
    """Whether all of it is; asserts that otherwise nothing is, in record and kernel."""
    records = {record["name"]: record for record in world.laggd.records()}
    lagg = records.get(request.lagg, {"ports": []})
    held = {port["name"] for port in lagg["ports"]} & set(PAIR)
    assert held in (set(), set(PAIR))
    assert ("lagg1" in records) == world.host.has_link("lagg1")
    assert ("lagg1" in records) == (request.lagg == "lagg1" and bool(held))
    ports = ports_of(world.host)
    for port in PAIR:
        if held:
            found = [ports[port][key] for key in ("mac", "mtu", "mode")]
            assert found == [lagg["mac"], lagg["mtu"], "none"]
        else:
            assert ports[port] == before[port]
    return bool(held)
