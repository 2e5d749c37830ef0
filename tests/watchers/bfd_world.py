# SPDX-License-Identifier: BSD-2-Clause
"""Two ends of one path and virtual time for the tests of BFD.  Knows no expectation."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from lagg.lacp.values import Instant
from lagg.watchers.bfd import Bfd
from lagg.watchers.bfd_packet import (
    ControlPacket,
    Envelope,
)
from lagg.watchers.watcher import Ends
from lagg.watches import LinkWatch, WatchKind, WatchState

SECOND = 1_000_000_000
MS = 1_000_000
DELAY = MS
"""What the path takes."""

OTHER = {"a": "b", "b": "a"}

Path = Callable[[str, bytes], list[Instant]]
"""What becomes of a frame that one end has sent: when each copy of it arrives, from now
on.  None arrives: it is lost."""


def whole(_: str, __: bytes) -> list[Instant]:
    """A path that loses nothing."""
    return [DELAY]


def watch(interval_ms: int = 100, missed_max: int = 3) -> LinkWatch:
    return LinkWatch(WatchKind.BFD, interval_ms=interval_ms, missed_max=missed_max)


def ends(name: str) -> Ends:
    return Ends(f"02:00:5e:00:53:{ord(name):02x}", 0)


@dataclass
class World:
    """The ends "a" and "b", each a watcher of its port."""

    now: Instant = 10 * SECOND
    path: Path = whole
    machines: dict[str, Bfd] = field(default_factory=dict)
    in_flight: list[tuple[Instant, str, bytes]] = field(default_factory=list)
    sent: dict[str, list[tuple[Instant, ControlPacket]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    states: dict[str, list[tuple[Instant, WatchState]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(
        self,
        name: str,
        asked: LinkWatch | None = None,
        state: WatchState = WatchState.DOWN,
        memory: str = "",
    ) -> Bfd:
        """An end, in place of one that was there; its link is up."""
        self.machines[name] = machine = Bfd(asked or watch(), ends(name), state)
        machine.recall(memory)
        machine.link(True, self.now)
        self._note(name)
        return machine

    def pair(self, **asked: LinkWatch) -> "World":
        """Both ends, as asked for or usual."""
        for name in OTHER:
            self.add(name, asked.get(name))
        return self

    def run(self, for_ns: Instant) -> "World":
        """Lets so much time pass."""
        until = self.now + for_ns
        while (at := self._next_at()) is not None and at <= until:
            self.now = max(self.now, at)
            self._step()
        self.now = until
        return self

    def run_until(self, is_so: Callable[[], bool], within_ns: Instant) -> Instant:
        """Until it is so; how long it took.  It must be so in time."""
        began, until = self.now, self.now + within_ns
        while not is_so():
            at = self._next_at()
            assert at is not None, "nothing is due any more"
            assert at <= until, f"not so within {within_ns / MS} ms: {self}"
            self.now = max(self.now, at)
            self._step()
        return self.now - began

    def are(self, state: WatchState) -> bool:
        """Whether both ends say so."""
        return all(each.state is state for each in self.machines.values())

    def deliver(self, name: str, frame: bytes) -> None:
        """A frame comes in at an end, now."""
        self._send(name, self.machines[name].heard(frame, self.now))
        self._note(name)

    def _next_at(self) -> Instant | None:
        due = [each.due_at() for each in self.machines.values()]
        due += [at for at, _, _ in self.in_flight]
        return min((at for at in due if at is not None), default=None)

    def _step(self) -> None:
        arrived = [each for each in self.in_flight if each[0] <= self.now]
        self.in_flight = [each for each in self.in_flight if each[0] > self.now]
        for _, name, frame in sorted(arrived):
            if name in self.machines:
                self.deliver(name, frame)
        for name, machine in self.machines.items():
            due_at = machine.due_at()
            if due_at is not None and due_at <= self.now:
                self._send(name, machine.tick(self.now))
                self._note(name)

    def _send(self, name: str, frames: list[bytes]) -> None:
        for frame in frames:
            self.sent[name].append((self.now, opened(frame)))
            for after in self.path(name, frame):
                self.in_flight.append((self.now + after, OTHER[name], frame))

    def _note(self, name: str) -> None:
        state = self.machines[name].state
        if not self.states[name] or self.states[name][-1][1] is not state:
            self.states[name].append((self.now, state))


def opened(frame: bytes) -> ControlPacket:
    """What a frame says to whoever it is for."""
    packet = Envelope.open_vswitch(bytes(6), 1).open(frame)
    assert isinstance(packet, ControlPacket)
    return packet
