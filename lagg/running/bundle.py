# SPDX-License-Identifier: BSD-2-Clause
"""One lagg at work: its device, and the shape its workers are under.

Owns the one door by which a shape takes effect (`adopt`), what follows from it
(carrier, speed, events), and the lagg's record.  Knows no netlink request and no
other lagg.

A shape is a value, and so is the plan made of it.  Whoever wants another protocol,
port, link, MAC or agreement makes another shape and hands it to adopt(), which has no
await: it compiles the plan, publishes it if it differs, and only then keeps the shape.
So the shape always says what the workers do.  A publication is refused, and nothing
changes, while a worker does not leave its section and too many snapshots are in limbo;
who cannot pass that refusal on is called by when_free().
"""

import errno
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final, Self, TypeVarTuple

from lagg.errors import LaggError
from lagg.events import Event, EventKind
from lagg.handover.saved import SavedHold, SavedLagg
from lagg.kernel.native import Device
from lagg.link import Link
from lagg.model import Drop, LaggConfig, Proto, Wanted
from lagg.plan.changes import cause
from lagg.plan.flow_moves import Moves, moves
from lagg.plan.plan import Plan, plan
from lagg.plan.shape import LaggMac, Shape
from lagg.records import LaggRecord, Limbo, counters_record, lacp_record, options_record
from lagg.running.backlog import Backlog
from lagg.running.chronicle import Chronicle
from lagg.running.grace_periods import GRACE_S, GracePeriods
from lagg.running.host_drops import HostDrops
from lagg.running.negotiator import Negotiator, PathWatcher, ShapeFollower
from lagg.running.port_records import carriage_record, pin_records, port_records
from lagg.running.settling import Settling

log = logging.getLogger(__name__)

Ts = TypeVarTuple("Ts")


class Bundle:
    """A lagg whose device carries frames.  Control thread only."""

    def __init__(
        self,
        link: Link,
        device: Device,
        shape: Shape,
        *,
        identity: int,
        emit: Callable[[Event], None],
        tx_dropped: Callable[[int], int | None] = lambda _: None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`device` is the TAP of `link`, its workers running; `shape` has no port.

        The lagg's MAC is the TAP's until a port or the user gives it one.

        `identity`: what tells its LACP keys from those of the host's other laggs, 0 to
        2047; it has it for life, whatever it is renamed to.

        `tx_dropped`: what the kernel has dropped on the way to an ifindex; None: gone.
        """
        self.device: Final = device
        self.identity: Final = identity
        self._link = link
        self._shape = replace(shape, mac=LaggMac(link.mac))
        self._plan = plan(self._shape)
        self._moves = Moves()
        self._wanted = Wanted()
        self._lacp: Negotiator | None = None
        self.watching: PathWatcher | None = None
        self._openings: dict[int, str | None] = {}  # by the ifindex of a port
        self._grace_periods = GracePeriods(device)
        self._backlog = Backlog(self._grace_periods.is_full)
        self._host_drops = HostDrops(partial(tx_dropped, link.ifindex))
        self._chronicle = Chronicle(emit)
        self._settling = Settling(clock, self.settle)
        self._changed: Callable[[], None] = lambda: None  # see watch()
        self._refreshed = self._changed
        self.followers: Final[list[ShapeFollower]] = []
        self._shares_mac = False  # with the port that gave it, which has left

    @classmethod
    def resumed(
        cls,
        saved: SavedLagg,
        device: Device,
        *,
        emit: Callable[[Event], None],
        tx_dropped: Callable[[int], int | None] = lambda _: None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> Self:
        """The lagg that was saved, whose workers are under its last snapshot.

        Its negotiator is the caller's to resume.  Snapshots before that may still be
        seen: publish_again() is due before anybody waits for a grace period.
        """
        shape = saved.shape
        known: Any = {"identity": saved.identity, "emit": emit, "clock": clock}
        found = cls(saved.link, device, shape, **known)
        found._shape = shape
        found._chronicle = Chronicle(emit, saved.history)
        found._plan = found._plan_of(shape)
        found._moves = saved.flow_moves
        found._wanted = saved.wanted
        found._openings = dict(saved.openings)
        found._shares_mac = saved.shares_mac
        read = partial(tx_dropped, saved.link.ifindex)
        found._host_drops = HostDrops(read, saved.host_drops)
        return found

    def saved(self, holds: Iterable[SavedHold]) -> SavedLagg | None:
        """The lagg as a value; `holds`: how its ports are held.

        None while the workers keep LACP waiting: what was saved before still holds.
        """
        lacp = None if self.lacp is None else self.lacp.saved()
        if lacp is None and self.lacp is not None:
            return None
        said = ((port, why) for port, why in self._openings.items() if why is not None)
        return SavedLagg(
            link=self.link,
            identity=self.identity,
            shape=self.shape,
            moves=tuple(self.moves.origins.items()),
            wanted=self.wanted,
            shares_mac=self._shares_mac,
            host_drops=self._host_drops.saved(),
            openings=tuple(said),
            holds=tuple(holds),
            lacp=lacp,
            history=self._chronicle.history,
        )

    def watch(self, changed: Callable[[], None], refreshed: Callable[[], None]) -> None:
        """Calls one of them whenever saved() would be another value, and now and then.

        `refreshed` when only in times and counts.
        """
        self._changed, self._refreshed = changed, refreshed

    def touch(self, *, refreshed: bool) -> None:
        """LACP's state is another; `refreshed`: only its times and counts are."""
        (self._refreshed if refreshed else self._changed)()

    @property
    def link(self) -> Link:
        """The lagg's own interface, as the kernel last described it; see note()."""
        return self._link

    @property
    def shape(self) -> Shape:
        """What the workers are under; see adopt()."""
        return self._shape

    @property
    def plan(self) -> Plan:
        """What was made of the shape."""
        return self._plan

    @property
    def moves(self) -> Moves:
        """The flows that the workers hold back beside the plan; see release()."""
        return self._moves

    @property
    def wanted(self) -> Wanted:
        """What is wanted beside the shape; see want()."""
        return self._wanted

    @property
    def lacp(self) -> Negotiator | None:
        """Who agrees with the partner, while laggproto is lacp; see negotiate_by()."""
        return self._lacp

    @property
    def name(self) -> str:
        """The lagg's interface name."""
        return self.link.name

    @property
    def speed_mbps(self) -> int:
        """What the distributing ports carry together; 0 when unknown."""
        return sum(self.shape.at(s).modes.speed_mbps for s in self.plan.distributing)

    @property
    def config(self) -> LaggConfig:
        """What would make this lagg anew, ports that are waited for included."""
        names = (*self.shape.names, *self.wanted.waiting_for)
        return LaggConfig(
            self.name,
            proto=self.shape.proto,
            ports=tuple(sorted(names, key=self.shape.rank)),
            mac=self.shape.mac.address if self.shape.mac.fixed else None,
            mtu=self.link.mtu if self.wanted.mtu_fixed else None,
            options=self.shape.lasting_options(names),
            port_options=self.shape.port_options,
        )

    @property
    def lasting_config(self) -> LaggConfig:
        """`config`, with the MAC if the ports would not give that again."""
        return self.shape.mac.lasting(self.config)

    @property
    def summary(self) -> str:
        """In a few words: protocol, ports that carry, ports there are."""
        carry, there = len(self.plan.distributing), len(self.shape.ports)
        return f"{self.shape.proto.value} {carry}/{there} ports"

    def refuse(self, cause: str, code: int) -> LaggError:
        """The error that says this lagg will not."""
        return LaggError(self.name, cause, code)

    def emit(
        self,
        event: EventKind,
        details: str,
        port: str | None = None,
        cause: str | None = None,
        *,
        warns: bool = False,
    ) -> None:
        """Tells what happened, to the log and to everyone who monitors."""
        self._chronicle.tell(self.name, event, details, port, cause, warns=warns)

    def count_balanced(self, buckets: int) -> None:
        """Counts buckets that have moved for their load."""
        self._chronicle.count_balanced(buckets)
        self._changed()

    def note(self, ifindex: int, change: Callable[[Link], Link]) -> None:
        """Takes what was just set on the lagg or a port for what the kernel says.

        Nothing else: what somebody else changed meanwhile is still to be acted upon.
        LaggError as adopt(), when it is the lagg's MTU.
        """
        if ifindex == self.link.ifindex:
            self._link = change(self.link)
            self._publish_mtu()
        port = self.shape.find(ifindex)
        if port is not None:
            self._shape = self.shape.with_link(change(port.link), port.modes)
        self._changed()

    def note_warnings(self, slot: int, warnings: tuple[str, ...]) -> None:
        """What somebody uses a port for, in words; it changes nothing."""
        self._shape = self.shape.with_warnings(slot, warnings)
        self._changed()

    def note_opening(self, ifindex: int, why: str | None) -> None:
        """Why a port, or one that is to be, is promiscuous, in words; None: it is not.

        See operations/rx_wanted.py.
        """
        if (ifindex, why) not in self._openings.items():
            self._openings[ifindex] = why
            self._changed()

    def want(self, wanted: Wanted) -> None:
        """What files and users want from now on; the caller sees to it."""
        self._wanted = wanted
        self._changed()

    def negotiate_by(self, negotiator: Negotiator | None) -> None:
        """Who agrees with the partner from now on; None: the protocol is static."""
        self._lacp = negotiator
        self._changed()

    def watch_by(self, watching: PathWatcher) -> None:
        """Who watches the paths of its ports from now on."""
        self.watching = watching
        self.followers.append(watching)

    def rule(self, mac: LaggMac) -> None:
        """The lagg and all its ports have this MAC now."""
        self.adopt(replace(self.shape, mac=mac))

    def warn_of_shared_mac(self, link: Link) -> None:
        """Warns of an interface beside the lagg that has its MAC: who gave it."""
        mac = self.shape.mac
        if link.name != mac.donor:
            return
        shares = link.up and link.mac == mac.address
        if shares and not self._shares_mac:
            remedy = "give one of them another, or set mac_policy primary"
            details = f"is up with {mac.address}, as the lagg is: {remedy}"
            self.emit(EventKind.MAC_SHARED, details, link.name)
        self._shares_mac = shares

    def adopt(self, shape: Shape) -> None:
        """Makes `shape` the one the workers are under: one store, no frame lost.

        Raises LaggError (EAGAIN) when too many snapshots are in limbo; nothing changed
        then; when_free() has it tried again.  The same plan again is no publication.
        """
        shape = self._settling.settled(self.shape, shape)
        fresh = self._plan_of(shape)
        changed = fresh != self.plan
        if changed:
            self._publish(
                fresh, moves(self.moves, self.plan, fresh, self._marked(shape))
            )
        before, self._shape = self.shape, shape
        was = self.plan
        if changed:
            self._set_plan(fresh, before)
        if any(port.link.name == shape.mac.donor for port in shape.ports):
            self._shares_mac = False
        self._settling.arm(self.shape)
        self._chronicle.tell_of(self.name, before, was, self.shape, self.plan)
        self._tell_negotiator()
        for follower in self.followers:
            follower.reconcile()
        self._changed()

    def _plan_of(self, shape: Shape) -> Plan:
        return replace(plan(shape), mtu=self.link.mtu)

    def settle(self) -> None:
        """What time has changed is so now, and what it is to change will be."""
        try:
            self.adopt(self.shape)
        except LaggError as error:
            log.warning("%s", error)
            self.when_free(self.settle)

    def _publish_mtu(self) -> None:
        """Publishes the MTU, by which the workers refuse frames that are too long."""
        fresh = replace(self.plan, mtu=self.link.mtu)
        if fresh != self.plan:
            self._publish(fresh, self.moves)
            self._plan = fresh

    def _tell_negotiator(self) -> None:
        if self.lacp is not None:
            self.lacp.reconcile()

    def _marked(self, shape: Shape) -> Collection[int]:
        """The slots of which will be known when they have sent what they were given.

        With LACP those whose partner would answer a marker; else all: see draining.py.
        """
        marked = None
        if shape.proto is Proto.LACP:
            marked = frozenset() if self.lacp is None else self.lacp.marked
        ports = (port for port in shape.ports if port.link.active)
        return {p.slot for p in ports if marked is None or p.number in marked}

    def publish_again(self) -> None:
        """Publishes the same plan, so that the workers look at their ports' rings anew.

        LaggError as adopt().
        """
        self._publish(self.plan, self.moves)

    def release(self, slots: Collection[int]) -> None:
        """The flows that wait for these slots go on.  LaggError as adopt()."""
        left = self.moves.without(slots)
        if left != self.moves:
            self._publish(self.plan, left)

    def _publish(self, fresh: Plan, waiting: Moves) -> None:
        try:
            ticket = self.device.publish(waiting.hold(fresh))
        except OSError as error:
            raise LaggError.of_os(self.name, "publish a snapshot", error) from error
        self._moves = waiting
        self._grace_periods.begin(ticket)
        self._changed()

    def _set_plan(self, fresh: Plan, before: Shape) -> None:
        """Carrier follows the plan; what the kernel dropped is the old plan's."""
        self._count_host_drops()
        had, self._plan = self.plan, fresh
        if bool(had.tx_slots) == bool(fresh.tx_slots):
            return
        up = bool(fresh.tx_slots)
        self._set_carrier(up)
        self.emit(
            EventKind.LINK,
            "up" if up else f"down: {fresh.tx_drop.value}",
            cause=cause(before, self.shape),
            warns=not up,
        )

    def _set_carrier(self, up: bool) -> None:
        try:
            self.device.set_carrier(up)
        except OSError as error:
            log.warning("%s: carrier: %s", self.name, error.strerror)

    def hold_carrier(self, link: Link) -> None:
        """The carrier that `link`, the lagg's own as it is now, has is the plan's."""
        up = bool(self.plan.tx_slots)
        if link.up and link.lower_up != up:  # of one that is down nobody can tell
            state = "on" if link.lower_up else "off"
            self.emit(EventKind.CARRIER, f"{state} put back")
            self._set_carrier(up)

    @contextmanager
    def one_change(self) -> Iterator[None]:
        """What the options have become inside is told at the end, as one change.

        So nobody is told of one that was undone.
        """
        with self._chronicle.one_change(lambda: (self.name, self.shape)):
            yield

    def when_free(self, attempt: Callable[[*Ts], object], *args: *Ts) -> None:
        """Has a publication that was refused (EAGAIN) tried again: Backlog.add()."""
        self._backlog.add(attempt, *args)

    def give_up(self) -> None:
        """Nothing is tried again: the device is to close."""
        self._backlog.close()
        self._settling.close()
        for follower in self.followers:
            follower.close()

    async def grace(self) -> None:
        """Waits until no worker can see any plan but the present one; bounded.

        Raises LaggError (ETIMEDOUT) naming the worker that holds it up.
        """
        left = await self._grace_periods.outwait()
        if left["snapshots"] > 0:
            held = f"worker {left['worker']} did not leave its section"
            self.emit(EventKind.WORKER_STUCK, f"{held} for {left['oldest_ms']} ms")
            raise self.refuse(f"{held} in {GRACE_S} s", errno.ETIMEDOUT)

    def limbo(self) -> Limbo:
        """What was replaced and may still be seen, and by whom."""
        return self._grace_periods.limbo()

    def ailments(self) -> list[str]:
        """The workers that carry nothing (any more), in words; usually none."""
        found = [
            f"{self.name}: worker {worker} has ended" for worker in self.device.ended()
        ]
        stuck = self._grace_periods.stuck_worker()
        if stuck is not None:
            found.append(f"{self.name}: worker {stuck} does not leave its section")
        return found

    def _count_host_drops(self) -> None:
        """What the kernel drops on the way to us is counted by the plan of the time.

        It drops while the lagg's carrier is down, which is our doing (no port); with
        carrier it is the TAP's queue that was full.
        """
        reason = Drop.TAP_OVERRUN if self.plan.tx_slots else self.plan.tx_drop
        self._host_drops.count(reason)

    def record(self) -> LaggRecord:
        """The lagg as it is now: one snapshot's ports and one reading's counters."""
        self._count_host_drops()
        reading = self.device.read()
        view = None if self.lacp is None else self.lacp.view()
        return {
            "name": self.name,
            "ifindex": self.link.ifindex,
            "proto": self.shape.proto.value,
            "up": self.link.up,
            "link": "up" if self.plan.tx_slots else "down",
            "mac": self.link.mac,
            "mtu": self.link.mtu,
            "speed_mbps": self.speed_mbps,
            "generation": reading.generation,
            "workers": self.device.workers,
            "limbo": self.limbo(),
            "options": options_record(self.shape.options),
            "ports": port_records(
                self.shape,
                self._chronicle.history,
                reading,
                self._openings,
                self.watching,
                view,
                self._settling.now(),
            ),
            **carriage_record(self.shape, self._chronicle.history),
            "pins": pin_records(self.shape, self.plan, self._settling.now()),
            "waiting_for": [*self.wanted.waiting_for],
            "trial": None,  # who has changes on trial says
            "counters": counters_record(self._host_drops.added_to(reading.total)),
            "lacp": None if view is None else lacp_record(view),
        }
