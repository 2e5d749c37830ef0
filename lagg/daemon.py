# SPDX-License-Identifier: BSD-2-Clause
"""laggd: the process.  Command line, logging, claims, signals, sd_notify, exit codes.

Owns the order of start and stop, and that there is one laggd for a socket and for a
state directory.  Knows no kernel interface and no protocol: those are the driver's.
"""

import argparse
import asyncio
import fcntl
import gc
import grp
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from errno import EADDRINUSE
from pathlib import Path

from lagg.config import ConfigError, load
from lagg.control import BACKLOG, ControlServer, Driver
from lagg.errors import LaggError
from lagg.model import LaggConfig
from lagg.paths import DEFAULT_CONFIG, DEFAULT_STATE_DIR, socket_path

DONE = 0
FAILED = 1
BAD_CONFIG = 78
"""sysexits.h EX_CONFIG, which systemd knows."""

SOCKET_MODE = 0o660

_JOURNAL_PRIORITY = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}

OpenDriver = Callable[[Path], Awaitable[Driver]]

_log = logging.getLogger("laggd")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says."""

    config: Path | None  # None: the default one, if it exists
    socket: Path
    state_dir: Path
    gid: int
    log_level: str


def main(
    words: Sequence[str] | None = None, open_driver: OpenDriver | None = None
) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    settings = _settings(words)
    _start_log(settings.log_level)
    try:
        laggs = _configured(settings.config)
        with ExitStack() as claims:
            listener = claims.enter_context(_claimed_socket(settings))
            opener = open_driver or _open_driver
            asyncio.run(_serve(settings, laggs, listener, opener))
    except ConfigError as error:
        for line in str(error).splitlines():
            _log.error("%s", line)
        return BAD_CONFIG
    except LaggError as error:
        _log.error("%s", error)
        return FAILED
    except Exception:  # noqa: BLE001  the last resort: said in the log, not on a tty
        _log.exception("laggd failed")
        return FAILED
    return DONE


def notify(state: str) -> None:
    """sd_notify(3): tells the supervisor, if there is one.  "READY=1", "STATUS=..."."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
        try:
            notifier.sendto(state.encode(), address)
        except OSError as error:
            _log.warning("the supervisor cannot be told %r: %s", state, error)


async def _open_driver(state_dir: Path) -> Driver:
    # Here, for the driver brings the C part, which no test of this module needs.
    from lagg.driver import Driver as LaggDriver

    return await LaggDriver.open(state_dir)


async def _serve(
    settings: Settings,
    laggs: Sequence[LaggConfig],
    listener: socket.socket,
    open_driver: OpenDriver,
) -> None:
    stop = _stop_signal()
    driver = await open_driver(settings.state_dir)
    server = ControlServer(driver, settings.gid)
    try:
        await _create_all(driver, laggs)
        await server.start(listener)
        # What start-up made stays: to collect it takes longer than a failover may.
        gc.collect()
        gc.freeze()
        notify(f"READY=1\nSTATUS=serving {settings.socket}")
        _log.info("serving %s, %d laggs configured", settings.socket, len(laggs))
        await stop.wait()
    finally:
        notify("STOPPING=1\nSTATUS=putting every port back")
        try:
            await server.close()
        finally:
            await driver.close()
    _log.info("every port is as it was found")


def _stop_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT; a second one does not cut the putting back short."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Its default would end the process with every port still deaf.
    loop.add_signal_handler(
        signal.SIGHUP, _log.warning, "SIGHUP: reload is not supported yet"
    )
    return stop


async def _create_all(driver: Driver, laggs: Sequence[LaggConfig]) -> None:
    for lagg in laggs:
        await driver.create(_with_present_ports(lagg))


def _with_present_ports(lagg: LaggConfig) -> LaggConfig:
    present = tuple(port for port in lagg.ports if _exists(port))
    for port in lagg.ports:
        if port not in present:
            _log.warning("%s: port %s: not there, left out", lagg.name, port)
    return replace(lagg, ports=present)


def _exists(interface: str) -> bool:
    try:
        socket.if_nametoindex(interface)
    except OSError:
        return False
    return True


def _configured(config: Path | None) -> tuple[LaggConfig, ...]:
    if config is None and not Path(DEFAULT_CONFIG).exists():
        return ()
    return load(config or Path(DEFAULT_CONFIG))


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(parents=True)
        directory.chmod(0o755)  # whatever the umask: clients must pass through it


@contextmanager
def _claimed_socket(settings: Settings) -> Iterator[socket.socket]:
    """The listening socket, of which there is one; its file goes with it."""
    path = settings.socket
    try:
        _make_directory(path.parent)
        with _locked(path.parent):
            listener = _bound(path, settings.gid)
    except OSError as error:
        raise LaggError.of_os(str(path), "cannot listen", error) from error
    try:
        yield listener
    finally:
        path.unlink(missing_ok=True)
        listener.close()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keeps two laggds from replacing the same stale socket at the same time."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _bound(path: Path, gid: int) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.bind(str(path))
        # Nobody can connect before listen(), so these two come in time.
        os.chown(path, -1, gid)
        path.chmod(SOCKET_MODE)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Removes the socket of a dead laggd.  Raises LaggError when one answers."""
    if not path.is_socket():
        return  # bind() says what is wrong with anything else
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # a crowd waits there, so somebody listens
    raise LaggError(str(path), "another laggd listens here", EADDRINUSE)


def _start_log(level: str) -> None:
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_JournalFormatter() if _stderr_is_journal() else _PLAIN)
    logging.basicConfig(level=level.upper(), handlers=[stream])
    # It reports every poll at this level, and laggd's own debug log is wanted.
    logging.getLogger("asyncio").setLevel(max(logging.INFO, logging.root.level))


_PLAIN = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


class _JournalFormatter(logging.Formatter):
    """sd-daemon(3): a priority in front of each line; the journal has the time."""

    def format(self, record: logging.LogRecord) -> str:
        priority = _JOURNAL_PRIORITY.get(record.levelno, 6)
        text = f"{record.name}: {super().format(record)}"
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


def _stderr_is_journal() -> bool:
    """systemd.exec(5): JOURNAL_STREAM holds while stderr is that very stream."""
    with suppress(OSError):
        stat = os.fstat(sys.stderr.fileno())
        named = os.environ.get("JOURNAL_STREAM")
        return named == f"{stat.st_dev}:{stat.st_ino}"
    return False


def _settings(words: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(
        prog="laggd",
        description="lagg(4) link aggregation for Linux: the daemon.",
        epilog="Exit: 0 done, 1 failed, 2 usage, 78 bad configuration.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML")
    parser.add_argument("--socket", type=Path, metavar="PATH", default=socket_path())
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", default=DEFAULT_STATE_DIR
    )
    parser.add_argument(
        "--group", type=_gid, default=0, metavar="G", help="who may change things"
    )
    levels = ("debug", "info", "warning", "error")
    parser.add_argument("--log-level", choices=levels, default="info")
    found = parser.parse_args(words)
    return Settings(
        config=found.config,
        socket=Path(found.socket),
        state_dir=found.state_dir,
        gid=found.group,
        log_level=found.log_level,
    )


def _gid(word: str) -> int:
    """A group by name or number."""
    try:
        return int(word) if word.isdecimal() else grp.getgrnam(word).gr_gid
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no group {word!r}") from None
