# SPDX-License-Identifier: BSD-2-Clause
"""Two hosts with one system, one key and port numbers of their own are one partner.

host A: 1, 2  --------  1, 2 :switch S
host B: 1, 2  --------  3, 4 :
"""

from dataclasses import replace

import pytest

from lagg.lacp.engine import Engine
from lagg.lacp.values import PORT_OFFSET_MAX, PORTS_MAX, Bad, MarkerAnswered
from tests.lacp.world import LINK, SECOND, World, settings, system

OFFSET = 32
ALL = {"S": [1, 2, 3, 4], "A": [1, 2], "B": [1, 2]}
CABLES = {"A": [1, 2], "B": [3, 4]}
"""The switch's ends of each host's."""


def two_hosts(offset: int = OFFSET) -> World:
    """Both hosts call themselves A; B's port numbers are so much higher."""
    world = World()
    world.add("S", 4)
    world.add("A", 2, settings("A"))
    world.add("B", 2, settings("A", port_offset=offset))
    for name, ends in CABLES.items():
        for number, end in enumerate(ends, 1):
            world.join((name, number), ("S", end))
    return world


@pytest.fixture
def world() -> World:
    """All four cables carry."""
    made = two_hosts()
    made.run(5 * SECOND)
    assert made.distributing() == ALL
    return made


def lose(world: World, host: str, *, up: bool = False) -> None:
    """The host's cables lose their carrier, at both ends."""
    for number, end in enumerate(CABLES[host], 1):
        for name, port in ((host, number), ("S", end)):
            world.engines[name].set_medium(port, replace(LINK, up=up), world.now)
    world.carry()


def without(host: str) -> dict[str, list[int]]:
    """What distributes when that host is lost."""
    other = "AB".replace(host, "")
    return {"S": CABLES[other], host: [], other: [1, 2]}


def test_two_hosts_with_one_system_are_one_aggregator_over_four_cables(
    world: World,
) -> None:
    view = world.engines["S"].view()
    assert {port.aggregator for port in view.ports} == {view.aggregator}
    parties = [port.partner for port in view.ports]
    assert {(party.system, party.key) for party in parties} == {
        (system("A"), parties[0].key)
    }
    assert [party.port.number for party in parties] == [1, 2, 1 + OFFSET, 2 + OFFSET]
    assert [port.actor.port.number for port in world.engines["B"].view().ports] == [
        1 + OFFSET,
        2 + OFFSET,
    ]


@pytest.mark.parametrize("host", "AB")
def test_either_host_lost_by_carrier_leaves_the_other_s_ports_as_they_are(
    world: World, host: str
) -> None:
    """The first aggregator's own port may be among the lost ones."""
    flaps = {name: world.engines[name].view().flapping for name in "SAB"}
    lose(world, host)
    for _ in range(100):
        assert world.distributing() == without(host)
        world.run(SECOND)
    lose(world, host, up=True)
    world.run(5 * SECOND)
    assert world.distributing() == ALL
    other = "AB".replace(host, "")
    assert world.engines[other].view().flapping == flaps[other]
    assert [world.status("S", end).counts.flaps for end in CABLES[other]] == [0, 0]


@pytest.mark.parametrize("host", "AB")
def test_either_host_that_falls_silent_is_given_up_alone(
    world: World, host: str
) -> None:
    """Its power is gone, a media converter keeps the carrier."""
    for number, end in enumerate(CABLES[host], 1):
        world.silence(number, host)
        world.silence(end, "S")
    world.run(4 * SECOND)
    assert world.distributing() == without(host)
    other = "AB".replace(host, "")
    assert world.engines[other].view().flapping == 0


def test_without_an_offset_the_switch_takes_each_port_number_once() -> None:
    """H-12: what tells a port of one host from that of the other is its number."""
    world = two_hosts(offset=0)
    world.run(10 * SECOND)
    assert world.distributing()["S"] == [1, 2]
    assert [world.status("S", end).reason for end in (3, 4)] == [
        "duplicate partner port, as on port 1",
        "duplicate partner port, as on port 2",
    ]


@pytest.mark.parametrize("offset", [0, 7, PORT_OFFSET_MAX])
def test_a_new_offset_renegotiates_the_host_s_ports_and_no_other_s(
    world: World, offset: int
) -> None:
    """As another system would: out before it is told, in when the partner echoes it."""
    world.set("A", port_offset=100)
    world.run(5 * SECOND)
    world.set("B", port_offset=offset)
    assert world.distributing() == ALL | {"B": []}
    world.run(5 * SECOND)
    assert world.distributing() == ALL
    numbers = [world.status("S", end).partner.port.number for end in (3, 4)]
    assert numbers == [offset + 1, offset + 2]
    assert [world.status("S", end).counts.flaps for end in CABLES["A"]] == [1, 1]


def test_who_goes_on_for_a_host_says_the_same_numbers(world: World) -> None:
    saved = world.engines["B"].saved().after_absence(world.now)
    world.engines["B"] = Engine.restored(saved, world.now)
    for _ in range(10):
        world.run(SECOND)
        assert world.distributing() == ALL
    assert [world.status("S", end).counts.flaps for end in CABLES["B"]] == [0, 0]
    assert world.status("S", 4).partner.port.number == 2 + OFFSET


def test_the_highest_offset_leaves_room_for_every_port_of_a_lagg() -> None:
    assert PORT_OFFSET_MAX + PORTS_MAX == 0xFFFF


def test_a_marker_names_the_port_as_the_partner_knows_it(world: World) -> None:
    transaction = world.engines["B"].send_marker(2, world.now)
    assert transaction is not None
    world.run(SECOND // 10)
    assert world.answers == [MarkerAnswered(2, transaction)]
    assert world.status("B", 2).counts.marker_response_rx == 1


def test_a_cable_between_the_two_hosts_carries_nothing() -> None:
    """One system that hears itself is a loop; what joins the hosts is no port of it."""
    world = World()
    world.add("A", 1, settings("A"))
    world.add("B", 1, settings("A", port_offset=OFFSET))
    world.join(("A", 1), ("B", 1))
    world.run(10 * SECOND)
    assert world.distributing() == {"A": [], "B": []}
    bad = dict(world.status("B", 1).counts.bad)
    assert bad[Bad.OWN_SYSTEM] > 0
    assert world.status("B", 1).reason == "loops back to this system"
