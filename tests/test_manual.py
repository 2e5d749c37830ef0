# SPDX-License-Identifier: BSD-2-Clause
"""Manual pages and completions say every command and option; their readers agree."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.cli.parser import COMMANDS
from lagg.config.keys import OPTION_RULES, PORT_RULES
from lagg.daemon.command_line import make_parser
from manual import text
from manual.__main__ import FILES, write
from manual.man import Page
from manual.pages import KEYS
from manual.words import Option, Words, commands, globals_of_laggctl, words_of

PAGES = [name for name in FILES if "/man/" in name]
SHELLS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "-n"]}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each file by the last part of its name."""
    return {path.name: path for path in write(tmp_path_factory.mktemp("manual"))}


def plain(page: Path) -> str:
    """What a page says, without fonts."""
    source = page.read_text()
    for mark in ("\\fB", "\\fI", "\\fR", "\\&"):
        source = source.replace(mark, "")
    return source.replace("\\-", "-").replace("\\e", "\\")


# What they say


@pytest.mark.parametrize("words", commands(), ids=lambda words: words.command)
def test_laggctl_8_has_every_command_with_its_words(
    written: dict[str, Path], words: Words
) -> None:
    page = plain(written["laggctl.8"])
    _, _, section = page.partition(f"\n.SS {words.command}")
    section = section.partition("\n.SS ")[0]
    for option in words.options:
        assert all(flag in section for flag in option.flags), option
    for place in words.places:
        assert f"\n{place.value}\n" in section


@pytest.mark.parametrize(
    "option", [*globals_of_laggctl(), *words_of(make_parser()).options]
)
def test_the_pages_have_the_programs_own_options(
    written: dict[str, Path], option: Option
) -> None:
    both = plain(written["laggctl.8"]) + plain(written["laggd.8"])
    assert all(f"\n{flag}" in both for flag in option.flags)


@pytest.mark.parametrize("key", ["name", "proto", "ports", "mac", "mtu", *OPTION_RULES])
def test_laggd_toml_5_has_every_key(written: dict[str, Path], key: str) -> None:
    assert f".TP\n{key}\n{KEYS[key].split()[0]}" in plain(written["laggd.toml.5"])


@pytest.mark.parametrize("key", PORT_RULES)
def test_laggd_toml_5_has_every_key_of_a_port(
    written: dict[str, Path], key: str
) -> None:
    _, of_port = plain(written["laggd.toml.5"]).split("KEYS OF A PORT")
    assert f".TP\n{key}\n{KEYS[key]}" in of_port


@pytest.mark.parametrize("file", ["laggctl", "_laggctl", "laggctl.fish"])
def test_a_completion_has_every_command_and_option(
    written: dict[str, Path], file: str
) -> None:
    completion = written[file].read_text()
    options = [*globals_of_laggctl()]
    for words in commands():
        assert words.command in completion
        options += words.options
    for flag in (flag for option in options for flag in option.flags):
        short = file == "laggctl.fish"
        wanted = flag.replace("--", "-l ", 1) if short else flag
        if short and not flag.startswith("--"):
            wanted = flag.replace("-", "-s ", 1)
        assert wanted in completion, flag


def test_words_of_programs_stay_as_they_are(written: dict[str, Path]) -> None:
    page = plain(written["laggctl.8"])
    assert "\nrc.conf, /etc/network/interfaces" in page
    assert "\nnet.link.lagg, or one of its knobs." in page
    assert "\n--drops [REASON]\n" in page


def test_the_defaults_of_protocol_and_files_are_said(written: dict[str, Path]) -> None:
    _, _, proto = plain(written["laggd.toml.5"]).partition("\nproto\n")
    assert "Default: failover." in proto.partition("\n.TP")[0]
    page = plain(written["laggd.8"])
    assert "laggd.d/*.toml" in page
    assert "or a directory of *.toml" in page


def test_every_option_and_command_says_something() -> None:
    silent = [
        flag
        for words in (*commands(), words_of(make_parser()))
        for option in words.options
        for flag in option.flags
        if not option.help
    ]
    assert silent == []
    assert {row.word for row in COMMANDS} >= text.COMMANDS.keys()


# Whether their readers agree


@pytest.mark.skipif(not shutil.which("mandoc"), reason="there is no mandoc here")
@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_no_complaint(written: dict[str, Path], name: str) -> None:
    lint = ["mandoc", "-T", "lint", "-W", "warning", str(written[Path(name).name])]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.skipif(not shutil.which("groff"), reason="there is no groff here")
@pytest.mark.parametrize("name", PAGES)
def test_groff_has_no_complaint(written: dict[str, Path], name: str) -> None:
    lint = ["groff", "-man", "-Tutf8", "-ww", "-z", str(written[Path(name).name])]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("shell", "file"),
    [("bash", "laggctl"), ("zsh", "_laggctl"), ("fish", "laggctl.fish")],
)
def test_a_shell_reads_its_completion(
    written: dict[str, Path], shell: str, file: str
) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} here")
    done = subprocess.run(
        [*SHELLS[shell], written[file]], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


STATS = [
    {"name": "lagg0", "counters": {}, "ports": [{"name": "eth5", "tx_frames": 1}]},
    {"name": "core", "counters": {}, "ports": [{"name": "eth7", "tx_frames": 1}]},
]


@pytest.fixture(scope="module")
def laggd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment with a laggctl that knows two laggs, and a laggd that listens."""
    place = tmp_path_factory.mktemp("bin")
    every, one = (json.dumps(each) for each in (STATS, STATS[:1]))
    asked = '[ "$*" = "--json stats" ] && echo "$every" || echo "$one"'
    program = place / "laggctl"
    program.write_text(f"#!/bin/sh\nevery='{every}' one='{one}'\n{asked}\n")
    program.chmod(0o755)
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as here:
        here.bind(f"{short}/s")
        path = f"{place}:{os.environ['PATH']}"
        yield {**os.environ, "PATH": path, "LAGGD_SOCKET": f"{short}/s"}


EXACT = {
    "laggctl show ": {"lagg0", "core"},
    "laggctl detach lagg0 ": {"eth5"},
    "laggctl release lagg0 ": {"eth5"},
    "laggctl set lagg0 --port ": {"eth5"},
    "laggctl set lagg0 --active e": {"eth5"},
    "laggctl set lagg0 --mac ": set(),
    "laggctl set lagg0 --ad-select b": {"bandwidth"},
    "laggctl set lagg0 --hold-link ": {"up", "down"},
    "laggctl capture lagg0 --port ": {"eth5"},
    "laggctl capture lagg0 --drops not": {"not-accepted"},
    "laggctl capture lagg0 --drops link": {"link-local"},
    "laggctl create lagg1 --watch b": {"bfd,"},
    "laggctl create ": set(),
    "laggctl explain lagg0 s": {"src=", "sport=", "smac="},
    "laggctl pin lagg0 e": {"eth5"},
    "laggctl unpin lagg0 b": {"bucket="},
    "laggctl status ": set(),
    "laggctl show --he": {"--help"},
}
"""By a line what may end it, and nothing else."""


def said_by(
    command: list[str], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Where there is no file but the laggctl of the fixture."""
    here = environment["PATH"].partition(":")[0]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=here
    )


def bash_offers(completion: Path, line: str, environment: dict[str, str]) -> set[str]:
    words = line.split(" ")
    script = f"""
        source {completion}
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
        COMP_CWORD={len(words) - 1}
        _laggctl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = said_by(["bash", "-c", script], environment)
    assert done.stderr == ""
    return {*done.stdout.split()}


def fish_offers(completion: Path, line: str, environment: dict[str, str]) -> set[str]:
    script = f"source {completion}; complete -C '{line}'"
    done = said_by(["fish", "--no-config", "-c", script], environment)
    return {each.partition("\t")[0] for each in done.stdout.splitlines()}


@pytest.mark.parametrize("line", EXACT)
def test_bash_offers_laggs_and_their_own_ports(
    written: dict[str, Path], laggd: dict[str, str], line: str
) -> None:
    assert bash_offers(written["laggctl"], line, laggd) == EXACT[line]


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish here")
@pytest.mark.parametrize("line", EXACT)
def test_fish_offers_laggs_and_their_own_ports(
    written: dict[str, Path], laggd: dict[str, str], line: str
) -> None:
    assert fish_offers(written["laggctl.fish"], line, laggd) == EXACT[line]


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh here")
@pytest.mark.parametrize(
    ("offer", "found"),
    [("laggs", "lagg0 core"), ("ports", "eth5"), ("none src= dst=", "src= dst=")],
)
def test_zsh_offers_laggs_and_their_own_ports(
    written: dict[str, Path], laggd: dict[str, str], offer: str, found: str
) -> None:
    script = f"""
        function _arguments {{ }}
        function compadd {{
            while [[ $1 != -- ]]; do shift; done
            print -r -- "${{@:2}}"
        }}
        source {written["_laggctl"]}
        words=(detach --json lagg0 "") CURRENT=4
        _laggctl_offer {offer}
    """
    done = said_by(["zsh", "-f", "-c", script], laggd)
    assert (done.stdout.split(), done.stderr) == (found.split(), "")


def test_where_no_laggd_listens_none_is_asked(
    written: dict[str, Path], laggd: dict[str, str], tmp_path: Path
) -> None:
    nobody = laggd | {"LAGGD_SOCKET": str(tmp_path / "nobody")}
    assert bash_offers(written["laggctl"], "laggctl show ", nobody) == set()


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("laggctl ", {"create", "show", "explain", "--json"}),
        ("laggctl sh", {"show"}),
        ("laggctl --json sh", {"show"}),
        ("laggctl create lagg0 --pr", {"--proto"}),
        ("laggctl create lagg0 --proto ro", {"roundrobin"}),
        ("laggctl create lagg0 --hash f", {"fnv1"}),
        ("laggctl set lagg0 --mac-policy ", {"stable", "primary"}),
        ("laggctl set lagg0 --ad-select b", {"bandwidth"}),
        ("laggctl create lagg0 --port l", {"lo"}),
        ("laggctl attach lagg0 l", {"lo"}),
        ("laggctl show -", {"-v", "--json", "--socket"}),
        ("laggctl ifconfig lagg0 laggpr", {"laggproto"}),
        ("laggctl sysctl net.link.lagg.f", {"net.link.lagg.failover_rx_all"}),
        ("laggctl check pypro", {"pyproject.toml"}),
    ],
)
def test_bash_offers_what_may_follow(
    written: dict[str, Path], line: str, offers: set[str]
) -> None:
    words = line.split(" ")
    script = f"""
        source {written["laggctl"]}
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
        COMP_CWORD={len(words) - 1}
        _laggctl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert offers <= {*said.stdout.split()}, said.stderr
    assert all(word.startswith(words[-1]) for word in said.stdout.split())


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish here")
def test_fish_offers_what_may_follow(written: dict[str, Path]) -> None:
    script = f"source {written['laggctl.fish']}; complete -C 'laggctl create --proto r'"
    said = subprocess.run(
        ["fish", "--no-config", "-c", script], capture_output=True, text=True
    )
    assert "roundrobin" in said.stdout, said.stderr


# How a page is written


def test_what_man_7_would_take_for_its_own_is_escaped() -> None:
    page = Page("x", 8, "y")
    page.paragraphs(".dot at the start, \\ and `--flag` of *ARGUMENT*")
    assert page.text.splitlines()[-1] == (
        "\\&.dot at the start, \\e and \\fB\\-\\-flag\\fR of \\fIARGUMENT\\fR"
    )


def test_the_tool_writes_below_a_directory(tmp_path: Path) -> None:
    tool = Path(__file__).parents[1] / "tools" / "manual"
    done = subprocess.run([tool, tmp_path], capture_output=True, text=True, check=True)
    assert {*done.stdout.split()} == {str(tmp_path / name) for name in FILES}
