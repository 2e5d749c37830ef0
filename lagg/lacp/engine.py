# SPDX-License-Identifier: BSD-2-Clause
"""LACP for one system: the ports, the machines' order, and what leaves the engine.

Owns the ports of a lagg and the one order in which their machines run: receive, mux,
churn, periodic for each, then selection, until nothing moves; then transmit.  Values
come in with `now` and go out by take_outputs(); it has no socket, clock or thread.

802.1AX lets the machines of all ports run at once, and says nothing of their order.
Here they run in rounds until a round changes nothing that one tells another (what
situation() compares): a fixed point of all machines and selection together.  Guards
read variables and `now` alone, so how a state was reached does not matter.  An event
that changes nothing for other ports, as most PDUs, runs its own port's machines only.

PDUs are written when take_outputs() is called and not when a machine asks for one
(NTT): what leaves says what is true then.  An output's order is the order in which it
is to be done; the caller makes the workers collect and distribute as the view says
before it sends any.  Time is an argument and never goes back: deadline() says when
tick() is due.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Self

from lagg.lacp import machines, mux, selection
from lagg.lacp.aggregator import ActiveAggregator, carriers, others_carry
from lagg.lacp.key import key_of
from lagg.lacp.limit import Limit
from lagg.lacp.machines import situation
from lagg.lacp.marker import MarkerPort
from lagg.lacp.notices import Teller, agreement
from lagg.lacp.pdu import (
    Lacpdu,
    Marker,
    decode,
    encode_marker,
    source_of,
)
from lagg.lacp.port import COLLECTS, Port, sent_limit
from lagg.lacp.reason import reason
from lagg.lacp.receive import LONG_TIMEOUT_NS, RECEIVE, forgive, load_defaults
from lagg.lacp.saved import SavedEngine, SavedPort
from lagg.lacp.transmit import due_at, mute, said, sends, written
from lagg.lacp.values import (
    Bad,
    Instant,
    MarkerAnswered,
    MarkerUnanswered,
    Medium,
    Notice,
    NoticeKind,
    Output,
    PortStatus,
    Receive,
    Selected,
    Send,
    Settings,
    View,
)

NEVER: Instant = 1 << 63
"""Later than any instant of a clock in nanoseconds."""

_ROUNDS_MAX = 16
"""Machines and selection settle in a few rounds; more means that a table is wrong."""


class Engine:
    """LACP and the marker protocol of one lagg."""

    def __init__(self, settings: Settings, now: Instant, identity: int = 0) -> None:
        """`identity`: of the lagg among those of its system; see key.py."""
        self._settings = settings
        self._identity = identity
        self._now = now
        self._ports: dict[int, Port] = {}
        self._markers: dict[int, MarkerPort] = {}
        self._sent: dict[int, Limit] = {}
        # So that no answer to a former life is taken for one to this.
        self._transaction = now // 1_000_000 & 0xFFFFFFFF
        self._choice = ActiveAggregator()
        self._alone_since: Instant | None = None
        self._flaps_of_the_gone = 0
        self._teller = Teller()
        self._outputs: list[Output | Port] = []  # a port: the PDU that it is to send

    @classmethod
    def restored(cls, saved: SavedEngine, now: Instant) -> Self:
        """An engine that goes on as the one that was saved; `now` is not before that.

        ValueError, with the field, when no engine can be so.
        """
        saved.check(now)
        engine = cls(saved.settings, saved.now, saved.identity)
        engine._transaction = saved.transaction
        engine._choice = replace(saved.choice)
        engine._alone_since = saved.alone_since
        engine._flaps_of_the_gone = saved.flaps_of_the_gone
        engine._sent = {number: sent_limit(taken) for number, taken in saved.sent}
        for each in saved.ports:
            engine._resume(each)
        return engine

    def _resume(self, saved: SavedPort) -> None:
        port, number = saved.port(self._settings, self._identity), saved.number
        port.sent = self._sent[number]
        self._ports[number] = port
        self._markers[number] = MarkerPort.of(saved.markers)
        self._teller.resume(number, saved.notices)

    def saved(self) -> SavedEngine:
        """All of it as a value, for restored(); its outputs must have been taken."""
        assert not self._outputs, "what was decided is not done yet"
        return SavedEngine(
            settings=self._settings,
            identity=self._identity,
            now=self._now,
            transaction=self._transaction,
            ports=tuple(
                SavedPort.of(port, self._markers[number], self._teller)
                for number, port in self._ports.items()
            ),
            sent=tuple((number, limit.taken) for number, limit in self._sent.items()),
            choice=replace(self._choice),
            alone_since=self._alone_since,
            flaps_of_the_gone=self._flaps_of_the_gone,
        )

    @property
    def settings(self) -> Settings:
        """What set() set last."""
        return self._settings

    # ---- configuration -------------------------------------------------------------

    def set(self, settings: Settings, now: Instant) -> None:
        """Change settings live; what need not flap does not."""
        before, self._settings = self._settings, settings
        for port in self._ports.values():
            port.settings = settings
            self._apply(port, before, now)
        self._settle(now)

    def add_port(
        self, number: int, mac: str, priority: int, medium: Medium, now: Instant
    ) -> None:
        """Attach a port; its first PDU leaves at once if its link is up."""
        assert number not in self._ports, number
        assert 0 < number <= 0xFFFF, number
        key = key_of(self._settings, medium.speed_mbps, self._identity)
        port = Port(number, mac, priority, medium, self._settings, key)
        # A port that was here a moment ago has the limit that it had.
        port.sent = self._sent.setdefault(number, port.sent)
        self._ports[number] = port
        self._ports = dict(sorted(self._ports.items()))
        self._markers[number] = MarkerPort()
        machines.begin(port, now)
        self._settle(now)

    def remove_port(self, number: int, now: Instant) -> None:
        """Detach a port, after a goodbye unless the limit has no place for one.

        Who cannot lose a frame calls leave() first and waits for the goodbye.
        """
        port = self._ports[number]
        if not port.leaving:
            mux.leave(port)
        self._transmit(port, now)
        del self._ports[number], self._markers[number]
        self._flaps_of_the_gone += port.counts.flaps
        self._teller.forget(number)
        self._settle(now)

    def set_priority(self, number: int, priority: int, now: Instant) -> None:
        """Change a port's priority; the partner compares it, so it renegotiates."""
        port = self._ports[number]
        if port.priority != priority:
            port.priority = priority
            port.tell()
            self._settle(now)

    def set_gate(self, number: int, closed: bool, now: Instant) -> None:
        """A user holds the port, or no more; the partner hears of it at once."""
        port = self._ports[number]
        if port.gated is not closed:
            if closed:
                mux.close_gate(port)
            else:
                mux.open_gate(port, now)
            self._settle(now)

    def set_medium(self, number: int, medium: Medium, now: Instant) -> None:
        """The link changed.  While the speed is unknown, the last known one stands."""
        port = self._ports[number]
        speed_mbps = medium.speed_mbps or port.medium.speed_mbps
        port.medium = replace(medium, speed_mbps=speed_mbps)
        self._rekey(port)
        self._settle(now)

    def leave(self, numbers: Collection[int], now: Instant) -> None:
        """Planned: tell the partners, stop distributing, go on collecting.

        The goodbye leaves at once, or at the latest within a second when the limit has
        no place; until then the port's reason says so.
        """
        for number in sorted(numbers):
            port = self._ports[number]
            if not port.leaving:
                port.left_active = port.aggregator == self._choice.active
                mux.leave(port)
        self._settle(now)

    def release(self, numbers: Collection[int], now: Instant) -> None:
        """Ends the holds of these ports; their partners' changes are forgotten."""
        for number in numbers:
            forgive(self._ports[number])
        self._settle(now)

    # ---- frames and time -----------------------------------------------------------

    def receive(self, number: int, frame: bytes, now: Instant) -> None:
        """Any slow-protocol frame as it came, untagged.  What is bad is counted."""
        port = self._ports.get(number)
        if port is None:
            return
        before = situation(port)
        bad = self._receive(port, frame, now)
        if bad is not None:
            port.counts.bad[bad] += 1
        self._advance([(port, before)], now)

    def tick(self, now: Instant) -> None:
        """Run what is due; any other time does no harm."""
        due = [p for p in self._ports.values() if self._due_at(p) <= now]
        situations = [(port, situation(port)) for port in due]
        for port in due:
            machines.run_out(port, now)
            if port.deferred is not None and port.inbox.take(now):
                self._take_in(port, *port.deferred)
            for transaction in self._markers[port.number].give_up(now):
                port.counts.marker_unanswered += 1
                self._outputs.append(MarkerUnanswered(port.number, transaction))
        if any(at <= now for at in self._timers_of_all()):
            self._settle(now)
        else:
            self._advance(situations, now)

    def send_marker(self, number: int, now: Instant) -> int | None:
        """Ask the partner whether it has all that was sent before; a transaction id.

        MarkerAnswered comes if it answers within RESPONSE_WAIT_NS, MarkerUnanswered if
        not.  None when nothing may be sent now.
        """
        self._reach(now)
        port = self._ports[number]
        if mute(port, now):
            return None
        transaction = (self._transaction + 1) & 0xFFFFFFFF
        marker = self._markers[number].ask(port.requester, transaction, now)
        if marker is None:
            return None
        self._transaction = transaction
        self._send(number, encode_marker(marker, port.mac))
        port.counts.marker_tx += 1
        return transaction

    def deadline(self) -> Instant | None:
        """When tick() is due; None: never.  It may have passed."""
        at = min(self._timers(), default=NEVER)
        return None if at == NEVER else at

    def take_outputs(self) -> list[Output]:
        """What is to be done since the last call, in order.

        PDUs are written only now: none says what was so once.
        """
        taken, self._outputs = self._outputs, []
        return [written(each) if isinstance(each, Port) else each for each in taken]

    def view(self) -> View:
        """Everything there is to see, as a value."""
        ports = list(self._ports.values())
        active = self._choice.active
        shown = carriers(ports, active) if active is not None else []
        return View(
            ports=tuple(self._status(port, active) for port in ports),
            aggregator=active,
            actor=shown[0].actor() if shown else None,
            partner=shown[0].partner if shown else None,
            flapping=self._flaps_of_the_gone + sum(p.counts.flaps for p in ports),
        )

    # ---- inside --------------------------------------------------------------------

    def _apply(self, port: Port, before: Settings, now: Instant) -> None:
        """What a port has to do about new settings."""
        after = self._settings
        if after.identity != before.identity:
            port.selected = Selected.UNSELECTED
        self._rekey(port)
        if after.strict is not before.strict and port.receive is Receive.DEFAULTED:
            load_defaults(port, now)
        if after.coupled is not before.coupled and not port.drains:
            port.mux = mux.same_in(after.coupled, port)
        if before.fast and not after.fast and port.receive is Receive.CURRENT:
            # The partner slows down as soon as it hears of it; it is not late then.
            port.current_while = now + LONG_TIMEOUT_NS
        if after.in_pdu != before.in_pdu:
            port.tell()

    def _rekey(self, port: Port) -> None:
        key = key_of(self._settings, port.medium.speed_mbps, self._identity)
        if key != port.key:
            port.key = key
            port.selected = Selected.UNSELECTED
            port.tell()

    def _receive(self, port: Port, frame: bytes, now: Instant) -> Bad | None:
        pdu = decode(frame)
        if isinstance(pdu, Bad):
            return pdu
        if not port.medium.up:
            return Bad.PORT_DOWN
        if self._settings.rxtest:
            return Bad.RXTEST
        if source_of(frame) == port.mac:
            port.loop_while = now + selection.LOOP_NS
            return Bad.OWN_SOURCE
        if isinstance(pdu, Marker):
            return self._receive_marker(port, pdu, now)
        return self._receive_lacpdu(port, pdu, now)

    def _receive_lacpdu(self, port: Port, pdu: Lacpdu, now: Instant) -> Bad | None:
        if pdu.actor.system.mac == self._settings.system.mac:
            port.loop_while = now + selection.LOOP_NS
            return Bad.OWN_SYSTEM
        port.counts.lacpdu_rx += 1
        if not port.inbox.take(now):
            port.deferred = pdu, now
            return Bad.RATE
        self._take_in(port, pdu, now)
        return None

    def _take_in(self, port: Port, pdu: Lacpdu, at: Instant) -> None:
        port.loop_while = port.deferred = None
        port.pdu, port.pdu_at = pdu, at
        self._find_moved(port, pdu)

    def _find_moved(self, port: Port, pdu: Lacpdu) -> None:
        """port_moved: the partner of a port that is down is heard on another one."""
        heard = (pdu.actor.system, pdu.actor.port)
        for other in self._ports.values():
            down = other is not port and other.receive is Receive.PORT_DISABLED
            if down and (other.partner.system, other.partner.port) == heard:
                other.port_moved = True
                other.receive = RECEIVE.settle(other.receive, other, self._now)

    def _receive_marker(self, port: Port, marker: Marker, now: Instant) -> Bad | None:
        if marker.response:
            return self._receive_response(port, marker)
        port.counts.marker_rx += 1
        response = self._markers[port.number].response_to(marker, now)
        if response is None or mute(port, now):
            return Bad.RATE
        self._send(port.number, encode_marker(response, port.mac))
        port.counts.marker_response_tx += 1
        return None

    def _receive_response(self, port: Port, response: Marker) -> Bad | None:
        if not self._markers[port.number].answered(response, port.requester):
            return Bad.MARKER
        port.counts.marker_response_rx += 1
        self._outputs.append(MarkerAnswered(port.number, response.transaction))
        return None

    def _advance(
        self, situations: list[tuple[Port, tuple[object, ...]]], now: Instant
    ) -> None:
        """Run some ports' machines, and all if that is of consequence to others."""
        self._reach(now)
        for port, _ in situations:
            machines.settle(port, now)
        if any(situation(port) != before for port, before in situations):
            self._settle(now)
            return
        for port, _ in situations:
            self._transmit(port, now)

    def _reach(self, now: Instant) -> None:
        assert now >= self._now, "time goes forward"
        self._now = now

    def _settle(self, now: Instant) -> None:
        """Run everything until nothing moves, then send and tell."""
        self._reach(now)
        ports = list(self._ports.values())
        for _ in range(_ROUNDS_MAX):
            before = [situation(port) for port in ports]
            for port in ports:
                machines.settle(port, now)
            selection.choose_fallback(ports, self._falls_back(ports, now), now)
            selection.hold(ports, others_carry(ports, self._settings))
            selection.select(ports, self._settings)
            if before == [situation(port) for port in ports]:
                break
        else:
            raise AssertionError("the machines do not settle")
        for port in ports:
            self._transmit(port, now)
        self._conclude(ports, now)

    def _conclude(self, ports: list[Port], now: Instant) -> None:
        was_active = self._choice.active
        self._choice.settle(ports, self._settings, now)
        active = self._choice.active
        if active != was_active:
            word = agreement(carriers(ports, active) if active is not None else [])
            self._outputs.append(Notice(None, NoticeKind.AGGREGATOR, word))
        for port in ports:
            why = reason(port, ports, active)
            self._outputs += self._teller.changes(port, why, now)

    def _falls_back(self, ports: list[Port], now: Instant) -> bool:
        """Whether there has been no partner at all for the time of the fallback.

        Optimistic ports carry anyway.
        """
        if any(p.heard for p in ports) or not any(p.enabled for p in ports):
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        wait_ns, since = self._fallback_ns(), self._alone_since
        return bool(wait_ns) and since is not None and now - since >= wait_ns

    def _fallback_ns(self) -> int:
        return self._settings.fallback_ns if self._settings.strict else 0

    def _status(self, port: Port, active: int | None) -> PortStatus:
        here = active is not None and port.aggregator == active
        why = reason(port, list(self._ports.values()), active)
        return PortStatus(
            number=port.number,
            aggregator=port.aggregator,
            active=(here and not port.leaving) or (port.leaving and port.left_active),
            collecting=port.mux in COLLECTS,
            distributing=why is None,
            selected=port.selected,
            receive=port.receive,
            periodic=port.periodic,
            mux=port.mux,
            actor_churn=port.actor_churn,
            partner_churn=port.partner_churn,
            actor=port.actor(),
            partner=port.partner,
            reason=why,
            counts=port.counts.frozen(),
        )

    def _transmit(self, port: Port, now: Instant) -> None:
        if port in self._outputs:  # what there is to tell goes with that one
            said(port)
        elif sends(port, now):
            self._outputs.append(port)

    def _send(self, number: int, frame: bytes) -> None:
        self._outputs.append(Send(number, frame))

    def _timers(self) -> Iterator[Instant]:
        for port in self._ports.values():
            yield self._due_at(port)
        yield from self._timers_of_all()

    def _due_at(self, port: Port) -> Instant:
        """When the next of a port's timers runs out; NEVER: it has none."""
        answers_until = self._markers[port.number].deadline()
        inbox = port.inbox.free_at(0) if port.deferred is not None else None
        timers = (
            *(port.current_while, port.periodic_timer, port.wait_while),
            *(port.actor_churn_timer, port.partner_churn_timer),
            *(port.loop_while, port.held_until),
            *(due_at(port, self._now), answers_until, inbox),
        )
        return min([at for at in timers if at is not None], default=NEVER)

    def _timers_of_all(self) -> Iterator[Instant]:
        """The timers that concern more than one port."""
        if self._choice.takes_over_at is not None:
            yield self._choice.takes_over_at
        told_at = self._teller.due_at()
        if told_at is not None:
            yield told_at
        if self._fallback_ns() and self._alone_since is not None:
            at = self._alone_since + self._fallback_ns()
            if at > self._now:  # it has fallen back already
                yield at
