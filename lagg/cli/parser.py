# SPDX-License-Identifier: BSD-2-Clause
"""The command line of laggctl: every command, its words, and where its code is.

Owns the table of commands; manual pages and completions are made from it.  Loads no
command: `run` of a parsed line does, for a start-up in a script counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from keyword import iskeyword
from typing import NamedTuple, NoReturn, cast

from lagg import __version__
from lagg.cli.options import add_lagg_options, add_port_options
from lagg.cli.output import UsageError
from lagg.cli.words import SECONDS_RANGE, confirm_ms, count, seconds
from lagg.errors import nearest
from lagg.paths import DEFAULT_SOCKET, socket_path

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


def _dry_run_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="do nothing: say what would change, move or be refused",
    )


def _manner_words(command: argparse.ArgumentParser) -> None:
    """The manners of a change: it may be tried first."""
    _dry_run_words(command)
    command.add_argument(
        "--confirm",
        dest="confirm_ms",
        metavar="TIME",
        type=confirm_ms,
        help="revert by itself after TIME (30s, 2m, 1h or seconds; a second to a day)"
        " unless `laggctl confirm` comes before",
    )


def _confirm_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--revert", action="store_true", help="take it back now instead"
    )


def _create_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "ports", nargs="*", default=[], metavar="IF", help="a network interface"
    )
    command.add_argument(
        "--port", action="append", metavar="IF", help="another, as IF; may be repeated"
    )
    _dry_run_words(command)
    add_lagg_options(command)


def _set_words(command: argparse.ArgumentParser) -> None:
    _manner_words(command)
    add_lagg_options(command)
    add_port_options(command)


def _port_words(command: argparse.ArgumentParser) -> None:
    command.add_argument("ports", nargs="+", metavar="IF", help="a network interface")


def _moved_port_words(command: argparse.ArgumentParser) -> None:
    _port_words(command)
    _manner_words(command)


def _show_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-v",
        dest="verbose",
        action="store_true",
        help="each lagg whole, and what else is known of laggs, ports and laggd",
    )
    form = command.add_mutually_exclusive_group()
    form.add_argument(
        "--tree", action="store_true", help="host, laggs, ports and partners, drawn"
    )
    form.add_argument(
        "--bonding", action="store_true", help="in the words of /proc/net/bonding"
    )
    form.add_argument(
        "--openconfig",
        action="store_true",
        help="as JSON of OpenConfig's models of interfaces, aggregates and LACP",
    )


def _stats_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--buckets",
        action="store_true",
        help="frames sent by each bucket of NAME's flow table",
    )


def _check_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="TOML, or a directory of *.toml; what laggd reads by default",
    )


def _save_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file", metavar="FILE", nargs="?", help="to stdout unless given"
    )


def _explain_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "flow",
        nargs="+",
        metavar="FLOW",
        help="fields (src=10.0.0.1 dst=10.0.0.2 proto=tcp sport=5000 dport=443 vlan="
        " smac= dmac=), an Ethernet frame in hexadecimal, or a capture file (-: stdin)",
    )


_SPOT = (
    "bucket=N, or a flow in it: fields (src=10.0.0.1 dst=10.0.0.2 proto=tcp sport=5000"
    " dport=443 vlan= smac= dmac=), an Ethernet frame in hexadecimal, or a capture file"
    " of one frame (-: stdin)"
)


def _spot_words(command: argparse.ArgumentParser) -> None:
    command.add_argument("flow", nargs="+", metavar="FLOW", help=_SPOT)


def _move_words(command: argparse.ArgumentParser) -> None:
    _spot_words(command)
    command.add_argument("port", metavar="PORT", help="a port of the lagg")


def _pin_words(command: argparse.ArgumentParser) -> None:
    _move_words(command)
    command.add_argument(
        "--for",
        dest="for_s",
        metavar="S",
        type=seconds,
        help=f"for S seconds, {SECONDS_RANGE}; for good unless given",
    )


def _balance_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dry-run", action="store_true", help="and what would move for the load"
    )
    command.add_argument(
        "--flows",
        metavar="S",
        type=seconds,
        help=f"and the heaviest flows, sampled for S seconds, {SECONDS_RANGE}",
    )


def _import_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="rc.conf, /etc/network/interfaces, ifcfg files, modprobe.d, teamd's JSON,"
        " networkd's files, netplan's YAML, NetworkManager's keyfiles,"
        " /proc/net/bonding/NAME, what ovs-vsctl shows and lists, scripts of ip, sysrc"
        " or ifconfig",
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
        help=f"seconds, {SECONDS_RANGE}; 1 unless given",
    )
    command.add_argument("--count", metavar="N", type=count, help="end after N pages")


COMMANDS = (
    Command("create", "make a lagg, all or nothing", "change", "1", _create_words),
    Command("destroy", "put the ports back and remove the lagg", "change", "1"),
    Command("set", "change a running lagg, all or nothing", "change", "1", _set_words),
    Command("attach", "attach ports, all or none", "change", "1", _moved_port_words),
    Command("detach", "detach ports, all or none", "change", "1", _moved_port_words),
    Command(
        "confirm",
        "keep a change that would revert, of NAME or all",
        "manner",
        "?",
        _confirm_words,
    ),
    Command("release", "end LACP's hold of ports", "change", "1", _port_words),
    Command(
        "reload", "apply the configuration files, live", "files", None, _manner_words
    ),
    Command("save", "what runs, as a configuration", "files", None, _save_words),
    Command("show", "what is there and how it does", "show", "?", _show_words),
    Command("picture", "host, laggs, ports and partners as an SVG", "show", "?"),
    Command("status", "laggd itself: version, pid, since when", "show", None),
    Command(
        "restart",
        "have the installed laggd go on in place of the one that runs",
        "restart",
        None,
    ),
    Command("stop", "put every port back and end laggd", "restart", None),
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
        "balance",
        "each port's load, its share, and its heaviest buckets",
        "balance",
        "1",
        _balance_words,
    ),
    Command("pin", "keep a flow's bucket on a port", "pins", "1", _pin_words),
    Command("unpin", "keep it there no more", "pins", "1", _spot_words),
    Command("pins", "which buckets are kept where", "pins", "1"),
    Command("move", "move a flow's bucket once", "pins", "1", _move_words),
    Command(
        "explain", "which port a flow takes, and why", "explain", "1", _explain_words
    ),
)


def parsed(line: Sequence[str]) -> argparse.Namespace:
    """The line's words; its `run` runs the command.  UsageError."""
    head = vars(head_parser().parse_args(line))
    rest: list[str] = head.pop("rest")
    row = _row(head["command"])
    found = command_parser(row).parse_intermixed_args(rest, argparse.Namespace(**head))
    found.run = row.run
    return found


def help_of(word: str) -> str:
    """What --help says of a command, for one whose words are its own affair."""
    return command_parser(_row(word)).format_help().rstrip()


def _row(word: str | None) -> Command:
    if word is None:
        raise UsageError(f"which command?\n\n{head_parser().format_help().rstrip()}")
    for row in COMMANDS:
        if row.word == word:
            return row
    near = nearest(word, [row.word for row in COMMANDS])
    raise UsageError(f"no command {word!r}{near}; see laggctl --help")


_UNKNOWN = "unrecognized arguments: "
"""How argparse begins to say so."""


class Parser(argparse.ArgumentParser):
    """Raises UsageError with one line: all the words before it would hide it."""

    def error(self, message: str) -> NoReturn:
        """UsageError, with the nearest option where one is not known."""
        near = ""
        if message.startswith(f"{_UNKNOWN}--"):
            word = message.removeprefix(_UNKNOWN).split()[0].partition("=")[0]
            known = [each.lstrip("-") for each in self._option_string_actions]
            near = nearest(word.lstrip("-"), known, "--")
        raise UsageError(f"{message}{near}; see {self.prog} --help")


def head_parser() -> Parser:
    """What stands before a command, and the command; `rest` is its own affair."""
    width = max(len(row.word) for row in COMMANDS)
    table = "".join(f"  {row.word:{width}}  {row.purpose}\n" for row in COMMANDS)
    parser = Parser(
        prog="laggctl",
        usage="laggctl [--socket PATH] [--json] COMMAND ...",
        description="Control laggd: lagg(4) link aggregation for Linux.",
        epilog=f"commands:\n{table}\n"
        "`laggctl COMMAND --help` has its words.\n"
        "Exit: 0 done, 1 refused, 2 usage, 3 no daemon.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_globals(parser, socket=socket_path(), json=False)
    version = f"laggctl {__version__}"
    parser.add_argument(
        "--version", action="version", version=version, help="laggctl's version"
    )
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def command_parser(row: Command) -> Parser:
    """What stands after a command, in any order."""
    parser = Parser(
        prog=f"laggctl {row.word}",
        description=row.purpose,
        allow_abbrev=False,
        add_help=not row.raw,
        prefix_chars="\0" if row.raw else "-",
    )
    if not row.raw:
        # Here, too, where they must not undo what stood before the command.
        _add_globals(parser, socket=argparse.SUPPRESS, json=argparse.SUPPRESS)
    if row.name is not None:
        nargs = None if row.name == "1" else row.name
        parser.add_argument(
            "name", metavar="NAME", nargs=nargs, help="a lagg, as lagg0"
        )
    row.add_words(parser)
    return parser


def _add_globals(parser: Parser, *, socket: object, json: object) -> None:
    parser.add_argument(
        "--socket",
        metavar="PATH",
        default=socket,
        help=f"where laggd listens; LAGGD_SOCKET or {DEFAULT_SOCKET} unless given",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=json,
        help="for programs: a record, and of a refusal its error, on stdout",
    )
