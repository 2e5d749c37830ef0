# SPDX-License-Identifier: BSD-2-Clause
"""A seeded world of LACP engines in virtual time, and what must hold at every step.

Owns the wires and their faults, and the judge: it looks at the frames that passed and
at the ports, and believes no engine's word about the other end.  Knows no test.
"""

import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lagg.lacp.engine import Engine
from lagg.lacp.pdu import Lacpdu, Marker, decode
from lagg.lacp.port import INBOX_NS, Port
from lagg.lacp.values import (
    PORTS_MAX,
    AdSelect,
    Bad,
    Instant,
    Medium,
    Selected,
    Send,
    Settings,
    State,
    System,
)

MS = 1_000_000
SECOND = 1000 * MS
LONG_NS, SHORT_NS = 90 * SECOND, 3 * SECOND

PDUS_PER_SECOND = 3
FRAMES_PER_SECOND = 10

End = tuple[int, int]
"""An engine's index and a port's number."""

EngineFactory = Callable[[Settings, Instant], Engine]


@dataclass(slots=True)
class Judged:
    """What the judge knows of one end."""

    heard: deque[tuple[Instant, Lacpdu]] = field(default_factory=deque)
    questions: int = 0  # markers that have come, and not gone back as responses
    pdus: deque[Instant] = field(default_factory=deque)
    frames: deque[Instant] = field(default_factory=deque)


class Broken(AssertionError):
    """A rule that must hold at every step does not."""


class World:
    """Engines, wires between their ports, faults by chance."""

    def __init__(
        self, rng: random.Random, make: EngineFactory = Engine, calm: bool = False
    ) -> None:
        self.rng = rng
        self.make = make
        self.calm = calm
        self.now: Instant = rng.randrange(10 * SECOND)
        self.steps = 0
        self.loss = self.duplication = 0.0
        self.wires: dict[End, End] = {}
        self.deaf: set[End] = set()
        self.engines: list[Engine] = []
        self.deadlines: list[Instant | None] = []
        self.judged: dict[End, Judged] = {}
        self.changed: dict[int, Instant] = {}  # when an engine's settings last did
        self.digest = hashlib.sha256()  # of all that the engines put out
        self._flights: list[tuple[Instant, int, End, bytes]] = []
        self._old: deque[tuple[End, bytes]] = deque(maxlen=50)
        self._build()

    # ---- what there is -------------------------------------------------------------

    def _build(self) -> None:
        count = self.rng.choice((2, 2, 2, 3, 4))
        for index in range(count):
            self.engines.append(self.make(self._settings(index), self.now))
            self.deadlines.append(None)
        next_port = [1] * count
        for _ in range(self.rng.randint(1, 4)):
            ends = []
            for index in self.rng.sample(range(count), 2):
                ends.append((index, next_port[index]))
                next_port[index] += 1
            self.wires[ends[0]], self.wires[ends[1]] = ends[1], ends[0]
        for end in sorted(self.wires):
            self._add(end)

    def _settings(self, index: int) -> Settings:
        system = System(0x8000, f"02:00:5e:00:53:{index:02x}")
        plain = Settings(system, fast=True, port_offset=PORTS_MAX * index)
        if self.calm or self.rng.random() < 0.5:
            return plain
        return replace(
            plain,
            active=index == 0 or self.rng.random() < 0.7,
            max_ports=self.rng.choice((1, 2, 32)),
            min_links=self.rng.choice((1, 1, 2)),
            coupled=self.rng.random() < 0.2,
            ad_select=self.rng.choice(list(AdSelect)),
            strict=self.rng.random() < 0.8,
            fallback_ns=self.rng.choice((0, 0, 5 * SECOND)),
        )

    def _add(self, end: End) -> None:
        index, number = end
        # The limit outlives a port that is attached again, but no engine.
        self.judged[end] = Judged(pdus=self.judged.get(end, Judged()).pdus)
        mac = f"02:00:5e:00:{number:02x}:{index:02x}"
        medium = Medium(up=True, speed_mbps=10_000)
        self.engines[index].add_port(number, mac, 0x8000, medium, self.now)
        self._after(index)

    # ---- steps ---------------------------------------------------------------------

    def run(self, duration: int, faults_per_second: float = 0.0) -> None:
        """Let virtual time pass, with faults by chance."""
        end = self.now + duration
        next_fault = self._next_fault(faults_per_second)
        while True:
            at = min(self._next_event(), next_fault)
            if at > end:
                break
            self.now = max(self.now, at)
            if next_fault <= self.now:
                self._fault()
                next_fault = self._next_fault(faults_per_second)
            else:
                self._event()
            self.steps += 1
        self.now = max(self.now, end)

    def heal(self) -> None:
        """No faults any more; every wire is there and carries all in order."""
        self.loss = self.duplication = 0.0
        self.deaf.clear()
        self._flights.clear()
        for end in sorted(self.wires):
            self._carrier(end, up=True)
            self.engines[end[0]].set_gate(end[1], False, self.now)
        for index, engine in enumerate(self.engines):
            self.changed[index] = self.now
            engine.set(replace(engine.settings, fast=True), self.now)
            self._after(index)

    def _next_fault(self, per_second: float) -> Instant:
        if not per_second:
            return 1 << 62
        return self.now + 1 + int(self.rng.expovariate(per_second) * SECOND)

    def _next_event(self) -> Instant:
        flight = self._flights[0][0] if self._flights else 1 << 62
        return min([flight, *(at for at in self.deadlines if at is not None)])

    def _event(self) -> None:
        """One frame arrives, or one engine's timer runs out."""
        if self._flights and self._flights[0][0] <= self.now:
            _, _, end, frame = heapq.heappop(self._flights)
            self._deliver(end, frame)
            return
        index = next(
            n
            for n, at in enumerate(self.deadlines)
            if at is not None and at <= self.now
        )
        self.engines[index].tick(self.now)
        self._after(index)
        later = self.deadlines[index]
        if later is not None and later <= self.now:
            raise Broken("a timer that does not end")

    def _deliver(self, end: End, frame: bytes) -> None:
        index, number = end
        engine = self.engines[index]
        port = _ports(engine).get(number)
        if port is None or end in self.deaf:
            return
        pdu = decode(frame)
        self.judged[end].questions += isinstance(pdu, Marker) and not pdu.response
        taken = port.counts.lacpdu_rx
        engine.receive(number, frame, self.now)
        if isinstance(pdu, Lacpdu) and port.counts.lacpdu_rx > taken:
            heard = self.judged[end].heard
            heard.append((self.now, pdu))
            # A PDU is looked at within INBOX_NS; until then the ones before decide.
            while len(heard) > 1 and heard[1][0] < self.now - INBOX_NS:
                heard.popleft()
        self._after(index)

    def _after(self, index: int) -> None:
        """Carry off what an engine put out, and judge it."""
        engine = self.engines[index]
        for output in engine.take_outputs():
            self.digest.update(repr(output).encode())
            if isinstance(output, Send):
                self._sent((index, output.number), output.frame)
        self.deadlines[index] = engine.deadline()
        self._judge(index, engine)

    def _sent(self, end: End, frame: bytes) -> None:
        judged = self.judged[end]
        if frame[14] == 1:
            _limited(judged.pdus, PDUS_PER_SECOND, self.now, f"LACPDUs at {end}")
        _limited(judged.frames, FRAMES_PER_SECOND, self.now, f"frames at {end}")
        said = decode(frame)
        if isinstance(said, Marker) and said.response:
            judged.questions -= 1
        if judged.questions < 0:
            raise Broken(f"{end} answers what nobody asked")
        copies = 1 + (self.rng.random() < self.duplication)
        for _ in range(copies):
            if self.rng.random() >= self.loss:
                self._fly(self.wires[end], frame)

    def _fly(self, to: End, frame: bytes) -> None:
        delay = MS if self.loss == 0.0 else self.rng.randrange(MS, 400 * MS)
        self._old.append((to, frame))
        heapq.heappush(self._flights, (self.now + delay, self.steps, to, frame))

    # ---- faults --------------------------------------------------------------------

    def _fault(self) -> None:
        self.rng.choice(FAULTS)(self)

    def _weather(self) -> None:
        self.loss = self.rng.choice((0.0, 0.0, 0.1, 0.5))
        self.duplication = self.rng.choice((0.0, 0.3))

    def _deafness(self) -> None:
        """One end of a wire hears nothing for a while; carrier stays."""
        end = self.rng.choice(sorted(self.wires))
        self.deaf ^= {end}

    def _carrier_flips(self) -> None:
        self._carrier(self.rng.choice(sorted(self.wires)), up=self.rng.random() < 0.6)

    def _carrier(self, end: End, *, up: bool) -> None:
        for index, number in (end, self.wires[end]):
            medium = Medium(up=up, speed_mbps=10_000 if up else 0)
            self.engines[index].set_medium(number, medium, self.now)
            self._after(index)

    def _recable(self) -> None:
        """Two ends change places, and no carrier tells of it; loops come about too."""
        one, two = self.rng.sample(sorted(self.wires), 2)
        far_one, far_two = self.wires[one], self.wires[two]
        if far_one != two and not self.calm:
            self.wires |= {one: far_two, far_two: one, two: far_one, far_one: two}

    def _restart(self) -> None:
        """An engine dies without a word and starts anew with the same settings."""
        index = self.rng.randrange(len(self.engines))
        self.engines[index] = self.make(self.engines[index].settings, self.now)
        self.judged = {end: it for end, it in self.judged.items() if end[0] != index}
        for end in sorted(self.wires):
            if end[0] == index:
                self._add(end)

    def _reattach(self) -> None:
        end = self.rng.choice(sorted(self.wires))
        index, number = end
        self.engines[index].leave([number], self.now)
        self._after(index)
        self.engines[index].remove_port(number, self.now)
        self._after(index)
        self._add(end)

    def _change(self) -> None:
        """A live change of settings on one engine."""
        index = self.rng.randrange(len(self.engines))
        engine = self.engines[index]
        change = self.rng.choice(
            (
                {"fast": not engine.settings.fast},
                {"coupled": not engine.settings.coupled},
                {"max_ports": self.rng.choice((1, 2, 32))},
                {"key": self.rng.choice((0, 0, 7))},
                {"ad_select": self.rng.choice(list(AdSelect))},
            )
        )
        if not self.calm:
            self.changed[index] = self.now
            engine.set(replace(engine.settings, **change), self.now)
            self._after(index)

    def _priority(self) -> None:
        if self.calm:
            return
        index, number = self.rng.choice(sorted(self.wires))
        priority = self.rng.choice((1, 0x8000, 0xFFFF))
        self.engines[index].set_priority(number, priority, self.now)
        self._after(index)

    def _gate(self) -> None:
        """A user holds a port, or lets it go."""
        if self.calm:
            return
        index, number = self.rng.choice(sorted(self.wires))
        closed = self.rng.random() < 0.4
        self.engines[index].set_gate(number, closed, self.now)
        self._after(index)

    def _suspend(self) -> None:
        """Minutes pass in which no engine runs and nothing arrives."""
        self._flights.clear()
        self.now += self.rng.randrange(SECOND, 300 * SECOND)

    def _replay(self) -> None:
        """An old frame comes once more, perhaps with a bit turned."""
        if not self._old:
            return
        end, frame = self.rng.choice(self._old)
        octets = bytearray(frame)
        if self.rng.random() < 0.5 and not self.calm:
            octets[self.rng.randrange(len(octets))] ^= 1 << self.rng.randrange(8)
        self._deliver(end, bytes(octets))

    def _marker(self) -> None:
        index, number = self.rng.choice(sorted(self.wires))
        self.engines[index].send_marker(number, self.now)
        self._after(index)

    # ---- the judge -----------------------------------------------------------------

    def _judge(self, index: int, engine: Engine) -> None:
        """Safety.  Reads the ports themselves: a view for each step takes too long.

        Of an engine that is overdue the tick is judged, which is the next event.
        """
        due = self.deadlines[index]
        if due is not None and due <= self.now:
            return
        for number, port in _ports(engine).items():
            # Optimistic and fallback ports carry without a partner on purpose.
            if port.distributing and not port.defaulted:
                self._judge_distributing((index, number), port)
        if self.steps % 100 == 0:
            self._judge_view(engine)

    def _judge_distributing(self, end: End, port: Port) -> None:
        """The partner said Sync and Collecting in what was last taken from it.

        With coupled control Sync is enough, which is the standard's own gap.
        """
        wanted = State.SYNC if port.settings.coupled else State.SYNC | State.COLLECTING
        heard = self.judged[end].heard
        if not any(wanted in pdu.actor.state for _, pdu in heard):
            raise Broken(f"{end} distributes to a partner that does not collect")
        at, last = heard[-1]
        told = end[1] + port.settings.port_offset
        if not any(pdu.partner.port.number == told for _, pdu in heard):
            raise Broken(f"{end} distributes to a partner that speaks of another port")
        short = port.settings.fast and State.TIMEOUT in last.partner.state
        short &= self.changed.get(end[0], -1) < at
        since = max(at, self.changed.get(end[0], at))
        if self.now - since > (SHORT_NS + INBOX_NS if short else LONG_NS):
            raise Broken(f"{end} distributes to a partner that is silent")
        if not port.medium.up or port.selected is not Selected.SELECTED:
            raise Broken(f"{end} distributes without being selected")

    def _judge_view(self, engine: Engine) -> None:
        view = engine.view()
        active = {port.aggregator for port in view.ports if port.distributing}
        if len(active) > 1 or (active and active != {view.aggregator}):
            raise Broken(f"more than one active aggregator: {active}")
        for port in view.ports:
            if port.distributing is not (port.reason is None):
                raise Broken(f"no reason for {port}")
        places = engine.settings.max_ports
        for number in {port.aggregator for port in view.ports}:
            seats = [
                port
                for port in view.ports
                if port.aggregator == number and port.selected is Selected.SELECTED
            ]
            if number is not None and len(seats) > places:
                raise Broken(f"aggregator {number} holds more than {places}")

    # ---- liveness ------------------------------------------------------------------

    def disagreements(self) -> list[str]:
        """Wires of which one end distributes and the other does not."""
        found = []
        for end, other in sorted(self.wires.items()):
            here, there = self._port(end), self._port(other)
            alone = here.defaulted or there.defaulted  # passive both, or a loop
            if here.distributing is not there.distributing and not alone:
                found.append(f"{end} {here.mux} but {other} {there.mux}")
        return found

    def idle(self) -> list[str]:
        """Ends that do not distribute."""
        ends = sorted(self.wires)
        return [f"{end}" for end in ends if not self._port(end).distributing]

    def bad(self) -> dict[Bad, int]:
        """What all ports counted, by reason."""
        ports = [port for engine in self.engines for port in _ports(engine).values()]
        return {bad: sum(port.counts.bad[bad] for port in ports) for bad in Bad}

    def _port(self, end: End) -> Port:
        return _ports(self.engines[end[0]])[end[1]]


FAULTS: tuple[Callable[[World], None], ...] = (
    World._weather,
    World._deafness,
    World._deafness,
    World._carrier_flips,
    World._carrier_flips,
    World._recable,
    World._restart,
    World._reattach,
    World._change,
    World._priority,
    World._gate,
    World._suspend,
    World._replay,
    World._marker,
)


def _ports(engine: Engine) -> dict[int, Port]:
    return engine._ports


def _limited(sent: deque[Instant], limit: int, now: Instant, what: str) -> None:
    sent.append(now)
    if len(sent) > limit and now - sent.popleft() < SECOND:
        raise Broken(f"more than {limit} {what} in a second")
