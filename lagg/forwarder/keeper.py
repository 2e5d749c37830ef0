# SPDX-License-Identifier: BSD-2-Clause
"""A forwarder in laggd's service: it keeps descriptors, and runs the workers of laggs.

Owns the forwarder's process, the connection to it, and what it was given; so that, when
it dies, another one is given all of that and goes on where the first one was.  Knows no
lagg but by its id, and nothing of what is kept beside names and descriptors.

Descriptors are lent.  Who lent one takes it back, by drop(), before he closes it; a
forwarder that comes later is given what is lent by then.  Under "LAGG/SLOT/" stands
what a port's workers need and no more: it goes with the port.
"""

import asyncio
import errno
import logging
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Self

from lagg.errors import LaggError, logged
from lagg.forwarder.client import ForwarderClient, GoneError
from lagg.forwarder.process import Process
from lagg.forwarder.wire import IDS_MAX, Word

log = logging.getLogger(__name__)

SOCKET = "forwarder.sock"
"""In the state directory."""

VERDICT_MS = 2_500
"""In which a forwarder that runs says whose all is, after GO."""


class _Unasked:
    """What a forwarder said unasked, in whatever thread and method it was met."""

    def __init__(self) -> None:
        self.said: deque[Word] = deque()
        self.wake: Callable[[], object] = lambda: None

    def __call__(self, word: Word) -> None:
        self.said.append(word)
        self.wake()


@dataclass(frozen=True, slots=True)
class _Lent:
    """A descriptor, and of which file it was: the number may be another's by now."""

    fd: int
    file: tuple[int, int]

    @classmethod
    def of(cls, fd: int) -> Self:
        stat = os.fstat(fd)
        return cls(fd, (stat.st_dev, stat.st_ino))

    @property
    def is_there(self) -> bool:
        """Whether it is still that: who lent it may be about to take it back."""
        with suppress(OSError):
            return self == _Lent.of(self.fd)
        return False


class Keeper:
    """One forwarder after the other.  Any thread, but for watch() and close()."""

    def __init__(
        self,
        client: ForwarderClient,
        process: Process,
        left: Mapping[str, int],
        unasked: _Unasked,
        alone_s: float,
    ) -> None:
        """`client` claimed it, and tells `unasked`; `left`: all that it kept.

        `alone_s`: for how long it had nobody then, by its own clock.
        """
        self.alone_since_s = time.monotonic() - alone_s
        self._unasked = unasked
        self._owns = False
        self._heard_fd = client.fileno()  # its number also after it is closed
        self._on_yield: Callable[[], object] = lambda: None
        self.left = dict(left)
        self._client = client
        self._process = process
        self._path = process.path
        self._spare: Process | None = None
        self._lent = {name: _Lent.of(fd) for name, fd in left.items()}
        self._at_work: dict[int, int] = {}  # busy_poll_us by id, of laggs that run
        self._mapped: dict[int, set[int]] = {}  # slots by id
        self._leases: dict[tuple[int, int], tuple[bytes, int]] = {}  # by id and slot
        self._lock = Lock()

    @classmethod
    def open(cls, directory: Path) -> "Keeper":
        """Claims the forwarder there, or starts one; commit() is due within 2 s.

        A laggd that has it is asked, and waits.  LaggError: it cannot be had.
        """
        path, unasked = directory / SOCKET, _Unasked()
        try:
            client = ForwarderClient(path, unasked)
        except GoneError:
            process = Process.start(path)
            process.take_place()
            client = ForwarderClient(path, unasked)
        else:
            process = Process.of(client, path)
        try:
            alone_s = client.claim() / 1000
            return cls(client, process, client.list(), unasked, alone_s)
        except BaseException:
            client.disconnect()
            raise

    @classmethod
    def is_there(cls, directory: Path) -> bool:
        """Whether a forwarder answers.  LaggError: one of another version, say."""
        try:
            ForwarderClient(directory / SOCKET).disconnect()
        except GoneError:
            return False
        return True

    @classmethod
    def needed(cls, directory: Path) -> int | None:
        """The pid of a forwarder that keeps anything.  LaggError as is_there()."""
        try:
            with ForwarderClient(directory / SOCKET) as client:
                kept = client.list()
        except GoneError:
            return None
        for descriptor in kept.values():
            os.close(descriptor)
        return client.pid if kept else None

    def commit(self) -> None:
        """The forwarder is ours.  LaggError: the claim is over, and another has it."""
        self._client.commit()
        self._owns = True

    @property
    def version(self) -> str:
        """The forwarder's."""
        return self._client.version

    @property
    def pid(self) -> int:
        """The forwarder's."""
        return self._process.pid

    def watch(self) -> None:
        """Has a forwarder that dies be followed by another."""
        self._start_spare()
        self._listen()

    def yield_by(self, hand_over: Callable[[], object]) -> None:
        """Calls it in the event loop when another laggd wants what we have.

        Within 2 s it is to refuse() or to give(), or that one gives up.
        """
        self._on_yield = hand_over

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._unasked.wake = partial(loop.call_soon_threadsafe, self._on_words)
        loop.add_reader(self._process.fileno(), self._on_death)
        self._heard_fd = self._client.fileno()
        loop.add_reader(self._heard_fd, self._on_readable)

    def _on_readable(self) -> None:
        try:
            with self._lock:
                self._client.listen()
        except LaggError as error:
            asyncio.get_running_loop().remove_reader(self._heard_fd)
            log.debug("%s", error)  # what it means is told by the process's end

    def _on_words(self) -> None:
        while self._unasked.said:
            if self._unasked.said.popleft() is Word.YIELD:
                self._on_yield()

    def refuse(self, why: str) -> None:
        """Keeps all; who asked is told why."""
        with self._lock, logged(log.info):
            self._client.refuse(why)

    def give(self) -> bool:
        """Lets another laggd have all, and waits until it has; False: it has not.

        Blocks, and so does whoever wants the forwarder: between our word and that of
        the forwarder nothing is written.  LaggError: whose all is cannot be known.
        """
        with self._lock:
            self._unasked.said.clear()
            try:
                self._client.go()
                return self._verdict() is Word.DONE
            except GoneError:
                self._require_death()
            except LaggError as error:
                if error.code != errno.ENOMSG:  # else the other one had gone already
                    raise
        return False

    def _verdict(self) -> Word:
        """DONE or RESUME; from a forwarder that is stopped, when it runs again."""
        while not self._unasked.said:
            if not _is_readable(self._client.fileno(), VERDICT_MS):
                log.warning("lagg-forwarder (pid %d) does not answer", self.pid)
            else:
                self._client.listen()
        return self._unasked.said.pop()

    def _require_death(self) -> None:
        """LaggError unless the forwarder is dead: only then all is ours still."""
        if not _is_readable(self._process.fileno(), VERDICT_MS):
            cause = "it lives and has disconnected us: it is another laggd's"
            raise LaggError("lagg-forwarder", cause, errno.EPIPE)

    def _start_spare(self) -> None:
        """Beforehand: when it is needed, none may be started, or not soon enough."""
        with logged(log.warning):
            self._spare = Process.waiting(self._path) or Process.start(self._path)

    def _on_death(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.fileno())
        if not self._process.ended():
            return
        log.error("lagg-forwarder (pid %d) died; another one goes on", self.pid)
        try:
            with self._lock:
                self._replace()
        except LaggError as error:
            log.critical("no frame is carried: %s", error)
        else:
            self._start_spare()
            self._listen()

    def _replace(self) -> None:
        process, self._spare = self._spare or Process.start(self._path), None
        process.take_place()
        self._process.close()
        self._forget_client()
        self._process, self._client = process, _owner(self._path, self._unasked)
        self._lent = {name: lent for name, lent in self._lent.items() if lent.is_there}
        for name, lent in self._lent.items():
            self._client.put(name, lent.fd)
        for lagg, busy_poll_us in self._at_work.items():
            self._client.open(lagg, again=True)
            for slot in self._mapped[lagg]:
                self._client.map(lagg, slot, again=True)
            self._client.run(lagg, busy_poll_us)
        for (lagg, slot), order in self._leases.items():
            self._client.lease(lagg, slot, *order)

    def close(self) -> None:
        """Ends the forwarder, unless it has a lagg: then the next laggd has it.

        Also one that was not resumed, because what was left of it was refused.
        """
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._process.fileno())
        if self._owns and not self._ids:
            with self._lock, logged(log.warning):
                self._client.end()
        self._forget_client()
        self._process.close()
        if self._spare is not None:
            with logged(log.warning):
                self._spare.end()
            self._spare.close()

    def _forget_client(self) -> None:
        asyncio.get_running_loop().remove_reader(self._heard_fd)
        self._client.disconnect()

    # ---- what is kept --------------------------------------------------------------

    def lend(self, name: str, fd: int) -> None:
        """The forwarder has a duplicate of `fd`, from now on if not yet.  LaggError."""
        with self._lock:
            if self._lent.get(name) != _Lent.of(fd):
                self._put(name, fd)

    def lent(self, prefix: str) -> frozenset[str]:
        """The names of all that is lent and begins so."""
        with self._lock:
            return frozenset(self._under(prefix))

    def drop(self, names: Iterable[str]) -> None:
        """The forwarder has these no more, whether it had them or not.  LaggError."""
        with self._lock:
            self._drop(names)

    def lease(self, lagg: int, slot: int, frame: bytes, period_ms: int) -> None:
        """Has a frame repeated while no laggd is there; b"", 0: none.  LaggError."""
        order = (frame, period_ms)
        with self._lock:
            if self._leases.get((lagg, slot)) != order and lagg in self._at_work:
                self._client.lease(lagg, slot, *order)
                self._leases[lagg, slot] = order

    def _put(self, name: str, fd: int) -> None:
        self._client.put(name, fd)
        self._lent[name] = _Lent.of(fd)

    def _put_under(self, prefix: str, sockets: Mapping[str, int]) -> None:
        for name, fd in sockets.items():
            self._put(prefix + name, fd)

    def _drop(self, names: Iterable[str]) -> None:
        for name in list(names):
            if self._lent.pop(name, None) is not None:
                self._client.delete(name)

    def _under(self, prefix: str) -> Iterator[str]:
        return (name for name in self._lent if name.startswith(prefix))

    # ---- who runs workers ----------------------------------------------------------

    def datapath(self, alert: int, busy_poll_us: int) -> "ForwarderDatapath":
        """For a lagg that is to be made.  `alert`: the eventfd that workers write to.

        LaggError (ENOSPC): no forwarder carries more laggs.
        """
        taken = self._ids
        free = next((n for n in range(1, IDS_MAX + 1) if n not in taken), None)
        if free is None:
            cause = f"carries {IDS_MAX} laggs, and no more"
            raise LaggError("lagg-forwarder", cause, errno.ENOSPC)
        return ForwarderDatapath(self, free, alert, busy_poll_us)

    @property
    def _ids(self) -> frozenset[int]:
        """The numbers of all laggs of which something is lent."""
        lent = (name.partition("/")[0] for name in self._lent)
        return frozenset(int(head) for head in lent if head.isdecimal())

    def resumed(
        self, lagg: int, slots: Iterable[int], busy_poll_us: int
    ) -> "ForwarderDatapath":
        """For a lagg whose workers run already, with ports in these slots."""
        self._at_work[lagg] = busy_poll_us
        self._mapped[lagg] = set(slots)
        return ForwarderDatapath(self, lagg, -1, busy_poll_us)

    def begin(self, lagg: int, sockets: Mapping[str, int], busy_poll_us: int) -> None:
        """Runs a lagg's workers.  LaggError: none of it is there."""
        with self._lock:
            try:
                self._put_under(f"{lagg}/", sockets)
                self._client.open(lagg)
                self._client.run(lagg, busy_poll_us)
            except BaseException:
                self._forget(lagg)
                raise
            self._at_work[lagg] = busy_poll_us
            self._mapped[lagg] = set()

    def _forget(self, lagg: int) -> None:
        self._at_work.pop(lagg, None)
        for slot in self._mapped.pop(lagg, ()):
            self._leases.pop((lagg, slot), None)
        with logged(log.debug):
            self._client.stop(lagg)
        with logged(log.debug):
            self._client.close(lagg)
        with logged(log.warning):
            self._drop(self._under(f"{lagg}/"))

    def end(self, lagg: int) -> None:
        """Stops a lagg's workers, and keeps nothing of it."""
        with self._lock:
            self._forget(lagg)

    def map(self, lagg: int, slot: int, sockets: Mapping[str, int]) -> None:
        """Takes a port in.  LaggError: it is not."""
        with self._lock:
            try:
                self._put_under(f"{lagg}/{slot}/", sockets)
                self._client.map(lagg, slot)
            except BaseException:
                with logged(log.warning):
                    self._drop([f"{lagg}/{slot}/{name}" for name in sockets])
                raise
            self._mapped[lagg].add(slot)

    def unmap(self, lagg: int, slot: int, rings: int) -> None:
        """Delivers what a port's rings hold, and lets it go.  LaggError."""
        with self._lock:
            self._client.drain(lagg, slot, rings)
            self._client.unmap(lagg, slot)
            self._mapped[lagg].discard(slot)
            self._leases.pop((lagg, slot), None)
            self._drop(self._under(f"{lagg}/{slot}/"))

    def map_rings(
        self, lagg: int, slot: int, rings: int, sockets: Mapping[str, int]
    ) -> None:
        """Takes rings of a port beside the live ones.  LaggError."""
        with self._lock:
            self._put_under(f"{lagg}/{slot}/", sockets)
            self._client.map_rings(lagg, slot, rings)

    def unmap_rings(self, lagg: int, slot: int, rings: int) -> None:
        """Delivers what is in rings no worker sees, and lets them go.  LaggError."""
        with self._lock:
            self._client.drain(lagg, slot, rings)
            self._client.unmap_rings(lagg, slot, rings)
            self._drop(self._under(f"{lagg}/{slot}/ring.{rings}."))


class ForwarderDatapath:
    """One lagg's workers, in the forwarder: lagg.kernel.datapath.Datapath."""

    def __init__(
        self, keeper: Keeper, lagg: int, alert: int, busy_poll_us: int
    ) -> None:
        """`lagg`: its id."""
        self.lagg = lagg
        self._keeper = keeper
        self._alert = alert
        self._busy_poll_us = busy_poll_us

    def begin(self, sockets: Mapping[str, int]) -> None:
        """Runs them."""
        with _as_os_error():
            more = {"alert": self._alert}
            self._keeper.begin(self.lagg, {**sockets, **more}, self._busy_poll_us)

    def end(self) -> None:
        """Stops them."""
        self._keeper.end(self.lagg)

    def ended(self) -> list[int]:
        """A worker that ends ends the forwarder, which another one follows."""
        return []

    def add_port(self, slot: int, sockets: Mapping[str, int]) -> None:
        """Takes a port in."""
        with _as_os_error():
            self._keeper.map(self.lagg, slot, sockets)

    def remove_port(self, slot: int, rings: int) -> None:
        """Lets a port go."""
        with _as_os_error():
            self._keeper.unmap(self.lagg, slot, rings)

    def add_rings(self, slot: int, rings: int, sockets: Mapping[str, int]) -> None:
        """Takes rings in."""
        with _as_os_error():
            self._keeper.map_rings(self.lagg, slot, rings, sockets)

    def remove_rings(self, slot: int, rings: int) -> None:
        """Lets rings go."""
        with _as_os_error():
            self._keeper.unmap_rings(self.lagg, slot, rings)


@contextmanager
def _as_os_error() -> Iterator[None]:
    """A refusal of the forwarder is an OSError, as that of any who runs workers."""
    try:
        yield
    except LaggError as error:
        raise OSError(error.code, str(error)) from error


def _is_readable(fd: int, wait_ms: int) -> bool:
    """Whether it is within that time; select(2) would not take a high number."""
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(wait_ms))


def _owner(path: Path, unasked: _Unasked) -> ForwarderClient:
    """A connection to a forwarder that nobody owns yet."""
    client = ForwarderClient(path, unasked)
    try:
        client.claim()
        client.commit()
    except BaseException:
        client.disconnect()
        raise
    return client
