# SPDX-License-Identifier: BSD-2-Clause
"""One laggd hands its laggs over to another, or goes on if that one cannot have them.

The newcomer that fails is a client of the forwarder that speaks as laggd does; what is
to fail in it is where it stops.
"""

import errno
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lab import Daemon, Lab, Pair, wait_until
from lab.daemon import INSIDE, LAGGD
from lagg.control.client import Client
from lagg.errors import LaggError
from lagg.forwarder.client import ForwarderClient
from tests.forwarder.world import status as proc_status
from tests.netns.outliving import (
    PROTOS,
    Conversation,
    Outliving,
    facts,
    furnish,
    outliving,
)
from tests.netns.outliving import steady as steady_part
from tests.netns.partners import lost_nothing
from tests.netns.steer import DEADLINE_S, LAGG, Tally

REPLACE = "--replace"
SCRAPED = "127.0.0.1:9750"
RATE = 10_000
FLOWS = 16
BETWEEN = RATE // 20
HAND_OVERS, HAND_OVERS_LONG = 1, 3


class House:
    """A host with one lagg, whose laggd may be another one from time to time."""

    def __init__(self, lab: Lab, *options: str, config: Path | None = None) -> None:
        self.host, far = lab.host("near"), lab.host("far")
        for number in range(3):
            lab.cable(self.host, f"p{number}", far, f"q{number}")
        self.laggd = lab.daemon(self.host, options=options, config=config)
        self.laggd.ctl("create", LAGG, "--port=p0", "--port=p1")

    @property
    def status(self) -> dict[str, Any]:
        return status(self.laggd)

    def newcomer(
        self, *words: str | Path, limits: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """A laggd that fails; returns when it has."""
        places = ("--socket", self.laggd.socket, "--state-dir", self.laggd.state_dir)
        started = self.host.popen(
            *limits, LAGGD, *places, REPLACE, *words, stderr=subprocess.PIPE
        )
        _, said = started.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess([], started.returncode, "", said)

    def client(self) -> ForwarderClient:
        return ForwarderClient(self.laggd.state_dir / "forwarder.sock")

    def goes_on(self, before: dict[str, Any]) -> None:
        """Asserts that laggd is the same, does what it is told, and is alone there."""
        self.serves(before)
        assert not list(self.laggd.socket.parent.glob("laggd.sock.*"))

    def serves(self, before: dict[str, Any]) -> None:
        """Asserts that laggd is the same, and does what it is told."""
        with Client(str(self.laggd.socket)) as laggd:
            now = laggd.call("Status")["laggd"]
            assert now == before | {"uptime_s": now["uptime_s"]} | {
                "forwarder": before["forwarder"]
                | {"uptime_s": now["forwarder"]["uptime_s"]}
            }
            for change in ("Attach", "Detach"):
                laggd.call(change, name=LAGG, ports=["p2"])
            (lagg,) = laggd.call("List")["laggs"]
        assert [port["name"] for port in lagg["ports"]] == ["p0", "p1"]


def status(laggd: Daemon) -> dict[str, Any]:
    with Client(str(laggd.socket)) as asked:
        return dict(asked.call("Status")["laggd"])


def end(laggd: Daemon) -> None:
    """Ends one that the lab has not started itself."""
    os.kill(status(laggd)["pid"], signal.SIGTERM)
    wait_until(lambda: not laggd.socket.exists(), DEADLINE_S, "laggd ends")


def scraped() -> str:
    """The page that a scraper gets, in the caller's namespace; empty: hung up on."""
    connection = http.client.HTTPConnection(SCRAPED, timeout=DEADLINE_S)
    with closing(connection), suppress(ConnectionResetError):
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    return ""


@pytest.fixture
def house() -> Iterator[House]:
    with Lab() as lab:
        yield House(lab)


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[Outliving]:
    """Runs the protocol that a test is for."""
    with outliving(request.param) as made:
        yield made
        end(made.pair.a.laggd)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# ---- handed over -------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.parametrize("world", PROTOS, indirect=True)
def test_laggd_is_replaced_and_no_frame_is_lost(
    world: Outliving, long_run: bool
) -> None:
    furnish(world.host)
    conversation, laggd = Conversation(world.pair), world.pair.a.laggd
    tallies = [Tally(steer) for steer in world.steers]
    before = [steady_part(steer.record()) for steer in world.steers]
    held, forwarder = facts(world.host), world.forwarder
    with world.pair.streaming(rate=RATE, flows=FLOWS) as run:
        for number in range(HAND_OVERS_LONG if long_run else HAND_OVERS):
            world.passed(BETWEEN)
            said = laggd.ctl("restart")
            assert said.startswith("adopted 1 lagg, 3 ports; away ")
            assert said.endswith(" ms; forwarder kept\n")
            world.a.reconnect()
            assert status(laggd)["adoptions"] == number + 1
            conversation.go_on()
        world.passed(BETWEEN)
    assert facts(world.host) == held
    assert world.forwarder == forwarder
    assert [steady_part(steer.record()) for steer in world.steers] == before
    print(*run.results, sep="\n")
    lost_nothing(tallies, *run.results)
    for result in run.results:
        assert result.corrupt == result.errors == 0
        assert world.proto == "roundrobin" or result.reordered == 0
    conversation.close()


def test_what_succeeds_another_does_what_that_one_did(house: House) -> None:
    before, began_s = house.status, time.monotonic()
    house.laggd.ctl("restart")
    now = house.status
    assert now["pid"] != before["pid"]
    assert now["forwarder"]["pid"] == before["forwarder"]["pid"]
    assert (before["adoptions"], now["adoptions"]) == (0, 1)
    assert 0 < now["control_away_s"] < time.monotonic() - began_s
    assert house.laggd.stop() == 0  # the one before, which has ended in peace
    house.goes_on(now)
    end(house.laggd)
    assert house.laggd.forwarder() is None


def test_a_scraper_finds_who_is_there() -> None:
    """At once, or the next time: one that asks who is about to end is hung up on."""
    with Lab() as lab:
        house = House(lab, f"--metrics={SCRAPED}")
        house.host.run("ip", "link", "set", "lo", "up")
        house.laggd.ctl("restart")
        pages: list[str] = []

        def found() -> bool:
            pages.append(house.host.inside(scraped))
            return bool(pages[-1])

        wait_until(found, DEADLINE_S, "a page")
        assert 'laggd_lagg_ports{lagg="lagg0"} 2.0' in pages[-1]
        end(house.laggd)


def test_laggd_that_leaves_is_followed(house: House) -> None:
    ifindex = house.host.ifindex(LAGG)
    began_s = time.monotonic()
    assert house.laggd.leave() == 0
    house.laggd.start()
    assert house.host.ifindex(LAGG) == ifindex
    now = house.status
    assert now["adoptions"] == 1
    assert 0 < now["control_away_s"] < time.monotonic() - began_s
    house.goes_on(now)


def test_laggd_that_leaves_when_its_forwarder_dies_waits_for_the_next_one(
    house: House,
) -> None:
    ifindex, before = house.host.ifindex(LAGG), house.status
    pid = before["forwarder"]["pid"]
    with stopped(int(proc_status(pid)["PPid"])):  # by whom the standby would serve
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not house.status["forwarder"]["answers"], DEADLINE_S, "gone")
        os.kill(house.laggd.pid, signal.SIGUSR2)
        for _ in range(2):  # it has taken the signal when it answers the second
            assert house.status["pid"] == before["pid"]
    assert house.laggd.leave() == 0
    house.laggd.start()
    assert house.host.ifindex(LAGG) == ifindex
    now = house.status
    assert now["forwarder"]["pid"] != before["forwarder"]["pid"]
    house.goes_on(now)


# ---- not handed over ---------------------------------------------------------------


def looks(client: ForwarderClient) -> None:
    for fd in client.list().values():
        os.close(fd)


def claims(client: ForwarderClient) -> None:
    client.claim()


def claims_and_looks(client: ForwarderClient) -> None:
    client.claim()
    looks(client)


@pytest.mark.parametrize("until", [looks, claims, claims_and_looks])
def test_of_a_newcomer_that_dies_before_it_commits_nothing_is_left(
    house: House, until: Callable[[ForwarderClient], None]
) -> None:
    before = house.status
    with house.client() as newcomer:
        until(newcomer)
    house.goes_on(before)


def test_a_newcomer_that_has_no_room_for_what_it_is_to_be_given_does_not_ask(
    house: House,
) -> None:
    before = house.status
    refused = house.newcomer(limits=("prlimit", "--nofile=24:24"))
    assert refused.returncode == 1
    assert "wanted all" not in house.laggd.log_tail()
    house.goes_on(before)


def test_a_forwarder_that_dies_between_two_laggds_is_followed_by_the_old_one(
    house: House,
) -> None:
    before = house.status
    with house.client() as newcomer:
        newcomer.claim()
        house.laggd.kill_forwarder()
        with pytest.raises(LaggError):
            newcomer.commit()
    wait_until(
        lambda: house.status["forwarder"]["pid"] != before["forwarder"]["pid"],
        DEADLINE_S,
        "the old one follows",
    )
    now = house.status
    house.goes_on(before | {"forwarder": now["forwarder"]})


def test_a_forwarder_that_was_stopped_is_asked_again(house: House) -> None:
    before = house.status
    with stopped(before["forwarder"]["pid"]):
        refused = house.laggd.try_ctl("attach", LAGG, "p2")
        assert refused.returncode == 1
        assert "no answer within 2 s" in refused.stderr
    wait_until(
        lambda: house.laggd.try_ctl("attach", LAGG, "p2").returncode == 0,
        DEADLINE_S,
        "it does what it is told",
    )
    house.laggd.ctl("detach", LAGG, "p2")
    house.goes_on(before)


def test_a_newcomer_that_says_nothing_more_loses_what_it_was_given(
    house: House,
) -> None:
    before = house.status
    with house.client() as newcomer:
        newcomer.claim()
        house.goes_on(before)  # when it was told so, by the forwarder


def test_of_two_newcomers_one_is_refused(house: House) -> None:
    before = house.status
    with house.client() as first, house.client() as second:
        first.claim()
        with pytest.raises(LaggError) as refusal:  # a laggd may start too late for it
            second.claim()
    assert refusal.value.code == errno.EBUSY
    house.goes_on(before)


def test_a_newcomer_whose_configuration_is_bad_does_not_even_ask(
    house: House, tmp_path: Path
) -> None:
    before = house.status
    config = tmp_path / "laggd.toml"
    config.write_text("nonsense = 1\n")
    refused = house.newcomer("--config", config)
    assert refused.returncode == 78
    assert "wanted all" not in house.laggd.log_tail()
    house.goes_on(before)


def test_laggd_that_is_stopped_is_not_replaced(house: House) -> None:
    before = house.status
    with stopped(house.laggd.pid):
        refused = house.newcomer()
    assert refused.returncode == 1
    assert "(ETIMEDOUT)" in refused.stderr
    house.goes_on(before)


def test_without_replace_a_second_laggd_does_not_ask(
    house: House, tmp_path: Path
) -> None:
    before = house.status
    other = ("--socket", tmp_path / "s", "--state-dir", house.laggd.state_dir)
    second = house.host.popen(LAGGD, *other, stderr=subprocess.PIPE)
    _, said = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 1
    assert f"in use by another laggd (pid {before['pid']})" in said
    house.goes_on(before)


def test_restart_says_of_a_bad_configuration_that_the_old_one_goes_on(
    tmp_path: Path,
) -> None:
    config = tmp_path / "laggd.toml"
    config.write_text("")
    with Lab() as lab:
        house = House(lab, config=config)
        before = house.status
        config.write_text("nonsense = 1\n")
        refused = house.laggd.try_ctl("restart")
        assert (refused.returncode, refused.stderr) == (
            1,
            f"laggctl: laggd: not replaced: its configuration is bad: {config}:"
            f" nonsense: unknown key; one of lagg; pid {before['pid']} goes on"
            " (ECANCELED)\n",
        )
        house.goes_on(before)


def test_restart_of_a_laggd_that_carries_frames_itself_is_refused() -> None:
    with Lab() as lab:
        house = House(lab, INSIDE)
        before = house.status
        refused = house.laggd.try_ctl("restart")
        assert (refused.returncode, refused.stderr) == (
            1,
            "laggctl: laggd: runs with --inside, so its frames would stop with it:"
            " stop and start it (EOPNOTSUPP)\n",
        )
        assert house.status["pid"] == before["pid"]
        refused = house.newcomer()
        assert refused.returncode == 1
        assert "runs with --inside: stop it, then start one without" in refused.stderr


# ---- away --------------------------------------------------------------------------


@pytest.fixture
def fast() -> Iterator[Pair]:
    with Lab() as lab:
        yield Pair(lab, proto="lacp", options=("--lacp-fast-timeout",))


def heard(pair: Pair) -> list[int]:
    """The LACPDUs that b had from a, by its ports."""
    ports = pair.b.record()["ports"]
    return [port["lacp"]["counters"]["lacpdu_rx"] for port in ports]


def agreed(pair: Pair) -> tuple[int, list[list[str]]]:
    """What moves when b loses its partner."""
    record = pair.b.record()
    return record["generation"], [port["flags"] for port in record["ports"]]


def test_a_partner_hears_of_a_laggd_that_is_away_and_not_of_one_that_stays_away(
    fast: Pair,
) -> None:
    fast.wait_until_agreed(2)
    before, first = agreed(fast), heard(fast)
    fast.a.laggd.kill()
    wait_until(
        lambda: all(now > was + 6 for now, was in zip(heard(fast), first, strict=True)),
        DEADLINE_S,
        "b hears a's ports on, longer than it would wait in silence",
    )
    assert agreed(fast) == before
    wait_until(lambda: agreed(fast) != before, DEADLINE_S, "b finds nobody there")
    fast.a.laggd.start()
    fast.wait_until_agreed(2)
