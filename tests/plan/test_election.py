# SPDX-License-Identifier: BSD-2-Clause
"""Who carries: lagg(4)'s primary by default, and bonding's documented rules on request.

Of bonding's own document: `primary`, `primary_reselect`, `prio`, `updelay` and
`downdelay`; a model of it, made of its sentences alone, runs beside ours.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from random import Random

import pytest

from lagg.lacp.values import NS_OF_MS
from lagg.model import Options, PortOptions, Proto, Reselect
from lagg.plan.delays import due_at
from lagg.plan.delays import settled as delays_settled
from lagg.plan.election import elected, settled, why
from lagg.plan.explain import Hashed, explain
from lagg.plan.plan import Plan, plan, standings
from lagg.plan.shape import Shape
from tests.plan.test_delays import port_of, with_carrier

SEED = 2026
PORTS = 3
SPEEDS = (1000, 10_000, 10_000)
SPREADS = (Proto.ROUNDROBIN, Proto.LOADBALANCE, Proto.BROADCAST)


def shape_of(
    proto: Proto = Proto.FAILOVER,
    priorities: Iterable[int] = (0, 0, 0),
    ports: int = PORTS,
    **options: object,
) -> Shape:
    """All links up, and elected."""
    chosen = replace(Options(hash_seed=1), **options)  # type: ignore[arg-type]
    of_ports = {f"eth{n}": PortOptions(priority=p) for n, p in enumerate(priorities)}
    shape = Shape(proto, chosen, port_options=of_ports)
    for slot in range(ports):
        speed = SPEEDS[slot % PORTS]
        port = port_of(slot, up=True)
        port = replace(port, modes=replace(port.modes, speed_mbps=speed))
        shape = settled(shape, shape.with_port(port))
    return shape


def carrier(shape: Shape, slot: int, *, up: bool) -> Shape:
    modes = shape.at(slot).modes
    changed = with_carrier(shape, slot, up=up)
    return settled(shape, changed.with_link(changed.at(slot).link, modes))


def after(shape: Shape, *lost: int, back: int | None = None) -> Shape:
    for slot in lost:
        shape = carrier(shape, slot, up=False)
    return shape if back is None else carrier(shape, back, up=True)


# ---- bonding's document beside ours --------------------------------------------------


@dataclass
class DocumentedBond:
    """Active-backup as its document describes it, a millisecond a step."""

    reselect: Reselect
    primary: int | None
    prio: tuple[int, ...]
    updelay: int
    downdelay: int
    link: list[bool] = field(default_factory=lambda: [True] * PORTS)
    usable: list[bool] = field(default_factory=lambda: [True] * PORTS)
    since: list[int] = field(default_factory=lambda: [-(10**6)] * PORTS)
    active: int | None = None

    def __post_init__(self) -> None:
        self._elect()

    def step(self, now: int) -> None:
        """What time and links let happen at this millisecond."""
        for port in range(PORTS):
            waited = now - self.since[port]
            delay = self.updelay if self.link[port] else self.downdelay
            if self.link[port] != self.usable[port] and waited >= delay:
                self.usable[port] = self.link[port]
        if not any(self.usable):  # "the first slave to recover" skips the updelay
            back = [port for port in range(PORTS) if self.link[port]]
            for port in sorted(back, key=lambda port: self.since[port])[:1]:
                self.usable[port] = True
        self._elect()

    def _elect(self) -> None:
        up = [port for port in range(PORTS) if self.usable[port]]
        if not up:
            self.active = None
            return
        best = max(up, key=lambda port: (port == self.primary, self.prio[port]))
        if self.active not in up or self._prefers(best):
            self.active = best

    def _prefers(self, best: int) -> bool:
        """Whether `best` takes over from the active one, both of them usable.

        Without a primary that is up the one that carries stays, unless the other has
        a higher prio (as bonding does it; its document is silent).
        """
        assert self.active is not None
        if best != self.primary and self.prio[best] <= self.prio[self.active]:
            return False
        faster = SPEEDS[best] > SPEEDS[self.active]
        return {
            Reselect.ALWAYS: True,
            Reselect.BETTER: faster,
            Reselect.FAILURE: False,
        }[self.reselect]


def histories(random: Random, count: int) -> Iterator[list[tuple[int, int]]]:
    """At which milliseconds which port's link becomes what it was not."""
    for _ in range(count):
        times = sorted(random.sample(range(1, 600), 10))
        yield [(at, random.randrange(PORTS)) for at in times]


def of_ours(shape: Shape, history: list[tuple[int, int]], end: int) -> list[int | None]:
    """Who carries at each millisecond."""
    found: list[int | None] = []
    changes = dict(history)
    links = [True] * PORTS
    carries, due = elected(shape), due_at(shape)
    for now in range(end):
        changed = shape
        if now in changes:
            slot = changes[now]
            links[slot] = not links[slot]
            modes = shape.at(slot).modes
            link = with_carrier(shape, slot, up=links[slot]).at(slot).link
            changed = shape.with_link(link, modes)
        if now in changes or (due is not None and due <= now * NS_OF_MS):
            changed = delays_settled(shape, changed, now * NS_OF_MS)
            shape = settled(shape, changed)
            carries, due = elected(shape), due_at(shape)
        found.append(carries)
    return found


def of_bonding(
    bond: DocumentedBond, history: list[tuple[int, int]], end: int
) -> list[int | None]:
    found: list[int | None] = []
    changes = dict(history)
    for now in range(end):
        if now in changes:
            port = changes[now]
            bond.link[port] = not bond.link[port]
            # A link that is back in time ends the wait as if nothing had been.
            bond.since[port] = now
        bond.step(now)
        found.append(bond.active)
    return found


@pytest.mark.parametrize("reselect", Reselect)
@pytest.mark.parametrize("primary", [None, 0, 1, 2])
@pytest.mark.parametrize("prio", [(0, 10, 20), (20, 0, -10), (0, 0, 0)])
def test_who_is_active_is_as_bonding_documents_it(
    reselect: Reselect, primary: int | None, prio: tuple[int, ...]
) -> None:
    if primary is None and len({*prio}) == 1:
        reselect = Reselect.FAILURE  # as imported: lagg(4) returns to the first port
    print(f"seed {SEED}")
    random = Random(f"{SEED}{reselect}{primary}{prio}")
    for up_ms, down_ms in product((0, 70), (0, 40)):
        name = None if primary is None else f"eth{primary}"
        options = Options(
            hash_seed=1,
            up_delay_ms=up_ms,
            down_delay_ms=down_ms,
            primary=name,
            reselect=reselect,
        )
        for history in histories(random, 4):
            shape = replace(shape_of(priorities=prio), options=options)
            shape = replace(shape, incumbent=elected(replace(shape, incumbent=None)))
            bond = DocumentedBond(reselect, primary, prio, up_ms, down_ms)
            found = of_ours(shape, history, 700)
            assert found == of_bonding(bond, history, 700), (history, up_ms, down_ms)


# ---- one rule at a time --------------------------------------------------------------


@pytest.mark.parametrize(
    ("reselect", "carries"),
    [(Reselect.ALWAYS, 0), (Reselect.BETTER, 1), (Reselect.FAILURE, 1)],
)
def test_a_primary_that_is_back_takes_over_as_reselect_says(
    reselect: Reselect, carries: int
) -> None:
    """eth0 is slower than eth1."""
    shape = after(shape_of(primary="eth0", reselect=reselect), 0, back=0)
    assert elected(shape) == carries


def test_a_faster_primary_that_is_back_takes_over_with_better() -> None:
    shape = shape_of(primary="eth1", reselect=Reselect.BETTER)
    assert elected(after(shape, 1, 2, back=1)) == 1


@pytest.mark.parametrize("reselect", Reselect)
def test_a_primary_carries_once_it_is_named_or_attached_whatever_reselect_is(
    reselect: Reselect,
) -> None:
    shape = shape_of(reselect=reselect, primary="eth2", ports=2)
    assert elected(shape) == 0
    attached = settled(shape, shape.with_port(port_of(2, up=False)))
    assert elected(attached) == 0  # and is due when its link comes
    assert elected(carrier(attached, 2, up=True)) == 2
    named = attached.with_options(replace(attached.options, primary="eth1"))
    assert elected(settled(attached, named)) == 1


def test_a_new_reselect_elects_at_once() -> None:
    shape = after(shape_of(reselect=Reselect.FAILURE), 0, back=0)
    always = replace(shape, options=replace(shape.options, reselect=Reselect.ALWAYS))
    assert (elected(shape), elected(settled(shape, always))) == (1, 0)


def test_a_user_s_choice_carries_until_it_fails() -> None:
    shape = shape_of()
    chosen = settled(shape, shape.with_pick("eth2"))
    assert (elected(chosen), why(chosen)) == (
        2,
        "a user chose this port, until it fails",
    )
    assert elected(after(chosen, 0, back=0)) == 2
    failed = after(chosen, 2, back=2)
    assert elected(failed) == 0
    assert failed.picked is None


def test_a_user_s_choice_outlives_other_protocols() -> None:
    chosen = settled(shape_of(), shape_of().with_pick("eth2"))
    for proto in Proto:
        other = settled(chosen, replace(chosen, proto=proto))
        assert elected(settled(other, replace(other, proto=Proto.FAILOVER))) == 2


def test_a_choice_that_is_taken_back_leaves_it_to_the_rules() -> None:
    shape = shape_of(reselect=Reselect.FAILURE)
    chosen = settled(shape, shape.with_pick("eth2"))
    assert elected(settled(chosen, chosen.with_pick(""))) == 0


def test_who_stands_in_is_the_best_of_those_that_are_left() -> None:
    shape = shape_of(priorities=(5, 10, 20))
    assert plan(shape).tx_slots == (2, 1, 0)
    assert why(shape) == "of the usable ports it has the highest priority, 20"


def test_a_renamed_primary_stays_one() -> None:
    shape = shape_of(primary="eth1")
    port = shape.at(1)
    renamed = shape.with_link(replace(port.link, name="wan"), port.modes)
    assert (renamed.options.primary, elected(settled(shape, renamed))) == ("wan", 1)


def test_with_too_few_links_nothing_is_carried() -> None:
    shape = after(shape_of(min_links=2), 0, 1)
    assert plan(shape).tx_slots == ()
    reasons = [standing.reason for standing in standings(shape).values()]
    assert reasons == ["carrier down", "carrier down", "min_links 2 not met"]


def test_why_tells_who_would_carry_by_preference() -> None:
    shape = after(shape_of(reselect=Reselect.FAILURE), 0, back=0)
    found = explain("lagg0", shape, plan(shape), 1, Hashed(0))
    assert found.choice.ports == ("eth1",)
    assert found.why == (
        "it carried when eth0, the preferred, was back: reselect failure"
    )


# ---- groups of a static spread -------------------------------------------------------

FOUR = (10, 10, 0, 0)


def carriers(found: Plan) -> set[int]:
    return {*found.tx_slots}


@pytest.mark.parametrize("proto", SPREADS)
@pytest.mark.parametrize("kind", ["crc32c", "fnv1"])
def test_only_the_best_group_that_has_enough_links_carries(
    proto: Proto, kind: str
) -> None:
    options = Options()
    shape = shape_of(proto, FOUR, 4, min_links=2, hash=type(options.hash)(kind))
    assert carriers(plan(shape)) == {0, 1}
    assert plan(shape).rx_accept == {0, 1}
    lost = after(shape, 1)
    assert carriers(plan(lost)) == {2, 3}
    assert plan(lost).rx_accept == {2, 3}
    none = after(lost, 3)
    assert carriers(plan(none)) == set()
    assert plan(none).rx_accept == {0, 1, 2, 3}
    assert carriers(plan(after(lost, back=1))) == {0, 1}


@pytest.mark.parametrize("proto", SPREADS)
@pytest.mark.parametrize(
    ("reselect", "expected"),
    [
        (Reselect.ALWAYS, {0, 1}),
        (Reselect.BETTER, {2, 3}),  # of the same speed together
        (Reselect.FAILURE, {2, 3}),
    ],
)
def test_a_group_that_is_whole_again_takes_over_as_reselect_says(
    proto: Proto, reselect: Reselect, expected: set[int]
) -> None:
    shape = shape_of(proto, FOUR, 4, min_links=2, reselect=reselect)
    assert carriers(plan(after(shape, 0, back=0))) == expected


@pytest.mark.parametrize("proto", SPREADS)
def test_failover_rx_all_takes_frames_of_every_group(proto: Proto) -> None:
    shape = shape_of(proto, FOUR, 4, failover_rx_all=True)
    assert plan(shape).rx_accept == {0, 1, 2, 3}


@pytest.mark.parametrize("proto", SPREADS)
def test_explain_says_which_group_carries(proto: Proto) -> None:
    shape = shape_of(proto, FOUR, 4)
    found = explain("lagg0", shape, plan(shape), 1, Hashed(7))
    assert found.why.endswith("of the groups by priority that of eth0, eth1 carries")


@pytest.mark.parametrize("proto", [*Proto])
def test_a_port_that_has_left_is_nobody_that_carried_whatever_the_protocol_is(
    proto: Proto,
) -> None:
    spread = shape_of(Proto.ROUNDROBIN)
    other = settled(spread, replace(spread, proto=proto))
    left = settled(other, other.without_port(1))
    assert left.carriers == {0, 2}
