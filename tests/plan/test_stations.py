# SPDX-License-Identifier: BSD-2-Clause
"""Who speaks by which MAC to a switch that takes each port for a host of its own."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lagg.events import EventKind
from lagg.model import BUCKETS, MacPolicy, Options, PortOptions, Proto
from lagg.options import PORTS_MAX
from lagg.plan.changes import active_news
from lagg.plan.election import settled
from lagg.plan.plan import plan, standings
from lagg.plan.shape import LaggMac, Shape
from lagg.plan.stations import called, let_in_beside, peer_bucket, stations
from tests.plan.test_election import carrier, shape_of

MACS = ("00:00:5e:00:53:01", "02:00:5e:00:53:02", "02:00:5e:00:53:03")
LOCAL = "02:00:5e:00:53:01"
"""The first of them, were it given by nobody."""


def with_macs(shape: Shape, *macs: str) -> Shape:
    """Each port with its own, of which the lagg has the first."""
    pairs = zip(shape.ports, macs, strict=True)
    ports = tuple(replace(port, home_mac=mac) for port, mac in pairs)
    return replace(shape, ports=ports, mac=LaggMac(macs[0], donor="eth0"))


def tlb(*macs: str) -> Shape:
    return with_macs(shape_of(Proto.TLB, ports=len(macs)), *macs)


def spoken(shape: Shape) -> tuple[int, list[str]]:
    found = stations(shape)
    assert found is not None
    assert found.mac == shape.mac.address
    return found.home, [mac for _, mac in found.macs]


def test_each_port_speaks_by_its_own_mac_and_the_lagg_s_donor_by_a_local_one() -> None:
    shape = tlb(*MACS)
    assert spoken(shape) == (0, [LOCAL, *MACS[1:]])
    assert spoken(carrier(shape, 0, up=False)) == (1, [LOCAL, *MACS[1:]])
    fixed = replace(shape, mac=LaggMac("02:00:5e:00:53:99", fixed=True))
    assert spoken(fixed) == (0, [*MACS])


def test_a_protocol_without_stations_has_none_nor_has_a_lagg_that_nobody_carries() -> (
    None
):
    for proto in Proto:
        shape = with_macs(shape_of(proto), *MACS)
        assert (stations(shape) is not None) is proto.by_stations
    shape = tlb(*MACS)
    for slot in range(3):
        shape = carrier(shape, slot, up=False)
    assert stations(shape) is plan(shape).stations is None


@given(st.lists(st.sampled_from([*MACS, LOCAL]), min_size=1, max_size=PORTS_MAX))
def test_no_two_ports_speak_by_one_mac(macs: list[str]) -> None:
    _, found = spoken(tlb(*macs))
    assert len({*found, macs[0]}) == len(macs) + 1


def test_all_usable_ports_send_and_the_one_that_is_elected_receives() -> None:
    shape = tlb(*MACS)
    found = plan(shape)
    assert {*found.tx_slots} == {0, 1, 2}
    assert found.rx_accept == found.way_in == {0}
    after = carrier(shape, 0, up=False)
    found = plan(after)
    assert {*found.tx_slots} == {1, 2}
    assert found.rx_accept == found.way_in == {1}
    assert plan(carrier(after, 0, up=True)) == plan(shape)
    assert [len(each.flags) for each in standings(shape).values()] == [2, 1, 1]


def test_priorities_elect_who_receives_and_keep_nobody_from_sending() -> None:
    shape = with_macs(shape_of(Proto.TLB, (0, 0, 7)), *MACS)
    assert plan(shape).way_in == {2}
    assert {*plan(shape).tx_slots} == {0, 1, 2}
    few = settled(shape, shape.with_options(Options(hash_seed=1, min_links=4)))
    assert plan(few).tx_slots == ()


def test_ports_keep_their_macs_and_let_in_the_lagg_s_whatever_the_policy() -> None:
    for policy in (MacPolicy.STABLE, MacPolicy.PRIMARY, MacPolicy.OWN):
        shape = tlb(*MACS)
        shape = shape.with_options(replace(shape.options, mac_policy=policy))
        assert [shape.mac_of(port) for port in shape.ports] == [*MACS]
        assert [shape.lets_in(mac) for mac in MACS[1:]] == [{MACS[0]}] * 2
        static = replace(shape, proto=Proto.LOADBALANCE)
        keeps = policy is MacPolicy.OWN
        assert static.mac_of(static.ports[1]) == MACS[keeps]


def test_another_port_that_receives_is_news_and_another_that_only_sends_is_none() -> (
    None
):
    for before in (tlb(*MACS), alb()):
        for slot, told in ((0, ["eth0 -> eth1"]), (2, [])):
            after = carrier(before, slot, up=False)
            found = [*active_news(before, plan(before), after, plan(after))]
            assert [each.details for each in found] == told
            assert {each.event for each in found} <= {EventKind.ACTIVE_PORT}
            assert [*active_news(after, plan(after), after, plan(after))] == []


# ---- whom each of them teaches -----------------------------------------------------


def alb(*callers: int) -> Shape:
    shape = with_macs(shape_of(Proto.ALB), *MACS)
    return replace(shape, callers=callers)


def lessons(shape: Shape) -> tuple[int, ...]:
    found = plan(shape).stations
    assert found is not None
    return found.lessons


def test_peers_are_shared_evenly_however_few_they_are() -> None:
    for count in range(1, BUCKETS + 1):
        found = lessons(alb(*range(count)))
        shares = Counter(found[:count])
        assert max(shares.values()) - min(shares[slot] for slot in range(3)) <= 1
        assert len(found) == BUCKETS


def test_by_weight_where_that_is_set() -> None:
    shape = alb(*range(90))
    weights = {"eth0": PortOptions(weight=2), "eth1": PortOptions(weight=6)}
    shape = replace(shape, port_options=weights).rehomed()
    assert Counter(lessons(shape)[:90]) == {0: 20, 1: 60, 2: 10}


def test_a_port_that_is_lost_teaches_nobody_and_all_ports_that_do_are_the_way_in() -> (
    None
):
    shape = alb(7, 8, 9)
    assert plan(shape).way_in == {0, 1, 2}
    assert plan(shape).rx_accept == {0}
    after = carrier(shape, 2, up=False)
    assert {*lessons(after)} == plan(after).way_in == {0, 1}


def test_tlb_teaches_nobody() -> None:
    assert lessons(replace(tlb(*MACS), callers=(1, 2))) == ()
    assert let_in_beside(tlb(*MACS), MACS[0]) == frozenset()


def test_a_port_that_speaks_by_a_mac_that_is_not_its_own_lets_it_in() -> None:
    shape = alb()
    assert [let_in_beside(shape, mac) for mac in MACS] == [{LOCAL}, set(), set()]


@given(st.lists(st.sets(st.integers(0, BUCKETS - 1)), max_size=8))
def test_a_bucket_keeps_its_place_while_a_peer_is_in_it(
    history: list[set[int]],
) -> None:
    callers: tuple[int, ...] = ()
    for buckets in history:
        before, callers = callers, called(callers, buckets)
        assert {*callers} - {BUCKETS} == buckets
        assert callers[-1:] != (BUCKETS,)
        for place, bucket in enumerate(before):
            if bucket in buckets:
                assert callers[place] == bucket


def test_of_neighbouring_addresses_no_two_are_in_one_bucket() -> None:
    found = {peer_bucket(bytes((10, 0, 7, last))) for last in range(256)}
    assert len(found) == BUCKETS
