# SPDX-License-Identifier: BSD-2-Clause
"""What a port counts as by its watches, and before they have found out."""

from dataclasses import replace

import pytest

from lagg.codec import dumps, loads
from lagg.events import EventKind
from lagg.model import Agreement, Options, Proto, Reselect
from lagg.plan import election, paths
from lagg.plan.changes import cause, news
from lagg.plan.explain import Hashed, explain
from lagg.plan.plan import plan, standings
from lagg.plan.shape import LaggMac, Shape
from lagg.watches import LinkWatch, Verdict, Watched, WatchKind, WatchPolicy, WatchState
from tests.plan.test_delays import port_of, with_carrier
from tests.plan.test_election import SPREADS, shape_of

ONE = LinkWatch(WatchKind.ARP, targets=("192.0.2.1",))
OTHER = LinkWatch(WatchKind.NS, targets=("2001:db8::1",), ports=("eth1",))
INIT, UP, DOWN = WatchState.INIT, WatchState.UP, WatchState.DOWN
NOW = 1_000


def settled(before: Shape, after: Shape, at_ns: int = NOW) -> Shape:
    return election.settled(before, paths.settled(before, after, at_ns))


def watched_by(
    shape: Shape, *watches: LinkWatch, policy: WatchPolicy = WatchPolicy.ALL
) -> Shape:
    options = replace(shape.options, watch=watches, watch_policy=policy)
    return settled(shape, replace(shape, options=options))


def told(shape: Shape, slot: int, *states: WatchState, at_ns: int = NOW) -> Shape:
    """With what each watch of a port says."""
    verdicts = shape.at(slot).watched.verdicts
    said = {
        each.watch: Verdict(each.watch, state, "as told")
        for each, state in zip(verdicts, states, strict=True)
    }
    return settled(shape, shape.with_verdicts({slot: said}), at_ns)


def states(shape: Shape) -> list[list[WatchState]]:
    return [[each.state for each in port.watched.verdicts] for port in shape.ports]


def test_one_that_carries_is_trusted_until_it_is_found_dead() -> None:
    shape = watched_by(shape_of(), ONE, OTHER)
    assert states(shape) == [[INIT], [INIT, INIT], [INIT]]
    assert all(port.usable for port in shape.ports)


def test_one_that_comes_or_whose_carrier_returns_is_proved_first() -> None:
    shape = watched_by(shape_of(ports=2), ONE)
    shape = settled(shape, shape.with_port(port_of(2, up=True)))
    assert states(shape) == [[INIT], [INIT], [DOWN]]
    assert standings(shape)[2].reason == "arp: no reply yet"
    shape = told(shape, 2, UP)
    shape = settled(shape, with_carrier(shape, 2, up=False))
    assert shape.at(2).watched.verdicts[0].reason == "no carrier"
    shape = settled(shape, with_carrier(shape, 2, up=True))
    assert states(shape)[2] == [DOWN]


def test_a_changed_watch_trusts_no_path_that_was_dead() -> None:
    shape = told(watched_by(shape_of(ports=2), ONE), 0, DOWN)
    shape = watched_by(shape, replace(ONE, targets=("192.0.2.2",)))
    assert states(shape) == [[DOWN], [INIT]]


def test_what_asks_the_same_at_another_pace_stands_as_it_was_found() -> None:
    shape = told(watched_by(shape_of(ports=2), ONE), 0, DOWN)
    shape = told(told(shape, 1, UP, at_ns=2_000), 0, UP, at_ns=3_000)
    other = replace(ONE, interval_ms=50, missed_max=9, ports=("eth0",))
    after = watched_by(shape, other)
    (was,) = shape.at(0).watched.verdicts
    assert [port.watched.verdicts for port in after.ports] == [
        (replace(was, watch=other),),
        (),
    ]


def test_what_is_watched_no_more_is_alive() -> None:
    shape = watched_by(told(watched_by(shape_of(ports=2), ONE), 0, DOWN))
    assert shape.at(0).watched == Watched()
    assert shape.at(0).usable


def test_the_time_and_the_failures_of_a_state_are_kept_while_it_lasts() -> None:
    shape = told(watched_by(shape_of(ports=2), ONE), 0, UP, at_ns=2_000)
    shape = told(shape, 0, UP, at_ns=3_000)
    assert shape.at(0).watched.verdicts[0].since_ns == 2_000
    for at_ns in (4_000, 6_000):
        shape = told(told(shape, 0, DOWN, at_ns=at_ns), 0, UP, at_ns=at_ns + 1_000)
    (found,) = shape.at(0).watched.verdicts
    assert (found.since_ns, found.failures) == (7_000, 2)
    shape = settled(shape, with_carrier(shape, 0, up=False), 8_000)
    (found,) = shape.at(0).watched.verdicts
    assert (found.since_ns, found.failures) == (8_000, 2), "its carrier was lost"


@pytest.mark.parametrize(
    ("policy", "said", "alive"),
    [
        (WatchPolicy.ALL, (UP, UP), True),
        (WatchPolicy.ALL, (UP, INIT), True),
        (WatchPolicy.ALL, (UP, DOWN), False),
        (WatchPolicy.ALL, (DOWN, DOWN), False),
        (WatchPolicy.ANY, (UP, UP), True),
        (WatchPolicy.ANY, (DOWN, UP), True),
        (WatchPolicy.ANY, (DOWN, INIT), True),
        (WatchPolicy.ANY, (DOWN, DOWN), False),
    ],
)
def test_any_and_all(
    policy: WatchPolicy, said: tuple[WatchState, ...], alive: bool
) -> None:
    shape = told(watched_by(shape_of(), ONE, OTHER, policy=policy), 1, *said)
    assert shape.at(1).watched.alive is alive
    assert shape.at(1).usable is alive
    assert (shape.at(1).watched.reason is None) is alive


@pytest.mark.parametrize("proto", [Proto.FAILOVER, *SPREADS])
def test_a_dead_path_is_in_no_plan_and_says_why(proto: Proto) -> None:
    shape = told(watched_by(shape_of(proto), ONE), 0, DOWN)
    assert 0 not in plan(shape).tx_slots
    assert standings(shape)[0].reason == "arp: as told"
    assert shape.at(0).link.active


@pytest.mark.parametrize("proto", [Proto.FAILOVER, *SPREADS])
def test_explain_says_what_was_found_and_for_which_frames_others_stand_in(
    proto: Proto,
) -> None:
    whole = watched_by(shape_of(proto), ONE)
    shape = told(told(whole, 0, DOWN), 1, UP)
    for number in range(256):
        found = explain("lagg0", shape, plan(shape), 1, Hashed(number))
        before = explain("lagg0", whole, plan(whole), 1, Hashed(number))
        (dead,) = found.dead
        assert (dead.port, dead.alive) == ("eth0", before.choice)
        assert dead.verdicts == shape.at(0).watched.verdicts
        assert (dead.alive != found.choice) is ("eth0" in before.choice.ports)
        assert before.dead == ()


def test_who_carries_by_failover_does_so_in_its_place_though_it_would_not_return() -> (
    None
):
    shape = watched_by(shape_of(reselect=Reselect.FAILURE), ONE)
    shape = told(shape, 0, DOWN)
    found = explain("lagg0", shape, plan(shape), 1, Hashed(0))
    assert found.choice.ports == ("eth1",)
    assert found.dead[0].alive.ports == ("eth0",)
    assert found.why == (
        "the primary, eth0, is not in use (arp: as told); this port stands in"
    )


def test_a_port_without_a_link_has_no_dead_path_to_speak_of() -> None:
    shape = told(watched_by(shape_of(), ONE), 0, DOWN)
    shape = settled(shape, with_carrier(shape, 0, up=False))
    found = explain("lagg0", shape, plan(shape), 1, Hashed(0))
    assert (found.dead, found.why) == (
        (),
        "the primary, eth0, is down; this port stands in",
    )


def test_lacp_collects_by_a_dead_path_and_is_not_told() -> None:
    shape = shape_of(Proto.LACP)
    agreed = {slot: Agreement(True, True, True) for slot in range(3)}
    shape = watched_by(shape.with_agreements(agreed), ONE)
    dead = told(shape, 0, DOWN)
    assert {*plan(dead).tx_slots} == {1, 2}
    assert plan(dead).rx_accept == {0, 1, 2}
    assert [port.lacp for port in dead.ports] == [port.lacp for port in shape.ports]
    assert dead.at(0).active


def test_it_is_told_from_what_to_what_and_why() -> None:
    before = told(watched_by(shape_of(ports=2), ONE), 0, UP)
    after = told(before, 0, DOWN)
    (found,) = news(before, after)
    assert (found.event, found.port) == (EventKind.PORT_WATCH, "eth0")
    assert (found.details, found.cause) == ("arp 192.0.2.1: up -> down", "as told")
    assert found.warns
    assert cause(before, after) == "eth0 path: arp: as told"
    (back,) = news(after, told(after, 0, UP))
    assert (back.details, back.warns) == ("arp 192.0.2.1: down -> up", False)


def test_a_renamed_port_stays_watched_as_it_was() -> None:
    shape = told(watched_by(shape_of(ports=2), OTHER), 1, UP)
    link = replace(shape.at(1).link, name="wan1")
    renamed = settled(shape, shape.with_link(link, shape.at(1).modes), 9_000)
    assert renamed.options.watch == (replace(OTHER, ports=("wan1",)),)
    (found,) = renamed.at(1).watched.verdicts
    assert (found.state, found.since_ns) == (UP, NOW)


def test_it_is_saved_with_the_shape() -> None:
    shape = told(watched_by(shape_of(ports=2), ONE, OTHER), 0, DOWN)
    shape = replace(shape, mac=LaggMac("02:00:5e:00:53:01"))
    assert loads(Shape, dumps(shape)) == shape
    assert Options().watch == ()
