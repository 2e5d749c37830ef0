# SPDX-License-Identifier: BSD-2-Clause
"""A change on trial: it is done, and reverts unless it is confirmed in time.

Owns what is remembered of each lagg from before the change, the form in which that
outlives laggd, and the rules: until when, for whom, and which laggs nobody may change
meanwhile.  It is written down before the change is begun: whoever comes after a laggd
that was killed in the middle of it puts all back.  Pure; knows no lagg at work.

Time is CLOCK_BOOTTIME in nanoseconds: it is one for all processes of a boot, goes on
while the machine sleeps, and nobody sets it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated

from lagg.codec import dumps, loads
from lagg.frozen import dataclass
from lagg.lacp.values import NS_OF_MS, Instant
from lagg.link import Ifindex
from lagg.model import CONFIRM_MS_MAX, LaggConfig, PortOptions
from lagg.plan.shape import Port, Shape

TRIALS_MAX = 4096
"""One for each lagg that may be, and far less than what a file may hold."""

_HEAD = "laggd-trials 1\n"
_HEAD_CHARS_MAX = 40


@dataclass(frozen=True, slots=True)
class Before:
    """A lagg as it was before a change."""

    ifindex: Ifindex  # its own; by that it is known, whatever it is called meanwhile
    config: LaggConfig
    said: LaggConfig | None  # by the files
    shape: Shape

    @property
    def lasting(self) -> LaggConfig:
        """What makes it anew, when it is gone."""
        return self.shape.mac.lasting(self.config)

    def is_as(self, other: "Before") -> bool:
        """Whether it was the same then, links and their news aside."""
        return (self.config, self._state) == (other.config, other._state)

    @property
    def _state(self) -> tuple[object, ...]:
        """What a user may have set beside the settings, and who has which slot."""
        shape = self.shape
        held = [(port.link.ifindex, port.held_until) for port in shape.ports]
        return shape.picked, held, shape.timed_pins, _slots(shape)


@dataclass(frozen=True, slots=True)
class Trial:
    """A change that reverts at `due`, unless somebody confirms it."""

    due: Instant
    before: tuple[Before, ...] = ()  # the laggs that it changes
    created: tuple[str, ...] = ()  # by name, for they are not there yet
    made: tuple[Ifindex, ...] = ()  # the same once they are, whatever they are called

    @property
    def names(self) -> tuple[str, ...]:
        """All laggs that it is about, as they were called."""
        return (*(each.config.name for each in self.before), *self.created)

    def concerns(self, name: str, ifindex: int | None = None) -> bool:
        """Whether a lagg, as it is called now, is one of its."""
        known = {*self.made, *(each.ifindex for each in self.before)}
        return name in self.names or ifindex in known

    def left_ms(self, now: Instant) -> int:
        """Milliseconds until it reverts; none below 0."""
        return max(self.due - now, 0) // NS_OF_MS


Trials = Annotated[tuple[Trial, ...], range(TRIALS_MAX + 1)]


@dataclass(frozen=True, slots=True)
class _Saved:
    trials: Trials


def text(trials: Iterable[Trial]) -> bytes:
    """As they are kept."""
    return f"{_HEAD}{dumps(_Saved(tuple(trials)))}".encode()


def trials_of(saved: bytes, now: Instant) -> tuple[Trial, ...]:
    """What text() made in this boot.  ValueError says what is wrong."""
    head, _, body = saved.partition(b"\n")
    if head + b"\n" != _HEAD.encode():
        said = head[:_HEAD_CHARS_MAX].decode(errors="replace")
        raise ValueError(f"the trials begin with {said!r}, not {_HEAD.strip()!r}")
    found = loads(_Saved, body).trials
    latest = now + CONFIRM_MS_MAX * NS_OF_MS
    if any(trial.due > latest for trial in found):
        raise ValueError("trials: one ends later than any can")
    return found


def next_due(trials: Iterable[Trial]) -> Instant | None:
    """When the first reverts; None: there is none."""
    return min((trial.due for trial in trials), default=None)


def due(trials: Iterable[Trial], now: Instant) -> tuple[Trial, ...]:
    """Who reverts by now, the latest begun first: it was made of the others."""
    return tuple(trial for trial in reversed([*trials]) if trial.due <= now)


def put_back(shape: Shape, before: Shape) -> Shape:
    """`shape`, whose settings are those of `before` again, with its state as well.

    Who was chosen, for how long ports are held and buckets pinned; and where each port
    has its slot again, who has which bucket.
    """
    known = {port.link.ifindex: port for port in before.ports}
    ports = tuple(_as_held(port, known.get(port.link.ifindex)) for port in shape.ports)
    picked = None if before.picked is None else before.at(before.picked).link.ifindex
    found = replace(
        shape,
        ports=ports,
        order=before.order,
        port_options=_said(shape.port_options, before.port_options),
        picked=next((p.slot for p in ports if p.link.ifindex == picked), None),
        timed_pins=before.timed_pins,
    )
    if _slots(found) != _slots(before):
        return found
    return replace(
        found,
        primary=before.primary,
        homes=before.homes,
        incumbent=before.incumbent,
        carriers=before.carriers,
    )


def _said(
    options: Mapping[str, PortOptions], before: Mapping[str, PortOptions]
) -> Mapping[str, PortOptions]:
    """Without those of which nothing was said before, and nothing is."""
    usual = PortOptions()
    return {p: said for p, said in options.items() if p in before or said != usual}


def _as_held(port: Port, before: Port | None) -> Port:
    return port if before is None else replace(port, held_until=before.held_until)


def _slots(shape: Shape) -> dict[int, int]:
    return {port.link.ifindex: port.slot for port in shape.ports}
