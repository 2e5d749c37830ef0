# SPDX-License-Identifier: BSD-2-Clause
"""laggctl: what it sends, prints and exits with."""

import errno
import json
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

import lagg
from lagg import cli
from lagg.cli.output import clock
from lagg.cli.said import (
    byte_words,
    carrier_reason,
    coloured,
    count_words,
    plain,
    speed_words,
)
from lagg.cli.show_page import show_page
from lagg.model import HashKind, HashLayer, LaggConfig, MacPolicy, Options, Proto
from tests.control.world import (
    DEADLINE_SECONDS,
    SINCE,
    World,
    a_record,
)
from tests.tree import ROOT


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str


@pytest.fixture
def laggctl(capfd: pytest.CaptureFixture[str]) -> "Laggctl":
    return Laggctl(capfd)


@dataclass
class Laggctl:
    """The command, in this process."""

    capfd: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Run:
        try:
            code = cli.main(words)
        except SystemExit as ended:
            code = cast(int, ended.code)
        out, err = self.capfd.readouterr()
        return Run(code, out, err)


def spawned(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lagg", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},  # as users have it: flushing shows
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# Commands


def test_create_sends_every_option(world: World, laggctl: Laggctl) -> None:
    words = (
        "create lagg0 --proto loadbalance --port eth0 --port eth1"
        " --mac 02:00:5e:00:53:01 --mtu 9000 --lagghash l4,l3 --use-flowid"
        " --flowid-shift 0 --rr-limit 3 --failover-rx-all --hash fnv1 --hash-seed 0x10"
        " --altname core,uplink --mac-policy primary"
    )
    assert laggctl(*words.split()) == Run(0, "", "")
    assert world.commands.configs["lagg0"] == LaggConfig(
        "lagg0",
        proto=Proto.LOADBALANCE,
        ports=("eth0", "eth1"),
        mac="02:00:5e:00:53:01",
        mtu=9000,
        options=Options(
            lagghash=(HashLayer.L3, HashLayer.L4),
            hash=HashKind.FNV1,
            hash_seed=16,
            use_flowid=True,
            flowid_shift=0,
            rr_limit=3,
            failover_rx_all=True,
            altname=("core", "uplink"),
            mac_policy=MacPolicy.PRIMARY,
        ),
    )


@pytest.mark.usefixtures("world")
def test_altnames_are_shown_and_an_empty_word_is_none(laggctl: Laggctl) -> None:
    laggctl("create", "lagg0", "--altname", "core,uplink")
    assert "\n  altname core\n  altname uplink\n" in laggctl("show").out
    laggctl("set", "lagg0", "--altname", "")
    assert "altname" not in laggctl("show", "-v").out


@pytest.mark.usefixtures("world")
def test_status_tells_of_laggd_itself(laggctl: Laggctl) -> None:
    found = json.loads(laggctl("--json", "status").out)
    started = datetime.fromisoformat(found.pop("started_at"))
    up_s = found.pop("uptime_s")
    assert (datetime.now(UTC) - started).total_seconds() >= up_s >= 0
    assert found == {
        "version": lagg.__version__,
        "pid": os.getpid(),
        "forwarder": None,
        "adoptions": 0,
        "control_away_s": None,
        "trials": [],
    }
    line = f"laggd {lagg.__version__}, pid {os.getpid()}, for "
    assert laggctl("status").out.startswith(line)
    assert laggctl("show", "-v").out.startswith(line)
    assert laggctl("show", "-v").out.endswith("\n\nno laggs\n")


def test_set_attach_detach_release_destroy(world: World, laggctl: Laggctl) -> None:
    laggctl("create", "lagg0", "--use-flowid", "--failover-rx-all")
    assert laggctl("set", "lagg0", "--proto", "none", "--no-use-flowid").code == 0
    assert laggctl("attach", "lagg0", "eth0", "eth1").code == 0
    assert laggctl("detach", "lagg0", "eth0").code == 0
    assert laggctl("release", "lagg0", "eth1").code == 0
    assert world.commands.released == ("lagg0", ("eth1",))
    (config,) = world.commands.configs.values()
    assert config == LaggConfig(
        "lagg0",
        proto=Proto.NONE,
        ports=("eth1",),
        options=Options(failover_rx_all=True),
    )
    assert laggctl("destroy", "lagg0") == Run(0, "", "")
    assert world.commands.configs == {}


def test_a_refusal_is_one_line_and_exit_1(world: World, laggctl: Laggctl) -> None:
    laggctl("create", "lagg1", "--port", "eth1")
    assert laggctl("create", "lagg0", "--port", "eth1") == Run(
        1, "", "laggctl: lagg0: port eth1: already a port of lagg1 (EBUSY)\n"
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "create lagg0 --lacp-key 65536",
            "laggctl: lagg0: lacp_key: 65536 is not a whole number from 0 to 65535"
            " (EINVAL)",
        ),
        (
            "set lagg0 --proto 9",
            "laggctl: lagg0: proto: no such protocol '9'; one of failover, roundrobin,"
            " loadbalance, lacp, broadcast, tlb, alb, none (EPROTONOSUPPORT)",
        ),
        (
            "set lagg0 --rr-limit 4294967296",
            "laggctl: lagg0: rr_limit: 4294967296 is not a whole number from 0 to"
            " 4294967295, or random (EINVAL)",
        ),
        (
            "set lagg0 --flowid-shift -1",
            "laggctl: lagg0: flowid_shift: -1 is not a whole number from 0 to 31"
            " (EINVAL)",
        ),
        (
            "set lagg0 --lagghash=",
            "laggctl: lagg0: lagghash: [] is not a list of one or more of l2, l3, l4,"
            " inner (EINVAL)",
        ),
        (
            "set lagg0 --lagghash l2,l5",
            "laggctl: lagg0: lagghash: no layer 'l5'; any of l2, l3, l4, inner"
            " (EINVAL)",
        ),
        ("destroy lagg9", "laggctl: lagg9: no such lagg (ENXIO)"),
        ("show lagg9", "laggctl: lagg9: no such lagg (ENXIO)"),
    ],
)
@pytest.mark.usefixtures("world")
def test_a_value_that_is_not_allowed_is_refused_by_laggd(
    laggctl: Laggctl, words: str, line: str
) -> None:
    assert laggctl(*words.split()) == Run(1, "", line + "\n")


@pytest.mark.parametrize(
    "words",
    [
        "",
        "frobnicate",
        "create",
        "create lagg0 --no-such-option",
        "create lagg0 --rr 1",
        "create lagg0 --mtu many",
        "create lagg0 --rr-limit 1.5",
        "attach lagg0",
        "detach lagg0",
        "set lagg0",
        "set",
        "show a b",
        "monitor lagg0",
        "--socket",
    ],
)
@pytest.mark.usefixtures("world")
def test_a_command_that_cannot_be_meant_is_usage(laggctl: Laggctl, words: str) -> None:
    run = laggctl(*words.split())
    assert (run.code, run.out) == (2, "")
    assert "laggctl" in run.err


@pytest.mark.parametrize("words", ["show", "create lagg0", "monitor", "stats lagg0"])
def test_no_daemon_is_exit_3(tmp_path: Path, laggctl: Laggctl, words: str) -> None:
    path = str(tmp_path / "nobody.sock")
    run = laggctl("--socket", path, *words.split())
    cause = "no laggd runs here; start it: systemctl start laggd"
    assert run == Run(3, "", f"laggctl: {path}: {cause}\n")


def test_a_dead_daemons_socket_is_no_daemon(tmp_path: Path, laggctl: Laggctl) -> None:
    path = str(tmp_path / "dead.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    assert laggctl("--socket", path, "show").code == 3


@pytest.mark.parametrize("answer", [b"", b"hello\0", b"[]\0", b"{"])
def test_a_stranger_on_the_socket_is_no_daemon(
    tmp_path: Path, laggctl: Laggctl, answer: bytes
) -> None:
    path = str(tmp_path / "stranger.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        talking = threading.Thread(target=answer_once, args=(listener, answer))
        talking.start()
        assert laggctl("--socket", path, "show").code == 3
        talking.join()


def answer_once(listener: socket.socket, answer: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer)


def test_a_socket_one_may_not_reach_is_a_refusal(
    laggctl: Laggctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", connect)
    run = laggctl("--socket", "/x", "show")
    line = "laggctl: /x: only root and the group of this socket may connect; "
    assert (run.code, run.out, run.err[: len(line)]) == (1, "", line)
    assert run.err.endswith(" laggd --read-socket (EACCES)\n")


@pytest.mark.parametrize(
    "words",
    [
        ("--socket", "{}", "--json", "show"),
        ("show", "--socket", "{}", "--json"),
        ("--json", "show", "--socket", "{}"),
        ("--socket", "/nowhere", "show", "--socket={}", "--json"),
    ],
)
def test_global_options_stand_before_or_after_the_command(
    world: World,
    laggctl: Laggctl,
    monkeypatch: pytest.MonkeyPatch,
    words: Sequence[str],
) -> None:
    monkeypatch.delenv("LAGGD_SOCKET")
    run = laggctl(*(word.format(world.path) for word in words))
    assert run == Run(0, "[]\n", "")


# Output


def test_show_json_is_the_list_of_records(world: World, laggctl: Laggctl) -> None:
    laggctl("create", "lagg0", "--port", "eth0", "--port", "eth1")
    laggctl("create", "lagg1")
    both = world.call("List")["parameters"]["laggs"]
    assert json.loads(laggctl("show", "--json").out) == both
    assert json.loads(laggctl("show", "lagg1", "--json").out) == both[1:]


@pytest.mark.usefixtures("world")
def test_stats_json_is_the_counter_parts(laggctl: Laggctl) -> None:
    laggctl("create", "lagg0", "--port", "eth0")
    assert json.loads(laggctl("stats", "--json").out) == [
        {
            "name": "lagg0",
            "counters": {
                "tx_in": 10,
                "tx_out": 8,
                "rx_in": 5,
                "rx_out": 4,
                "drops": {"no-port": 3, "tx-full": 0},
            },
            "ports": [
                {
                    "name": "eth0",
                    "tx_frames": 1234567,
                    "tx_bytes": 150000000,
                    "rx_frames": 3,
                    "rx_bytes": 180,
                    "drops": {"tx-error": 0},
                }
            ],
        }
    ]


@pytest.mark.usefixtures("world")
def test_a_change_with_json_prints_an_object(laggctl: Laggctl) -> None:
    done = json.loads(laggctl("--json", "create", "lagg0").out)
    assert done == {"name": "lagg0", "done": "create"}


PAGE = """\
lagg0: failover, link up since {since}, 10 Gbit/s
  carries by eth0: the primary carries all
  mac 02:00:5e:00:53:01  mtu 1500

  port  link  speed      sent    received
  eth0  up    10 Gbit/s  150 MB  180 B     primary, active
  eth1  down  -          150 MB  180 B     carrier down since {since}
    lost: tx-error 1

  sent      10 frames from lagg0, 8 to ports
  received  5 frames from ports, 4 to lagg0
  lost      no-port 3
"""


@pytest.mark.usefixtures("world")
def test_show_is_a_page(laggctl: Laggctl) -> None:
    laggctl("create", "lagg0", "--port", "eth0", "--port", "eth1")
    assert laggctl("show").out == PAGE.format(since=clock(SINCE))


@pytest.mark.usefixtures("world")
def test_show_without_laggs_says_so(laggctl: Laggctl) -> None:
    assert laggctl("show") == Run(0, "no laggs\n", "")
    assert laggctl("stats") == Run(0, "no laggs\n", "")


@pytest.mark.usefixtures("world")
def test_stats_names_each_counter_and_the_drops_there_were(laggctl: Laggctl) -> None:
    laggctl("create", "lagg0", "--port", "eth0")
    out = laggctl("stats").out
    assert "  tx_in                                  10\n" in out
    assert "  drops no-port                           3\n" in out
    assert "    rx_bytes                              180\n" in out
    assert "tx-full" not in out


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"link": "up"}, None),
        ({"link": "down", "ports": []}, "no ports"),
        ({"link": "down", "proto": "none"}, "protocol none carries nothing"),
        ({"link": "down", "up": False}, "administratively down"),
        ({"link": "down"}, "no active port: carrier down"),
    ],
)
def test_a_lagg_without_carrier_says_why(
    changes: dict[str, object], reason: str | None
) -> None:
    record = a_record(**changes)
    assert carrier_reason(record) == reason
    if reason is not None:
        assert f"link down ({reason})" in show_page([record], plain)


def test_colours_change_no_width() -> None:
    bare = show_page([a_record()], plain)
    bright = show_page([a_record()], coloured)
    assert "\033[32m" in bright
    for code in ("1", "31", "32", "33", "0"):
        bright = bright.replace(f"\033[{code}m", "")
    assert bright == bare


@pytest.mark.parametrize(
    ("extra", "bright"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_only_a_willing_terminal_gets_colours(
    world: World, laggctl: Laggctl, extra: dict[str, str], bright: bool
) -> None:
    laggctl("create", "lagg0", "--port", "eth0")
    quiet = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    main_end, terminal = pty.openpty()
    with os.fdopen(main_end, "rb") as page:
        subprocess.run(
            [sys.executable, "-m", "lagg", "--socket", world.path, "show"],
            cwd=ROOT,
            stdout=terminal,
            env=quiet | {"TERM": "xterm"} | extra,
            check=True,
        )
        assert (b"\033[" in page.read1()) is bright
        os.close(terminal)


def test_numbers_are_for_reading() -> None:
    assert [speed_words(mbps) for mbps in (0, 100, 1000, 2500, 400000)] == [
        "-",
        "100 Mbit/s",
        "1 Gbit/s",
        "2.5 Gbit/s",
        "400 Gbit/s",
    ]
    assert count_words(1234567) == "1 234 567"
    sizes = (0, 999, 1500, 10**12, 2**64)
    assert [byte_words(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "1 TB",
        "1.845e+04 PB",
    ]


def test_a_reader_that_leaves_is_no_error(world: World, laggctl: Laggctl) -> None:
    for number in range(60):
        laggctl("create", f"lagg{number}", "--port", f"eth{number}")
    reading = spawned("--socket", world.path, "show")
    assert reading.stdout is not None
    reading.stdout.close()
    assert reading.wait(DEADLINE_SECONDS) == 0
    assert reading.stderr is not None
    assert reading.stderr.read() == ""
    reading.stderr.close()


# check


def test_check_accepts_a_good_file(tmp_path: Path, laggctl: Laggctl) -> None:
    path = tmp_path / "laggd.toml"
    path.write_text("[[lagg]]\nname = 'lagg0'\n[[lagg]]\nname = 'lagg1'\n")
    assert laggctl("check", str(path)) == Run(0, f"{path}: good: lagg0, lagg1\n", "")
    assert json.loads(laggctl("check", "--json", str(path)).out) == {
        "file": str(path),
        "laggs": ["lagg0", "lagg1"],
    }


def test_check_says_all_that_is_wrong(tmp_path: Path, laggctl: Laggctl) -> None:
    path = tmp_path / "laggd.toml"
    path.write_text("[[lagg]]\nname = 'lagg0'\nmtu = 1\nrr_limt = 2\n")
    run = laggctl("check", str(path))
    assert (run.code, run.out) == (1, "")
    first, second = run.err.splitlines()
    assert first.startswith(f"laggctl: {path}: lagg0: rr_limt: unknown key (did you")
    assert second.startswith(f"laggctl: {path}: lagg0: mtu: 1 is not a whole number")
