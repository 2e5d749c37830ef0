# SPDX-License-Identifier: BSD-2-Clause
"""A command that outlives laggd: it waits for the next one, and says so once."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lagg.cli import follower
from lagg.cli.follower import Follower
from lagg.control.client import NoDaemonError
from lagg.errors import LaggError
from tests.control.world import World

SAID = "laggctl: laggd is gone; waiting\nlaggctl: laggd is back\n"


class Host:
    """Where laggd comes and goes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.laggd: World | None = None
        self.meanwhile: list[Callable[[], None]] = []  # at each look for a laggd

    def start(self) -> None:
        self.laggd = World(self.path, 0)
        self.laggd.start()

    def die(self) -> None:
        """Ends laggd as SIGKILL does: whoever is connected is not told why."""
        if self.laggd is not None:
            self.laggd.stop()
            os.unlink(self.path)
            self.laggd = None

    def die_and_leave_its_socket(self) -> None:
        assert self.laggd is not None
        self.laggd.stop()
        self.laggd = None

    def start_again(self) -> None:
        Path(self.path).unlink(missing_ok=True)
        self.start()
        self.call("Create", name="lagg0")

    def call(self, method: str, **parameters: object) -> None:
        assert self.laggd is not None
        self.laggd.call(method, **parameters)

    def look(self, _: float) -> None:
        """In place of the time between two looks."""
        self.meanwhile.pop(0)()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    found = Host(str(tmp_path / "laggd.sock"))
    monkeypatch.setattr("lagg.cli.follower.time.sleep", found.look)
    found.start()
    yield found
    found.die()


@pytest.fixture
def laggd(host: Host) -> Iterator[Follower]:
    with Follower(host.path) as found:
        yield found


def names(laggd: Follower) -> list[str]:
    return [each["name"] for each in laggd.call("List")["laggs"]]


def test_where_there_never_was_a_laggd_nobody_waits_long(
    host: Host,
    laggd: Follower,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follower, "START_S", 0)
    host.die()
    for ask in (lambda: laggd.call("List"), laggd.next_event):
        with pytest.raises(NoDaemonError) as caught:
            ask()
        cause = "no laggd runs here; start it: systemctl start laggd"
        assert str(caught.value) == f"{host.path}: {cause}"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("death", [Host.die, Host.die_and_leave_its_socket])
def test_a_call_is_answered_by_the_next_laggd(
    host: Host,
    laggd: Follower,
    death: Callable[[Host], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert names(laggd) == []
    death(host)
    host.meanwhile = [lambda: None, lambda: None, host.start_again]
    assert names(laggd) == ["lagg0"]
    assert host.meanwhile == []
    assert capsys.readouterr().err == SAID
    assert names(laggd) == ["lagg0"]
    assert capsys.readouterr().err == ""


def test_the_first_event_after_a_gap_tells_of_it(
    host: Host, laggd: Follower, capsys: pytest.CaptureFixture[str]
) -> None:
    laggd.listen()
    host.call("Create", name="lagg1")
    assert laggd.next_event()["lagg"] == "lagg1"
    host.die()
    host.meanwhile = [host.start_again]
    gap = laggd.next_event()
    details = gap["details"]
    assert details.startswith("laggd was away for ")
    assert details.endswith(" s, what happened then is not told")
    assert (gap["lagg"], gap["port"], gap["event"]) == ("", None, "events-lost")
    assert (gap["cause"], gap["by"]) == (None, None)
    assert capsys.readouterr().err == SAID
    assert not laggd.unread
    host.call("Create", name="lagg2")
    assert laggd.next_event()["lagg"] == "lagg2"


def test_a_gap_that_a_call_meets_is_an_event_and_is_said_once(
    host: Host, laggd: Follower, capsys: pytest.CaptureFixture[str]
) -> None:
    before = laggd.listen()
    assert names(laggd) == []
    host.die()
    host.meanwhile = [host.start_again]
    assert names(laggd) == ["lagg0"]
    assert before.fileno() < 0  # nobody waits for what will never come
    unread = [laggd.unread]
    assert laggd.next_event()["event"] == "events-lost"
    assert [*unread, laggd.unread] == [True, False]
    assert capsys.readouterr().err == SAID


def test_each_gap_is_said(
    host: Host, laggd: Follower, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        laggd.call("List")
        host.die()
        host.meanwhile = [host.start_again]
    laggd.call("List")
    assert capsys.readouterr().err == 2 * SAID


def test_what_the_next_laggd_refuses_is_refused(host: Host, laggd: Follower) -> None:
    host.call("Create", name="lagg7")
    laggd.call("List", name="lagg7")
    host.die()
    host.meanwhile = [host.start_again]
    with pytest.raises(LaggError) as caught:
        laggd.call("List", name="lagg7")
    assert caught.value.thing == "lagg7"


def test_what_may_be_done_is_not_asked_for_twice(laggd: Follower) -> None:
    with pytest.raises(AssertionError, match="is not to be done again"):
        laggd.call("Create", name="lagg0")
