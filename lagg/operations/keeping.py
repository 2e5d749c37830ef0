# SPDX-License-Identifier: BSD-2-Clause
"""What outlives laggd: each lagg as a value, and all descriptors that go with it.

Owns when the forwarder is given which, of the lagg that has changed.  A change is saved
in the same turn of the event loop; what only moved LACP's times and counts, as nearly
every LACPDU does, within a second.  A successor that does not know those forgives a
partner what it did not hear, and counts from where they were.  Descriptors come before
a value that speaks of them and go after one that does not.  Knows not how any of it is
used: that is adopt.py.
"""

import logging
import time
from collections.abc import Callable, Iterator

from lagg.errors import LaggError, logged
from lagg.forwarder.keeper import Keeper
from lagg.forwarder.wire import SESSIONS_MAX
from lagg.handover.slots import Slots
from lagg.lacp.lease import Lease
from lagg.operations.laggs import Laggs
from lagg.options import PORTS_MAX
from lagg.running.bundle import Bundle
from lagg.tasks import Alarm

log = logging.getLogger(__name__)

NFT = "nft"
"""The netlink socket that owns the tables of deaf ports."""

STATE = "state"

REFRESH_NS = 1_000_000_000
"""How long times and counts may wait to be saved; less than LACP's after_absence()
forgives."""

RETRY_NS = 10_000_000_000
"""Until what could not be saved is tried again, if nothing changes before."""

_RX = "rx/"


def rx_name(ifindex: int) -> str:
    """What a port's membership socket is kept as."""
    return f"{_RX}{ifindex}"


def probe_name(slot: int) -> str:
    """What a port's probe socket is kept as, of its lagg: a session speaks by it."""
    return f"probe.{slot}"


def slow_name(slot: int) -> str:
    """What a port's slow-protocol socket is kept as, of its lagg."""
    return f"slow.{slot}"


_EVERY_SOCKET = frozenset(
    name(slot) for name in (slow_name, probe_name) for slot in range(PORTS_MAX)
)


class Due:
    """Which laggs are to be saved, and when: in nanoseconds of whoever asks."""

    def __init__(self) -> None:
        """None is."""
        self._due_at: dict[Bundle, int] = {}

    @property
    def next_at(self) -> int | None:
        """When the first is."""
        return min(self._due_at.values(), default=None)

    def add(self, bundle: Bundle, at: int) -> None:
        """A lagg is at that time, or before, if it was to be then."""
        self._due_at[bundle] = min(at, self._due_at.get(bundle, at))

    def take(self, now: int) -> list[Bundle]:
        """The laggs that are to be saved by now; they are due no more."""
        taken = [bundle for bundle, at in self._due_at.items() if at <= now]
        for bundle in taken:
            del self._due_at[bundle]
        return taken


class Keeping:
    """Saves what changes, as long as it is open.  Event loop's thread only."""

    def __init__(
        self,
        laggs: Laggs,
        keeper: Keeper,
        nft: Callable[[], int | None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`nft`: the socket that is kept as NFT, when there is one."""
        self._laggs = laggs
        self._keeper = keeper
        self._nft = nft
        self._clock = clock
        self._slots: dict[Bundle, Slots] = {}
        self._due = Due()
        self._alarm = Alarm(self._flush)

    def begin(self) -> None:
        """From now on; what there is by now is saved at once."""
        for bundle in self._laggs.bundles.values():
            self._add(bundle, 0)
        self._laggs.changed = lambda bundle: self._add(bundle, 0)
        self._laggs.refreshed = lambda bundle: self._add(bundle, REFRESH_NS)
        self._laggs.settled = self.settle

    def resume(self, bundle: Bundle, slots: Slots) -> None:
        """Goes on with the memory of a lagg that has been adopted."""
        self._slots[bundle] = slots

    def close(self) -> None:
        """Saves nothing more."""
        self._laggs.changed = self._laggs.refreshed = lambda _: None
        self._laggs.settled = lambda: None
        self._alarm.set(None)
        for slots in self._slots.values():
            slots.close()

    def _add(self, bundle: Bundle, wait_ns: int) -> None:
        before = self._due.next_at
        self._due.add(bundle, self._clock() + wait_ns)
        if self._due.next_at != before:
            self._arm()

    def _arm(self) -> None:
        at = self._due.next_at
        self._alarm.set(None if at is None else at - self._clock())

    def _flush(self) -> None:
        """Saves what is due; what cannot be saved is due once more."""
        for bundle in self._due.take(self._clock()):
            if self._laggs.bundles.get(bundle.name) is bundle:
                try:
                    self._keep(bundle)
                except LaggError as error:
                    log.warning("what a successor is to know: %s", error)
                    self._due.add(bundle, self._clock() + RETRY_NS)
        self._arm()

    def settle(self) -> None:
        """An operation has ended: what it changed is saved, what it closed let go."""
        self._flush()
        with logged(log.warning):
            self._tidy()

    def save_all(self) -> None:
        """Saves every lagg, now.  LaggError: a successor would not know it."""
        for bundle in self._laggs.bundles.values():
            self._keep(bundle)
        self._tidy()

    # ---- one lagg ------------------------------------------------------------------

    def _keep(self, bundle: Bundle) -> None:
        """Whatever a successor needs of a lagg.  LaggError."""
        prefix = f"{bundle.device.lagg}/"
        sockets = {prefix + name: fd for name, fd in _sockets(bundle)}
        state = {prefix + STATE: self._memory(bundle).fileno()}
        for name, fd in {**self._shared(bundle), **state, **sockets}.items():
            self._keeper.lend(name, fd)
        self._save(bundle)
        self._lease(bundle)
        kept = sockets.keys() | {prefix + name for name in _awaited(bundle)}
        self._keeper.drop({prefix + name for name in _EVERY_SOCKET} - kept)

    def _shared(self, bundle: Bundle) -> dict[str, int]:
        """What its ports are held by."""
        takeover, nft = self._laggs.takeover, self._nft()
        ports = (port.link.ifindex for port in bundle.shape.ports)
        held = {rx_name(ifindex): takeover.kept(ifindex) for ifindex in ports}
        found = {**held, NFT: nft}
        return {name: fd for name, fd in found.items() if fd is not None and fd >= 0}

    def _memory(self, bundle: Bundle) -> Slots:
        if bundle not in self._slots:
            self._slots[bundle] = Slots.create(bundle.name)
        return self._slots[bundle]

    def _save(self, bundle: Bundle) -> None:
        takeover = self._laggs.takeover
        ports = bundle.shape.ports
        saved = bundle.saved([takeover.hold(port.link.ifindex) for port in ports])
        if saved is not None:  # else what was saved before still holds
            self._slots[bundle].write(saved.text())

    def _lease(self, bundle: Bundle) -> None:
        """Has the forwarder say what was said last, should this process die."""
        said = {} if bundle.lacp is None else bundle.lacp.sockets.leases()
        silence = Lease() if bundle.lacp is None else None
        orders = {}
        for port in bundle.shape.ports:
            lease = said.get(port.number, silence)
            if lease is not None:  # else what was ordered before still holds
                orders[port.slot, 0] = lease.frame, lease.period_ms
        sessions = {} if bundle.watching is None else bundle.watching.leases()
        for slot, leases in sessions.items():
            # Of more sessions the partner finds out.
            each = [*leases[:SESSIONS_MAX], *[Lease()] * SESSIONS_MAX]
            for number, lease in enumerate(each[:SESSIONS_MAX], 1):
                if lease is not None:
                    orders[slot, number] = lease.frame, lease.period_ms
        self._keeper.lease(bundle.device.lagg, orders)

    # ---- what is gone --------------------------------------------------------------

    def _tidy(self) -> None:
        """Ports that were given back, and laggs that are no more, leave nothing."""
        held = {rx_name(ifindex) for ifindex in self._laggs.takeover.held}
        self._keeper.drop(self._keeper.lent(_RX) - held)
        for bundle in self._slots.keys() - self._laggs.bundles.values():
            self._slots.pop(bundle).close()


def _sockets(bundle: Bundle) -> Iterator[tuple[str, int]]:
    """By which a lagg's ports speak, by name."""
    for slot, fd in _slow(bundle):
        yield slow_name(slot), fd
    if bundle.watching is not None:
        for slot, fd in bundle.watching.descriptors().items():
            yield probe_name(slot), fd


def _awaited(bundle: Bundle) -> Iterator[str]:
    """What stays until ours is open: the leases of the laggd before go by it."""
    return (probe_name(p.slot) for p in bundle.shape.ports if p.watched.verdicts)


def _slow(bundle: Bundle) -> Iterator[tuple[int, int]]:
    """The slow-protocol sockets of a lagg's ports, by slot."""
    if bundle.lacp is not None:
        slots = {port.number: port.slot for port in bundle.shape.ports}
        for number, fd in bundle.lacp.sockets.descriptors().items():
            if number in slots and fd >= 0:
                yield slots[number], fd
