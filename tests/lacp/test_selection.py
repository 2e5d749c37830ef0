# SPDX-License-Identifier: BSD-2-Clause
"""Selection: several aggregators, standby, minimum links, and who is the active one."""

from dataclasses import replace

import pytest

from lagg.lacp.aggregator import MEASURES
from lagg.lacp.port import Port
from lagg.lacp.values import AdSelect, Churn, Selected, Settings, System
from tests.lacp.world import LINK, SECOND, World, against_peer, port_mac, settings

# ---- places in an aggregator -------------------------------------------------------


def standby(world: World, name: str) -> list[int]:
    ports = world.engines[name].view().ports
    return [port.number for port in ports if port.selected is Selected.STANDBY]


def test_more_ports_than_max_ports_stand_by_and_step_in() -> None:
    world = World.pair(4, settings("A", max_ports=2))
    world.run(4 * SECOND)
    assert world.distributing() == {"A": [1, 2], "B": [1, 2]}
    assert standby(world, "A") == [3, 4]
    reason = "standby: the aggregator holds 2 ports"
    assert world.status("A", 3).reason == reason
    assert world.status("B", 3).reason == "partner not in sync"
    world.carrier(1, up=False)
    world.run(SECOND // 10)
    assert world.distributing() == {"A": [2, 3], "B": [2, 3]}


@pytest.mark.parametrize(("deciding", "expected"), [("A", [3]), ("B", [4])])
def test_the_better_system_s_port_priorities_decide(
    deciding: str, expected: list[int]
) -> None:
    world = World()
    for name, best in (("A", 3), ("B", 4)):
        its = settings(name, max_ports=1)
        first = System(1, its.system.mac)
        world.add(name, 4, replace(its, system=first) if name == deciding else its)
        world.engines[name].set_priority(best, 1, 0)
    for number in range(1, 5):
        world.join(("A", number), ("B", number))
    world.run(4 * SECOND)
    assert world.distributing() == {"A": expected, "B": expected}


def test_a_standby_port_is_not_a_churned_one() -> None:
    world = World.pair(2, settings("A", max_ports=1))
    world.run(100 * SECOND)
    assert standby(world, "A") == [2]
    status = world.status("A", 2)
    assert {status.actor_churn, status.partner_churn} == {Churn.NO_CHURN}


def test_a_better_port_takes_a_place_only_when_it_can_attach() -> None:
    """Break after make: the place is given up when its successor has waited."""
    world = World.pair(2, settings("A", max_ports=1))
    world.carrier(1, up=False)
    world.run(4 * SECOND)
    assert world.distributing() == {"A": [2], "B": [2]}
    world.carrier(1, up=True)
    world.run(2 * SECOND)
    assert world.distributing() == {"A": [2], "B": [2]}
    world.run(SECOND // 50)
    assert world.distributing() == {"A": [1], "B": [1]}


def test_with_fewer_than_min_links_the_aggregator_carries_nothing() -> None:
    world = World.pair(3, settings("A", min_links=2))
    world.run(4 * SECOND)
    assert world.distributing() == {"A": [1, 2, 3], "B": [1, 2, 3]}
    world.carrier(1, up=False)
    assert world.distributing() == {"A": [2, 3], "B": [2, 3]}
    world.carrier(2, up=False)
    world.run(SECOND // 10)
    assert world.distributing() == {"A": [], "B": []}
    view = world.engines["A"].view()
    assert view.aggregator is None
    assert world.status("A", 3).reason == "min-links 2 not met"
    world.carrier(2, up=True)
    world.run(3 * SECOND)
    assert world.distributing() == {"A": [2, 3], "B": [2, 3]}


def test_min_links_on_both_ends_come_up() -> None:
    world = World.pair(2, settings("A", min_links=2), settings("B", min_links=2))
    world.run(4 * SECOND)
    assert world.distributing() == {"A": [1, 2], "B": [1, 2]}


def test_min_links_count_what_the_partner_lets_distribute() -> None:
    world = World.pair(2, settings("A", min_links=2), settings("B", max_ports=1))
    world.run(5 * SECOND)
    assert world.distributing()["A"] == []
    assert world.engines["A"].view().aggregator is None
    assert world.status("A", 1).reason == "min-links 2 not met"


# ---- several aggregators -----------------------------------------------------------


def two_partners(first: int, second: int, **words: object) -> World:
    """A with `first` ports to B and then `second` ports to C."""
    world = World()
    world.add("A", first + second, settings("A", **words))
    world.add("B", first)
    world.add("C", second)
    for number in range(1, first + 1):
        world.join(("A", number), ("B", number))
    for number in range(1, second + 1):
        world.join(("A", first + number), ("C", number))
    return world


def down(world: World, *numbers: int, up: bool = False) -> None:
    """A's end alone; the far end hears of it by a timeout."""
    for number in numbers:
        world.engines["A"].set_medium(number, replace(LINK, up=up), world.now)
    world.carry()


def test_two_partners_make_two_aggregators_of_which_one_is_active() -> None:
    world = two_partners(2, 1)
    world.run(5 * SECOND)
    view = world.engines["A"].view()
    assert [port.aggregator for port in view.ports] == [1, 1, 3]
    assert view.aggregator == 1
    assert [port.active for port in view.ports] == [True, True, False]
    assert world.distributing()["A"] == [1, 2]
    assert world.status("A", 3).reason == "other aggregator is active"


def test_t_n_12_leaving_the_idle_aggregator_does_not_drop_the_link() -> None:
    """lagg(4) counts the ports of whichever aggregator changed last: F-ACT-3."""
    world = two_partners(2, 1)
    world.run(5 * SECOND)
    down(world, 3)
    assert world.engines["A"].view().aggregator == 1
    assert world.distributing()["A"] == [1, 2]


def test_the_other_aggregator_takes_over_at_once_when_the_active_one_is_gone() -> None:
    world = two_partners(1, 2)
    world.run(5 * SECOND)
    active = world.engines["A"].view().aggregator
    assert active is not None
    down(world, *[p.number for p in world.engines["A"].view().ports if p.distributing])
    assert world.engines["A"].view().aggregator not in {None, active}
    assert world.distributing()["A"] != []


@pytest.mark.parametrize(
    ("policy", "speeds", "expected"),
    [
        (AdSelect.BANDWIDTH, (100_000, 10_000, 10_000), [1]),
        (AdSelect.BANDWIDTH, (10_000, 10_000, 10_000), [2, 3]),
        (AdSelect.COUNT, (100_000, 10_000, 10_000), [2, 3]),
        (AdSelect.PORT_PRIORITY, (10_000, 10_000, 10_000), [1]),
        (AdSelect.STABLE, (100_000, 10_000, 10_000), [1]),
    ],
)
def test_the_policy_chooses_the_active_aggregator(
    policy: AdSelect, speeds: tuple[int, ...], expected: list[int]
) -> None:
    world = two_partners(1, 2, ad_select=policy)
    engine = world.engines["A"]
    engine.set_priority(1, 1, 0)
    for number, speed in enumerate(speeds, 1):
        engine.set_medium(number, replace(LINK, speed_mbps=speed), 0)
    world.run(15 * SECOND)
    assert world.distributing()["A"] == expected


@pytest.mark.parametrize("policy", [AdSelect.STABLE, AdSelect.BANDWIDTH])
def test_a_port_of_unknown_speed_counts_as_the_slowest_there_could_be(
    policy: AdSelect,
) -> None:
    media = [replace(LINK, speed_mbps=speed) for speed in (0, 0, 1, 10)]
    ports = [Port(n, "", 0, medium, settings("A"), 1) for n, medium in enumerate(media)]
    assert MEASURES[policy](ports) == 1 + 1 + 1 + 10


@pytest.mark.parametrize("policy", AdSelect)
def test_h79_an_aggregator_that_is_better_now_and_then_never_takes_over(
    policy: AdSelect,
) -> None:
    """H-79: a partner with the better group comes and goes every two seconds."""
    world = two_partners(1, 2, ad_select=policy)
    down(world, 2, 3)
    world.run(5 * SECOND)
    assert world.distributing()["A"] == [1]
    for _ in range(10):
        down(world, 2, 3, up=True)
        world.run(4 * SECOND)
        down(world, 2, 3)
        world.run(2 * SECOND)
        assert world.distributing()["A"] == [1]
    aggregator = [n for n in world.notices["A"] if n.event.value == "aggregator"]
    assert len(aggregator) == 1


def test_one_that_stays_better_takes_over_after_the_hold_time() -> None:
    world = two_partners(1, 2, ad_select=AdSelect.COUNT)
    down(world, 2, 3)
    world.run(5 * SECOND)
    down(world, 2, 3, up=True)
    world.run(10 * SECOND)
    assert world.distributing()["A"] == [2, 3]


def test_stable_leaves_traffic_where_it_is() -> None:
    world = two_partners(1, 2)
    down(world, 2, 3)
    world.run(5 * SECOND)
    down(world, 2, 3, up=True)
    world.run(100 * SECOND)
    assert world.distributing()["A"] == [1]


def test_h78_a_partner_whose_priorities_always_change_costs_one_flap() -> None:
    """H-78: the better system reshuffles its ports all the time, and then ends it."""
    world = World()
    world.add("A", 3, settings("A", max_ports=1))
    world.add("B", 3, replace(settings("B"), system=System(1, port_mac("B", 0))))
    for number in (1, 2, 3):
        world.join(("A", number), ("B", number))
    world.run(5 * SECOND)
    for n in range(120):
        world.engines["B"].set_priority(n % 3 + 1, n % 7 + 1, world.now)
        world.carry()
        world.run(SECOND // 2)
    assert world.engines["A"].view().flapping == 1
    world.run(5 * SECOND)
    assert len(world.distributing()["A"]) == 1


def test_mixed_speeds_make_aggregators_and_a_set_key_makes_one() -> None:
    """Row 49, multi-speed aggregation: with a key that the user sets."""

    def mixed(a: Settings) -> World:
        world = World.pair(2, a)
        for engine in world.engines.values():
            engine.set_medium(1, replace(LINK, speed_mbps=1000), world.now)
        world.run(5 * SECOND)
        return world

    assert mixed(settings("A")).engines["A"].view().aggregator is not None
    assert len(mixed(settings("A")).distributing()["A"]) == 1
    world = mixed(settings("A", key=5))
    world.set("B", key=5)
    world.run(10 * SECOND)
    assert world.distributing() == {"A": [1, 2], "B": [1, 2]}


def test_the_same_inputs_are_the_same_outputs() -> None:
    first, second = World.pair(3), World.pair(3)
    for world in (first, second):
        world.run(20 * SECOND)
    assert first.sent == second.sent
    assert first.engines["A"].view() == second.engines["A"].view()


def test_ports_of_any_number_may_come_and_go() -> None:
    world, peer = against_peer(ports=0)
    engine = world.engines["A"]
    for number in (65535, 7, 32):
        engine.add_port(number, port_mac("A", number % 256), 1, LINK, world.now)
    peer.keep_up(7, 32, 65535, seconds=4)
    assert world.distributing() == {"A": [7, 32, 65535]}
    for number in (7, 65535, 32):
        engine.remove_port(number, world.now)
    assert engine.view().ports == ()
    assert engine.deadline() is None
