# SPDX-License-Identifier: BSD-2-Clause
"""A lagg's workers, where the forwarder runs them: lagg.kernel.datapath.Datapath.

Owns that a refusal of the forwarder is an OSError, as that of any who runs workers.
Knows nothing of the lagg but its id.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from lagg.errors import LaggError
from lagg.forwarder.keeper import Keeper


class ForwarderDatapath:
    """The workers of one lagg."""

    def __init__(
        self, keeper: Keeper, lagg: int, alert: int, busy_poll_us: int
    ) -> None:
        """`lagg`: its id."""
        self.lagg = lagg
        self._keeper = keeper
        self._alert = alert
        self._busy_poll_us = busy_poll_us

    @classmethod
    def fresh(cls, keeper: Keeper, alert: int, busy_poll_us: int) -> Self:
        """For a lagg that is to be made.  `alert`: the eventfd that workers write to.

        LaggError (ENOSPC): no forwarder carries more laggs.
        """
        return cls(keeper, keeper.free_id(), alert, busy_poll_us)

    @classmethod
    def resumed(
        cls, keeper: Keeper, lagg: int, slots: Iterable[int], busy_poll_us: int
    ) -> Self:
        """For a lagg whose workers run already, with ports in these slots."""
        keeper.resume(lagg, slots, busy_poll_us)
        return cls(keeper, lagg, -1, busy_poll_us)

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
    try:
        yield
    except LaggError as error:
        raise OSError(error.code, str(error)) from error
