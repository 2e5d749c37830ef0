# SPDX-License-Identifier: BSD-2-Clause
"""Who carries a frame: lagg(4)'s rules as tables, and what holds for every plan."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.link import Link, Modes
from lagg.model import (
    ALL_LAYERS,
    BUCKETS,
    Agreement,
    Drop,
    HashKind,
    HashLayer,
    Options,
    PortFlag,
    PortOptions,
    Proto,
    Spread,
)
from lagg.options import PORTS_MAX
from lagg.plan.buckets import rehome
from lagg.plan.election import link_active
from lagg.plan.plan import Plan, plan, reason, standings
from lagg.plan.shape import Port, Shape

SLOTS = (5, 1, 3, 8)
"""Slots in order of ifindex, so that no test passes by the order of slots."""

MAC = "02:00:5e:00:53:01"

NOT_AGREED = Agreement()

ACTIVE, MASTER = PortFlag.ACTIVE, PortFlag.MASTER


def port_of(
    slot: int, ifindex: int, *, active: bool, lacp: Agreement = NOT_AGREED
) -> Port:
    state = "UP" if active else "DOWN"
    link = Link(ifindex, f"eth{slot}", MAC, 1500, True, active, state, 1)
    return Port(slot, link, MAC, Modes(), lacp)


def ports_of(states: str) -> tuple[Port, ...]:
    """ "u" and "d" for each port, in lagg(4)'s order."""
    return tuple(
        port_of(slot, ifindex, active=state == "u")
        for ifindex, (slot, state) in enumerate(zip(SLOTS, states, strict=False), 10)
    )


def shape_of(proto: Proto, states: str, primary: int = 0, **options: object) -> Shape:
    """Ports of these states, of which number `primary` is the primary one."""
    ports = ports_of(states)
    slots = [port.slot for port in ports]
    chosen = replace(Options(hash_seed=7), **options)  # type: ignore[arg-type]
    return Shape(
        proto,
        chosen,
        ports,
        slots[primary] if slots else None,
        rehome((), dict.fromkeys(slots, 1)),
    )


def table(found: Plan) -> list[int]:
    """The table with each slot as the number of its port."""
    return [SLOTS.index(slot) for slot in found.tx_slots]


def flags(shape: Shape, slot: int) -> tuple[PortFlag, ...]:
    return standings(shape)[slot].flags


def numbers(slots: frozenset[int]) -> set[int]:
    return {SLOTS.index(slot) for slot in slots}


# ---- lagg_link_active() ------------------------------------------------------------

NOBODY = -1
# What FreeBSD answers when asked for no port, and for each port in turn.
TRUTH = {
    "": [NOBODY],
    "u": [0, 0],
    "d": [NOBODY, NOBODY],
    "uu": [0, 0, 1],
    "ud": [0, 0, 0],
    "du": [1, 1, 1],
    "uuu": [0, 0, 1, 2],
    "uud": [0, 0, 1, 0],
    "udu": [0, 0, 2, 2],  # the successor, not the first
    "udd": [0, 0, 0, 0],
    "duu": [1, 1, 1, 2],
    "dud": [1, 1, 1, 1],
    "ddu": [2, 2, 2, 2],
    "ddd": [NOBODY] * 4,
    "uddu": [0, 0, 0, 3, 3],  # only the next one is asked, then the first
    "duud": [1, 1, 1, 2, 1],
}


@pytest.mark.parametrize("states", TRUTH)
def test_link_active_answers_as_freebsd_does(states: str) -> None:
    ports = ports_of(states)
    asked = [None, *(port.slot for port in ports)]
    found = [link_active(ports, slot) for slot in asked]
    assert [NOBODY if s is None else SLOTS.index(s) for s in found] == TRUTH[states]


# ---- failover ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "primary", "carries", "stand_ins", "accepts"),
    [
        ("uuu", 0, [0], [1, 2], {0}),
        ("uuu", 1, [1], [0, 2], {1}),
        ("duu", 0, [1], [2], {0, 1}),
        ("udu", 1, [2], [0], {1, 2}),
        ("uud", 2, [0], [1], {0, 2}),
        ("ddu", 0, [2], [], {0, 2}),
        ("udd", 0, [0], [], {0}),
        ("ddd", 1, [], [], {0, 1, 2}),  # lagg_fail_input(): "weird but process it"
    ],
)
def test_failover_carries_on_one_port_and_accepts_from_it_and_the_primary(
    states: str,
    primary: int,
    carries: list[int],
    stand_ins: list[int],
    accepts: set[int],
) -> None:
    found = plan(shape_of(Proto.FAILOVER, states, primary))
    assert found.spread is Spread.FIRST
    assert table(found) == carries + stand_ins
    assert [SLOTS.index(slot) for slot in found.distributing] == carries
    assert numbers(found.rx_accept) == accepts
    assert found.rx_drop is Drop.NOT_ACCEPTED


def test_failover_rx_all_accepts_from_every_port() -> None:
    found = plan(shape_of(Proto.FAILOVER, "uud", failover_rx_all=True))
    assert numbers(found.rx_accept) == {0, 1, 2}
    assert table(found) == [0, 1]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("uuu", [(), (MASTER, ACTIVE), ()]),
        ("udu", [(), (MASTER,), (ACTIVE,)]),
        ("udd", [(ACTIVE,), (MASTER,), ()]),
        ("ddd", [(), (MASTER,), ()]),
    ],
)
def test_failover_flags_name_the_primary_and_who_carries(
    states: str, expected: list[tuple[PortFlag, ...]]
) -> None:
    asked = shape_of(Proto.FAILOVER, states, primary=1)
    assert [flags(asked, slot) for slot in SLOTS[:3]] == expected


# ---- the others --------------------------------------------------------------------


def test_roundrobin_takes_turns_over_the_active_ports() -> None:
    found = plan(shape_of(Proto.ROUNDROBIN, "uduu", rr_limit=7))
    assert (found.spread, table(found), found.stride) == (Spread.TURN, [0, 2, 3], 7)
    assert numbers(found.rx_accept) == {0, 1, 2, 3}


def test_broadcast_copies_to_each_active_port_once() -> None:
    found = plan(shape_of(Proto.BROADCAST, "uduu"))
    assert (found.spread, table(found)) == (Spread.ALL, [0, 2, 3])
    assert numbers(found.rx_accept) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "proto", [Proto.ROUNDROBIN, Proto.LOADBALANCE, Proto.BROADCAST]
)
def test_only_failover_has_a_master(proto: Proto) -> None:
    asked = shape_of(proto, "uud")
    assert [flags(asked, slot) for slot in SLOTS[:3]] == [(ACTIVE,), (ACTIVE,), ()]


def test_none_drops_both_ways_and_says_so() -> None:
    asked = shape_of(Proto.NONE, "uu")
    found = plan(asked)
    assert (found.tx_slots, found.tx_drop) == ((), Drop.PROTO_NONE)
    assert (found.rx_accept, found.rx_drop) == (frozenset(), Drop.PROTO_NONE)
    assert [flags(asked, slot) for slot in SLOTS[:2]] == [(), ()]


@pytest.mark.parametrize("proto", Proto)
def test_zero_ports_are_an_ordinary_plan(proto: Proto) -> None:
    found = plan(shape_of(proto, ""))
    assert (found.tx_slots, found.tx_drop) == ((), Drop.NO_PORT)
    assert found.ports == found.rx_accept == frozenset()


UNLIKE = (Proto.NONE, Proto.LACP)
"""Protocols that do not take frames from a port because it is there."""


@pytest.mark.parametrize("proto", [p for p in Proto if p not in UNLIKE])
def test_no_active_port_is_another_reason_than_no_port(proto: Proto) -> None:
    found = plan(shape_of(proto, "ddd"))
    assert (found.tx_slots, found.tx_drop) == ((), Drop.NO_ACTIVE_PORT)
    assert numbers(found.ports) == numbers(found.rx_accept) == {0, 1, 2}


def test_why_a_port_carries_nothing() -> None:
    failover = shape_of(Proto.FAILOVER, "udu")
    said = [reason(failover, slot, plan(failover).distributing) for slot in SLOTS[:3]]
    assert said == [None, "carrier down", "standby"]
    port = failover.at(SLOTS[1])
    down = failover.with_link(replace(port.link, up=False), port.modes)
    assert reason(down, SLOTS[1], ()) == "administratively down"
    none = shape_of(Proto.NONE, "u")
    assert reason(none, SLOTS[0], ()) == "laggproto none"


@pytest.mark.parametrize("proto", Proto)
def test_by_a_port_that_closes_frames_come_in_and_none_leaves(proto: Proto) -> None:
    without = shape_of(proto, "uu")
    closing = frozenset({30, 31})
    found, was = plan(replace(without, closing=closing)), plan(without)
    assert found.ports == was.ports | closing
    assert found.rx_accept == was.rx_accept | closing
    assert replace(found, ports=was.ports, rx_accept=was.rx_accept) == was


# ---- lacp --------------------------------------------------------------------------

AGREED = {
    "-": Agreement(reason="no LACPDU from a partner"),
    "s": Agreement(active=True, reason="standby"),
    "c": Agreement(active=True, collecting=True, reason="waits for the partner"),
    "D": Agreement(active=True, collecting=True, distributing=True),
    "o": Agreement(collecting=True, distributing=True),  # of another aggregator
}


def lacp(states: str, agreed: str, **options: object) -> Shape:
    asked = shape_of(Proto.LACP, states, 0, **options)
    ports = zip(asked.ports, agreed, strict=True)
    return replace(
        asked, ports=tuple(replace(port, lacp=AGREED[word]) for port, word in ports)
    )


def test_lacp_sends_where_it_distributes_and_takes_where_it_collects() -> None:
    found = plan(lacp("uuuu", "D-cD"))
    assert set(table(found)) == {0, 3}
    assert (found.spread, found.tx_drop) == (Spread.FLOW, Drop.NO_ACTIVE_PORT)
    assert (numbers(found.rx_accept), found.rx_drop) == ({0, 2, 3}, Drop.NOT_ACCEPTED)
    assert numbers(found.ports) == {0, 1, 2, 3}


def test_lacp_takes_nothing_from_an_aggregator_that_is_not_the_active_one() -> None:
    assert numbers(plan(lacp("uu", "Do")).rx_accept) == {0}


def test_a_port_that_collects_before_any_aggregator_carries_is_heard() -> None:
    assert numbers(plan(lacp("uu", "o-")).rx_accept) == {0}


def test_a_lost_carrier_ends_distribution_before_lacp_has_noticed() -> None:
    asked = lacp("ud", "DD")
    assert set(table(plan(asked))) == {0}
    said = [flags(asked, slot) for slot in SLOTS[:2]]
    assert said == [
        (ACTIVE, PortFlag.COLLECTING, PortFlag.DISTRIBUTING),
        (ACTIVE, PortFlag.COLLECTING),
    ]


def test_a_bucket_of_lacp_has_the_port_it_has_under_loadbalance() -> None:
    assert (
        plan(lacp("uuu", "DDD")).tx_slots
        == plan(shape_of(Proto.LOADBALANCE, "uuu")).tx_slots
    )


def test_lacp_with_the_fnv1_profile_has_freebsds_port_map() -> None:
    found = plan(lacp("uuuu", "DcDD", hash=HashKind.FNV1))
    assert table(found) == [0, 2, 3]


def test_a_port_that_does_not_distribute_says_why_in_lacps_words() -> None:
    asked = lacp("uudu", "D-Dc")
    carrying = plan(asked).distributing
    said = [reason(asked, slot, carrying) for slot in SLOTS]
    wanted = "no LACPDU from a partner", "carrier down", "waits for the partner"
    assert said == [None, *wanted]


@pytest.mark.parametrize("proto", [p for p in Proto if p is not Proto.LACP])
def test_what_lacp_said_last_is_no_word_on_a_static_protocol(proto: Proto) -> None:
    """A port that was told to leave LACP stays, and stands by."""
    leaving = Agreement(reason="leaving")
    for states in ("uuu", "udu"):
        asked = shape_of(proto, states)
        carrying = plan(asked).distributing
        after = replace(
            asked, ports=tuple(replace(port, lacp=leaving) for port in asked.ports)
        )
        for port in asked.ports:
            said = [reason(each, port.slot, carrying) for each in (asked, after)]
            assert said[1] == said[0]


# ---- loadbalance -------------------------------------------------------------------


def buckets(states: str) -> list[int]:
    return table(plan(shape_of(Proto.LOADBALANCE, states)))


def test_loadbalance_gives_each_port_its_share_of_the_buckets() -> None:
    assert Counter(buckets("uuuu")) == dict.fromkeys(range(4), BUCKETS // 4)


@pytest.mark.parametrize("lost", range(4))
def test_losing_one_of_four_ports_moves_only_its_buckets_and_to_all_others(
    lost: int,
) -> None:
    before = buckets("uuuu")
    after = buckets("".join("d" if port == lost else "u" for port in range(4)))
    moved = [(was, now) for was, now in zip(before, after, strict=True) if was != now]
    assert {was for was, _ in moved} == {lost}
    heirs = Counter(now for _, now in moved)
    # 64 buckets over three ports: nobody gets less than half of his share.
    assert set(heirs) == set(range(4)) - {lost}
    assert min(heirs.values()) >= 64 // 3 // 2


@given(st.permutations(range(PORTS_MAX)), st.integers(2, PORTS_MAX), st.data())
def test_each_further_loss_moves_only_the_buckets_of_the_port_lost(
    slots: list[int], count: int, data: st.DataObject
) -> None:
    alive = slots[:count]
    homes = rehome((), dict.fromkeys(alive, 1))
    order = data.draw(st.permutations(alive))
    before = flow_table(alive, order, homes)
    for gone in range(1, count):
        lost = order[gone - 1]
        after = flow_table(alive, order[gone:], homes)
        assert all(was in (now, lost) for was, now in zip(before, after, strict=True))
        before = after


def flow_table(
    slots: list[int], active: list[int], homes: tuple[int, ...]
) -> list[int]:
    ports = tuple(port_of(s, 100 + i, active=s in active) for i, s in enumerate(slots))
    asked = Shape(Proto.LOADBALANCE, Options(hash_seed=0), ports, slots[0], homes)
    return list(plan(asked).tx_slots)


@pytest.mark.parametrize("states", [states for states in TRUTH if "u" in states])
def test_fnv1_maps_hash_mod_count_and_then_asks_link_active(states: str) -> None:
    found = plan(shape_of(Proto.LOADBALANCE, states, hash=HashKind.FNV1))
    assert found.spread is Spread.FLOW
    # FreeBSD: lb_ports[hash % count], then lagg_link_active() of that port.
    assert table(found) == TRUTH[states][1:]


# ---- weights -----------------------------------------------------------------------


def weighed(proto: Proto, **options: object) -> Shape:
    shape = shape_of(proto, "uuu", 0, **options)
    names = [port.link.name for port in shape.ports]
    weights = zip(names, (1, 2, 5), strict=True)
    of_ports = {name: PortOptions(weight=weight) for name, weight in weights}
    return replace(shape, port_options=of_ports).rehomed()


def test_turns_and_buckets_are_shared_by_weight() -> None:
    assert table(plan(weighed(Proto.ROUNDROBIN))) == [2, 1, 2, 0, 2, 2, 1, 2]
    shares = Counter(table(plan(weighed(Proto.LOADBALANCE))))
    assert shares == {0: 32, 1: 64, 2: 160}


def test_weights_count_for_nothing_else() -> None:
    for proto in (Proto.FAILOVER, Proto.BROADCAST):
        assert plan(weighed(proto)) == plan(shape_of(proto, "uuu"))
    plain = shape_of(Proto.LOADBALANCE, "uuu", hash=HashKind.FNV1)
    assert plan(weighed(Proto.LOADBALANCE, hash=HashKind.FNV1)) == plan(plain)


# ---- every plan --------------------------------------------------------------------


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    slots = draw(st.lists(st.integers(0, PORTS_MAX - 1), unique=True))
    ports = tuple(
        port_of(
            slot,
            100 + n,
            active=draw(st.booleans()),
            lacp=draw(st.sampled_from([*AGREED.values()])),
        )
        for n, slot in enumerate(slots)
    )
    layers = draw(st.sets(st.sampled_from(ALL_LAYERS), min_size=1))
    layers |= draw(st.sets(st.just(HashLayer.INNER)))
    options = Options(
        lagghash=tuple(layer for layer in HashLayer if layer in layers),
        hash=draw(st.sampled_from(HashKind)),
        hash_seed=draw(st.integers(0, 2**32 - 1)),
        rr_limit=draw(st.integers(0, 2**32 - 1)),
        failover_rx_all=draw(st.booleans()),
    )
    primary = draw(st.sampled_from(slots)) if slots else None
    earlier = draw(st.sets(st.integers(0, PORTS_MAX - 1)))
    before = rehome((), dict.fromkeys(sorted(earlier), 1))
    homes = rehome(before, dict.fromkeys(slots, 1))
    return Shape(draw(st.sampled_from(Proto)), options, ports, primary, homes)


@given(shapes())
def test_every_plan_is_sound_for_c(asked: Shape) -> None:
    found = plan(asked)
    active = {port.slot for port in asked.ports if port.active}
    assert found.ports == {port.slot for port in asked.ports}
    assert set(found.tx_slots) <= active
    assert found.rx_accept <= found.ports
    assert len(found.tx_slots) <= BUCKETS
    assert found.stride == asked.options.rr_limit >= 0
    assert set(found.hash_layers) & set(ALL_LAYERS)
    # An empty table means that nobody could carry, and a table is never half a one.
    if asked.proto is Proto.LACP:
        active &= {p.slot for p in asked.ports if p.lacp == AGREED["D"]}
    assert bool(found.tx_slots) == (bool(active) and asked.proto is not Proto.NONE)
    if found.spread is Spread.ALL:
        assert len(set(found.tx_slots)) == len(found.tx_slots)
    if found.spread is Spread.FLOW and asked.options.hash is not HashKind.FNV1:
        assert len(found.tx_slots) in (0, BUCKETS)


@given(shapes())
def test_flags_and_reasons_agree_with_the_plan(asked: Shape) -> None:
    found = plan(asked)
    for port in asked.ports:
        silent = reason(asked, port.slot, plan(asked).distributing)
        assert (silent is None) == (port.slot in found.distributing)
        if port.slot in found.distributing:
            assert ACTIVE in flags(asked, port.slot)


def test_the_seed_and_layers_arrive_unchanged() -> None:
    seed = 0xFEEDF00D
    layers = (HashLayer.L2, HashLayer.L4)
    found = plan(shape_of(Proto.LOADBALANCE, "uu", hash_seed=seed, lagghash=layers))
    assert (found.hash_seed, found.hash_layers) == (seed, layers)
    assert found.hash_kind is HashKind.CRC32C
