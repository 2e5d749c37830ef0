# SPDX-License-Identifier: BSD-2-Clause
"""What a supervisor is told: readiness, status, and signs of life or none."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from lagg.daemon import supervise
from lagg.events import Event
from lagg.model import Health
from tests.control.world import DEADLINE_SECONDS, RawClient
from tests.tree import ROOT

WATCHDOG_USEC = 300_000


class Supervised:
    """A laggd with fake commands, and the socket on which it tells how it is."""

    def __init__(self, place: Path, *, abstract: bool = False) -> None:
        self.place = place
        self._parts = ExitStack()
        name = f"\0{place}/notify" if abstract else f"{place}/notify"
        self.heard = self._parts.enter_context(
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        )
        self.heard.bind(name)
        self.heard.settimeout(DEADLINE_SECONDS)
        self.environment = {
            **os.environ,
            "PYTHONPATH": "tools/packages",
            "NOTIFY_SOCKET": name.replace("\0", "@"),
        }

    def start(self, **environment: str) -> subprocess.Popen[str]:
        words = ["--socket", str(self.place / "s"), "--state-dir", str(self.place)]
        laggd = subprocess.Popen(
            [sys.executable, "-m", "tests.control.world", *words],
            cwd=ROOT,
            env=self.environment | environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._parts.enter_context(laggd)
        self._parts.callback(laggd.kill)
        return laggd

    def next(self) -> str:
        return self.heard.recv(4096).decode()

    def next_with(self, word: str) -> str:
        """The next message that has `word`; TimeoutError if none comes."""
        while word not in (message := self.next()):
            pass
        return message

    def forget(self) -> None:
        """What has come already."""
        self.heard.settimeout(0)
        with suppress(BlockingIOError):
            while True:
                self.next()

    def ask(self, method: str, **parameters: object) -> None:
        with RawClient(str(self.place / "s")) as client:
            assert "error" not in client.call(method, **parameters)

    def close(self) -> None:
        self._parts.close()


@pytest.fixture
def place() -> Iterator[Path]:
    # Not tmp_path: a socket's path may have 107 bytes only.
    with tempfile.TemporaryDirectory(prefix="laggd-") as found:
        yield Path(found)


@pytest.fixture
def supervised(place: Path) -> Iterator[Supervised]:
    found = Supervised(place)
    yield found
    found.close()


# ---- readiness and status ----------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_the_supervisor_is_told_of_start_status_and_stop(
    place: Path, abstract: bool
) -> None:
    supervised = Supervised(place, abstract=abstract)
    laggd = supervised.start()
    assert supervised.next() == "READY=1"
    assert supervised.next() == "STATUS=0 laggs, 0 ports, 0 carry"
    laggd.terminate()
    assert supervised.next().startswith("STOPPING=1\n")
    assert laggd.wait(DEADLINE_SECONDS) == 0
    supervised.close()


def test_the_status_follows_what_happens(supervised: Supervised) -> None:
    supervised.start()
    supervised.next_with("0 laggs")
    supervised.ask("Create", name="lagg0", ports=["lo"])
    assert supervised.next() == "STATUS=1 lagg, 1 port, 1 carries"
    supervised.ask("Create", name="lagg1", ports=["eth0", "eth1"])
    assert supervised.next() == "STATUS=2 laggs, 3 ports, 3 carry"


def test_a_supervisor_that_is_gone_is_no_failure(supervised: Supervised) -> None:
    supervised.heard.close()
    (supervised.place / "notify").unlink()
    laggd = supervised.start()
    assert laggd.stderr is not None
    while "the supervisor cannot be told" not in laggd.stderr.readline():
        assert laggd.poll() is None
    laggd.terminate()
    assert laggd.wait(DEADLINE_SECONDS) == 0


def test_notify_without_a_supervisor_does_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    supervise.notify("READY=1")


# ---- the watchdog ------------------------------------------------------------------


def test_signs_of_life_come_more_often_than_the_watchdog_needs(
    supervised: Supervised,
) -> None:
    supervised.start(WATCHDOG_USEC=str(WATCHDOG_USEC))
    supervised.next_with("WATCHDOG=1")
    supervised.heard.settimeout(DEADLINE_SECONDS)
    assert supervised.next() == supervised.next() == "WATCHDOG=1"


def test_a_laggd_whose_loop_stands_still_gives_no_sign(supervised: Supervised) -> None:
    laggd = supervised.start(WATCHDOG_USEC=str(WATCHDOG_USEC))
    supervised.next_with("WATCHDOG=1")
    laggd.send_signal(signal.SIGSTOP)
    os.waitpid(laggd.pid, os.WUNTRACED)
    supervised.forget()
    supervised.heard.settimeout(3 * WATCHDOG_USEC / 1e6)
    with pytest.raises(TimeoutError):
        supervised.next()
    laggd.send_signal(signal.SIGCONT)
    supervised.heard.settimeout(DEADLINE_SECONDS)
    assert supervised.next() == "WATCHDOG=1"


def test_a_laggd_that_ails_tells_it_and_gives_no_sign_of_life(
    supervised: Supervised,
) -> None:
    supervised.start(WATCHDOG_USEC=str(WATCHDOG_USEC))
    supervised.next_with("WATCHDOG=1")
    supervised.ask("Create", name="ailing0")
    said = supervised.next_with("ails")
    assert said == "STATUS=1 lagg, 0 ports, 0 carry; ailing0: ails"
    supervised.heard.settimeout(3 * WATCHDOG_USEC / 1e6)
    with pytest.raises(TimeoutError):
        supervised.next()
    supervised.heard.settimeout(DEADLINE_SECONDS)
    supervised.ask("Destroy", name="ailing0")
    assert supervised.next() == "STATUS=0 laggs, 0 ports, 0 carry\nWATCHDOG=1"


class Well:
    """Commands of which nothing ails, and nothing is news."""

    ailments: tuple[str, ...] = ()

    def health(self) -> Health:
        return Health(laggs=1, ports=2, carrying=2, ailments=self.ailments)

    def subscribe(self, _: Callable[[Event], None]) -> Callable[[], None]:
        return lambda: None


def test_what_is_only_to_be_put_right_is_told_and_stops_no_sign_of_life(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", supervised.environment["NOTIFY_SOCKET"])
    monkeypatch.setenv("WATCHDOG_USEC", str(WATCHDOG_USEC))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)

    async def told() -> list[str]:
        async with supervise.Pulse(Well(), lambda: ["files refused: why"]):
            return [await asyncio.to_thread(supervised.next) for _ in range(2)]

    status = "STATUS=1 lagg, 2 ports, 2 carry; files refused: why"
    assert asyncio.run(told()) == [f"{status}\nWATCHDOG=1", "WATCHDOG=1"]


def test_what_is_well_again_is_a_sign_of_life_at_once(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", supervised.environment["NOTIFY_SOCKET"])
    rest_s = 2 * DEADLINE_SECONDS
    monkeypatch.setenv("WATCHDOG_USEC", str(supervise.BEATS * rest_s * 1_000_000))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    source = Well()
    source.ailments = ("it does not answer",)

    async def told() -> list[str]:
        async with supervise.Pulse(source):
            first = await asyncio.to_thread(supervised.next)
            source.ailments = ()
            return [first, await asyncio.to_thread(supervised.next)]

    status = "STATUS=1 lagg, 2 ports, 2 carry"
    ails = f"{status}; it does not answer"
    assert asyncio.run(told()) == [ails, f"{status}\nWATCHDOG=1"]


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "10000000"}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_whose_pid_it_names(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    seconds: float | None,
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert supervise.watchdog_seconds() == seconds


def test_a_status_counts_in_words() -> None:
    ailing = Health(2, 4, 3, ("lagg0: worker 0 has ended",))
    said = "2 laggs, 4 ports, 3 carry; lagg0: worker 0 has ended"
    assert supervise.status_of(ailing) == said
