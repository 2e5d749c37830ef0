# SPDX-License-Identifier: BSD-2-Clause
"""What a person wants to know: one notice for each change of state that matters.

Owns what was last told of each port, and the limit on how often it is told.  Knows
no machine.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Annotated

from lagg.frozen import dataclass
from lagg.lacp.port import Port
from lagg.lacp.values import Churn, Count, Instant, Notice, NoticeKind, Party

INTERVAL_NS = 1_000_000_000
"""A port's event of one kind is told once in so long; the last of many is told late."""

DESCRIPTION_CHARS_MAX = 100
"""More than describe() ever says."""

Fact = bool | int | Annotated[str, range(DESCRIPTION_CHARS_MAX + 1)]

# Each event and the fact whose change it is; a reason is known by how it begins.
_FACTS: Mapping[NoticeKind, Callable[[Port, str], Fact]] = {
    NoticeKind.DISTRIBUTING: lambda _, why: not why,
    NoticeKind.PARTNER: lambda port, _: describe(port.partner),
    NoticeKind.LATE: lambda port, _: port.counts.lacpdu_late,
    NoticeKind.ACTOR_CHURN: lambda port, _: port.actor_churn is Churn.CHURN,
    NoticeKind.PARTNER_CHURN: lambda port, _: port.partner_churn is Churn.CHURN,
    NoticeKind.LOOP_BACK: lambda port, _: port.loop_while is not None,
    NoticeKind.DUPLICATE: lambda port, _: port.duplicate_of is not None,
    NoticeKind.HELD: lambda port, _: port.held_until is not None,
}

_TOLD_WHEN_TRUE = frozenset(
    {NoticeKind.ACTOR_CHURN, NoticeKind.PARTNER_CHURN, NoticeKind.LOOP_BACK}
    | {NoticeKind.DUPLICATE, NoticeKind.HELD}
)


def _words(event: NoticeKind, port: Port, why: str) -> str:
    if event is NoticeKind.PARTNER:
        return "none" if port.defaulted else describe(port.partner)
    if event is NoticeKind.LATE:
        return "the partner was not heard in time"
    if event is NoticeKind.DISTRIBUTING:
        return f"stopped: {why}" if why else "started"
    return why


def agreement(carriers: Sequence[Port]) -> str:
    """As "agreed with 02:..., key 7", by the ports of the active aggregator."""
    if not carriers:
        return "no port distributes"
    if carriers[0].defaulted:
        return "carries without a partner"
    partner = carriers[0].partner
    return f"agreed with {partner.system.mac}, key {partner.key}"


def describe(party: Party) -> str:
    """One end in a line: "system 8000,02:00:5e:00:53:01 key 1 port 8000,0001"."""
    system, port = party.system, party.port
    return (
        f"system {system.priority:04x},{system.mac} key {party.key} "
        f"port {port.priority:04x},{port.number:04x}"
    )


@dataclass(frozen=True, slots=True)
class SavedNotices:
    """What a Teller knows of one port."""

    told: tuple[tuple[NoticeKind, Fact], ...]  # once it was looked at
    last: tuple[tuple[NoticeKind, Instant], ...]  # when each was told last
    unsaid: tuple[tuple[NoticeKind, Count], ...]  # changes since, of what `last` has


@dataclass(slots=True)
class Teller:
    """Turns statuses into notices."""

    _told: dict[int, dict[NoticeKind, Fact]] = field(default_factory=dict)
    _last: dict[tuple[int, NoticeKind], Instant] = field(default_factory=dict)
    _unsaid: dict[tuple[int, NoticeKind], int] = field(default_factory=dict)

    def saved(self, number: int) -> SavedNotices:
        """What resume() needs to know of a port."""
        return SavedNotices(
            told=tuple(self._told.get(number, {}).items()),
            last=tuple((k, at) for (n, k), at in self._last.items() if n == number),
            unsaid=tuple((k, m) for (n, k), m in self._unsaid.items() if n == number),
        )

    def resume(self, number: int, saved: SavedNotices) -> None:
        """Goes on with a port as the one that was saved."""
        if saved.told:
            self._told[number] = dict(saved.told)
        self._last |= {(number, kind): at for kind, at in saved.last}
        self._unsaid |= {(number, kind): more for kind, more in saved.unsaid}

    def changes(self, port: Port, why: str | None, now: Instant) -> Iterator[Notice]:
        """What is to be said of a port that distributes, or does not for a reason."""
        words = why or ""
        facts = {event: fact(port, words) for event, fact in _FACTS.items()}
        before = self._told.get(port.number, facts)
        self._told[port.number] = facts
        for event, value in facts.items():
            key = (port.number, event)
            if value == before.get(event, value) and not self._is_due(key, now):
                continue
            if value or event not in _TOLD_WHEN_TRUE:
                yield from self._limited(key, _words(event, port, words), now)
            else:
                self._unsaid.pop(key, None)

    def due_at(self) -> Instant | None:
        """When something that was not told may be."""
        return min(
            (self._last[key] + INTERVAL_NS for key in self._unsaid), default=None
        )

    def _is_due(self, key: tuple[int, NoticeKind], now: Instant) -> bool:
        return key in self._unsaid and now - self._last[key] >= INTERVAL_NS

    def forget(self, number: int) -> None:
        """The port is gone."""
        self._told.pop(number, None)
        for event in _FACTS:
            self._last.pop((number, event), None)
            self._unsaid.pop((number, event), None)

    def _limited(
        self, key: tuple[int, NoticeKind], words: str, now: Instant
    ) -> Iterator[Notice]:
        if now - self._last.get(key, now - INTERVAL_NS) < INTERVAL_NS:
            self._unsaid[key] = self._unsaid.get(key, 0) + 1
            return
        unsaid = self._unsaid.pop(key, 0)
        more = f" ({unsaid} changes since)" if unsaid > 1 else ""
        self._last[key] = now
        number, event = key
        yield Notice(number, event, words + more)
