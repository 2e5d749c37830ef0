# SPDX-License-Identifier: BSD-2-Clause
"""Which aggregator is the active one: the one whose ports carry the lagg's frames.

Owns the policies of ad_select and the patience with an aggregator that is better only
now and then.  Ports of the others keep their state with their partners and carry
nothing.  lagg(4) takes the count of whichever aggregator changed last for that of the
active one (F-ACT-3); here each is counted by itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lagg.lacp.port import DISTRIBUTES, Port
from lagg.lacp.selection import aggregators, members
from lagg.lacp.values import AdSelect, Instant, PortNumber, Settings

HOLD_NS = 5_000_000_000
"""How long another aggregator has to be better before it takes over (H-79)."""


@dataclass(slots=True)
class ActiveAggregator:
    """The active aggregator and who is about to replace it."""

    active: PortNumber | None = None
    challenger: PortNumber | None = None
    takes_over_at: Instant | None = None

    def settle(self, ports: Sequence[Port], settings: Settings, now: Instant) -> None:
        """Choose anew.  One that carries is replaced only by a lasting better one."""
        able = [n for n in aggregators(ports) if can_carry(ports, n, settings)]
        if self.active not in able:
            self._make_active(max(able, key=_score(ports, settings), default=None))
        elif settings.ad_select is not AdSelect.STABLE:
            self._challenge(max(able, key=_score(ports, settings, self.active)), now)
        else:
            self._make_active(self.active)

    def _challenge(self, best: int, now: Instant) -> None:
        if best == self.active:
            self._make_active(best)
        elif best != self.challenger:
            self.challenger, self.takes_over_at = best, now + HOLD_NS
        elif self.takes_over_at is not None and self.takes_over_at <= now:
            self._make_active(best)

    def _make_active(self, number: int | None) -> None:
        self.active = number
        self.challenger = self.takes_over_at = None


def carriers(ports: Iterable[Port], number: int) -> list[Port]:
    """The ports of an aggregator whose mux state is distributing."""
    return [port for port in members(ports, number) if port.mux in DISTRIBUTES]


def can_carry(ports: Iterable[Port], number: int, settings: Settings) -> bool:
    """Whether so many distribute as min_links asks for; a fallback port is exempt."""
    carrying = carriers(ports, number)
    exempt = any(port.fallback for port in carrying)
    return exempt or len(carrying) >= settings.min_links


def others_carry(ports: Iterable[Port], settings: Settings) -> bool:
    """Whether an aggregator can without the ports whose partner changes too often."""
    steady = [port for port in ports if port.held_until is None]
    return any(can_carry(steady, n, settings) for n in aggregators(steady))


def _bandwidth(carrying: Sequence[Port]) -> int:
    return sum(max(port.medium.speed_mbps, 1) for port in carrying)


def _best_port(carrying: Sequence[Port]) -> int:
    return -min(port.priority for port in carrying)


MEASURES: Mapping[AdSelect, Callable[[Sequence[Port]], int]] = {
    AdSelect.STABLE: _bandwidth,
    AdSelect.BANDWIDTH: _bandwidth,
    AdSelect.COUNT: len,
    AdSelect.PORT_PRIORITY: _best_port,
}


def _score(
    ports: Sequence[Port], settings: Settings, favourite: int | None = None
) -> Callable[[int], tuple[object, ...]]:
    """The highest wins: by a partner that was heard, the policy, the favourite."""

    def score(number: int) -> tuple[object, ...]:
        carrying = carriers(ports, number)
        real = any(not port.defaulted for port in carrying)
        measure = MEASURES[settings.ad_select](carrying)
        return real, measure, number == favourite, -number

    return score
