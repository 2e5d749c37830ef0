# SPDX-License-Identifier: BSD-2-Clause
"""laggd's command line: its options, and what they say as a value.

Owns the parser, of which the manual page is made.  Knows nobody who acts upon it.
"""

import argparse
import grp
import os
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

from lagg import __version__
from lagg.frozen import dataclass
from lagg.model import (
    BUSY_POLL_US_MAX,
    USUAL_TUNING,
    WORKERS_MAX,
    Transmit,
    Tuning,
)
from lagg.paths import (
    DEFAULT_CONFIG,
    DEFAULT_SOCKET,
    DEFAULT_STATE_DIR,
    socket_path,
)

PORT_MAX = 65535
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What the command line says."""

    config: Path | None  # None: the default one, if it exists
    socket: Path
    read_socket: Path | None  # beside it, for who may look and never change
    read_gid: int | None  # None: everybody may look
    state_dir: Path
    gid: int
    log_level: str
    tuning: Tuning
    seccomp: bool
    metrics: tuple[str, int] | None  # address and port to be scraped at
    web: tuple[str, int] | None  # ... to be looked at by a browser
    inside: bool  # workers are threads of laggd, and end with it
    forwarder: Path | None  # where a supervisor has one listen
    replace: bool  # a laggd that lives hands its laggs over


def make_parser() -> argparse.ArgumentParser:
    """Laggd's command line; its manual page is made from it."""
    parser = argparse.ArgumentParser(
        prog="laggd",
        description="lagg(4) link aggregation for Linux: the daemon.",
        epilog="Exit: 0 done, 1 failed, 2 usage, 76 unlike what another laggd has,"
        " 77 may not, 78 bad configuration.",
        allow_abbrev=False,
    )
    version = f"laggd {__version__}"
    parser.add_argument(
        "--version", action="version", version=version, help="laggd's version"
    )
    _add_places(parser)
    _add_reading(parser)
    _add_service(parser)
    levels = ("debug", "info", "warning", "error")
    parser.add_argument(
        "--log-level",
        choices=levels,
        default="info",
        help="the least that is logged; info unless given",
    )
    _add_tuning(parser)
    return parser


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="laggs to create at start: TOML, or a directory of *.toml;"
        f" {DEFAULT_CONFIG}, if there is one, unless given",
    )
    parser.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        default=socket_path(),
        help=f"where laggctl finds it; LAGGD_SOCKET or {DEFAULT_SOCKET} unless given",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        default=DEFAULT_STATE_DIR,
        help="what the next laggd has to know, as what ports were before;"
        f" {DEFAULT_STATE_DIR} unless given",
    )
    parser.add_argument(
        "--group",
        type=_gid,
        default=os.getegid(),
        metavar="G",
        help="who may change things; laggd's own group by default",
    )


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--read-socket",
        type=Path,
        metavar="PATH",
        help="another socket, by which all is to be seen and nothing to be changed",
    )
    parser.add_argument(
        "--read-group",
        type=_gid,
        metavar="G",
        help="who may look by --read-socket; everybody by default",
    )


def _add_tuning(parser: argparse.ArgumentParser) -> None:
    usual = USUAL_TUNING
    parser.add_argument(
        "--workers",
        type=_number(1, WORKERS_MAX),
        default=usual.workers,
        metavar="N",
        help=f"threads that carry each lagg's frames, 1 to {WORKERS_MAX}; default 1",
    )
    parser.add_argument(
        "--busy-poll",
        type=_number(0, BUSY_POLL_US_MAX),
        default=usual.busy_poll_us,
        metavar="US",
        help="microseconds for which a worker looks on before it sleeps, while frames"
        f" come closely, 0 to {BUSY_POLL_US_MAX}; default {usual.busy_poll_us}",
    )
    parser.add_argument(
        "--no-xdp",
        dest="transmit",
        action="store_const",
        const=Transmit.PACKET,
        default=usual.transmit,
        help="send by packet sockets only",
    )


def settings_of(words: Sequence[str] | None) -> CommandLine:
    """What they say; a usage error ends the process.  None: sys.argv."""
    parser = make_parser()
    found = parser.parse_args(words)
    if found.replace and found.inside:
        parser.error("--replace: not with --inside, with which laggs end with laggd")
    if found.read_group is not None and found.read_socket is None:
        parser.error("--read-group: of which --read-socket?")
    if found.read_socket == Path(found.socket):
        parser.error(
            "--read-socket: has to be another than --socket, which it is beside"
        )
    if found.forwarder and found.inside:
        parser.error("--forwarder: not with --inside, with which there is none")
    return CommandLine(
        config=found.config,
        socket=Path(found.socket),
        read_socket=found.read_socket,
        read_gid=found.read_group,
        state_dir=found.state_dir,
        gid=found.group,
        log_level=found.log_level,
        tuning=Tuning(found.workers, found.transmit, found.busy_poll),
        seccomp=found.seccomp,
        metrics=found.metrics,
        web=found.web,
        inside=found.inside,
        forwarder=found.forwarder,
        replace=found.replace,
    )


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def number(word: str) -> int:
        if not word.isdecimal() or not lowest <= int(word) <= highest:
            raise argparse.ArgumentTypeError(f"not a number from {lowest} to {highest}")
        return int(word)

    return number


def _add_service(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seccomp", action="store_true", help="only the system calls laggd needs"
    )
    parser.add_argument(
        "--inside",
        action="store_true",
        help="carry frames in threads of laggd, which end with it; not in a process of"
        " their own, lagg-forwarder, by which the next laggd goes on with its laggs",
    )
    parser.add_argument(
        "--forwarder",
        type=Path,
        metavar="PATH",
        help="lagg-forwarder listens there, and a supervisor starts it, not laggd",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="go on with the laggs of the laggd that runs, which ends; if this one"
        " cannot, that one goes on",
    )
    parser.add_argument(
        "--metrics",
        type=_address,
        metavar="ADDRESS:PORT",
        help="serves Prometheus metrics there",
    )
    parser.add_argument(
        "--web",
        type=_address_or_port,
        metavar="[ADDRESS:]PORT",
        help="serves a live page for a browser there, for looking only; 127.0.0.1 if no"
        " address is given",
    )


def _gid(word: str) -> int:
    """A group by name or number."""
    try:
        return int(word) if word.isdecimal() else grp.getgrnam(word).gr_gid
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no group {word!r}") from None


def _address_or_port(word: str) -> tuple[str, int]:
    """As "9751" or "127.0.0.1:9751"."""
    return _address(f"{LOOPBACK}:{word}" if word.isdecimal() else word)


def _address(word: str) -> tuple[str, int]:
    """As "127.0.0.1:9750" or "[::1]:9750"."""
    address, _, port = word.rpartition(":")
    if not port.isdecimal() or int(port) > PORT_MAX or not address:
        raise argparse.ArgumentTypeError(f"{word!r} is not ADDRESS:PORT")
    try:
        ip_address(address := address.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{address!r} is no IP address") from None
    return address, int(port)
