# SPDX-License-Identifier: BSD-2-Clause
"""Pages in a terminal's width: folded or cut, without a word or a colour lost."""

import os
import pty
import re
import subprocess
import sys
import termios

import pytest

from lagg.cli.fold import columns_of, cut, fold
from lagg.cli.said import coloured
from tests.control.world import World
from tests.tree import ROOT

LINE = "  eth1   down  -  1.5 MB  carrier down since 12:03:04, and so for a long time"


def test_a_line_is_broken_where_two_blanks_part_it_else_between_words() -> None:
    assert fold(LINE, 60).split("\n") == [
        "  eth1   down  -  1.5 MB",
        "      carrier down since 12:03:04, and so for a long time",
    ]
    assert fold(LINE, 40).split("\n") == [
        "  eth1   down  -  1.5 MB  carrier down",
        "      since 12:03:04, and so for a long",
        "      time",
    ]
    assert fold(f"{LINE}\n\nshort", None) == f"{LINE}\n\nshort"


@pytest.mark.parametrize("width", range(30, 100, 7))
def test_what_is_folded_has_all_words_and_colours_and_no_wide_line(width: int) -> None:
    bright = LINE.replace("down  ", coloured("down  ", "31"), 1)
    page = fold(f"{bright}\n{bright}", width)
    assert max(map(columns_of, page.split("\n"))) <= width
    assert page.split() == f"{bright} {bright}".split()


def test_what_is_cut_says_so() -> None:
    assert cut("a long word", None) == cut("a long word", 11) == "a long word"
    assert cut("a long word", 8) == "a lon..."


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("words", ["show", "show lagg0", "show -v", "show --tree"])
def test_on_a_terminal_no_line_of_show_is_wider(
    world: World, width: int, words: str
) -> None:
    for name in ("lagg0", "lagg1"):
        ports = [f"{name}port{at}" for at in range(3)]
        world.call("Create", name=name, proto="loadbalance", ports=ports)
    page = on_terminal(world, width, *words.split())
    assert max(map(columns_of, page.splitlines())) <= width
    assert "lagg0port2" in page or words == "show"
    assert "\033[32m" in page


def on_terminal(world: World, width: int, *words: str) -> str:
    """What laggctl prints on a terminal of that width."""
    ours, terminal = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as reader:
        termios.tcsetwinsize(terminal, (50, width))
        environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        with subprocess.Popen(
            [sys.executable, "-m", "lagg", "--socket", world.path, *words],
            cwd=ROOT,
            stdout=terminal,
            env=environment | {"TERM": "xterm"},
        ):
            os.close(terminal)
            page = all_of(reader.fileno())
    return re.sub(r"\r", "", page.decode())


def all_of(terminal: int) -> bytes:
    """Until its other end is closed, which reads as EIO."""
    found = b""
    try:
        while piece := os.read(terminal, 65536):
            found += piece
    except OSError:
        pass
    return found
