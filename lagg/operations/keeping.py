# SPDX-License-Identifier: BSD-2-Clause
"""What outlives laggd: each lagg as a value, and all descriptors that go with it.

Owns when the forwarder is given which.  A change of a lagg is saved in the same turn of
the event loop, and descriptors come before a value that speaks of them and go after
one that does not.  Knows not how any of it is used: that is adopt.py.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator

from lagg.errors import logged
from lagg.forwarder.keeper import Keeper
from lagg.handover.slots import Slots
from lagg.lacp.lease import Lease
from lagg.operations.laggs import Laggs
from lagg.running.bundle import Bundle

log = logging.getLogger(__name__)

NFT = "nft"
"""The netlink socket that owns the tables of deaf ports."""

STATE = "state"
SLOW = "slow"


def _is_ours(name: str) -> bool:
    return name == NFT or name.startswith("rx/") or name.endswith((STATE, f"/{SLOW}"))


def _file(fd: int) -> tuple[int, int]:
    stat = os.fstat(fd)
    return stat.st_dev, stat.st_ino


def rx_name(ifindex: int) -> str:
    """What a port's membership socket is kept as."""
    return f"rx/{ifindex}"


class Keeping:
    """Saves what changes, as long as it is open.  Event loop's thread only."""

    def __init__(
        self, laggs: Laggs, keeper: Keeper, nft: Callable[[], int | None]
    ) -> None:
        """`nft`: the socket that is kept as NFT, when there is one."""
        self._laggs = laggs
        self._keeper = keeper
        self._nft = nft
        self._slots: dict[int, Slots] = {}  # by id
        self._due: set[Bundle] = set()
        self._flush_due: asyncio.Handle | None = None
        # What we lent, and which socket that was: a number may be another's by now.  A
        # device lends by itself what its workers need.
        self._lent = {n: _file(fd) for n, fd in keeper.left.items() if _is_ours(n)}

    def begin(self) -> None:
        """From now on."""
        self._laggs.changed = self._on_change
        self._laggs.settled = self.flush

    def resume(self, lagg: int, slots: Slots) -> None:
        """Goes on with the memory of a lagg that has been adopted."""
        self._slots[lagg] = slots

    def close(self) -> None:
        """Saves nothing more."""
        self._laggs.changed = lambda _: None
        self._laggs.settled = lambda: None
        if self._flush_due is not None:
            self._flush_due.cancel()
        for slots in self._slots.values():
            slots.close()

    def _on_change(self, bundle: Bundle) -> None:
        self._due.add(bundle)
        if self._flush_due is None:
            self._flush_due = asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Saves all that has changed, now; also which descriptors there are.

        To be called when an operation has ended, too, for it may close some at its end.
        """
        self._flush_due = None
        with logged(log.warning):
            self._save_due()

    def save_all(self) -> None:
        """Saves every lagg, now.  LaggError: a successor would not know it."""
        self._due.update(self._laggs.bundles.values())
        self._save_due()

    def _save_due(self) -> None:
        due, self._due = self._due, set()
        there = {each.device.lagg: each for each in self._laggs.bundles.values()}
        wanted = {name: fd for name, fd in self._wanted(there) if fd >= 0}
        self._lend(wanted)
        for bundle in due.intersection(there.values()):
            self._save(bundle)
            self._lease(bundle)
        self._take_back(wanted, there)

    def _wanted(self, there: dict[int, Bundle]) -> Iterator[tuple[str, int]]:
        nft = self._nft()
        if nft is not None:
            yield NFT, nft
        takeover = self._laggs.takeover
        for ifindex in takeover.held:
            kept = takeover.kept(ifindex)
            if kept is not None:
                yield rx_name(ifindex), kept
        for lagg, bundle in there.items():
            yield f"{lagg}/{STATE}", self._memory(lagg, bundle).fileno()
            if bundle.lacp is not None:
                slots = {port.number: port.slot for port in bundle.shape.ports}
                for number, fd in bundle.lacp.sockets.descriptors().items():
                    if number in slots:
                        yield f"{lagg}/{slots[number]}/{SLOW}", fd

    def _memory(self, lagg: int, bundle: Bundle) -> Slots:
        if lagg not in self._slots:
            self._slots[lagg] = Slots.create(bundle.name)
        return self._slots[lagg]

    def _lend(self, wanted: dict[str, int]) -> None:
        for name, fd in wanted.items():
            file = _file(fd)
            if self._lent.get(name) != file:
                self._keeper.lend(name, fd)
                self._lent[name] = file

    def _take_back(self, wanted: dict[str, int], there: dict[int, Bundle]) -> None:
        gone = [name for name in self._lent if name not in wanted]
        self._keeper.drop(gone)
        for name in gone:
            del self._lent[name]
        for lagg in self._slots.keys() - there:
            self._slots.pop(lagg).close()

    def _lease(self, bundle: Bundle) -> None:
        """Has the forwarder say what LACP said last, should this process die."""
        said = {} if bundle.lacp is None else bundle.lacp.sockets.leases()
        for port in bundle.shape.ports:
            silence = Lease() if bundle.lacp is None else None
            lease = said.get(port.number, silence)
            if lease is not None:  # else what was ordered before still holds
                order = lease.frame, lease.period_ms
                self._keeper.lease(bundle.device.lagg, port.slot, *order)

    def _save(self, bundle: Bundle) -> None:
        takeover = self._laggs.takeover
        ports = bundle.shape.ports
        saved = bundle.saved([takeover.hold(port.link.ifindex) for port in ports])
        if saved is not None:  # else what was saved before still holds
            self._slots[bundle.device.lagg].write(saved.text())
