# SPDX-License-Identifier: BSD-2-Clause
"""All that a forwarder is to keep and to carry, as a value, and how one is given it.

Owns the order by which no frame is lost and no lagg is carried twice: workers stop
between two bursts, or are dead, before others begin with the same memory.
"""

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from lagg.errors import LaggError, done_if
from lagg.forwarder.client import ForwarderClient, Order


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
    leases: Mapping[tuple[int, int], Order]  # by id and slot

    def give(self, client: ForwarderClient) -> None:
        """To a forwarder that nobody else owns; what it has beside is taken away.

        A lagg that it carries stops and begins anew.  LaggError: it lacks something.
        """
        kept = _names(client)
        client.put_each(self.lent)
        for lagg in sorted(ids_of(kept) | self.at_work.keys()):
            _let_go(client, lagg)
            if lagg in self.at_work:
                self._carry(client, lagg)
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
        after.put_each(self.lent)
        for lagg in self.at_work:
            _let_go(before, lagg)
        take_place()
        for lagg in self.at_work:
            self._carry(after, lagg)
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
                self._carry(client, lagg)

    def _carry(self, client: ForwarderClient, lagg: int) -> None:
        """A lagg that another process carried, or this one otherwise."""
        client.open(lagg, again=True)
        for slot in self.mapped[lagg]:
            with done_if(errno.ENOENT):  # a port has gone, and a socket of it is left
                client.map(lagg, slot, again=True)
        client.run(lagg, self.at_work[lagg])


def _let_go(client: ForwarderClient, lagg: int) -> None:
    """Its workers run no more, whether they did or not."""
    with done_if(errno.ENXIO, errno.EALREADY):
        client.stop(lagg)
    with done_if(errno.ENXIO):
        client.close(lagg)


def _names(client: ForwarderClient) -> set[str]:
    kept = client.list()
    for fd in kept.values():
        os.close(fd)
    return set(kept)


def ids_of(names: Iterable[str]) -> set[int]:
    """The ids of all laggs of which there is something by these names."""
    heads = (name.partition("/")[0] for name in names)
    return {int(head) for head in heads if head.isdecimal()}
