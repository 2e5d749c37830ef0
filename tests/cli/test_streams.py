# SPDX-License-Identifier: BSD-2-Clause
"""laggctl where its streams are not what it hopes: full, closed, or of another locale.

Each command is a process of its own, for it is Python's last flush that tells.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lagg.cli.brief_page import tree_page
from lagg.cli.output import STAND_INS
from lagg.cli.said import plain
from lagg.cli.top_page import BARS
from tests.control.world import DEADLINE_SECONDS, World, a_record
from tests.tree import ROOT

FULL = "laggctl: stdout: write: No space left on device (ENOSPC)\n"
CLOSED = "laggctl: stdout: it is closed (EBADF)\n"

PAGES = {
    "show": "show",
    "show --json": "--json show",
    "show --bonding": "show --bonding",
    "show --tree": "show --tree",
    "stats": "stats",
    "stats --buckets": "stats lagg0 --buckets",
    "top": "top --count 1 --interval 0.1",
    "save": "save",
    "explain": "explain lagg0 src=192.0.2.1 dst=192.0.2.2",
    "ifconfig": "ifconfig -l",
    "sysctl": "sysctl net.link.lagg",
    "a change with --json": "--json set lagg0 --rr-limit 2",
    "help": "--help",
}


@pytest.fixture
def world(world: World) -> World:
    world.call("Create", name="lagg0", proto="loadbalance", ports=["eth0", "eth1"])
    return world


def in_shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """`line` with LAGGCTL in it, by sh, so that it may redirect as users do."""
    return subprocess.run(
        ["sh", "-c", line],
        cwd=ROOT,
        env={**os.environ, "LAGGCTL": f"{sys.executable} -m lagg", **environment},
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("words", PAGES.values(), ids=PAGES)
def test_a_full_disk_is_one_line_and_exit_1(words: str) -> None:
    done = in_shell(f"$LAGGCTL {words} >/dev/full")
    assert (done.returncode, done.stderr.decode()) == (1, FULL)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("words", ["show", "--json show", "save", "ifconfig -l"])
def test_a_closed_stdout_is_one_line_and_exit_1(words: str) -> None:
    done = in_shell(f"$LAGGCTL {words} >&-")
    assert (done.returncode, done.stderr.decode()) == (1, CLOSED)


def test_a_command_that_says_nothing_needs_no_stream(world: World) -> None:
    done = in_shell("$LAGGCTL create lagg1 --port eth2 <&- >&- 2>&-")
    assert done.returncode == 0
    assert world.commands.configs["lagg1"].ports == ("eth2",)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("stderr", ["/dev/full", "&-"])
def test_where_no_complaint_can_be_written_the_exit_code_has_to_do(stderr: str) -> None:
    done = in_shell(f"$LAGGCTL destroy lagg9 2>{stderr}")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


# ---- another locale ----------------------------------------------------------------

LATIN_1 = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("locale", [LATIN_1, ASCII], ids=["latin-1", "ascii"])
def test_top_draws_in_any_locale(locale: dict[str, str]) -> None:
    done = in_shell("$LAGGCTL top --count 2 --interval 0.1", **locale)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
    assert set(done.stdout.decode()) & set("=+*#@")


def test_every_bar_and_branch_has_a_stand_in_of_ascii() -> None:
    drawn = {*BARS, *tree_page("host", [a_record(), a_record()], None, plain)}
    assert {each for each in drawn if not each.isascii()} == STAND_INS.keys()
    assert all(each.isascii() and len(each) == 1 for each in STAND_INS.values())


def test_a_name_that_the_locale_lacks_is_shown_by_its_escapes(world: World) -> None:
    world.call("Create", name="büro0")
    assert "büro0" in in_shell("$LAGGCTL show").stdout.decode()
    done = in_shell("$LAGGCTL show", **ASCII)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"b\\xfcro0" in done.stdout


def test_a_file_is_utf_8_whatever_the_locale(world: World, tmp_path: Path) -> None:
    world.call("Create", name="büro0")
    assert 'name = "büro0"' in in_shell("$LAGGCTL save", **ASCII).stdout.decode()
    path = tmp_path / "saved.toml"
    assert in_shell(f"$LAGGCTL save {path}", **ASCII).returncode == 0
    assert 'name = "büro0"' in path.read_text(encoding="utf-8")
    assert in_shell(f"$LAGGCTL check {path}", **ASCII).returncode == 0


# ---- files that do not end ---------------------------------------------------------

MEMORY = "ulimit -v 600000; "
"""KiB: ample for a capture of the largest size, and far from what was taken once."""


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("explain lagg0 /dev/zero", "flow: /dev/zero: has more than 67108864 bytes"),
        ("explain lagg0 - </dev/zero", "flow: -: has more than 67108864 bytes"),
        ("explain lagg0 - <&-", "flow: -: the standard input is closed"),
        ("import /dev/zero", "/dev/zero: has more than 4194304 bytes"),
        ("import /tmp", "/tmp: Is a directory"),
    ],
)
def test_a_file_is_read_with_a_bound(line: str, complaint: str) -> None:
    done = in_shell(f"{MEMORY}$LAGGCTL {line}")
    assert (done.returncode, done.stderr.decode()) == (2, f"laggctl: {complaint}\n")
