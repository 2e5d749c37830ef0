# SPDX-License-Identifier: BSD-2-Clause
"""laggd as a process: start, claims, signals, supervision, exit codes."""

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.control.world import DEADLINE_SECONDS, JOURNAL, RawClient, wait_until
from tests.tree import ROOT

pytestmark = pytest.mark.slow

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def place() -> Iterator[Path]:
    # Not tmp_path: a socket's path may have 107 bytes only.
    with tempfile.TemporaryDirectory(prefix="laggd-") as found:
        yield Path(found)


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Starts laggd with fake commands, on files of this test."""
    with ExitStack() as running:

        def run(
            *words: str, env: Mapping[str, str] | None = None, through: str = ""
        ) -> subprocess.Popen[str]:
            shell = ["sh", "-c", through, "sh"] if through else []
            program = [*shell, sys.executable, "-m", "tests.control.world"]
            base = ["--socket", str(place / "s"), "--state-dir", str(place / "state")]
            found = running.enter_context(
                subprocess.Popen(
                    [*program, *base, *words],
                    cwd=ROOT,
                    env={**os.environ, "PYTHONPATH": "tools/packages", **(env or {})},
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            running.callback(found.kill)
            return found

        yield run


def answers(path: Path) -> bool:
    try:
        with RawClient(str(path)) as client:
            return "parameters" in client.call("List")
    except (OSError, EOFError):
        return False


def started(place: Path, process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    wait_until(lambda: process.poll() is not None or answers(place / "s"))
    assert process.poll() is None, ended(process)
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_puts_every_port_back_and_exits_0(
    place: Path, start: Start, number: signal.Signals
) -> None:
    laggd = started(place, start())
    with RawClient(str(place / "s")) as client:
        client.call("Create", name="lagg0")
    laggd.send_signal(number)
    code, said = ended(laggd)
    assert code == 0
    assert "every port is as it was found" in said
    assert (place / "state/closed").read_text() == "lagg0"
    assert not (place / "s").exists()


@pytest.mark.parametrize(
    "number",
    [signal.SIGUSR1, signal.SIGPWR, signal.SIGALRM, signal.SIGIO, signal.SIGRTMIN],
)
def test_a_signal_that_means_nothing_does_not_end_it(
    place: Path, start: Start, number: int
) -> None:
    laggd = started(place, start())
    laggd.send_signal(number)
    assert answers(place / "s")
    laggd.terminate()
    assert ended(laggd)[0] == 0


def test_what_leaves_its_laggs_to_the_next_is_an_end_for_one_that_cannot(
    place: Path, start: Start
) -> None:
    laggd = started(place, start("--inside"))
    laggd.send_signal(signal.SIGUSR2)
    code, said = ended(laggd)
    assert (code, "every port is as it was found" in said) == (0, True)


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_it_serves_whatever_streams_it_is_started_without(
    place: Path, start: Start, closed: str
) -> None:
    """And no socket of its own has the number of one."""
    laggd = started(place, start(through=f'exec "$@" {closed}'))
    streams = [os.readlink(f"/proc/{laggd.pid}/fd/{number}") for number in (0, 1, 2)]
    assert not [each for each in streams if each.startswith(("socket:", "anon_inode:"))]
    assert streams[2] == os.devnull
    laggd.terminate()
    assert laggd.wait(DEADLINE_SECONDS) == 0
    assert (place / "state/closed").read_text() == ""


def test_sighup_does_not_end_it(place: Path, start: Start) -> None:
    laggd = started(place, start())
    laggd.send_signal(signal.SIGHUP)
    assert answers(place / "s")
    laggd.terminate()
    assert ended(laggd)[0] == 0


def laggs_of(place: Path) -> dict[str, str]:
    with RawClient(str(place / "s")) as client:
        laggs = client.call("List")["parameters"]["laggs"]
    return {each["name"]: each["proto"] for each in laggs}


def test_sighup_reads_the_configuration_again(place: Path, start: Start) -> None:
    path = place / "laggd.toml"
    path.write_text("[[lagg]]\nname = 'lagg0'\n[[lagg]]\nname = 'lagg1'\n")
    laggd = started(place, start("--config", str(path)))
    path.write_text("[[lagg]]\nname = 'lagg0'\nproto = 'none'\n")
    laggd.send_signal(signal.SIGHUP)
    wait_until(lambda: laggs_of(place) == {"lagg0": "none"})
    laggd.terminate()
    said = ended(laggd)[1]
    assert "INFO reload: lagg0: proto: failover -> none" in said
    assert "INFO reload: lagg1: destroyed" in said


def reload_told(supervisor: socket.socket, laggd: subprocess.Popen[str]) -> int:
    """Reloads by signal; when it began, in microseconds, as the supervisor heard."""
    heard: list[str] = []
    while "READY=1" not in heard:
        heard.append(supervisor.recv(4096).decode())
    laggd.send_signal(signal.SIGHUP)
    while not heard[-1].startswith("RELOADING=1"):
        heard.append(supervisor.recv(4096).decode())
    began_us = int(heard[-1].partition("\nMONOTONIC_USEC=")[2])
    while heard[-1] != "READY=1":
        heard.append(supervisor.recv(4096).decode())
    return began_us


@pytest.fixture
def supervisor(place: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(str(place / "notify"))
        found.settimeout(DEADLINE_SECONDS)
        yield found


def test_sighup_with_a_bad_configuration_changes_nothing_and_says_all(
    place: Path, start: Start, supervisor: socket.socket
) -> None:
    path = place / "laggd.toml"
    path.write_text("[[lagg]]\nname = 'lagg0'\n")
    notify = {"NOTIFY_SOCKET": str(place / "notify")}
    laggd = start("--config", str(path), env=notify)
    wait_until(lambda: answers(place / "s"))
    path.write_text("[[lagg]]\nname = 'lagg1'\nmtu = 1\nrr_limit = -1\n")
    reload_told(supervisor, laggd)
    laggd.terminate()
    code, said = ended(laggd)
    assert code == 0
    assert f"{path}: lagg1: mtu: 1 is not a whole number" in said
    assert f"{path}: lagg1: rr_limit: -1 is not a whole number" in said
    assert "ERROR reload: nothing was changed" in said
    assert (place / "state/closed").read_text() == "lagg0"


def test_the_supervisor_is_told_of_a_reload(
    place: Path, start: Start, supervisor: socket.socket
) -> None:
    laggd = start(env={"NOTIFY_SOCKET": str(place / "notify")})
    before_us = time.monotonic_ns() // 1000
    assert before_us <= reload_told(supervisor, laggd) <= time.monotonic_ns() // 1000
    laggd.terminate()
    assert ended(laggd)[0] == 0


def test_the_socket_is_for_its_group_and_its_directory_for_all(
    place: Path, start: Start
) -> None:
    path = place / "run/deep/s"
    start("--socket", str(path), "--group", str(os.getegid()))
    wait_until(lambda: answers(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert path.stat().st_gid == os.getegid()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


def test_who_may_look_only_has_a_socket_where_root_changes_nothing_either(
    place: Path, start: Start
) -> None:
    look = place / "look"
    laggd = started(place, start("--read-socket", str(look)))
    assert [stat.S_IMODE((place / each).stat().st_mode) for each in ("s", "look")] == [
        0o660,
        0o666,
    ]
    with RawClient(str(look)) as client:
        refused = client.call("Create", name="lagg0")
        assert client.call("List") == {"parameters": {"laggs": []}}
    assert refused["parameters"] == {
        "thing": "lagg0",
        "cause": f"this socket only reads; changes are made at {place / 's'}",
        "errno": errno.EPERM,
        "errno_name": "EPERM",
    }
    laggd.terminate()
    assert ended(laggd)[0] == 0
    assert not look.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_who_may_look_may_be_a_group(place: Path, start: Start) -> None:
    words = ("--read-socket", str(place / "look"), "--read-group", "daemon")
    started(place, start(*words))
    found = (place / "look").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_the_socket_goes_to_the_group_by_name(place: Path, start: Start) -> None:
    started(place, start("--group", "daemon"))
    assert (place / "s").stat().st_gid == 1


def test_a_second_laggd_on_the_socket_is_refused(place: Path, start: Start) -> None:
    first = started(place, start())
    code, said = ended(start("--state-dir", str(place / "other")))
    assert code == 1
    assert f"{place / 's'}: another laggd listens here (EADDRINUSE)" in said
    assert first.poll() is None
    assert answers(place / "s")


def test_the_socket_of_a_killed_laggd_is_replaced(place: Path, start: Start) -> None:
    first = started(place, start())
    first.kill()
    first.wait()
    assert (place / "s").is_socket()
    second = started(place, start())
    second.terminate()
    assert ended(second)[0] == 0


def test_a_file_that_is_no_socket_is_left_alone(place: Path, start: Start) -> None:
    (place / "s").write_text("precious")
    code, said = ended(start())
    assert code == 1
    assert f"{place / 's'}: cannot listen: Address already in use (EADDRINUSE)" in said
    assert (place / "s").read_text() == "precious"


def test_socket_and_state_may_share_a_directory(place: Path, start: Start) -> None:
    started(place, start("--state-dir", str(place)))


def test_a_configuration_is_applied(place: Path, start: Start) -> None:
    (place / "laggd.toml").write_text(
        "[[lagg]]\nname = 'lagg0'\nproto = 'broadcast'\nports = ['lo', 'absent0']\n"
    )
    laggd = started(place, start("--config", str(place / "laggd.toml")))
    with RawClient(str(place / "s")) as client:
        (record,) = client.call("List")["parameters"]["laggs"]
    assert record["proto"] == "broadcast"
    assert [port["name"] for port in record["ports"]] == ["lo", "absent0"]
    laggd.terminate()
    assert ended(laggd)[0] == 0


def test_a_bad_configuration_is_exit_78_with_every_complaint(
    place: Path, start: Start
) -> None:
    path = place / "laggd.toml"
    path.write_text("[[lagg]]\nname = 'lagg0'\nmtu = 1\nrr_limit = -1\n")
    code, said = ended(start("--config", str(path)))
    assert code == 78
    assert f"{path}: lagg0: mtu: 1 is not a whole number from 68 to 65521" in said
    assert f"{path}: lagg0: rr_limit: -1 is not a whole number" in said
    assert not (place / "s").exists()


def test_a_named_configuration_must_exist(place: Path, start: Start) -> None:
    code, said = ended(start("--config", str(place / "none.toml")))
    assert code == 78
    assert "none.toml: cannot be read: No such file or directory" in said


def test_a_lagg_that_cannot_be_made_undoes_the_start(place: Path, start: Start) -> None:
    (place / "laggd.toml").write_text(
        "[[lagg]]\nname = 'lagg0'\n[[lagg]]\nname = 'broken0'\n"
    )
    code, said = ended(start("--config", str(place / "laggd.toml")))
    assert code == 1
    assert "a bug" in said
    assert (place / "state/closed").read_text() == ""
    assert not (place / "s").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--what"],
        ["--read-group", "0"],
        ["--socket", "/run/s", "--read-socket", "/run/s"],
        ["--group", "no-such-group"],
        ["--log-level", "loud"],
        ["extra"],
        ["--workers", "0"],
        ["--workers", "9"],
        ["--workers", "two"],
        ["--busy-poll", "1001"],
        ["--busy-poll", "-1"],
    ],
)
def test_a_bad_command_line_is_exit_2(start: Start, words: list[str]) -> None:
    code, said = ended(start(*words))
    assert code == 2
    assert "usage: laggd" in said


RESTLESS = """
import sys, time
time.sleep = lambda pause_s: print("rested", file=sys.stderr)
from lagg.daemon.process import main
from tests.control.world import FakeCommands
sys.exit(main(sys.argv[1:], FakeCommands.open))
"""
"""A laggd that says so where it would wait."""


@pytest.mark.parametrize("supervised", [True, False])
def test_one_that_is_refused_rests_if_it_would_be_started_again_at_once(
    place: Path, supervised: bool
) -> None:
    (place / "file").write_text("")
    words = ["--socket", str(place / "file" / "s"), "--state-dir", str(place / "state")]
    environment = {"PYTHONPATH": "tools/packages"}
    if supervised:
        environment["NOTIFY_SOCKET"] = str(place / "notify")
    done = subprocess.run(
        [sys.executable, "-c", RESTLESS, *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
    assert done.stderr.count("rested") == supervised


# The journal


def test_where_no_journal_listens_a_line_has_a_priority_and_no_time(
    place: Path,
) -> None:
    log = place / "journal"
    with log.open("w") as stream:
        stat_ = os.fstat(stream.fileno())
        journal = {
            "JOURNAL_STREAM": f"{stat_.st_dev}:{stat_.st_ino}",
            JOURNAL: str(place / "nobody"),
        }
        config = ["--config", str(place / "none.toml")]
        subprocess.run(
            [sys.executable, "-m", "tests.control.world", *config],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "tools/packages", **journal},
            stderr=stream,
            check=False,
        )
    path = place / "none.toml"
    line = f"<3>{path}: cannot be read: No such file or directory\n"
    assert log.read_text() == line


def test_another_streams_name_is_not_the_journal(start: Start) -> None:
    code, said = ended(start("--config", "/none", env={"JOURNAL_STREAM": "1:1"}))
    assert code == 78
    assert said.startswith("2")
    assert " ERROR /none: cannot be read" in said
