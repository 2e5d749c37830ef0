# SPDX-License-Identifier: BSD-2-Clause
"""The command line of laggctl: every command, its words, and where its code is.

Owns the table of commands; manual pages and completions are made from it.  Loads no
command: `run` of a parsed line does, for a start-up in a script counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from importlib import import_module
from keyword import iskeyword
from typing import NamedTuple, cast

from lagg.cli.options import add_lagg_options, add_port_options
from lagg.cli.words import count, seconds
from lagg.paths import socket_path

Run = Callable[[argparse.Namespace], int]


class Command(NamedTuple):
    """A row of the table."""

    word: str
    purpose: str
    module: str  # of lagg.cli; has its function
    name: str | None  # whether it takes a lagg: "1" yes, "?" maybe, None no
    add_words: Callable[[argparse.ArgumentParser], None] = lambda _: None
    raw: bool = False  # its words are its own affair, dashes or not

    def run(self, arguments: argparse.Namespace) -> int:
        """Loads the command's code and runs it; answers the exit code."""
        module = import_module(f"lagg.cli.{self.module}")
        return cast(Run, getattr(module, self.function))(arguments)

    @property
    def function(self) -> str:
        """The function in its module: the command's name, unless that is Python's."""
        return f"{self.word}_" if iskeyword(self.word) else self.word


def _create_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--port", action="append", metavar="IF", help="may be repeated"
    )
    add_lagg_options(command)


def _set_words(command: argparse.ArgumentParser) -> None:
    add_lagg_options(command)
    add_port_options(command)


def _port_words(command: argparse.ArgumentParser) -> None:
    command.add_argument("ports", nargs="+", metavar="IF", help="a network interface")


def _show_words(command: argparse.ArgumentParser) -> None:
    command.add_argument("-v", dest="verbose", action="store_true", help="more of it")
    command.add_argument(
        "--bonding", action="store_true", help="in the words of /proc/net/bonding"
    )


def _stats_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--buckets",
        action="store_true",
        help="frames sent by each bucket of NAME's flow table",
    )


def _check_words(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="TOML, or a directory of *.toml")


def _save_words(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", nargs="?", help="else to stdout")


def _explain_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "flow",
        nargs="+",
        metavar="FLOW",
        help="fields (src=10.0.0.1 dst=10.0.0.2 proto=tcp sport=5000 dport=443 vlan="
        " smac= dmac=), an Ethernet frame in hexadecimal, or a capture file (-: stdin)",
    )


def _import_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="rc.conf, /etc/network/interfaces, ifcfg files, modprobe.d, teamd's JSON,"
        " scripts of ip, sysrc or ifconfig",
    )


def _ifconfig_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="[-a] [-l] [-v] [NAME [WORD ...]], as FreeBSD's ifconfig(8); laggctl's own"
        " options stand before the word ifconfig",
    )


def _sysctl_words(command: argparse.ArgumentParser) -> None:
    command.add_argument("-n", dest="bare", action="store_true", help="values alone")
    command.add_argument(
        "knobs",
        nargs="+",
        metavar="NAME[=VALUE]",
        help="net.link.lagg, or one of its knobs",
    )


def _capture_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--port", action="append", metavar="IF", help="frames at this port only"
    )
    command.add_argument(
        "--drops",
        nargs="?",
        const="any",
        metavar="REASON",
        help="dropped frames only, or those dropped for one reason, as no-port",
    )
    command.add_argument("--count", metavar="N", type=count, help="end after N frames")


def _top_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--interval",
        metavar="S",
        type=seconds,
        default=1.0,
        help="seconds, 1 by default",
    )
    command.add_argument("--count", metavar="N", type=count, help="end after N pages")


COMMANDS = (
    Command("create", "make a lagg, all or nothing", "change", "1", _create_words),
    Command("destroy", "put the ports back and remove the lagg", "change", "1"),
    Command("set", "change a running lagg, all or nothing", "change", "1", _set_words),
    Command("attach", "attach ports, all or none", "change", "1", _port_words),
    Command("detach", "detach ports, all or none", "change", "1", _port_words),
    Command("release", "end LACP's hold of ports", "change", "1", _port_words),
    Command("reload", "apply the configuration files, live", "files", None),
    Command("save", "what runs, as a configuration", "files", None, _save_words),
    Command("show", "what is there and how it does", "show", "?", _show_words),
    Command("status", "laggd itself: version, pid, since when", "show", None),
    Command(
        "restart",
        "have the installed laggd go on in place of the one that runs",
        "restart",
        None,
    ),
    Command("stats", "counters", "show", "?", _stats_words),
    Command("top", "rates and history, live", "top", "?", _top_words),
    Command(
        "capture",
        "frames with their reasons, as pcapng",
        "capture",
        "1",
        _capture_words,
    ),
    Command("monitor", "events as they happen, until ^C", "show", None),
    Command(
        "import",
        "another system's configuration as ours",
        "importing",
        None,
        _import_words,
    ),
    Command(
        "ifconfig",
        "FreeBSD's grammar, also under that name",
        "ifconfig",
        None,
        _ifconfig_words,
        raw=True,
    ),
    Command("sysctl", "FreeBSD's net.link.lagg knobs", "sysctl", None, _sysctl_words),
    Command("check", "check configuration files", "files", None, _check_words),
    Command(
        "explain", "which port a flow takes, and why", "explain", "1", _explain_words
    ),
)


def make_parser(line: Collection[str] | None = None) -> argparse.ArgumentParser:
    """The whole command line; a parsed one has `run`.

    With `line`, the one to be parsed, commands that are not in it lack their words, for
    to make all of them takes longer than many a command.
    """
    parser = argparse.ArgumentParser(
        prog="laggctl",
        description="Control laggd: lagg(4) link aggregation for Linux.",
        epilog="Exit: 0 done, 1 refused, 2 usage, 3 no daemon.",
        allow_abbrev=False,
    )
    _add_globals(parser, socket=socket_path(), json=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        _add(commands, command, with_words=line is None or command.word in line)
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    row: Command,
    *,
    with_words: bool,
) -> None:
    command = commands.add_parser(
        row.word,
        help=row.purpose,
        description=row.purpose,
        allow_abbrev=False,
        add_help=not row.raw,
        prefix_chars="\0" if row.raw else "-",
    )
    if not row.raw:
        # After the command too, where they must not undo what stood before it.
        _add_globals(command, socket=argparse.SUPPRESS, json=argparse.SUPPRESS)
    if row.name is not None:
        nargs = None if row.name == "1" else row.name
        command.add_argument("name", metavar="NAME", nargs=nargs, help="of a lagg")
    if with_words:
        row.add_words(command)
    command.set_defaults(run=row.run)


def _add_globals(
    parser: argparse.ArgumentParser, *, socket: object, json: object
) -> None:
    parser.add_argument(
        "--socket", metavar="PATH", default=socket, help="where laggd listens"
    )
    parser.add_argument(
        "--json", action="store_true", default=json, help="for programs"
    )
