# SPDX-License-Identifier: BSD-2-Clause
"""Two engines on ideal wires: what a lagg and its partner come to, in virtual time."""

from dataclasses import replace

from lagg.lacp.pdu import Lacpdu, decode, encode_lacpdu, source_of
from lagg.lacp.values import Bad, Notice, NoticeKind, Send, State
from tests.lacp.world import LINK, SECOND, World, port_mac, settings, system

UP = (
    State.ACTIVITY
    | State.TIMEOUT
    | State.AGGREGATION
    | State.SYNC
    | State.COLLECTING
    | State.DISTRIBUTING
)


def test_two_engines_aggregate_all_ports_after_the_aggregate_wait() -> None:
    world = World.pair(ports=4)
    world.run(2 * SECOND)
    assert world.distributing() == {"A": [], "B": []}
    world.run(SECOND)
    assert world.distributing() == {"A": [1, 2, 3, 4], "B": [1, 2, 3, 4]}
    for engine in world.engines.values():
        view = engine.view()
        assert view.aggregator == 1
        assert view.actor is not None
        assert view.actor.state & ~State.DISTRIBUTING == UP & ~State.DISTRIBUTING
        assert [port.reason for port in view.ports] == [None] * 4


def test_both_ends_say_0x3f_and_with_slow_0x3d_within_a_second() -> None:
    """Not with the next PDU that happens to be due, 30 s later."""
    for fast, octet in ((True, 0x3F), (False, 0x3D)):
        world = World.pair(1, settings("A", fast=fast), settings("B", fast=fast))
        world.run(3 * SECOND + SECOND // 10)
        assert [world.pdus(name, 1)[-1].actor.state for name in "AB"] == [octet] * 2


def test_a_port_without_carrier_leaves_at_once_and_is_back_after_the_wait() -> None:
    world = World.pair(ports=2)
    world.run(4 * SECOND)
    world.carrier(2, up=False)
    assert world.distributing() == {"A": [1], "B": [1]}
    status = world.status("A", 2)
    assert status.reason == "carrier down"
    assert status.partner.system == system("B"), "it may be the same one afterwards"
    assert State.SYNC not in status.partner.state
    world.carrier(2, up=True)
    world.run(2 * SECOND + SECOND // 10)
    assert world.distributing() == {"A": [1, 2], "B": [1, 2]}


def test_a_silent_partner_is_out_after_the_short_timeout_and_back_within_3_s() -> None:
    world = World.pair(ports=2)
    world.run(4 * SECOND)
    world.silence(2)
    world.run(3 * SECOND)
    assert world.distributing() == {"A": [1], "B": [1]}
    world.run(27 * SECOND)
    world.repair(2)
    world.run(3 * SECOND)
    assert world.distributing() == {"A": [1, 2], "B": [1, 2]}


def test_joining_and_leaving_the_aggregator_is_told() -> None:
    world = World.pair(ports=1)
    world.run(4 * SECOND)
    world.carrier(1, up=False)
    told = [
        n
        for n in world.notices["A"]
        if n.event in {NoticeKind.DISTRIBUTING, NoticeKind.AGGREGATOR}
    ]
    assert told == [
        Notice(None, NoticeKind.AGGREGATOR, "agreed with 02:00:5e:00:53:42, key 7"),
        Notice(1, NoticeKind.DISTRIBUTING, "started"),
        Notice(None, NoticeKind.AGGREGATOR, "no port distributes"),
        Notice(1, NoticeKind.DISTRIBUTING, "stopped: carrier down"),
    ]


def test_of_many_changes_the_last_is_told_and_how_many_there_were() -> None:
    """Three of the nine: PDUs that come so fast are not all looked at."""
    world = World.pair(ports=1)
    world.run(4 * SECOND)
    for _ in range(5):
        for missing in (State.COLLECTING, State(0)):
            said = world.pdus("B", 1)[-1]
            actor = replace(said.actor, state=said.actor.state & ~missing)
            frame = encode_lacpdu(replace(said, actor=actor), port_mac("B", 1))
            world.engines["A"].receive(1, frame, world.now)
            world.run(SECOND // 50)
    world.run(2 * SECOND)
    told = [n.details for n in world.notices["A"] if n.event is NoticeKind.DISTRIBUTING]
    assert told == [
        "started",
        "stopped: partner not collecting",
        "started (3 changes since)",
    ]


def test_a_port_that_comes_back_has_the_limit_that_it_had() -> None:
    world = World.pair(ports=1)
    engine = world.engines["A"]
    for _ in range(20):
        engine.remove_port(1, world.now)
        engine.add_port(1, port_mac("A", 1), 0x8000, LINK, world.now)
        world.run(SECOND // 20)
    times = world.times("A", 1)
    assert max(sum(at <= t < at + SECOND for t in times) for at in times) <= 3


def test_a_pdu_says_what_is_so_when_it_is_taken() -> None:
    """The workers are told what came of many frames; no PDU may tell of one of them."""
    world = World.pair(ports=1)
    world.run(4 * SECOND)
    engine, said = world.engines["A"], world.pdus("B", 1)[-1]
    for missing in (State.SYNC | State.COLLECTING, State(0), State.SYNC):
        actor = replace(said.actor, state=said.actor.state & ~missing)
        frame = encode_lacpdu(replace(said, actor=actor), port_mac("B", 1))
        engine.receive(1, frame, world.now)
    sent = [
        decode(each.frame) for each in engine.take_outputs() if isinstance(each, Send)
    ]
    status = engine.view().ports[0]
    assert sent == [Lacpdu(status.actor, status.partner)]
    assert status.counts.lacpdu_tx == len(world.times("A", 1)) + 1


def test_markers_are_numbered_one_by_one_and_counted_each_on_its_port() -> None:
    world = World.pair(ports=2)
    world.run(4 * SECOND)
    engine = world.engines["A"]
    asked = []
    for _ in range(3):
        asked += [engine.send_marker(number, world.now) for number in (1, 2)]
        world.run(SECOND)
    first = asked[0]
    assert first is not None
    assert asked == [*range(first, first + 6)]
    assert sorted(each.transaction for each in world.answers) == asked
    for number in (1, 2):
        asking, asked_of = (world.status(name, number).counts for name in "AB")
        assert (asking.marker_tx, asking.marker_response_rx) == (3, 3)
        assert (asked_of.marker_rx, asked_of.marker_response_tx) == (3, 3)
        sources = {source_of(frame) for _, frame in world.sent["A", number]}
        assert sources == {port_mac("A", number)}


def test_who_may_say_nothing_sends_no_marker_and_no_answer() -> None:
    world = World.pair(ports=1)
    world.run(4 * SECOND)
    world.set("A", txtest=True)
    sent = len(world.sent["A", 1])
    assert world.engines["A"].send_marker(1, world.now) is None
    assert world.engines["B"].send_marker(1, world.now) is not None
    world.run(SECOND)
    assert len(world.sent["A", 1]) == sent
    counts = world.status("A", 1).counts
    assert (counts.marker_tx, counts.marker_rx, counts.marker_response_tx) == (0, 1, 0)
    assert dict(counts.bad)[Bad.RATE] == 1


def test_the_flaps_of_ports_that_are_gone_are_still_the_lagg_s() -> None:
    world = World.pair(ports=2)
    engine = world.engines["A"]
    for number in (1, 2):
        world.run(4 * SECOND)
        world.carrier(number, up=False)
        assert world.status("A", number).counts.flaps == 1
    for left in (2, 1):
        engine.remove_port(left, world.now)
        assert engine.view().flapping == 2


def test_a_port_that_came_back_is_told_of_as_a_new_one() -> None:
    world = World.pair(ports=1)
    world.run(4 * SECOND)
    engine, told = world.engines["A"], len(world.notices["A"])
    engine.remove_port(1, world.now)
    engine.add_port(1, port_mac("A", 1), 0x8000, LINK, world.now)
    world.carry()
    events = [each.event.value for each in world.notices["A"][told:]]
    assert events == ["aggregator"], (
        "no port distributes; that the new one does not is no news"
    )
