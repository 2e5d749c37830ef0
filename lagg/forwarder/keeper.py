# SPDX-License-Identifier: BSD-2-Clause
"""A forwarder in laggd's service: it keeps descriptors, and runs the workers of laggs.

Owns what the forwarder was given, so that another one, or the same one that was asked
in vain, is given all of that and goes on where the first one was.  Knows no lagg but by
its id, and nothing of what is kept beside names and descriptors.

Descriptors are lent.  Who lent one takes it back, by drop(), before he closes it; a
forwarder that comes later is given what is lent by then.  Under "LAGG/SLOT/" stands
what a port's workers need and no more: it goes with the port.
"""

import asyncio
import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from lagg.errors import LaggError, done_if, logged
from lagg.forwarder.client import ForwarderClient, GoneError
from lagg.forwarder.line import ForwarderLine
from lagg.forwarder.load import Lent, Load, ids_of
from lagg.forwarder.process import is_readable, places
from lagg.forwarder.wire import IDS_MAX, LEASES_MAX, Leased, Order, Word

log = logging.getLogger(__name__)

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


class Keeper:
    """One forwarder after the other.  Any thread, but for watch() and close()."""

    def __init__(
        self,
        line: ForwarderLine,
        left: Mapping[str, int],
        unasked: _Unasked,
    ) -> None:
        """`line`: to a forwarder; `left`: all that it keeps.

        What it says unasked comes to `unasked`.
        """
        self.alone_since_s = time.monotonic()  # when it was claimed, it had nobody
        self._line = line
        self._unasked = unasked
        self._owns = False
        self._on_yield: Callable[[], object] = lambda: None
        self.left = dict(left)
        self._lent = {name: Lent.of(fd) for name, fd in left.items()}
        self._at_work: dict[int, int] = {}  # busy_poll_us by id, of laggs that run
        self._mapped: dict[int, set[int]] = {}  # slots by id
        self._leases: dict[Leased, Order] = {}
        self._lock = line.lock

    @classmethod
    def open(cls, path: Path, *, may_start: bool = True) -> "Keeper":
        """Looks at what the forwarder at `path` keeps; claim() makes it ours.

        If none is there, one is started, where that is not another's business.
        LaggError.
        """
        unasked = _Unasked()
        line = ForwarderLine.open(path, unasked, may_start=may_start)
        try:
            return cls(line, line.client.list(), unasked)
        except BaseException:
            line.close()
            raise

    @classmethod
    def is_there(cls, path: Path) -> bool:
        """Whether a forwarder answers.  LaggError: one of another protocol, say."""
        try:
            ForwarderClient(path).disconnect()
        except GoneError:
            return False
        return True

    @classmethod
    def needed(cls, path: Path) -> int | None:
        """The pid of a forwarder that keeps anything.  LaggError as is_there()."""
        try:
            with ForwarderClient(path) as client:
                kept = client.list()
        except GoneError:
            return None
        for descriptor in kept.values():
            os.close(descriptor)
        return client.pid if kept else None

    def claim(self) -> bool:
        """Asks whoever has the forwarder, who waits; commit() is due within 2 s.

        False: what it keeps is not what `left` says, and list_again() is due before.
        LaggError: it cannot be had.
        """
        claimed = self._client.claim()
        self.alone_since_s = time.monotonic() - claimed.alone_ms / 1000
        return claimed.as_listed

    def list_again(self) -> None:
        """What it keeps now; who had `left` before has closed all of it.  LaggError."""
        self.left = self._client.list()
        self._lent = {name: Lent.of(fd) for name, fd in self.left.items()}

    def commit(self) -> None:
        """The forwarder is ours.  LaggError: the claim is over, and another has it."""
        self._client.commit()
        self._owns = True

    @property
    def _client(self) -> ForwarderClient:
        return self._line.client

    @property
    def version(self) -> str:
        """The forwarder's."""
        return self._client.version

    @property
    def layout(self) -> int:
        """The layout of the memory that the forwarder shares with laggd, as a hash."""
        return self._client.layout

    @property
    def pid(self) -> int:
        """The process that carries frames."""
        return self._line.process.pid

    @property
    def may_start(self) -> bool:
        """Whether a forwarder is started here, and not by a supervisor."""
        return self._line.may_start

    @property
    def deaths(self) -> int:
        """Forwarders that have ended since this one was opened."""
        return self._line.deaths

    def ailments(self) -> tuple[str, ...]:
        """What keeps the forwarder from being told anything, in words; usually none."""
        ailment = self._line.ailment()
        return () if ailment is None else (ailment,)

    def watch(self) -> None:
        """Has all laggs carried from now on, whatever happens to the forwarder."""
        loop = asyncio.get_running_loop()
        self._unasked.wake = partial(loop.call_soon_threadsafe, self._on_words)
        self._line.hold(self._take_up)
        with self._lock, logged(log.error):
            self._load().require_carried(self._client)

    def yield_by(self, hand_over: Callable[[], object]) -> None:
        """Calls it in the event loop when another laggd wants what we have.

        Within 2 s it is to refuse() or to give(), or that one gives up.
        """
        self._on_yield = hand_over

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

    def leave(self) -> None:
        """Leaves all to whoever comes.  LaggError: the forwarder may be about to end.

        Then all that it had is here alone, until the next one has it.
        """
        with self._lock, done_if(errno.ENOSYS):  # one of an earlier version
            self._client.leave()

    def _verdict(self) -> Word:
        """DONE or RESUME; from a forwarder that is stopped, when it runs again."""
        while not self._unasked.said:
            if not is_readable(self._client.fileno(), VERDICT_MS):
                log.warning("lagg-forwarder (pid %d) does not answer", self.pid)
            else:
                self._client.listen()
        return self._unasked.said.pop()

    def _require_death(self) -> None:
        """LaggError unless the forwarder is dead: only then all is ours still."""
        if not self._line.process.ended(VERDICT_MS):
            cause = "it lives and has disconnected us: it is another laggd's"
            raise LaggError("lagg-forwarder", cause, errno.EPIPE)

    def close(self) -> None:
        """Ends the forwarder, unless it has a lagg: then the next laggd has it.

        Also one that was not resumed, because what was left of it was refused.
        """
        if self._owns and not ids_of(self._lent):
            with self._lock, logged(log.warning):
                self._client.end()
                self._line.await_end()
        self._line.close()

    # ---- from one forwarder to the next --------------------------------------------

    def _take_up(self, client: ForwarderClient) -> None:
        """With the lock held.  LaggError: it is not ours, or lacks something."""
        client.own()
        self._load().give(client)

    def _load(self) -> Load:
        self._lent = {name: lent for name, lent in self._lent.items() if lent.is_there}
        lent = {name: lent.fd for name, lent in self._lent.items()}
        mapped = {lagg: frozenset(slots) for lagg, slots in self._mapped.items()}
        return Load(lent, self._at_work, mapped, self._leases)

    def renew(self) -> None:
        """Has another forwarder, of the program that is installed, go on with all.

        The one before stops between two bursts, and ends.  After watch().  LaggError:
        it goes on.
        """
        path = self._client.path
        beside = path.with_name(f"{path.name}.new")
        with self._lock:
            family = self._line.start(beside)
            try:
                client = ForwarderClient.owner(beside, self._unasked)
                with places(path, beside) as take_place:
                    self._move(client, take_place)
            finally:
                beside.unlink(missing_ok=True)
            self._line.replace(client, family)

    def _move(self, client: ForwarderClient, take_place: Callable[[], object]) -> None:
        """LaggError: all is where it was."""
        load = self._load()
        try:
            load.move(self._client, client, take_place)
        except BaseException:
            with logged(log.warning):
                client.end()
            client.disconnect()
            load.give(self._client)
            raise
        with logged(log.warning):
            self._client.end()

    # ---- what is kept --------------------------------------------------------------

    def lend(self, name: str, fd: int) -> None:
        """The forwarder has a duplicate of `fd`, from now on if not yet.  LaggError."""
        with self._lock:
            if self._lent.get(name) != Lent.of(fd):
                with self._or_later():
                    self._client.put(name, fd)
                self._lent[name] = Lent.of(fd)

    def lent(self, prefix: str) -> frozenset[str]:
        """The names of all that is lent and begins so."""
        with self._lock:
            return frozenset(self._under(prefix))

    def drop(self, names: Iterable[str]) -> None:
        """The forwarder has these no more, whether it had them or not.  LaggError."""
        with self._lock:
            self._drop(names)

    def lease(self, lagg: int, orders: Mapping[tuple[int, int], Order]) -> None:
        """Has frames repeated while no laggd is there, by slot and number: see Leased.

        LaggError.
        """
        named = {(lagg, *which): order for which, order in orders.items()}
        with self._lock:
            news = dict(named.items() - self._leases.items())
            if news and lagg in self._at_work:
                with self._or_later():
                    self._client.lease(news)
                self._leases |= news

    @contextmanager
    def _or_later(self) -> Iterator[None]:
        """What cannot be said, for the line is broken, is so when it is taken up."""
        try:
            yield
        except LaggError:
            if not self._client.ended:
                raise

    def _put_under(self, prefix: str, sockets: Mapping[str, int]) -> None:
        for name, fd in sockets.items():
            self._client.put(prefix + name, fd)
            self._lent[prefix + name] = Lent.of(fd)

    @contextmanager
    def _all_or_none(self, prefix: str, sockets: Mapping[str, int]) -> Iterator[None]:
        """Puts them; what is refused inside leaves none of them."""
        try:
            self._put_under(prefix, sockets)
            yield
        except BaseException:
            with logged(log.warning):
                self._drop([prefix + name for name in sockets])
            raise

    def _drop(self, names: Iterable[str]) -> None:
        for name in list(names):
            if self._lent.pop(name, None) is not None:
                with self._or_later():
                    self._client.delete(name)

    def _under(self, prefix: str) -> Iterator[str]:
        return (name for name in self._lent if name.startswith(prefix))

    # ---- who runs workers ----------------------------------------------------------

    def free_id(self) -> int:
        """For a lagg that is to be made.  LaggError (ENOSPC): none carries more."""
        with self._lock:
            free = min({*range(1, IDS_MAX + 1)} - ids_of(self._lent), default=None)
        if free is None:
            cause = f"carries {IDS_MAX} laggs, and no more"
            raise LaggError("lagg-forwarder", cause, errno.ENOSPC)
        return int(free)

    def resume(self, lagg: int, slots: Iterable[int], busy_poll_us: int) -> None:
        """A lagg of this id runs already, with ports in these slots."""
        self._at_work[lagg] = busy_poll_us
        self._mapped[lagg] = set(slots)

    def end_unclaimed(self) -> None:
        """Ends each lagg that nobody resumed: its laggd died before it was one."""
        with self._lock:
            for lagg in ids_of(self._lent) - self._at_work.keys():
                names = [*self._under(f"{lagg}/")]
                self._forget(lagg)
                for name in names:
                    os.close(self.left.pop(name))

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
            self._forget_leases(lagg, slot)
        with logged(log.debug):
            self._client.stop(lagg)
        with logged(log.debug):
            self._client.close(lagg)
        with logged(log.warning):
            self._drop(self._under(f"{lagg}/"))

    def _forget_leases(self, lagg: int, slot: int) -> None:
        for number in range(LEASES_MAX):
            self._leases.pop((lagg, slot, number), None)

    def end(self, lagg: int) -> None:
        """Stops a lagg's workers, and keeps nothing of it."""
        with self._lock:
            self._forget(lagg)

    def map(self, lagg: int, slot: int, sockets: Mapping[str, int]) -> None:
        """Takes a port in.  LaggError: it is not."""
        with self._lock:
            with self._all_or_none(f"{lagg}/{slot}/", sockets):
                self._client.map(lagg, slot)
            self._mapped[lagg].add(slot)

    def unmap(self, lagg: int, slot: int, rings: int) -> None:
        """Delivers what a port's rings hold, and lets it go.  LaggError."""
        with self._lock:
            with self._or_later():
                self._client.drain(lagg, slot, rings)
                self._client.unmap(lagg, slot)
            self._mapped[lagg].discard(slot)
            self._forget_leases(lagg, slot)
            self._drop(self._under(f"{lagg}/{slot}/"))

    def map_rings(
        self, lagg: int, slot: int, rings: int, sockets: Mapping[str, int]
    ) -> None:
        """Takes rings of a port beside the live ones.  LaggError."""
        with self._lock, self._all_or_none(f"{lagg}/{slot}/", sockets):
            self._client.map_rings(lagg, slot, rings)

    def unmap_rings(self, lagg: int, slot: int, rings: int) -> None:
        """Delivers what is in rings no worker sees, and lets them go.  LaggError."""
        with self._lock:
            with self._or_later():
                self._client.drain(lagg, slot, rings)
                self._client.unmap_rings(lagg, slot, rings)
            self._drop(self._under(f"{lagg}/{slot}/ring.{rings}."))
