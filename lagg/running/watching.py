# SPDX-License-Identifier: BSD-2-Clause
"""One lagg's link watches at work: their machines, the ports' probe sockets, one timer.

Owns which machines there are (one for each verdict of the shape), what goes into them
(frames, carriers, time) and what comes out: probes to the sockets, verdicts to the
lagg's shape.  Knows no kind of watch and no plan.

What waits in the sockets is heard before time is told to a machine: a laggd that was
kept from its work finds no path dead that answered meanwhile.  While nobody is here,
verdicts stand still; the next laggd begins with them.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Protocol

from lagg.errors import LaggError
from lagg.kernel.probe import ProbeSocket
from lagg.lacp.lease import Lease
from lagg.lacp.values import NS, Mac
from lagg.model import Proto
from lagg.plan.shape import Port, Shape
from lagg.running.bundle import Bundle
from lagg.running.ears import Ears, Slow
from lagg.tasks import Alarm, Tasks, asked
from lagg.watchers.address import probe_mac
from lagg.watchers.kinds import MAKERS, Maker
from lagg.watchers.watcher import Ends, Watcher
from lagg.watches import Answer, LinkWatch, Verdict, WatchKind, WatchState

log = logging.getLogger(__name__)

NEVER = 1 << 63

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

    def carrier(self) -> bool | None:
        """What the driver says; for a thread."""


@dataclass(slots=True)
class _Path:
    """A port that is watched."""

    slot: int
    ifindex: int
    mac: Mac  # that its probes are from
    machines: dict[LinkWatch, Watcher] = field(default_factory=dict)
    carries: bool = False  # as the machines were told
    probe: Probe | None = None  # None: not open yet
    kept_out: frozenset[Mac] = frozenset()  # from the lagg
    retry_at: int | None = None
    due_at: int = NEVER  # the earliest of its machines, or before it

    def judges(self, now: int) -> bool:
        """Whether what waits must be heard before time is told to its machines."""
        return self.due_at <= now and any(
            _is_due(each, now) and each.judges(now) for each in self.machines.values()
        )


_NO_PATH = _Path(0, 0, "")

_Said = tuple[WatchState, str, str, Lease | None]


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
        # What was done already, so that a frame that changes nothing costs little:
        self._known: Shape | None = None  # the machines are as this shape says
        self._said: dict[Watcher, _Said] = {}  # as the lagg has it
        self._armed_at: int | None = None  # the timer's; None: it has rung
        self._has_news = self._wonders = self._asking = False
        self._by_any = False  # whether an answer may come by another port
        self._leased: set[int] = set()  # slots of which leases() has told

    def close(self) -> None:
        """Ends at once; its sockets close by and by."""
        self._closed = True
        self._alarm.set(None)
        self._paths.clear()
        self._tasks.begin(self._ears.close_all)

    # ---- what is to be known of it ---------------------------------------------------

    def bad(self, slot: int) -> dict[LinkWatch, Mapping[str, int]]:
        """See PathWatcher."""
        found = (path for path in self._paths.values() if path.slot == slot)
        return {w: m.bad for path in found for w, m in path.machines.items()}

    def descriptors(self) -> dict[int, int]:
        """See PathWatcher."""
        paths = self._paths.values()
        return {p.slot: p.probe.fileno() for p in paths if p.probe is not None}

    def leases(self) -> dict[int, list[Lease | None]]:
        """See PathWatcher; of a port that is watched no more, that of no session."""
        paths = {path.slot: path for path in self._paths.values()}
        opened = {slot: path for slot, path in paths.items() if path.probe is not None}
        found: dict[int, list[Lease | None]]
        found = {slot: [] for slot in self._leased - paths.keys()}
        for port in self._bundle.shape.ports:
            if port.slot in opened:
                machines = opened[port.slot].machines
                watches = (verdict.watch for verdict in port.watched.verdicts)
                sessions = (machines[each] for each in watches if each in machines)
                found[port.slot] = [each.lease for each in sessions if each.speaks]
        self._leased |= found.keys()
        return found

    # ---- what happens --------------------------------------------------------------

    def reconcile(self) -> None:
        """Brings machines and sockets in line with the lagg's shape."""
        if self._working:  # adopt() tells us of our own change, too
            return
        if self._paths or any(p.watched.verdicts for p in self._bundle.shape.ports):
            self._work(lambda now: None)

    def _ring(self) -> None:
        self._armed_at = None
        self._work(self._tick)

    def _heard(self, number: int, frames: list[bytes]) -> None:
        if self._closed or all(self._is_known(number, each) for each in frames):
            return  # and the timer is early, if anything
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
            if self._known is not self._bundle.shape:
                self._known = self._bundle.shape
                self._reconcile(now)
                self._has_news, self._armed_at = True, None
            work(now)
            if self._has_news:
                self._conclude()
            self._arm(now)
        finally:
            self._working = False

    def _tick(self, now: int) -> None:
        for number, path in self._paths.items():
            if path.retry_at is not None and path.retry_at <= now:
                self._begin_open(number, path)
            if self._by_any or path.judges(now):
                self._take(number, self._ears.waiting(number), now)
        for number, path in self._paths.items():
            if path.due_at <= now:
                for machine in path.machines.values():
                    if _is_due(machine, now):
                        self._came(number, machine, machine.tick(now))
                path.due_at = _earliest(path.machines.values())
        if self._wonders and not self._asking:
            self._ask()

    def _take(self, number: int, frames: Iterable[bytes], now: int) -> None:
        """Frames that came in by a port, for the machines that they may concern."""
        for frame in frames:
            for of, machine in self._hearers(number):
                self._came(of, machine, machine.heard(frame, now))

    def _hearers(self, number: int) -> Iterator[tuple[int, Watcher]]:
        """The port's machines; those of other ports whose answer may come by any."""
        for machine in self._paths.get(number, _NO_PATH).machines.values():
            yield number, machine
        if self._by_any:
            for of, path in self._paths.items():
                for watch, machine in path.machines.items():
                    if of != number and self._takes_any(watch, machine):
                        yield of, machine

    def _takes_any(self, watch: LinkWatch, machine: Watcher) -> bool:
        by_any = self._bundle.shape.proto is Proto.LACP
        return machine.strays and (by_any or watch.answer is Answer.LAGG)

    def _came(self, number: int, machine: Watcher, frames: Iterable[bytes]) -> None:
        """What came of a call: frames that leave, news, and another time to call."""
        for frame in frames:
            self._ears.send(number, frame)
        if self._said.get(machine) != _said_by(machine):
            self._has_news = True
        self._wonders |= machine.asks
        due_at = machine.due_at()
        if due_at is not None and due_at < self._paths[number].due_at:
            self._paths[number].due_at = due_at
            self._armed_at = None

    def _is_known(self, number: int, frame: bytes) -> bool:
        """Whether it only says that a path lives as before; that is noted then."""
        now = self._clock()
        machines = self._paths.get(number, _NO_PATH).machines.values()
        return any(machine.heard_again(frame, now) for machine in machines)

    # ---- what drivers say ----------------------------------------------------------

    def _ask(self) -> None:
        """The drivers whose machines want to know: in a thread, for they may wait."""
        probes = [
            (number, path.probe)
            for number, path in self._paths.items()
            if path.probe is not None and any(m.asks for m in path.machines.values())
        ]
        self._wonders, self._asking = False, True
        self._tasks.begin(self._ask_drivers, probes)

    async def _ask_drivers(self, probes: Sequence[tuple[int, Probe]]) -> None:
        answers = await asyncio.to_thread(lambda: [(n, p.carrier()) for n, p in probes])
        self._asking = False
        self._work(lambda now: self._tell(answers, now))

    def _tell(self, answers: Iterable[tuple[int, bool | None]], now: int) -> None:
        for number, carrier in answers:
            for machine in self._paths.get(number, _NO_PATH).machines.values():
                machine.told(carrier, now)
                self._came(number, machine, ())

    # ---- in line with the shape ----------------------------------------------------

    def _reconcile(self, now: int) -> None:
        ports = {p.slot: p for p in self._bundle.shape.ports if p.watched.verdicts}
        for number, path in tuple(self._paths.items()):
            port = ports.get(path.slot)
            if port is None or port.link.ifindex != path.ifindex:
                for watch in tuple(path.machines):
                    self._end(number, path, watch, now)
                del self._paths[number]
                if self._bundle.shape.find(path.ifindex) is not None:
                    self._keep_out(path, frozenset())
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
            self._change_or_end(number, path, watch, port, now)
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
                machine.recall(verdict.memory)
                machine.link(carries, now)
                path.machines[watch] = machine
        path.due_at = _earliest(path.machines.values())

    def _change_or_end(
        self, number: int, path: _Path, watch: LinkWatch, port: Port, now: int
    ) -> None:
        """What is asked the same at another pace goes on by its machine."""
        said = port.watched.of(watch)
        if said is None:
            self._end(number, path, watch, now)
            return
        path.machines[said.watch] = machine = path.machines.pop(watch)
        machine.change(said.watch, now)

    def _end(self, number: int, path: _Path, watch: LinkWatch, now: int) -> None:
        for frame in path.machines.pop(watch).end(now):
            self._ears.send(number, frame)

    def _admit(self) -> None:
        """Each NIC lets in what may come by its port, and that is not the lagg's."""
        paths = self._paths.values()
        shared = {
            path.mac
            for path in paths
            if any(self._takes_any(*each) for each in path.machines.items())
        }
        self._by_any = bool(shared)
        for path in paths:
            if path.probe is not None:
                wanted = (machine.macs for machine in path.machines.values())
                macs = frozenset({path.mac, *shared, *chain.from_iterable(wanted)})
                self._keep_out(path, macs)
                path.probe.admit(macs)

    def _keep_out(self, path: _Path, macs: frozenset[Mac]) -> None:
        """Frames to these MACs go up to nobody on the lagg, and a bridge floods none.

        Nor are they traffic for whose sake the kernel would be asked for carriers.
        """
        if path.kept_out == macs:
            return
        try:
            self._bundle.device.keep_out(path.slot, macs)
        except OSError as error:
            failed = LaggError.of_os(self._bundle.name, "filter probes", error)
            log.warning("%s", failed)
        else:
            path.kept_out = macs

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
        self._known = None
        self._work(lambda now: None)

    # ---- what comes of it ----------------------------------------------------------

    def _conclude(self) -> None:
        """The shape has what the machines found."""
        self._has_news = False
        machines = (m for path in self._paths.values() for m in path.machines.values())
        self._said = {each: _said_by(each) for each in machines}
        shape = self._bundle.shape.with_verdicts(
            {
                path.slot: {
                    watch: Verdict(watch, m.state, m.reason, memory=m.memory)
                    for watch, m in path.machines.items()
                }
                for path in self._paths.values()
            }
        )
        if shape is self._bundle.shape:
            self._bundle.touch(refreshed=False)  # for what a session says is another
            return
        try:
            self._bundle.adopt(shape)
        except LaggError as error:
            log.warning("%s", error)
            self._has_news = True
            self._bundle.when_free(self.reconcile)

    def _arm(self, now: int) -> None:
        """The one timer, at the earliest of what is due; as it is, if that is later."""
        if self._armed_at is not None:
            return
        due = [path.due_at for path in self._paths.values()]
        due += [path.retry_at for path in self._paths.values() if path.retry_at]
        self._armed_at = min(due, default=NEVER)
        if self._ears.due_at is not None:
            self._armed_at = min(self._armed_at, self._ears.due_at)
        never = self._armed_at == NEVER
        self._alarm.set(None if never else max(self._armed_at - now, TIMER_NS_MIN))


def _said_by(machine: Watcher) -> _Said:
    return machine.state, machine.reason, machine.memory, machine.lease


def _earliest(machines: Iterable[Watcher]) -> int:
    due = (machine.due_at() for machine in machines)
    return min((at for at in due if at is not None), default=NEVER)


def _is_due(machine: Watcher, now: int) -> bool:
    due_at = machine.due_at()
    return due_at is not None and due_at <= now
