# SPDX-License-Identifier: BSD-2-Clause
"""One lagg's link watches at work: their machines, the ports' probe sockets, one timer.

Owns which machines there are (one for each verdict of the shape), what goes into them
(frames, carriers, time) and what comes out: probes to the sockets, verdicts to the
lagg's shape.  Knows no kind of watch and no plan.

What waits in the sockets is heard before time is told to a machine: a laggd that was
kept from its work finds no path dead that answered meanwhile.  While nobody is here,
verdicts stand still; the next laggd begins with them.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Protocol

from lagg.errors import LaggError
from lagg.kernel.probe import ProbeSocket
from lagg.lacp.values import NS, Mac
from lagg.model import Proto
from lagg.plan.shape import Port
from lagg.running.bundle import Bundle
from lagg.running.ears import Ears, Slow
from lagg.tasks import Alarm, Tasks, asked
from lagg.watchers.address import probe_mac
from lagg.watchers.kinds import MAKERS, Maker
from lagg.watchers.watcher import Ends, Watcher
from lagg.watches import Answer, LinkWatch, Verdict, WatchKind

log = logging.getLogger(__name__)

RETRY_NS = NS
"""Before a socket is opened again that could not be; nothing is judged until then."""

TIMER_NS_MIN = NS // 1000
"""Between two looks, whatever the machines ask for."""

FRAMES_PER_SLOT = 256
"""Frames read from one port in a slot of Ears: of every watch a few answers, at the
shortest interval; more wait for the next probe, or are the kernel's to drop."""


class Probe(Slow, Protocol):
    """What is needed of lagg.kernel.probe.ProbeSocket."""

    def admit(self, macs: Collection[Mac]) -> None:
        """Has the NIC let in frames for these MACs."""


@dataclass(slots=True)
class _Path:
    """A port that is watched."""

    slot: int
    ifindex: int
    mac: Mac  # that its probes are from
    machines: dict[LinkWatch, Watcher] = field(default_factory=dict)
    carries: bool = False  # as the machines were told
    probe: Probe | None = None  # None: not open yet
    retry_at: int | None = None


class Watching:
    """The watches of one lagg.  Event loop's thread only."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        open_socket: Callable[[int, str], Probe] = ProbeSocket,
        makers: Mapping[WatchKind, Maker] = MAKERS,
    ) -> None:
        """Does nothing before reconcile()."""
        self._bundle = bundle
        self._clock = clock
        self._open_socket = open_socket
        self._makers = makers
        # By a number that no other has: a port may leave while its socket is opened,
        # and another have its slot or ifindex.
        self._paths: dict[int, _Path] = {}
        self._numbers = count()
        self._ears = Ears(
            self._opened, clock, self._heard, frames_per_slot=FRAMES_PER_SLOT
        )
        self._fresh: dict[int, Probe] = {}  # just opened, by ifindex
        self._alarm = Alarm(self._ring)
        self._tasks = Tasks()
        self._working = self._closed = False

    def close(self) -> None:
        """Ends at once; its sockets close by and by."""
        self._closed = True
        self._alarm.set(None)
        self._paths.clear()
        self._tasks.begin(self._ears.close_all)

    # ---- what happens --------------------------------------------------------------

    def reconcile(self) -> None:
        """Brings machines and sockets in line with the lagg's shape."""
        if self._working:  # adopt() tells us of our own change, too
            return
        if self._paths or any(p.watched.verdicts for p in self._bundle.shape.ports):
            self._work(lambda now: None)

    def _ring(self) -> None:
        with asked(None):
            self._work(self._tick)

    def _heard(self, number: int, frames: list[bytes]) -> None:
        with asked(None):  # the target did, whoever had the socket opened
            self._work(lambda now: self._take(number, frames, now))

    def _work(self, work: Callable[[int], None]) -> None:
        """Is in line with the shape, does `work`, and tells what came of it."""
        if self._closed:
            return
        self._working = True
        try:
            now = self._clock()
            self._ears.begin_slot(now)
            self._reconcile(now)
            work(now)
            self._conclude()
            self._arm(now)
        finally:
            self._working = False

    def _tick(self, now: int) -> None:
        for number in self._paths:
            self._take(number, self._ears.waiting(number), now)
        for number, path in self._paths.items():
            if path.retry_at is not None and path.retry_at <= now:
                self._begin_open(number, path)
            for machine in path.machines.values():
                due_at = machine.due_at()
                if due_at is not None and due_at <= now:
                    self._send(number, machine.tick(now))

    def _take(self, number: int, frames: Iterable[bytes], now: int) -> None:
        """Frames that came in by a port, for the machines that they may concern."""
        for frame in frames:
            for of, machine in self._hearers(number):
                self._send(of, machine.heard(frame, now))

    def _hearers(self, number: int) -> Iterator[tuple[int, Watcher]]:
        """The port's machines; those of other ports whose answer may come by any."""
        for of, path in self._paths.items():
            for watch, machine in path.machines.items():
                if of == number or self._takes_any(watch):
                    yield of, machine

    def _takes_any(self, watch: LinkWatch) -> bool:
        by_any = self._bundle.shape.proto is Proto.LACP
        return by_any or watch.answer is Answer.LAGG

    def _send(self, number: int, frames: Iterable[bytes]) -> None:
        for frame in frames:
            self._ears.send(number, frame)

    # ---- in line with the shape ----------------------------------------------------

    def _reconcile(self, now: int) -> None:
        ports = {p.slot: p for p in self._bundle.shape.ports if p.watched.verdicts}
        for number, path in tuple(self._paths.items()):
            port = ports.get(path.slot)
            if port is None or port.link.ifindex != path.ifindex:
                del self._paths[number]
                self._tasks.begin(self._ears.close, (number,))
        known = {path.slot: (n, path) for n, path in self._paths.items()}
        for slot, port in ports.items():
            if slot not in known:
                self._add(port)
            elif known[slot][1].probe is not None:
                self._reconcile_path(*known[slot], port, now)
        self._admit()

    def _add(self, port: Port) -> None:
        number = next(self._numbers)
        mac = probe_mac(port.home_mac, port.slot)
        self._paths[number] = path = _Path(port.slot, port.link.ifindex, mac)
        self._begin_open(number, path)

    def _reconcile_path(self, number: int, path: _Path, port: Port, now: int) -> None:
        """The machines begin as the shape says by now, and learn of the carrier."""
        wanted = {verdict.watch: verdict for verdict in port.watched.verdicts}
        for watch in path.machines.keys() - wanted:
            self._send(number, path.machines.pop(watch).end(now))
        carries = port.link.active
        if carries != path.carries:
            path.carries = carries
            for machine in path.machines.values():
                machine.link(carries, now)
        ends = Ends(path.mac, path.slot)
        for watch, verdict in wanted.items():
            if watch not in path.machines:
                machine = self._makers[watch.kind](watch, ends, verdict.state)
                machine.reason = verdict.reason
                machine.link(carries, now)
                path.machines[watch] = machine

    def _admit(self) -> None:
        """Each NIC lets in what may come by its port."""
        paths = self._paths.values()
        shared = {p.mac for p in paths if any(map(self._takes_any, p.machines))}
        for path in paths:
            if path.probe is not None:
                wanted = (machine.macs for machine in path.machines.values())
                path.probe.admit({path.mac, *shared, *chain.from_iterable(wanted)})

    # ---- sockets -------------------------------------------------------------------

    def _begin_open(self, number: int, path: _Path) -> None:
        path.retry_at = None
        self._tasks.begin(self._open, number, path)

    def _opened(self, ifindex: int, name: str) -> Probe:
        self._fresh[ifindex] = probe = self._open_socket(ifindex, name)
        return probe

    async def _open(self, number: int, path: _Path) -> None:
        port = self._bundle.shape.find(path.ifindex)
        if port is None:
            return
        try:
            await self._ears.open(number, port.link)
        except LaggError as error:
            log.warning("%s: watch: %s", self._bundle.name, error)
            path.retry_at = self._clock() + RETRY_NS
        else:
            path.probe = self._fresh.pop(path.ifindex)
            if self._paths.get(number) is not path:  # it has left meanwhile
                await self._ears.close((number,))
        self._work(lambda now: None)

    # ---- what comes of it ----------------------------------------------------------

    def _conclude(self) -> None:
        """The shape has what the machines found."""
        shape = self._bundle.shape.with_verdicts(
            {
                path.slot: {
                    watch: Verdict(watch, machine.state, machine.reason)
                    for watch, machine in path.machines.items()
                }
                for path in self._paths.values()
            }
        )
        if shape is self._bundle.shape:
            return
        try:
            self._bundle.adopt(shape)
        except LaggError as error:
            log.warning("%s", error)
            self._bundle.when_free(self.reconcile)

    def _arm(self, now: int) -> None:
        """The one timer, at the earliest of what is due."""
        due = [self._ears.due_at]
        for path in self._paths.values():
            due += [path.retry_at, *(m.due_at() for m in path.machines.values())]
        at = min((each for each in due if each is not None), default=None)
        self._alarm.set(None if at is None else max(at - now, TIMER_NS_MIN))
