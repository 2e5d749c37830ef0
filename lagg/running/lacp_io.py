# SPDX-License-Identifier: BSD-2-Clause
"""One lagg's LACP at work: its engine, fed by the ports' sockets, and one timer.

Owns what goes into the engine (frames, links, options, time) and what comes out of it:
PDUs to the sockets, agreements to the lagg's shape, notices to its events.  Knows no
machine and no plan.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Self

from lagg.errors import LaggError
from lagg.events import EventKind
from lagg.handover.saved import SavedLacp, SavedLacpPort
from lagg.kernel.slow import SlowSocket
from lagg.lacp.engine import Engine
from lagg.lacp.lease import lease_of
from lagg.lacp.values import (
    NS,
    Bad,
    MarkerAnswered,
    Medium,
    Notice,
    Output,
    PortStatus,
    Send,
    Settings,
    State,
    View,
)
from lagg.link import Link
from lagg.model import Agreement
from lagg.plan.shape import Port, port_number
from lagg.running.bundle import Bundle
from lagg.running.ears import Ears, Slow
from lagg.running.lacp_settings import settings_of
from lagg.running.markers import Markers
from lagg.tasks import Alarm, asked

log = logging.getLogger(__name__)

TIMER_NS_MIN = NS // 1000
"""Between two ticks, whatever the engine asks for."""

GOODBYE_S = 1.1
"""The engine sends at most three PDUs a second, so a goodbye may have to wait."""

ANSWER_S = 1.1
"""A marker is given up after a second; its flows have left the port then, be it ours
or the partner's."""

STOPPED_S = 0.1
"""A partner that heard the goodbye answers at once, and has stopped to send by then."""


@dataclass(slots=True)
class _Known:
    """A port as the engine has it."""

    priority: int
    medium: Medium
    leaving: bool = False  # it distributes no more
    carrying: bool = False  # when the engine was looked at last


class LacpIo:
    """LACP for one lagg.  Event loop's thread only."""

    def __init__(
        self,
        bundle: Bundle,
        changed: Callable[[], None],
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        open_socket: Callable[[int, str], Slow] = SlowSocket,
    ) -> None:
        """`changed` is called when other ports distribute than before.

        The lagg has it as its negotiator when all its ports are listened to.
        """
        self._bundle = bundle
        self._changed = changed
        self._clock = clock
        self.sockets = Ears(
            open_socket, clock, self._received, lambda: self._held_up, lease_of
        )
        self._ports: dict[int, _Known] = {}  # the engine's, by number
        # The lagg's; while it has ports only the user changes it: when the one that
        # lent it leaves, the others need not come to terms anew.
        self._mac = bundle.shape.mac
        self._engine = Engine(self._settings(), clock(), bundle.identity)
        self._orders: deque[Callable[[int], None]] = deque()  # not carried out yet
        self._outputs: list[Output] = []  # to be done once the shape is adopted
        self._held_up = False  # by the workers: a publication was refused
        self._alarm = Alarm(self._tick)
        self._markers = Markers(bundle, self._mark)
        self._steady: tuple[object, ...] = ()  # what a successor has to know, as told
        self._stepping = self._closed = False
        self._stepped = asyncio.Event()

    @classmethod
    def resumed(
        cls,
        bundle: Bundle,
        changed: Callable[[], None],
        saved: SavedLacp,
        sockets: Mapping[int, Slow],
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        open_socket: Callable[[int, str], Slow] = SlowSocket,
    ) -> Self:
        """Goes on as one that was saved, by its `sockets`; ValueError: nobody can.

        Nothing is said before reconcile().  Ports that were about to leave do so no
        more: whoever asked for that is told that laggd has gone.
        """
        found = cls(bundle, changed, clock=clock, open_socket=open_socket)
        now = clock()
        found._engine = Engine.restored(saved.engine.after_absence(now), now)
        found._mac = saved.mac
        ports = zip(saved.engine.ports, saved.ports, strict=True)
        for port, beside in ports:
            known = _Known(port.priority, port.medium, beside.leaving, beside.carrying)
            found._ports[port.number] = known
        overruns = {each.number: each.overruns for each in saved.ports}
        for number, opened in sockets.items():
            found.sockets.take(number, opened, overruns.get(number, 0))
        found._markers.resume(saved.answering, saved.asked)
        return found

    def saved(self) -> SavedLacp | None:
        """What resumed() goes on from; None: the engine waits for the workers."""
        if self._held_up:
            return None
        answering, asked = self._markers.saved()
        return SavedLacp(
            engine=self._engine.saved(),
            mac=self._mac,
            ports=tuple(
                SavedLacpPort(
                    number, port.leaving, port.carrying, self.sockets.overruns(number)
                )
                for number, port in sorted(self._ports.items())
            ),
            answering=answering,
            asked=asked,
        )

    # ---- ports ---------------------------------------------------------------------

    async def open_port(self, number: int, link: Link) -> None:
        """Opens the socket of a port, which the lagg's shape is to name soon.

        LaggError when it cannot; then nothing has changed.
        """
        await self.sockets.open(number, link)

    async def close_ports(self, numbers: Collection[int]) -> None:
        """Closes the sockets of ports that the shape names no more."""
        await self.sockets.close(numbers)

    async def close(self) -> None:
        """Closes all sockets, without a word to any partner."""
        self._closed = True
        self._alarm.set(None)
        await self._markers.close()
        await self.sockets.close_all()

    # ---- what happens --------------------------------------------------------------

    @property
    def marked(self) -> frozenset[int]:
        """Numbers of the ports whose partner answers markers."""
        return self._markers.marked

    def reconcile(self) -> None:
        """Brings the engine in line with the lagg's ports, links, options and MAC."""
        self._step(lambda now: None)

    def view(self) -> View:
        """All there is to see; frames the kernel had no room for count as too many."""
        view, overruns = self._engine.view(), self.sockets.overruns
        ports = (each.with_bad(Bad.RATE, overruns(each.number)) for each in view.ports)
        return replace(view, ports=tuple(ports))

    def _received(self, number: int, frames: list[bytes]) -> None:
        def receive(now: int) -> None:
            for frame in frames:
                self._engine.receive(number, frame, now)

        with asked(None):  # the partner did, whoever had the socket opened
            self._step(receive)

    def _tick(self) -> None:
        with asked(None):
            self._catch_up()

    def _catch_up(self) -> None:
        """Does what time and the workers let happen by now."""
        self._step(self._engine.tick)

    # ---- one step ------------------------------------------------------------------

    def _order(self, work: Callable[[int], None]) -> None:
        """Does `work` in this step, or in the first that the workers let happen."""
        self._orders.append(work)
        self.reconcile()

    def _step(self, work: Callable[[int], None]) -> None:
        """Brings the engine up to date, does `work`, and acts upon what came of it.

        Not while the engine waits for the workers: what must not be lost then is for
        _order(); frames wait in the kernel, and time is asked for again.
        """
        if self._stepping or self._closed:  # adopt() tells us of our own change, too
            return
        self._stepping = True
        try:
            now = self._clock()
            self.sockets.begin_slot(now)
            # What was refused comes first: the engine is never ahead of the workers,
            # or a PDU would tell the partner what was so once.
            if not self._held_up or self._conclude(self._engine.view()):
                self._reconcile_engine(now)
                while self._orders:
                    self._orders.popleft()(now)
                work(now)
                view = self._engine.view()
                self._probe(view, now)
                self._outputs += self._engine.take_outputs()
                self._conclude(view)  # what is sent is counted, and changes no more
            self._arm(now)
        finally:
            self._stepping = False
        self._stepped.set()

    def _reconcile_engine(self, now: int) -> None:
        """The engine's ports and settings are those of the lagg."""
        engine = self._engine
        mac = self._bundle.shape.mac
        if not self._ports or mac.fixed or self._mac.fixed:
            self._mac = mac
        settings = self._settings()
        if settings != engine.settings:
            engine.set(settings, now)
        ports = {port.number: port for port in self._bundle.shape.ports}
        for number in sorted(self._ports.keys() - ports):
            self._forget(number, now)
        for number, port in ports.items():
            if number in self.sockets:
                self._reconcile_port(number, port, now)

    def _reconcile_port(self, number: int, port: Port, now: int) -> None:
        options = self._bundle.shape.options_of(port.link.name)
        priority = options.lacp_port_priority
        medium = Medium(
            up=port.active,
            speed_mbps=port.modes.speed_mbps,
            full_duplex=port.modes.full_duplex,
        )
        known = self._ports.get(number)
        if known is None:
            self._ports[number] = _Known(priority, medium)
            self._engine.add_port(number, port.home_mac, priority, medium, now)
        elif (known.priority, known.medium) != (priority, medium):
            known.priority, known.medium = priority, medium
            self._engine.set_priority(number, priority, now)
            self._engine.set_medium(number, medium, now)
        self._engine.set_gate(number, port.held or port.damped, now)

    def _forget(self, number: int, now: int) -> None:
        del self._ports[number]
        self._engine.remove_port(number, now)

    def _settings(self) -> Settings:
        return settings_of(self._bundle.shape.options, self._mac.address)

    def _conclude(self, view: View) -> bool:
        """First the workers, then the partner: it must not be told what is not so yet.

        A port that begins to collect does so before the partner may send, and one that
        ends to distribute has ended before the partner ends to collect.  False when a
        publication was refused; it is tried again when the workers may let it be.
        """
        try:
            self._adopt(view)
        except LaggError as error:
            if not self._held_up:
                log.warning("%s", error)
            self._held_up = True
            self._bundle.when_free(self._catch_up)
            return False
        self._held_up = False
        outputs, self._outputs = self._outputs, []
        for output in outputs:
            self._do(output)
        self._markers.mark_waiting()
        self._touch(view)
        return True

    def _touch(self, view: View) -> None:
        """What was seen or said is another: a successor is to know that at once."""
        steady = view.steady, self.sockets.leases(), self._markers.marked
        self._bundle.touch(refreshed=steady == self._steady)
        self._steady = steady

    def _probe(self, view: View, now: int) -> None:
        """Sends new partners a marker: no flow waits for one that never answers."""
        self._markers.keep([each.number for each in view.ports if each.is_heard])
        for each in view.ports:
            port = self._ports[each.number]
            if each.distributing and not port.carrying:
                self._engine.send_marker(each.number, now)
            port.carrying = each.distributing

    def _mark(self, number: int) -> int | None:
        """Sends a marker; its transaction, or None if it may not."""
        sent: list[int | None] = [None]

        def send(now: int) -> None:
            if number in self._ports:
                sent[0] = self._engine.send_marker(number, now)

        self._step(send)
        return sent[0]

    def _adopt(self, view: View) -> None:
        agreed = {status.number: self._agreement(status) for status in view.ports}
        shape = self._bundle.shape.with_agreements(
            {
                port.slot: agreed[port.number]
                for port in self._bundle.shape.ports
                if port.number in agreed
            }
        )
        if shape == self._bundle.shape:
            return
        before = self._bundle.plan.distributing
        self._bundle.adopt(shape)
        if self._bundle.plan.distributing != before:
            self._changed()

    def _agreement(self, status: PortStatus) -> Agreement:
        leaving = self._ports[status.number].leaving
        return Agreement(
            active=status.active,
            collecting=status.collecting,
            distributing=status.distributing and not leaving,
            reason="leaving" if leaving else status.reason,
        )

    def _do(self, output: Output) -> None:
        if isinstance(output, Send):
            self.sockets.send(output.number, output.frame)
        elif isinstance(output, Notice):
            kind, name = EventKind(output.event.value), self._name(output.number)
            self._bundle.emit(kind, output.details, name)
        elif isinstance(output, MarkerAnswered):
            self._markers.answered(output.number, output.transaction)
        else:
            self._markers.unanswered(output.number, output.transaction)

    def _name(self, number: int | None) -> str | None:
        ports = self._bundle.shape.ports
        return next((p.link.name for p in ports if p.number == number), None)

    def _arm(self, now: int) -> None:
        """The one timer, at the earliest of what is due."""
        engine_at = None if self._held_up else self._engine.deadline()
        due = (engine_at, self.sockets.due_at)
        at = min((each for each in due if each is not None), default=None)
        self._alarm.set(None if at is None else max(at - now, TIMER_NS_MIN))

    # ---- leaving -------------------------------------------------------------------

    async def leave(self, numbers: Iterable[int]) -> None:
        """Planned: the partner has stopped to send to these ports when this returns.

        So that nothing is lost on the way out, they distribute no more before it is
        told; they collect, and answer the markers of the flows that the partner moves
        away, until they are ports no more.  Bounded by twice ANSWER_S, GOODBYE_S and
        STOPPED_S, whatever the partner does.
        """
        leaving = self._ports.keys() & numbers
        self._order(lambda _: self._set_leaving(leaving))
        with suppress(LaggError):  # who takes the ports away will meet it, too
            await self._bundle.grace()
        await self._until(lambda: not self._awaited(leaving), ANSWER_S)
        asked = self._asked(leaving)
        await self.say_goodbye(leaving)
        await self._until(lambda: not self._sending(leaving), STOPPED_S)
        await self._until(lambda: not self._yet_to_ask(asked), ANSWER_S)

    async def say_goodbye(self, numbers: Collection[int] | None = None) -> None:
        """Tells the partners that these ports leave, or all; waits until it is said."""
        known = frozenset(self._ports)
        leaving = known if numbers is None else known.intersection(numbers)
        sent = {each.number: each.counts.lacpdu_tx for each in self._statuses(leaving)}
        self._order(lambda now: self._engine.leave(leaving & self._ports.keys(), now))

        def said() -> bool:
            return self._engine.settings.txtest or all(
                each.counts.lacpdu_tx > sent[each.number] or not each.is_heard
                for each in self._statuses(leaving)
            )

        await self._until(said, GOODBYE_S)

    def _set_leaving(self, numbers: Collection[int]) -> None:
        for number in self._ports.keys() & numbers:
            self._ports[number].leaving = True

    def cancel_leave(self, numbers: Iterable[int]) -> None:
        """What was planned did not come about: the ports begin anew."""

        def again(now: int) -> None:
            for number in numbers:
                if number in self._ports and self._ports[number].leaving:
                    self._forget(number, now)
            self._reconcile_engine(now)

        self._order(again)

    def _awaited(self, numbers: Collection[int]) -> bool:
        """Whether flows wait until these ports' partners have what they were sent."""
        return any(
            port_number(s) in numbers for s in self._bundle.moves.origins.values()
        )

    def _sending(self, numbers: Collection[int]) -> bool:
        return any(
            each.is_heard and State.DISTRIBUTING in each.partner.state
            for each in self._statuses(numbers)
        )

    def release(self, numbers: Iterable[int]) -> None:
        """The user vouches for the partners of these ports: none is held off now."""
        named = set(numbers)
        self._order(lambda now: self._engine.release(named & self._ports.keys(), now))

    def _asked(self, leaving: Collection[int]) -> dict[int, int]:
        """How many markers came by each port whose flows the partner will move.

        When nothing is left to move them to, they have no marker to wait for.
        """
        carrying = {n for n, port in self._ports.items() if port.carrying}
        if carrying <= set(leaving):
            return {}
        moving = carrying.intersection(leaving)
        return {each.number: each.counts.marker_rx for each in self._statuses(moving)}

    def _yet_to_ask(self, asked: Mapping[int, int]) -> bool:
        """Whether a partner that sends markers, as not all do, has sent none since."""
        return any(
            each.is_heard and 0 < each.counts.marker_rx == asked[each.number]
            for each in self._statuses(asked)
        )

    def _statuses(self, numbers: Collection[int]) -> list[PortStatus]:
        return [each for each in self._engine.view().ports if each.number in numbers]

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    self._stepped.clear()
                    await self._stepped.wait()
