# SPDX-License-Identifier: BSD-2-Clause
"""laggctl: commands in, calls to laggd's socket, pages or JSON out.

Owns the command line, its exit codes and the one line that a refusal is.  Knows no
rule about values: laggd checks them, and `check` uses laggd's own reader.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from lagg.client import Client, NoDaemonError
from lagg.errors import LaggError
from lagg.paths import socket_path
from lagg.show import (
    Paint,
    coloured,
    counter_part,
    event_line,
    plain,
    show_page,
    stats_page,
)

if TYPE_CHECKING:  # at run time they would cost a command a third of its start-up
    from lagg.records import EventJson, LaggJson

DONE = 0
REFUSED = 1
USAGE = 2
NO_DAEMON = 3

PROTO_WORDS = "failover, roundrobin, loadbalance, broadcast or none"

_OPTION_KEYS = (
    "lagghash",
    "hash",
    "hash_seed",
    "use_flowid",
    "flowid_shift",
    "rr_limit",
    "failover_rx_all",
)


class _UsageError(Exception):
    """A command that cannot be meant; argparse did not notice."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    arguments = _parser().parse_args(words)
    try:
        code = cast(int, arguments.run(arguments))
        sys.stdout.flush()
    except LaggError as error:
        return _complain(str(error), REFUSED)
    except _UsageError as error:
        return _complain(str(error), USAGE)
    except NoDaemonError as error:
        return _complain(str(error), NO_DAEMON)
    except KeyboardInterrupt:
        return DONE
    except BrokenPipeError:
        return _reader_left()
    return code


def _complain(line: str, code: int) -> int:
    print(f"laggctl: {line}", file=sys.stderr)
    return code


def _reader_left() -> int:
    """`laggctl show | head -1` is no error; Python must not flush at exit, though."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _create(arguments: argparse.Namespace) -> int:
    with Client(arguments.socket) as laggd:
        laggd.call("Create", **_wanted(arguments), ports=arguments.port)
    return _done(arguments)


def _set(arguments: argparse.Namespace) -> int:
    wanted = _wanted(arguments)
    if not any(wanted[key] is not None for key in ("proto", "mac", "mtu", "options")):
        raise _UsageError(f"{arguments.name}: nothing to set")
    with Client(arguments.socket) as laggd:
        laggd.call("Set", **wanted)
    return _done(arguments)


def _destroy(arguments: argparse.Namespace) -> int:
    with Client(arguments.socket) as laggd:
        laggd.call("Destroy", name=arguments.name)
    return _done(arguments)


def _attach(arguments: argparse.Namespace) -> int:
    with Client(arguments.socket) as laggd:
        laggd.call("Attach", name=arguments.name, ports=arguments.ports)
    return _done(arguments)


def _detach(arguments: argparse.Namespace) -> int:
    with Client(arguments.socket) as laggd:
        laggd.call("Detach", name=arguments.name, ports=arguments.ports)
    return _done(arguments)


def _show(arguments: argparse.Namespace) -> int:
    laggs = _laggs(arguments)
    page = show_page(laggs, _paint(), verbose=arguments.verbose)
    _print(json.dumps(laggs) if arguments.json else page)
    return DONE


def _stats(arguments: argparse.Namespace) -> int:
    laggs = _laggs(arguments)
    if arguments.json:
        _print(json.dumps([counter_part(lagg) for lagg in laggs]))
    else:
        _print(stats_page(laggs, _paint()))
    return DONE


def _monitor(arguments: argparse.Namespace) -> int:
    paint = _paint()
    with Client(arguments.socket) as laggd:
        for reply in laggd.stream("Monitor"):
            event = cast("EventJson | None", reply.get("event"))
            if event is None:  # the first reply only says that events follow
                continue
            if arguments.json:
                _print(json.dumps(event))
            else:
                _print(event_line(event, time.strftime("%H:%M:%S"), paint))
    raise NoDaemonError(f"{arguments.socket}: laggd has no more events")


def _check(arguments: argparse.Namespace) -> int:
    # Here, for only this command needs TOML, and a start-up in a script counts.
    from pathlib import Path

    from lagg.config import ConfigError, load

    try:
        laggs = load(Path(arguments.file))
    except ConfigError as error:
        for line in str(error).splitlines():
            _complain(line, REFUSED)
        return REFUSED
    names = [lagg.name for lagg in laggs]
    if arguments.json:
        _print(json.dumps({"file": arguments.file, "laggs": names}))
    else:
        _print(f"{arguments.file}: good: {', '.join(names) or 'no laggs'}")
    return DONE


def _laggs(arguments: argparse.Namespace) -> list[LaggJson]:
    with Client(arguments.socket) as laggd:
        return cast("list[LaggJson]", laggd.call("List", name=arguments.name)["laggs"])


def _wanted(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parameters that Create and Set have in common."""
    options = {
        key: getattr(arguments, key)
        for key in _OPTION_KEYS
        if getattr(arguments, key) is not None
    }
    return {
        "name": arguments.name,
        "proto": arguments.proto,
        "mac": arguments.mac,
        "mtu": arguments.mtu,
        "options": options or None,
    }


def _done(arguments: argparse.Namespace) -> int:
    """A change that is done says nothing, unless a program reads."""
    if arguments.json:
        _print(json.dumps({"name": arguments.name, "done": arguments.command}))
    return DONE


def _print(text: str) -> None:
    print(text, flush=True)


def _paint() -> Paint:
    """Colours for a person's terminal only (https://no-color.org)."""
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return coloured if sys.stdout.isatty() and not unwanted else plain


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="laggctl",
        description="Control laggd: lagg(4) link aggregation for Linux.",
        epilog="Exit: 0 done, 1 refused, 2 usage, 3 no daemon.",
        allow_abbrev=False,
    )
    _add_globals(parser, socket=socket_path(), json=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    create = _add(commands, "create", _create, "make a lagg, all or nothing")
    create.add_argument("--port", action="append", metavar="IF", help="may be repeated")
    _add_options(create)
    _add(commands, "destroy", _destroy, "put the ports back and remove the lagg")
    _add_options(_add(commands, "set", _set, "change a running lagg, all or nothing"))
    for name, run in (("attach", _attach), ("detach", _detach)):
        command = _add(commands, name, run, f"{name} ports, all or none")
        command.add_argument("ports", nargs="+", metavar="IF")
    show = _add(commands, "show", _show, "what is there and how it does", name="?")
    show.add_argument("-v", dest="verbose", action="store_true", help="more of it")
    _add(commands, "stats", _stats, "counters", name="?")
    _add(commands, "monitor", _monitor, "events as they happen, until ^C", name=None)
    check = _add(commands, "check", _check, "check a configuration file", name=None)
    check.add_argument("file", metavar="FILE")
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    word: str,
    run: Callable[[argparse.Namespace], int],
    purpose: str,
    *,
    name: str | None = "1",
) -> argparse.ArgumentParser:
    """A command; `name` says whether it takes a lagg: "1" yes, "?" maybe, None no."""
    command = commands.add_parser(
        word, help=purpose, description=purpose, allow_abbrev=False
    )
    # After the command too, where they must not undo what stood before it.
    _add_globals(command, socket=argparse.SUPPRESS, json=argparse.SUPPRESS)
    if name == "1":
        command.add_argument("name", metavar="NAME")
    elif name == "?":
        command.add_argument("name", metavar="NAME", nargs="?")
    command.set_defaults(run=run)
    return command


def _add_globals(
    parser: argparse.ArgumentParser, *, socket: object, json: object
) -> None:
    parser.add_argument("--socket", metavar="PATH", default=socket)
    parser.add_argument("--json", action="store_true", default=json)


def _add_options(command: argparse.ArgumentParser) -> None:
    """lagg(4)'s options; whether a value is allowed is for laggd to say."""
    command.add_argument("--proto", metavar="P", help=PROTO_WORDS)
    command.add_argument("--mac", metavar="M", help="02:00:5e:00:53:01")
    command.add_argument("--mtu", metavar="N", type=_number, help="bytes")
    command.add_argument("--lagghash", metavar="L", type=_list, help="as l2,l3,l4")
    command.add_argument("--hash", metavar="H", help="crc32c or fnv1")
    command.add_argument("--hash-seed", metavar="N", type=_number)
    command.add_argument("--flowid-shift", metavar="N", type=_number, help="bits")
    command.add_argument("--rr-limit", metavar="N", type=_number, help="frames a turn")
    for word in ("--use-flowid", "--failover-rx-all"):
        command.add_argument(word, action=argparse.BooleanOptionalAction)


def _number(word: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number") from None


def _list(word: str) -> list[str]:
    return word.split(",") if word else []
