# SPDX-License-Identifier: BSD-2-Clause
"""laggctl for who types it the first time, and for who starts laggd just before."""

import errno
import json
import os
import threading
from pathlib import Path

import pytest

import lagg
from lagg import cli
from lagg.cli.parser import COMMANDS
from lagg.control.client import Client, NoDaemonError
from tests.control.world import World


@pytest.mark.parametrize("program", ["laggctl", "laggd"])
def test_each_program_tells_its_version(
    program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from lagg.daemon import process

    main = {"laggctl": cli.main, "laggd": process.main}[program]
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{program} {lagg.__version__}\n"


def test_without_a_command_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    for row in COMMANDS:
        assert f"  {row.word} " in err
        assert row.purpose in err


def test_help_lists_every_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert all(f"  {row.word} " in out for row in COMMANDS)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("statsu", "no command 'statsu' (did you mean stats?); see laggctl --help"),
        ("--json xyzzy", "no command 'xyzzy'; see laggctl --help"),
        (
            "--jsno show",
            "unrecognized arguments: --jsno (did you mean --json?); see laggctl --help",
        ),
        (
            "set lagg0 --rr-limt=3",
            "unrecognized arguments: --rr-limt=3 (did you mean --rr-limit?);"
            " see laggctl set --help",
        ),
        (
            "set lagg0 --colour red",
            "unrecognized arguments: --colour red; see laggctl set --help",
        ),
        (
            "create --proto lacp",
            "the following arguments are required: NAME; see laggctl create --help",
        ),
        (
            "show --tree --bonding",
            "argument --bonding: not allowed with argument --tree;"
            " see laggctl show --help",
        ),
    ],
)
def test_what_cannot_be_meant_costs_one_line(
    capsys: pytest.CaptureFixture[str], words: str, line: str
) -> None:
    assert cli.main(words.split()) == 2
    assert capsys.readouterr().err == f"laggctl: {line}\n"


@pytest.mark.parametrize(
    "words",
    [
        "create lagg0 eth1 eth0 --proto none",
        "create --proto none lagg0 eth1 eth0",
        "create lagg0 --proto none eth1 eth0",
        "create lagg0 eth1 --proto none --port eth0",
        "create lagg0 --port eth1 --port eth0 --proto none",
    ],
)
def test_ports_follow_the_name_or_a_flag(world: World, words: str) -> None:
    assert cli.main(words.split()) == 0
    assert world.commands.configs["lagg0"].ports == ("eth1", "eth0")


@pytest.mark.usefixtures("world")
def test_a_program_is_told_of_a_refusal_on_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["destroy", "lagg9", "--json"]) == 1
    out, err = capsys.readouterr()
    told = {"thing": "lagg9", "cause": "no such lagg", "errno": errno.ENXIO}
    assert json.loads(out) == {"error": told}
    assert err == "laggctl: lagg9: no such lagg (ENXIO)\n"


def test_a_program_is_told_of_each_thing_that_is_wrong_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "laggd.toml"
    file.write_text('[[lagg]]\nname = "lagg0"\nproto = "lcap"\nmtu = 1\n')
    assert cli.main(["--json", "check", str(file)]) == 1
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert error["complaints"] == [
        line.removeprefix("laggctl: ") for line in err.splitlines()
    ]
    assert (error["thing"], error["errno"]) == ("configuration", errno.EINVAL)
    assert len(error["complaints"]) == 2


def test_a_program_is_told_that_there_is_no_laggd(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lagg.cli.daemon.START_S", 0)
    path = tmp_path / "nobody.sock"
    assert cli.main(["--socket", str(path), "--json", "show"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["thing"], error["errno"]) == ("laggd", errno.ECONNREFUSED)
    assert str(path) in error["cause"]


def test_a_command_waits_for_a_laggd_that_starts(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "late.sock"
    looks = threading.Semaphore(0)
    monkeypatch.setattr("time.sleep", lambda _: looks.release())

    def start() -> None:
        looks.acquire()
        os.link(world.path, late)

    starting = threading.Thread(target=start)
    starting.start()
    with Client(str(late), patience_s=60) as laggd:
        assert laggd.call("List") == {"laggs": []}
    starting.join()


def test_who_has_no_patience_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match="no laggd runs here"):
        Client(str(tmp_path / "nobody.sock"))


def test_check_takes_several_files_and_without_any_those_that_laggd_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("[[lagg]]\nname = 'lagg0'\n")
    two.write_text("")
    assert cli.main(["check", str(one), str(two)]) == 0
    good = f"{one}: good: lagg0\n{two}: good: no laggs\n"
    assert capsys.readouterr() == (good, "")
    assert cli.main(["--json", "check", str(one), str(two)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["laggs"] for each in found] == [["lagg0"], []]
    two.write_text("[[lagg]]\nname = 'a/b'\n")
    assert cli.main(["check", str(two), str(one)]) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    monkeypatch.setattr("lagg.cli.files.DEFAULT_CONFIG", str(one))
    assert cli.main(["check"]) == 0
    assert capsys.readouterr() == (f"{one}: good: lagg0\n", "")
