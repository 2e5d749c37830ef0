# SPDX-License-Identifier: BSD-2-Clause
"""lagg-forwarder as a process: how it begins, what it gave up, and how it ends."""

import os
import signal
import socket
import stat
import subprocess
from functools import partial
from pathlib import Path

import pytest

from lagg import __version__
from lagg.errors import LaggError
from lagg.forwarder import client, process, wire
from lagg.forwarder.client import ForwarderClient, GoneError
from lagg.forwarder.process import Process
from lagg.paths import forwarder_program
from tests.forwarder.world import DEADLINE_S, Running, status
from tests.waiting import wait_until


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(forwarder_program()), *words],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_it_says_its_version_and_the_layout_it_has_in_mind() -> None:
    said = run("--version").stdout
    assert said == f"lagg-forwarder {__version__} layout {wire.layout():08x}\n"


@pytest.mark.parametrize(
    "words", [(), ("--help",), ("a", "b"), ("-x",)], ids=lambda words: " ".join(words)
)
def test_a_usage_error_is_exit_2(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: lagg-forwarder SOCKET")


def test_descriptors_that_are_meant_for_another_process_are_not_taken() -> None:
    assert run(LISTEN_FDS="1", LISTEN_PID="1").returncode == 2


def test_a_place_that_is_taken_or_not_there_is_exit_1(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    for name in ("taken", "no/where", "l" * 200):
        done = run(str(tmp_path / name))
        assert done.returncode == 1
        assert done.stderr.startswith("lagg-forwarder: ")


def test_it_makes_its_socket_for_its_own_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "f.sock"
    with subprocess.Popen([str(forwarder_program()), str(path)]) as started:
        try:
            wait_until(lambda: answers(path), DEADLINE_S, "it answers")
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        finally:
            started.terminate()
    assert started.returncode == 0


def answers(path: Path) -> bool:
    try:
        ForwarderClient(path).disconnect()
    except GoneError:
        return False
    return True


def test_whoever_connects_is_heard_at_once(tmp_path: Path) -> None:
    path = tmp_path / "f.sock"
    started = Process.start(path)
    with ForwarderClient(path) as client:
        assert (client.version, client.layout) == (__version__, wire.layout())
        assert client.pid != started.pid
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    os.kill(started.pid, signal.SIGTERM)
    assert started.ended(DEADLINE_S * 1000)
    assert started.exit_code == 0
    started.close()


def test_without_the_program_the_error_names_it_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "forwarder_program", lambda: tmp_path / "none")
    with pytest.raises(LaggError, match="install laggd again, or run tools/setup"):
        Process.start(tmp_path / "f.sock")


def test_each_of_its_processes_has_given_up_what_it_does_not_need(
    forwarder: Running,
) -> None:
    for pid in (forwarder.process.pid, forwarder.wait_whole(), forwarder.pid):
        wait_until(partial(_is_filtered, pid), DEADLINE_S, "it has a filter")
        seen = status(pid)
        held = {name: int(seen[name], 16) for name in ("CapEff", "CapPrm", "CapInh")}
        assert held == {"CapEff": 0, "CapPrm": 0, "CapInh": 0}
        assert seen["NoNewPrivs"] == "1"


def _is_filtered(pid: int) -> bool:
    return status(pid)["Seccomp"] == "2"


def test_one_that_was_not_started_here_is_seen_to_end(forwarder: Running) -> None:
    watched = Process(forwarder.pid)
    assert not watched.ended()
    forwarder.kill()
    assert watched.ended()
    watched.close()


def test_a_signal_ends_it_while_it_carries_nothing(forwarder: Running) -> None:
    forwarder.owner().put("lock", 0)
    standby = Process(forwarder.wait_whole())
    os.kill(forwarder.process.pid, signal.SIGINT)
    assert forwarder.wait_ended() == 0
    assert standby.ended()
    standby.close()


def test_what_is_said_to_laggd_and_all_that_it_started_does_not(
    forwarder: Running,
) -> None:
    client = forwarder.client()
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        for pid in (forwarder.process.pid, client.pid):
            os.kill(pid, number)
    assert client.list() == {}
    assert forwarder.pid == client.pid


def test_a_socket_of_another_user_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(str(tmp_path / "f.sock"))
        other.listen()
        uid = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
        monkeypatch.setattr(client, "_ROOT", uid + 2)
        with pytest.raises(LaggError, match=f"uid {uid} listens there"):
            ForwarderClient(tmp_path / "f.sock")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's sockets are a supervisor's")
def test_who_answers_where_root_listens_must_run_as_we_do(
    forwarder: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    with pytest.raises(LaggError, match="a message of uid 0, not 1"):
        ForwarderClient(forwarder.path)
