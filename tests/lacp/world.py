# SPDX-License-Identifier: BSD-2-Clause
"""Engines, wires and virtual time for the tests of LACP.  Knows no expectation."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from lagg.lacp.engine import Engine
from lagg.lacp.pdu import Lacpdu, decode, encode_lacpdu
from lagg.lacp.values import (
    Instant,
    MarkerAnswered,
    MarkerUnanswered,
    Medium,
    Notice,
    Party,
    PortId,
    PortStatus,
    Send,
    Settings,
    State,
    System,
)

SECOND = 1_000_000_000
MILLISECOND = SECOND // 1000
DELAY = MILLISECOND
"""The delay of every wire."""

LINK = Medium(up=True, speed_mbps=10_000)

End = tuple[str, int]
"""An engine's name and one of its ports."""


def system(name: str, priority: int = 0x8000) -> System:
    return System(priority, f"02:00:5e:00:53:{ord(name):02x}")


def port_mac(name: str, number: int) -> str:
    return f"02:00:5e:00:{number:02x}:{ord(name):02x}"


def settings(name: str, **words: object) -> Settings:
    """Fast unless said otherwise."""
    return replace(Settings(system(name), fast=True), **words)  # type: ignore[arg-type]


@dataclass
class World:
    """Engines by name, and wires that join the ends of ports."""

    now: Instant = 0
    engines: dict[str, Engine] = field(default_factory=dict)
    wires: dict[End, End] = field(default_factory=dict)
    silent: set[End] = field(default_factory=set)  # what these ends send is lost
    in_flight: list[tuple[Instant, End, bytes]] = field(default_factory=list)
    sent: dict[End, list[tuple[Instant, bytes]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    notices: dict[str, list[Notice]] = field(default_factory=lambda: defaultdict(list))
    answers: list[MarkerAnswered | MarkerUnanswered] = field(default_factory=list)

    @classmethod
    def pair(
        cls, ports: int, a: Settings | None = None, b: Settings | None = None
    ) -> Self:
        """A and B, joined port by port."""
        world = cls()
        world.add("A", ports, a)
        world.add("B", ports, b)
        for number in range(1, ports + 1):
            world.join(("A", number), ("B", number))
        return world

    def add(self, name: str, ports: int, its: Settings | None = None) -> Engine:
        engine = Engine(its or settings(name), self.now)
        self.engines[name] = engine
        for number in range(1, ports + 1):
            mac = port_mac(name, number)
            engine.add_port(number, mac, 0x8000, LINK, self.now)
        return engine

    def join(self, one: End, other: End) -> None:
        self.wires[one], self.wires[other] = other, one

    # ---- what may happen -----------------------------------------------------------

    def carrier(self, number: int, *, up: bool) -> None:
        """Sets the carrier of the wire between the ports of that number."""
        for engine in self.engines.values():
            engine.set_medium(number, replace(LINK, up=up), self.now)
        self.carry()

    def silence(self, number: int, *names: str) -> None:
        """What these send by the port is lost; carrier stays."""
        self.silent |= {(name, number) for name in names or self.engines}

    def repair(self, number: int) -> None:
        self.silent -= {(name, number) for name in self.engines}

    def set(self, name: str, **words: object) -> None:
        engine = self.engines[name]
        engine.set(replace(engine.settings, **words), self.now)  # type: ignore[arg-type]
        self.carry()

    # ---- time ----------------------------------------------------------------------

    def run(self, duration: int) -> None:
        """Let this much time pass, from deadline to deadline."""
        end = self.now + duration
        self.carry()
        while (at := min(self._next(), default=end + 1)) <= end:
            self.now = max(self.now, at)
            self.step()
        self.now = end
        self.step()

    def step(self) -> None:
        """Deliver and tick what is due now."""
        due = [flight for flight in self.in_flight if flight[0] <= self.now]
        self.in_flight = [flight for flight in self.in_flight if flight[0] > self.now]
        for _, (name, number), frame in due:
            self.engines[name].receive(number, frame, self.now)
        for engine in self.engines.values():
            at = engine.deadline()
            if at is not None and at <= self.now:
                engine.tick(self.now)
                later = engine.deadline()
                assert later is None or later > self.now, "a timer that does not end"
        self.carry()

    def carry(self) -> None:
        """Take what the engines put out."""
        for name, engine in self.engines.items():
            for output in engine.take_outputs():
                if isinstance(output, Send):
                    self._put(name, output)
                elif isinstance(output, Notice):
                    self.notices[name].append(output)
                else:
                    self.answers.append(output)

    def _put(self, name: str, output: Send) -> None:
        end = (name, output.number)
        self.sent[end].append((self.now, output.frame))
        if end in self.wires and end not in self.silent:
            self.in_flight.append((self.now + DELAY, self.wires[end], output.frame))

    def _next(self) -> Iterator[Instant]:
        yield from (at for at, _, _ in self.in_flight)
        deadlines = (engine.deadline() for engine in self.engines.values())
        yield from (at for at in deadlines if at is not None)

    # ---- what is seen --------------------------------------------------------------

    def status(self, name: str, number: int) -> PortStatus:
        ports = self.engines[name].view().ports
        return next(port for port in ports if port.number == number)

    def distributing(self) -> dict[str, list[int]]:
        return {
            name: [port.number for port in engine.view().ports if port.distributing]
            for name, engine in self.engines.items()
        }

    def pdus(self, name: str, number: int) -> list[Lacpdu]:
        """All LACPDUs that were sent by a port."""
        decoded = [decode(frame) for _, frame in self.sent[name, number]]
        return [pdu for pdu in decoded if isinstance(pdu, Lacpdu)]

    def times(self, name: str, number: int) -> list[Instant]:
        return [at for at, _ in self.sent[name, number]]


GOOD = State.ACTIVITY | State.TIMEOUT | State.AGGREGATION
JOINED = GOOD | State.SYNC | State.COLLECTING | State.DISTRIBUTING


@dataclass
class Peer:
    """A partner that says what a test wants, by one wire to an engine of its own."""

    world: World
    name: str = "A"  # of the engine it speaks to

    def pdu(
        self,
        number: int,
        state: State = JOINED,
        actor: Party | None = None,
        partner: Party | None = None,
    ) -> Lacpdu:
        """From its port of that number; it knows the engine's port as it is."""
        mine = Party(system("Z"), 1, PortId(0x8000, number), state)
        known = self.world.status(self.name, number).actor
        return Lacpdu(actor or mine, partner or known)

    def say(self, number: int, pdu: Lacpdu) -> None:
        self.give(number, encode_lacpdu(pdu, port_mac("Z", number)))

    def give(self, number: int, frame: bytes) -> None:
        self.world.engines[self.name].receive(number, frame, self.world.now)
        self.world.carry()

    def keep_up(self, *numbers: int, seconds: int) -> None:
        """Join and stay joined by these ports: a PDU a second on each."""
        for _ in range(seconds):
            for number in numbers:
                self.say(number, self.pdu(number))
            self.world.run(SECOND)


def against_peer(ports: int = 1, **words: object) -> tuple[World, Peer]:
    """Engine A with a scripted partner."""
    world = World()
    world.add("A", ports, settings("A", **words))
    world.carry()
    return world, Peer(world)
