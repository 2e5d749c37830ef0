# SPDX-License-Identifier: BSD-2-Clause
"""laggd: the process.  Claims, signals, exit codes.

Owns the order of start and stop, and that there is one laggd for a socket and for a
state directory.  Knows no kernel interface and no protocol: the operations do.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    nullcontext,
)
from functools import partial
from pathlib import Path

from lagg.config.files import ConfigError, load
from lagg.control.interface import Operations
from lagg.control.peer import of_members, of_nobody
from lagg.control.server import ControlServer
from lagg.daemon.command_line import CommandLine, settings_of
from lagg.daemon.door import EVERYBODY, MEMBERS, Door, claimed
from lagg.daemon.log import start_log
from lagg.daemon.reloader import Reloader
from lagg.daemon.supervise import Pulse, notify
from lagg.errors import LaggError, UnlikeError
from lagg.frozen import dataclass
from lagg.kernel import privileges
from lagg.life import Life
from lagg.model import (
    LaggConfig,
)
from lagg.paths import DEFAULT_CONFIG, FORWARDER_SOCKET
from lagg.streams import fill_closed
from lagg.tasks import Tasks

DONE = 0
FAILED = 1
UNLIKE = 76
"""sysexits.h EX_PROTOCOL: what another laggd has or left is none of this one's."""

BAD_CONFIG = 78
"""sysexits.h EX_CONFIG, which systemd knows."""

NO_PERMISSION = 77
"""sysexits.h EX_NOPERM: a capability or a device is missing."""

REFUSED_S = 1.0
"""Before a laggd that is refused ends, if it is supervised: the next one comes at once,
as it has to when laggd crashes, and would be refused as well."""

KERNEL_THREADS = 32
"""Sockets that open or close at a time: a lagg's ports.  The kernel lets each wait tens
of milliseconds, and all that wait together no longer than one."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

LEAVE_SIGNAL = signal.SIGUSR2
"""Ends laggd and nothing else: its laggs live on for the next one.  With --inside they
cannot, and it is a STOP_SIGNAL: a supervisor that sends it wants laggd to end."""

MEANINGLESS_SIGNALS = (
    *(signal.SIGUSR1, signal.SIGALRM, signal.SIGVTALRM),
    *(signal.SIGPROF, signal.SIGIO, signal.SIGPWR, signal.SIGSTKFLT),
    *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)
"""Ignored signals: their default would end the process and leave ports changed."""

OpenOperations = Callable[[Path], Awaitable[Operations]]

_log = logging.getLogger("laggd")


def main(
    words: Sequence[str] | None = None, open_operations: OpenOperations | None = None
) -> int:
    """Runs until one of STOP_SIGNALS; returns the exit code."""
    fill_closed()
    settings = settings_of(words)
    for number in (signal.SIGHUP, *MEANINGLESS_SIGNALS):  # SIGHUP until it can reload
        signal.signal(number, signal.SIG_IGN)
    start_log(settings.log_level)
    try:
        files = Files.of(settings)
        if open_operations is None:
            privileges.require()
        with ExitStack() as claims:
            doors = [claims.enter_context(each) for each in _doors(settings)]
            opener = open_operations or partial(_open_commands, settings, doors)
            listeners = [door.listener for door in doors]
            asyncio.run(_serve(settings, files, listeners, opener))
    except (ConfigError, privileges.MissingError, LaggError) as error:
        for line in str(error).splitlines():
            _log.error("%s", line)
        if settings.replace:
            print(error)  # for whoever has started it and hears of no log
        code = _exit_code(error)
        if code == FAILED and os.environ.get("NOTIFY_SOCKET"):
            time.sleep(REFUSED_S)
        return code
    except Exception:  # noqa: BLE001  the last resort: said in the log, not on a tty
        _log.exception("laggd failed")
        return FAILED
    return DONE


def _doors(settings: CommandLine) -> Iterator[AbstractContextManager[Door]]:
    """The control socket, and the one that only reads where there is to be one."""
    beside = settings.replace
    yield claimed(settings.socket, settings.gid, beside=beside)
    if (path := settings.read_socket) is not None:
        gid, mode = settings.read_gid, MEMBERS
        if gid is None:
            gid, mode = settings.gid, EVERYBODY
        yield claimed(path, gid, mode, beside=beside)


def _exit_code(error: Exception) -> int:
    match error:
        case ConfigError():
            return BAD_CONFIG
        case privileges.MissingError():
            return NO_PERMISSION
        case UnlikeError():
            return UNLIKE
    return FAILED


async def _open_commands(
    settings: CommandLine, doors: Sequence[Door], state_dir: Path
) -> Operations:
    # Here, for its import brings the C part, which no test of this module needs.
    from lagg.operations.claim import Apart
    from lagg.operations.commands import Commands

    # To look for garbage in what was loaded, then and ever, is a tenth of the start.
    gc.freeze()
    privileges.confine()  # now, for the socket may have had to be given to its group
    how = Apart(settings.replace, partial(_take_places, doors), settings.forwarder)
    apart = None if settings.inside else how
    commands = await Commands.open(state_dir, tuning=settings.tuning, apart=apart)
    gc.enable()  # now, for what is adopted stays as well
    return commands


def _take_places(doors: Sequence[Door]) -> None:
    for door in doors:
        door.take_place()


def _restrict_calls() -> None:
    from lagg.kernel.native import restrict_calls  # here: see _open_commands

    try:
        restrict_calls()
    except OSError as error:
        raise LaggError.of_os("--seccomp", "filter system calls", error) from error


Serving = Callable[..., AbstractAsyncContextManager[object]]


def _looked_at(settings: CommandLine) -> Serving:
    """What serves the page for a browser, as _scraped() does metrics.  LaggError."""
    if settings.web is None:
        return lambda *_: nullcontext()
    from lagg.daemon.web import Web, web_listener_of

    listener = web_listener_of(*settings.web, shared=not settings.inside)
    return partial(Web, listener)


def _scraped(settings: CommandLine) -> Serving:
    """What serves metrics, by a socket that listens already; loaded where it is wanted.

    LaggError: it cannot be served.
    """
    if settings.metrics is None:
        return lambda *_: nullcontext()
    from lagg.daemon.metrics import Metrics, listener_of

    listener = listener_of(*settings.metrics, shared=not settings.inside)
    return partial(Metrics, listener)


async def _serve(
    settings: CommandLine,
    files: "Files",
    listeners: Sequence[socket.socket],
    open_operations: OpenOperations,
) -> None:
    life = Life()
    stop = _stop_signal(*((LEAVE_SIGNAL,) if settings.inside else ()))
    kernel = ThreadPoolExecutor(KERNEL_THREADS, "kernel")
    asyncio.get_running_loop().set_default_executor(kernel)
    scraped, looked_at = _scraped(settings), _looked_at(settings)
    commands = await open_operations(settings.state_dir)
    life.succession = commands.succession
    reloader = Reloader(partial(_configured, settings.config), commands.reload, notify)
    denial = of_members(settings.gid)
    server = ControlServer(commands, denial, reloader.reload, life)
    servers = (server, server.beside(of_nobody(settings.socket)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.signal)
    leaving = Tasks()
    if not settings.inside:
        leave = partial(leaving.begin, commands.leave)
        asyncio.get_running_loop().add_signal_handler(LEAVE_SIGNAL, leave)
    async with AsyncExitStack() as way_out:  # last first, each whatever another does
        way_out.push_async_callback(commands.close)
        for each in servers:
            way_out.push_async_callback(each.close)
        way_out.push_async_callback(reloader.close)
        way_out.push_async_callback(leaving.close)
        way_out.callback(notify, "STOPPING=1\nSTATUS=putting every port back")
        if settings.seccomp:
            _restrict_calls()
        if commands.adopted:  # what runs is what somebody made of the files
            reloader.note(files.refusal)
        else:
            await commands.reload(files.require())
        for each, listener in zip(servers, listeners, strict=False):  # one, or both
            await each.start(listener)
        # What start-up made stays: to collect it takes longer than a failover may.
        gc.collect()
        gc.freeze()
        notify("READY=1")
        laggs = "1 lagg" if len(files.laggs) == 1 else f"{len(files.laggs)} laggs"
        _log.info("serving %s, %s configured", settings.socket, laggs)
        wrong = reloader.complaints
        async with (
            Pulse(commands, wrong),
            scraped(commands, life, wrong),
            looked_at(commands, life, wrong),
        ):
            await stop.wait()
    _log.info("every port is as it was found")


def _stop_signal(*more: signal.Signals) -> asyncio.Event:
    """Set by STOP_SIGNALS and `more`; a second does not cut the putting back short."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (*STOP_SIGNALS, *more):
        loop.add_signal_handler(number, stop.set)
    return stop


@dataclass(frozen=True, slots=True)
class Files:
    """What the files say when laggd starts."""

    laggs: tuple[LaggConfig, ...]
    refusal: ConfigError | None  # why they say nothing

    @classmethod
    def of(cls, settings: CommandLine) -> "Files":
        """Read.  ConfigError, unless there may be laggs that need no file.

        Those of a laggd that has gone nobody else would control; one that lives does.
        """
        try:
            return cls(_configured(settings.config), None)
        except ConfigError as error:
            if settings.replace or settings.inside or not _is_forwarder(settings):
                raise
            return cls((), error)

    def require(self) -> tuple[LaggConfig, ...]:
        """The laggs that they describe.  ConfigError."""
        if self.refusal is not None:
            raise self.refusal
        return self.laggs


def _is_forwarder(settings: CommandLine) -> bool:
    return (settings.forwarder or settings.state_dir / FORWARDER_SOCKET).is_socket()


def _configured(config: Path | None) -> tuple[LaggConfig, ...]:
    return load(config or Path(DEFAULT_CONFIG), required=config is not None)
