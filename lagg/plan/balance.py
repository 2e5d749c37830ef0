# SPDX-License-Identifier: BSD-2-Clause
"""Which buckets move, so that no port has much more of the load than its share.

Owns the policy.  A port's share goes by its speed and weight.  One that is hot, far
above its share, gives buckets to whoever has most room until it is near it: each time
the one that evens both out most, so that few move.  A bucket that would only carry the
peak elsewhere stays, and all others leave it.

Nothing moves for nothing, or back again: what counts is the load of two intervals, in
one at most MOVES_MAX buckets move, and one that has moved rests, twice as long each
time that it has to move again soon.  Pure: bytes in, moves out; time is a number of
intervals.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace

from lagg.frozen import dataclass
from lagg.plan.buckets import Slot
from lagg.plan.shape import Port, Shape

MOVES_MAX = 32
"""Buckets that move in an interval: an eighth of them."""

HOT_PERCENT = 20
"""So far above its share a port gives buckets away: flows come and go by a bit less."""

WARM_PERCENT = 5
"""So near to it a port gives no more away."""

GAIN_PERCENT = 10
"""Percent of an even load by which a bucket lowers the peak to become the next one."""

NOISE_BYTES = 1 << 16
"""By less in an interval no port is above its share."""

REST_MIN, REST_MAX = 4, 256
"""Intervals for which a bucket that moved stays."""

SPEED_UNKNOWN_MBPS = 1000
"""As weights have it."""


@dataclass(frozen=True, slots=True)
class FlowLoad:
    """What went out in an interval, and who carries it from now on."""

    sizes: Sequence[int]  # bytes, by bucket
    deal: Sequence[Slot]  # by bucket
    capacities: Mapping[Slot, int]  # of each port that carries, in any unit
    fixed: frozenset[int] = frozenset()  # buckets that stay whatever they carry

    def after(self, moves: Mapping[int, Slot]) -> "FlowLoad":
        """This load with these buckets elsewhere, where they stay."""
        deal = [moves.get(bucket, slot) for bucket, slot in enumerate(self.deal)]
        return replace(self, deal=deal, fixed=self.fixed.union(moves))

    @property
    def sent(self) -> dict[Slot, int]:
        """Bytes by port."""
        found = dict.fromkeys(self.capacities, 0)
        for size, slot in zip(self.sizes, self.deal, strict=True):
            found[slot] += size
        return found

    @property
    def levels(self) -> dict[Slot, float]:
        """Bytes of each port, in shares of its own: all are 1.0 when they are even."""
        total, room = sum(self.sizes), sum(self.capacities.values())
        return {
            slot: size * room / (total * self.capacities[slot]) if total else 1.0
            for slot, size in self.sent.items()
        }

    def share(self, slot: Slot) -> float:
        """How many of the bytes are a port's own."""
        total, room = sum(self.sizes), sum(self.capacities.values())
        return total * self.capacities[slot] / room


def capacities(shape: Shape, ports: Iterable[Port]) -> dict[Slot, int]:
    """What these ports are to carry, in proportion: by speed and weight."""
    found = {}
    for port in ports:
        weight = shape.options_of(port.link.name).weight or 1  # 0: by speed alone
        found[port.slot] = weight * (port.speed_mbps or SPEED_UNKNOWN_MBPS)
    return found


@dataclass(frozen=True, slots=True)
class Rest:
    """A bucket that has moved stays."""

    until: int  # this interval
    length: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What one interval leaves to the next."""

    interval: int = 0
    sizes: tuple[int, ...] = ()  # of the last one; none after a port came or went
    rests: Mapping[int, Rest] = field(default_factory=dict)

    def rebased(self) -> "Memory":
        """Without the last interval: what it says is of another deal."""
        return replace(self, sizes=())


def step(memory: Memory, load: FlowLoad) -> tuple[Memory, dict[int, Slot]]:
    """The next interval, and the buckets that move at its end, with their new port."""
    before = memory.sizes or load.sizes
    mean = [(a + b) // 2 for a, b in zip(before, load.sizes, strict=True)]
    now = memory.interval + 1
    resting = (bucket for bucket, rest in memory.rests.items() if rest.until > now)
    found = moves(replace(load, sizes=mean, fixed=load.fixed.union(resting)))
    rests = {**memory.rests, **{b: _rest(memory.rests.get(b), now) for b in found}}
    return Memory(now, tuple(load.sizes), rests), found


def _rest(last: Rest | None, now: int) -> Rest:
    again = last is not None and now < last.until + last.length
    length = min(2 * last.length, REST_MAX) if last and again else REST_MIN
    return Rest(now + length, length)


def moves(load: FlowLoad) -> dict[int, Slot]:
    """The buckets that are to move, each with its new port; at most MOVES_MAX."""
    hot = [slot for slot in load.capacities if _is_hot(load, slot)]
    found: dict[int, Slot] = {}
    while len(found) < MOVES_MAX:
        chosen = _next(load, hot)
        if not chosen:
            break
        found |= chosen
        load = load.after(chosen)
    return found


def _is_hot(load: FlowLoad, slot: Slot) -> bool:
    share = load.share(slot)
    return load.sent[slot] - share > max(NOISE_BYTES, share * HOT_PERCENT / 100)


def _next(load: FlowLoad, hot: Iterable[Slot]) -> dict[int, Slot]:
    """The bucket that helps the hottest port that can be helped; none: no one can."""
    levels = load.levels
    coolest = min(levels, key=lambda slot: (levels[slot], slot))
    warm = (slot for slot in hot if levels[slot] > 1 + WARM_PERCENT / 100)
    for slot in sorted(warm, key=lambda slot: -levels[slot]):
        bucket = _best(load, levels, slot, coolest)
        if bucket is not None:
            return {bucket: coolest}
    return {}


def _best(
    load: FlowLoad, levels: Mapping[Slot, float], of: Slot, to: Slot
) -> int | None:
    """The bucket of one port that leaves the lower peak of both on the other."""
    best, lowest = None, levels[of]
    share_of, share_to = load.share(of), load.share(to)
    for bucket in _movable(load, of, to):
        size = load.sizes[bucket]
        left, raised = levels[of] - size / share_of, levels[to] + size / share_to
        peak = max(left, raised)
        gains = raised <= left or levels[of] - peak >= GAIN_PERCENT / 100
        if gains and peak < lowest:
            best, lowest = bucket, peak
    return best


def _movable(load: FlowLoad, of: Slot, to: Slot) -> list[int]:
    """The buckets of a port but for those that stay.

    So does the heaviest if it fills either port: it would be the peak there as well.
    """
    there = [bucket for bucket, slot in enumerate(load.deal) if slot == of]
    heaviest = max(there, key=load.sizes.__getitem__)
    fills = load.sizes[heaviest] > max(load.share(of), load.share(to))
    stays = load.fixed | {heaviest} if fills else load.fixed
    return [bucket for bucket in there if load.sizes[bucket] and bucket not in stays]
