# SPDX-License-Identifier: BSD-2-Clause
"""A partner that changes too often is held off: only for the others' sake, and not for
ever when a person knows better.  H-14.
"""

from dataclasses import replace

from lagg.lacp.values import Party, PortId, System
from tests.lacp.world import JOINED, LINK, SECOND, Peer, World, against_peer, system

HELD = "held: the partner changes too often"
CHANGES = 6
"""Each within ten seconds; three are free."""

BACK_S = 4
"""Two of Aggregate_Wait, and some until both ends know."""


def another(world: World, number: int = 1) -> Party:
    """An actor that has not been there before."""
    key = world.now // SECOND % 0xFFFF + 1
    return Party(system("Z"), key, PortId(0x8000, number), JOINED)


def change(peer: Peer, *also: int) -> None:
    """Port 1's partner is another one each second; those of `also` are steady."""
    for _ in range(CHANGES):
        peer.say(1, peer.pdu(1, actor=another(peer.world)))
        peer.keep_up(*also, seconds=1)


def steady(peer: Peer, *numbers: int, seconds: int) -> None:
    """Keeps these partners as they are for so long, port 1's from now on."""
    peer.keep_up(*numbers, seconds=seconds)


def held(ports: int = 2) -> tuple[World, Peer]:
    """Port 1 is held off while the others carry."""
    world, peer = against_peer(ports=ports)
    others = range(2, ports + 1)
    steady(peer, *others, seconds=4)
    change(peer, *others)
    assert world.status("A", 1).reason == HELD
    assert world.distributing() == {"A": [*others]}
    return world, peer


def flaps(world: World, number: int) -> int:
    return world.status("A", number).counts.flaps


def test_a_held_port_is_back_when_the_partner_is_steady() -> None:
    world, peer = held()
    steady(peer, 1, 2, seconds=20)
    assert world.distributing() == {"A": [1, 2]}
    assert flaps(world, 2) == 0


def test_where_nothing_else_can_carry_nothing_is_held_up() -> None:
    """A switch that is being set up anew: it renegotiates as often as it changes."""
    world, peer = against_peer()
    change(peer)
    assert world.status("A", 1).reason != HELD
    steady(peer, 1, seconds=BACK_S)
    assert world.distributing() == {"A": [1]}


def test_all_ports_of_a_partner_that_changes_are_back_together() -> None:
    world, peer = against_peer(ports=3)
    for _ in range(CHANGES):
        key = another(world).key
        for number in (1, 2, 3):
            actor = replace(another(world, number), key=key)
            peer.say(number, peer.pdu(number, actor=actor))
        world.run(SECOND)
    steady(peer, 1, 2, 3, seconds=BACK_S)
    assert world.distributing() == {"A": [1, 2, 3]}
    # When their holds are over, at times of their own, nobody loses his place.
    steady(peer, 1, 2, 3, seconds=70)
    assert [flaps(world, number) for number in (1, 2, 3)] == [0, 0, 0]


def test_what_can_carry_with_it_alone_does_not_wait_for_it() -> None:
    """With min_links one steady port carries nothing: then it protects nobody."""
    world, peer = against_peer(ports=2, min_links=2)
    steady(peer, 1, 2, seconds=5)
    change(peer, 2)
    steady(peer, 1, 2, seconds=BACK_S)
    assert world.distributing() == {"A": [1, 2]}


def test_the_hold_ends_when_the_last_of_the_others_is_lost() -> None:
    world, peer = held()
    world.carrier(2, up=False)
    steady(peer, 1, seconds=BACK_S)
    assert world.distributing() == {"A": [1]}


def test_who_carries_is_not_thrown_out_when_another_comes() -> None:
    """To let it go would be the change that the hold is to prevent."""
    world, peer = against_peer(ports=2)
    world.engines["A"].set_medium(2, replace(LINK, up=False), world.now)
    change(peer)
    steady(peer, 1, seconds=BACK_S)
    world.engines["A"].set_medium(2, LINK, world.now)
    steady(peer, 1, 2, seconds=70)
    assert world.distributing() == {"A": [1, 2]}
    assert flaps(world, 1) == 0


def test_another_system_that_carries_is_protected_as_well() -> None:
    world, peer = against_peer(ports=2)
    other = Party(System(1, "02:00:5e:00:53:77"), 9, PortId(1, 2), JOINED)
    for _ in range(4 + CHANGES):
        peer.say(1, peer.pdu(1, actor=another(world)))
        peer.say(2, peer.pdu(2, actor=other))
        world.run(SECOND)
    assert world.distributing() == {"A": [2]}
    assert world.status("A", 1).reason == HELD


def test_a_user_ends_a_hold_and_what_was_counted_is_forgotten() -> None:
    world, peer = held()
    world.engines["A"].release([1, 2], world.now)
    world.carry()
    steady(peer, 1, 2, seconds=BACK_S)
    assert world.distributing() == {"A": [1, 2]}
    assert flaps(world, 2) == 0
    peer.say(1, peer.pdu(1, actor=another(world)))
    steady(peer, 1, 2, seconds=BACK_S)
    assert world.distributing() == {"A": [1, 2]}  # one change is free again


def test_the_fourth_change_in_a_row_begins_a_hold_that_doubles_up_to_a_minute() -> None:
    world, peer = held(ports=2)
    port = world.engines["A"]._ports[1]
    port.strikes, port.struck_at = 0, 0
    seconds = []
    for changes in range(12):
        port.held_until = None
        said = replace(another(world), key=changes + 1)
        peer.say(1, peer.pdu(1, actor=said))
        until = port.held_until
        seconds.append(0 if until is None else (until - world.now) // SECOND)
        world.run(SECOND)
    assert seconds == [0, 0, 0, 4, 8, 16, 32, 60, 60, 60, 60, 60]


def test_a_change_is_in_a_row_with_the_last_for_ten_seconds_beyond_its_hold() -> None:
    for strikes, row_s in ((1, 10), (3, 10), (4, 14), (5, 18)):
        for late_ns, expected in ((-1, strikes + 1), (0, 1)):
            world, peer = against_peer()
            peer.keep_up(1, seconds=4)
            port = world.engines["A"]._ports[1]
            port.strikes, port.struck_at = strikes, world.now
            world.run(row_s * SECOND + late_ns)
            port.defaulted = False  # it is late by then, and still somebody
            peer.say(1, peer.pdu(1, actor=replace(another(world), key=9)))
            assert port.strikes == expected
            assert port.struck_at == world.now
