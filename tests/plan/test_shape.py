# SPDX-License-Identifier: BSD-2-Clause
"""A lagg's shape: slots, the primary and the buckets' homes as ports come and go."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.link import Link, Modes
from lagg.model import (
    BUCKETS,
    Agreement,
    MacPolicy,
    Options,
    PortFlag,
    PortOptions,
    Proto,
)
from lagg.options import PORTS_MAX
from lagg.plan.plan import standings
from lagg.plan.shape import LaggMac, Port, Shape

EMPTY = Shape(Proto.LOADBALANCE, Options(hash_seed=7))
STABLE, PRIMARY = MacPolicy.STABLE, MacPolicy.PRIMARY


def port(slot: int, ifindex: int, *, up: bool = True, carrier: bool = True) -> Port:
    link = Link(
        ifindex=ifindex,
        name=f"eth{ifindex}",
        mac=f"02:00:5e:00:53:{ifindex:02x}",
        mtu=1500,
        up=up,
        lower_up=carrier,
        operstate="UP" if up and carrier else "DOWN",
        arphrd=1,
    )
    return Port(slot, link, home_mac=link.mac, modes=Modes(1000))


def shape_of(*ports: Port) -> Shape:
    shape = EMPTY
    for each in ports:
        shape = shape.with_port(each)
    return shape


def test_ports_are_kept_by_ifindex_whatever_the_order_of_attaching() -> None:
    shape = shape_of(port(0, 30), port(1, 10), port(2, 20))
    assert [each.link.ifindex for each in shape.ports] == [10, 20, 30]
    assert [port.slot for port in shape.preferred] == [1, 2, 0]


def test_the_first_port_attached_is_primary_and_its_heir_is_first_in_the_list() -> None:
    shape = shape_of(port(0, 30), port(1, 10), port(2, 20))
    assert shape.primary == 0
    assert shape.without_port(1).primary == 0
    heir = shape.without_port(0)
    assert heir.primary == 1
    assert heir.primary_port == heir.find(10)


def test_the_last_port_takes_the_primary_with_it() -> None:
    shape = shape_of(port(3, 10)).without_port(3)
    assert shape == EMPTY
    assert shape.primary_port is None


def test_a_port_gets_the_lowest_free_slot_until_all_are_taken() -> None:
    assert EMPTY.free_slot("eth1") == 0
    shape = shape_of(*(port(slot, slot + 1) for slot in range(PORTS_MAX)))
    assert shape.free_slot("eth99") is None
    assert shape.without_port(9).without_port(4).free_slot("eth99") == 4


def test_a_port_that_a_file_names_gets_the_slot_of_its_place_there() -> None:
    shape = EMPTY.in_order(["eth30", "eth10", "eth20"])
    assert [shape.free_slot(name) for name in shape.order] == [0, 1, 2]
    assert shape.free_slot("eth5") == 3  # by hand: nobody's place
    full = shape.with_port(port(1, 5))
    assert [full.free_slot(name) for name in ("eth10", "eth5")] == [3, 3]
    many = EMPTY.in_order([f"eth{n}" for n in range(PORTS_MAX)])
    assert many.free_slot("other") == 0


# Three ports as a file names them, and any order in which they come, go and come back.
FILE = (30, 10, 20)


@given(st.lists(st.sampled_from(FILE), max_size=12), st.permutations(FILE))
def test_a_file_s_ports_give_one_shape_whatever_the_order_of_their_coming(
    history: list[int], last: list[int]
) -> None:
    shape = EMPTY.in_order([f"eth{n}" for n in FILE])
    for ifindex in [*history, *last]:
        if (held := shape.find(ifindex)) is not None:
            shape = shape.without_port(held.slot)
        slot = shape.free_slot(f"eth{ifindex}")
        assert slot is not None
        shape = shape.with_port(port(slot, ifindex))
        there = [n for n in FILE if shape.find(n) is not None]
        primary = shape.primary_port
        assert primary is not None
        assert primary.link.ifindex == there[0]
        shape = replace(shape, homes=())
    assert [port.slot for port in shape.preferred] == [0, 1, 2]
    assert [each.link.ifindex for each in shape.ports] == [10, 20, 30]  # as shown
    assert shape.primary == 0


def test_the_heir_of_a_file_s_primary_is_the_next_in_the_file() -> None:
    shape = shape_of(port(0, 30), port(1, 10), port(2, 20), port(3, 5))
    shape = shape.in_order(["eth20", "eth30", "eth10"])
    assert shape.primary == 2
    heir = shape.without_port(2)
    assert heir.primary == 0
    assert heir.without_port(0).without_port(1).primary == 3  # what no file names


def test_a_port_keeps_its_place_under_another_name() -> None:
    shape = shape_of(port(0, 30), port(1, 10)).in_order(["eth30", "eth10"])
    shape = replace(shape, mac=shape.at(0).lends)
    renamed = replace(shape.at(0).link, name="lan0")
    after = shape.with_link(renamed, shape.at(0).modes)
    assert (after.order, after.mac.donor) == (("lan0", "eth10"), "lan0")
    assert after.with_port(port(2, 5)).primary == 0


@pytest.mark.parametrize(
    ("policy", "order", "donor", "ports", "giver"),
    [
        (STABLE, "", None, "", None),  # nobody is there yet
        (STABLE, "", None, "ba", "b"),  # the first that came
        (STABLE, "", "b", "a", "b"),  # it left
        (STABLE, "", "b", "", "b"),  # all left
        (STABLE, "", "a", "ba", "a"),
        (STABLE, "abc", None, "c", "c"),  # the file's first is still to come
        (STABLE, "abc", "c", "cb", "b"),  # it came later, or one before
        (STABLE, "abc", "c", "ca", "a"),
        (STABLE, "abc", "a", "bc", "a"),  # it left, and may come again
        (STABLE, "abc", "a", "bca", "a"),
        (STABLE, "bc", "a", "bc", "a"),  # the file names it no more
        (STABLE, "bc", "a", "abc", "b"),  # nor did it ever: made by hand
        (PRIMARY, "", None, "", None),
        (PRIMARY, "", "b", "a", "a"),
        (PRIMARY, "", "b", "", "b"),  # lagg(4) keeps it, too
        (PRIMARY, "abc", "b", "bc", "b"),
        (PRIMARY, "abc", "b", "bca", "a"),
    ],
)
def test_whose_mac_a_lagg_is_to_have(
    policy: MacPolicy, order: str, donor: str | None, ports: str, giver: str | None
) -> None:
    names = dict.fromkeys([*ports, *filter(None, [donor, giver])])
    macs = {name: f"02:00:5e:00:53:0{number}" for number, name in enumerate(names)}
    has = LaggMac(macs[donor] if donor else "02:00:5e:00:53:99", donor=donor)
    shape = replace(EMPTY, options=Options(mac_policy=policy), mac=has)
    for slot, name in enumerate(ports):
        link = replace(port(slot, 10 + slot).link, name=name)
        shape = shape.with_port(Port(slot, link, macs[name], Modes()))
    wanted = shape.in_order([*order]).wanted_mac
    assert wanted == (LaggMac(macs[giver], donor=giver) if giver else has)
    fixed = replace(shape, mac=replace(has, fixed=True))
    assert fixed.wanted_mac == fixed.mac


def test_ports_are_found_by_ifindex_and_by_name() -> None:
    shape = shape_of(port(0, 30), port(1, 10))
    assert shape.find(30) == shape.named("eth30") == shape.at(0)
    assert shape.find(11) is None
    assert shape.named("eth11") is None


def test_a_link_s_news_change_that_port_and_no_bucket() -> None:
    shape = shape_of(port(0, 10), port(1, 20))
    news = replace(shape.at(1).link, lower_up=False, operstate="DOWN", name="lan0")
    after = shape.with_link(news, Modes(10))
    assert after.at(1) == replace(shape.at(1), link=news, modes=Modes(10))
    assert after.at(0) == shape.at(0)
    assert after.homes == shape.homes
    assert [port.active for port in after.preferred] == [True, False]


def test_active_means_up_and_carrier_and_a_usable_operstate() -> None:
    whole = port(0, 10).link
    assert whole.active
    assert not port(0, 10, up=False).link.active
    assert not port(0, 10, carrier=False).link.active
    assert not replace(whole, operstate="DORMANT").active
    assert replace(whole, operstate="UNKNOWN").active  # a driver that does not say


def test_flags_and_reasons_are_the_plan_s() -> None:
    shape = replace(
        shape_of(port(0, 30), port(1, 10), port(2, 20, up=False)), proto=Proto.FAILOVER
    )
    assert standings(shape)[0].flags == (PortFlag.MASTER, PortFlag.ACTIVE)
    assert standings(shape)[1].flags == ()
    assert standings(shape)[0].reason is None
    assert standings(shape)[1].reason == "standby"
    assert standings(shape)[2].reason == "administratively down"


def test_a_port_s_new_name_takes_along_all_that_is_said_of_it() -> None:
    mine, other = PortOptions(lacp_port_priority=7), PortOptions(lacp_port_priority=9)
    shape = replace(
        shape_of(port(0, 30), port(1, 10)).in_order(["eth10", "eth30"]),
        port_options={"eth10": mine, "eth30": other},
        mac=LaggMac("02:00:5e:00:53:0a", donor="eth10"),
    )
    renamed = replace(port(1, 10).link, name="wan0")
    after = shape.with_link(renamed, Modes(100))
    assert after.options_of("wan0") == mine
    assert after.options_of("eth30") == other
    assert after.options_of("eth10") == PortOptions()
    assert after.order == ("wan0", "eth30")
    assert after.mac == LaggMac("02:00:5e:00:53:0a", donor="wan0")
    assert (after.primary, after.homes) == (shape.primary, shape.homes)
    assert after.at(1) == replace(shape.at(1), link=renamed, modes=Modes(100))
    assert after.at(0) == shape.at(0)


def test_the_new_name_of_a_port_without_options_sets_none() -> None:
    options = {"eth30": PortOptions(lacp_port_priority=9)}
    shape = replace(shape_of(port(0, 30), port(1, 10)), port_options=options)
    after = shape.with_link(replace(port(1, 10).link, name="wan0"), Modes(1000))
    assert after.port_options == options
    assert after.mac == shape.mac


def test_a_link_of_no_port_changes_nothing() -> None:
    shape = shape_of(port(0, 30))
    assert shape.with_link(port(0, 10).link, Modes(10)) == shape


def test_what_lacp_says_is_each_port_s_and_of_who_is_not_named_it_says_nothing() -> (
    None
):
    shape = shape_of(port(0, 30), port(1, 10))
    first, second = Agreement(active=True), Agreement(reason="why")
    said = shape.with_agreements({0: first, 1: second})
    assert (said.at(0).lacp, said.at(1).lacp) == (first, second)
    assert said.with_agreements({1: second}).at(0).lacp == Agreement()
    assert replace(said, ports=shape.ports) == shape


def test_warnings_are_one_port_s_until_others_are_said_of_it() -> None:
    shape = shape_of(port(0, 30), port(1, 10), port(2, 20))
    warned = shape.with_warnings(1, ("one", "two"))
    assert warned.at(1) == replace(shape.at(1), warnings=("one", "two"))
    assert replace(warned, ports=shape.ports) == shape
    assert [p for p in warned.ports if p.slot != 1] == [shape.at(2), shape.at(0)]
    both = warned.with_warnings(2, ("three",))
    assert [p.warnings for p in both.ports] == [("one", "two"), ("three",), ()]
    assert both.with_warnings(1, ()).with_warnings(2, ()) == shape


def test_homes_outlive_a_change_of_protocol() -> None:
    shape = shape_of(port(0, 10), port(1, 20), port(2, 30))
    there = replace(shape, proto=Proto.BROADCAST).without_port(1)
    assert replace(there, proto=Proto.LOADBALANCE) == shape.without_port(1)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=60))
def test_any_history_leaves_a_sound_shape(history: list[tuple[bool, int]]) -> None:
    shape = EMPTY
    for comes, ifindex in history:
        before = shape
        held, slot = shape.find(ifindex), shape.free_slot(f"eth{ifindex}")
        if comes and held is None and slot is not None:
            shape = shape.with_port(port(slot, ifindex))
        elif not comes and held is not None:
            shape = shape.without_port(held.slot)
        check_sound(shape)
        moved = [
            (was, now)
            for was, now in zip(before.homes, shape.homes, strict=False)
            if was != now
        ]
        # Only who came gains, only who left loses: one share of the buckets moves.
        changed = {p.slot for p in before.ports} ^ {p.slot for p in shape.ports}
        assert all(changed & {was, now} for was, now in moved)
        assert len(moved) <= -(-BUCKETS // max(len(before.ports), len(shape.ports), 1))


def check_sound(shape: Shape) -> None:
    slots = [each.slot for each in shape.ports]
    assert len(set(slots)) == len(slots)
    ifindexes = [each.link.ifindex for each in shape.ports]
    assert ifindexes == sorted(ifindexes)
    assert (shape.primary in slots) if slots else (shape.primary is None)
    assert set(shape.homes) == set(slots)
    if slots:
        held = Counter(shape.homes).values()
        assert max(held) - min(held) <= 1


# ---- weights -----------------------------------------------------------------------


def by_speed(*speeds_mbps: int) -> Shape:
    """A lagg all whose ports count by their speed."""
    shape = Shape(Proto.LOADBALANCE, Options(hash_seed=0))
    for slot, speed_mbps in enumerate(speeds_mbps):
        each = replace(port(slot, 10 + slot), modes=Modes(speed_mbps))
        of_ports = {**shape.port_options, each.link.name: PortOptions(weight=0)}
        shape = replace(shape, port_options=of_ports).with_port(each)
    return shape


def with_speed(shape: Shape, slot: int, speed_mbps: int) -> Shape:
    after = shape.with_link(shape.at(slot).link, Modes(speed_mbps))
    return after.rehomed_since(shape)


def test_ports_that_count_by_speed_have_shares_as_their_speeds() -> None:
    shape = by_speed(1000, 10_000, 25_000)
    assert Counter(shape.homes) == {0: 7, 1: 71, 2: 178}


def test_another_speed_is_another_share_and_moves_no_more_than_that() -> None:
    before = by_speed(10_000, 10_000)
    after = with_speed(before, 1, 25_000)
    moved = [(a, b) for a, b in zip(before.homes, after.homes, strict=True) if a != b]
    assert Counter(after.homes) == {0: 73, 1: 183}
    assert moved == [(0, 1)] * (128 - 73)


def test_a_link_that_goes_has_no_speed_and_its_port_keeps_its_share() -> None:
    before = by_speed(10_000, 25_000)
    gone = with_speed(before, 1, 0)
    assert gone.homes == before.homes
    assert with_speed(gone, 1, 25_000).homes == before.homes


def test_a_speed_that_nobody_knows_weighs_as_1() -> None:
    assert Counter(by_speed(0, 3000).homes) == {0: 64, 1: 192}
