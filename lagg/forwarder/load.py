# SPDX-License-Identifier: BSD-2-Clause
"""All that a forwarder is to keep and to carry, as a value, and how one is given it.

Owns the order by which no frame is lost and no lagg is carried twice: workers stop
between two bursts, or are dead, before others begin with the same memory.
"""

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Self

from lagg.errors import LaggError, done_if
from lagg.forwarder.client import Enclosing, ForwarderClient
from lagg.forwarder.wire import AGAIN, ForwarderRequest, Leased, Order, Word
from lagg.frozen import dataclass

SPARED = {
    Word.STOP: (errno.ENXIO, errno.EALREADY),
    Word.CLOSE: (errno.ENXIO,),
    Word.MAP: (errno.ENOENT,),  # a port has gone, and a socket of it is left
}
"""What a forwarder may answer that has nothing of a lagg, or not all."""


@dataclass(frozen=True, slots=True)
class Lent:
    """A descriptor, and of which file it was: the number may be another's by now."""

    fd: int
    file: tuple[int, int]

    @classmethod
    def of(cls, fd: int) -> Self:
        """What it is now."""
        stat = os.fstat(fd)
        return cls(fd, (stat.st_dev, stat.st_ino))

    @property
    def is_there(self) -> bool:
        """Whether it is still that: who lent it may be about to take it back."""
        with suppress(OSError):
            return self == Lent.of(self.fd)
        return False


@dataclass(frozen=True, slots=True)
class Load:
    """What one is to have, whatever it has now."""

    lent: Mapping[str, int]  # descriptors by name
    at_work: Mapping[int, int]  # busy_poll_us by the id of a lagg
    mapped: Mapping[int, frozenset[int]]  # slots by id
    leases: Mapping[Leased, Order]

    def give(self, client: ForwarderClient) -> None:
        """To a forwarder that nobody else owns; what it has beside is taken away.

        A lagg that it carries stops and begins anew.  Before all else, for frames wait
        meanwhile.  LaggError: it lacks something.
        """
        lent = _by_lagg(self.lent)
        for lagg in self.at_work:
            puts = _puts(lent.get(lagg, {}))
            client.ask_each([*puts, *_let_go(lagg), *self._carry(lagg)], SPARED)
        kept = _names(client)
        gone = ids_of(kept) - self.at_work.keys()
        client.ask_each([each for lagg in gone for each in _let_go(lagg)], SPARED)
        for of_none in lent.keys() - self.at_work.keys():
            client.ask_each(_puts(lent[of_none]))
        for name in kept - self.lent.keys():
            client.delete(name)
        client.lease(self.leases)

    def move(
        self,
        before: ForwarderClient,
        after: ForwarderClient,
        take_place: Callable[[], object],
    ) -> None:
        """From one that lives to one that has nothing.

        `take_place` has whoever comes later find the other one.  At any time one of
        both is found that has all, and carries it or can be made to.  LaggError, also
        of `take_place`: the first is to be given all again.
        """
        after.ask_each(_puts(self.lent))
        before.ask_each(
            [each for lagg in self.at_work for each in _let_go(lagg)], SPARED
        )
        take_place()
        for lagg in self.at_work:
            after.ask_each(self._carry(lagg), SPARED)
        after.lease(self.leases)

    def require_carried(self, client: ForwarderClient) -> None:
        """Begins with what is not carried though all for it is there.  LaggError.

        Whoever had it may have died while he gave it to this forwarder.
        """
        for lagg in self.at_work:
            try:
                with done_if(errno.EALREADY):
                    client.run(lagg, self.at_work[lagg])
            except LaggError as error:
                if error.code != errno.ENXIO:
                    raise
                client.ask_each(self._carry(lagg), SPARED)

    def _carry(self, lagg: int) -> list[Enclosing]:
        """A lagg that another process carried, or this one otherwise."""
        return [
            _bare(Word.OPEN, lagg, argument=AGAIN),
            *(_bare(Word.MAP, lagg, slot, AGAIN) for slot in self.mapped[lagg]),
            _bare(Word.RUN, lagg, argument=self.at_work[lagg]),
        ]


def _bare(word: Word, lagg: int = 0, slot: int = 0, argument: int = 0) -> Enclosing:
    return ForwarderRequest(word, lagg, slot, argument), ()


def _puts(fds: Mapping[str, int]) -> list[Enclosing]:
    return [(ForwarderRequest(Word.PUT, name=name), (fd,)) for name, fd in fds.items()]


def _let_go(lagg: int) -> list[Enclosing]:
    """Its workers run no more, whether they did or not."""
    return [_bare(Word.STOP, lagg), _bare(Word.CLOSE, lagg)]


def _names(client: ForwarderClient) -> set[str]:
    kept = client.list()
    for fd in kept.values():
        os.close(fd)
    return set(kept)


OF_NONE = 0


def _id_of(name: str) -> int:
    """The id of the lagg that a name begins with, or OF_NONE."""
    head = name.partition("/")[0]
    return int(head) if head.isdecimal() else OF_NONE


def _by_lagg(fds: Mapping[str, int]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for name, fd in fds.items():
        found.setdefault(_id_of(name), {})[name] = fd
    return found


def ids_of(names: Iterable[str]) -> set[int]:
    """The ids of all laggs of which there is something by these names."""
    return {_id_of(name) for name in names} - {OF_NONE}
