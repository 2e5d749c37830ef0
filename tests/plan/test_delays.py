# SPDX-License-Identifier: BSD-2-Clause
"""up_delay_ms and down_delay_ms on an integer clock, as bonding documents its own."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.lacp.values import NS_OF_MS
from lagg.link import Link, Modes
from lagg.model import Agreement, Options, Proto
from lagg.plan.delays import due_at, settled
from lagg.plan.explain import Hashed, explain
from lagg.plan.plan import plan, reason
from lagg.plan.shape import Port, Shape

UP_MS, DOWN_MS = 300, 200
PORTS = 3

Change = tuple[int, int, bool]
"""At so many milliseconds the link of this port comes, or goes."""


def port_of(slot: int, *, up: bool) -> Port:
    mac = f"02:00:5e:00:53:{slot:02x}"
    state = "UP" if up else "DOWN"
    link = Link(10 + slot, f"eth{slot}", mac, 1500, True, up, state, 1)
    return Port(slot, link, mac, Modes(1000))


def shape_of(
    proto: Proto = Proto.FAILOVER,
    *,
    up: Iterable[int] = (0, 1, 2),
    up_ms: int = UP_MS,
    down_ms: int = DOWN_MS,
) -> Shape:
    """Ports whose links have been so for long."""
    options = Options(hash_seed=1, up_delay_ms=up_ms, down_delay_ms=down_ms)
    shape = Shape(proto, options)
    for slot in range(PORTS):
        shape = shape.with_port(port_of(slot, up=slot in set(up)))
    return shape


def with_carrier(shape: Shape, slot: int, *, up: bool) -> Shape:
    port = port_of(slot, up=up)
    return shape.with_link(port.link, port.modes)


def active(shape: Shape) -> set[int]:
    return {port.slot for port in shape.ports if port.active}


def timeline(shape: Shape, *changes: Change) -> list[tuple[int, set[int]]]:
    """From when on which ports are usable, in milliseconds."""
    found = [(0, active(shape))]
    left = list(changes)
    while left or due_at(shape) is not None:
        due = due_at(shape)
        at_ms = left[0][0] if left else None
        if due is not None and (at_ms is None or due <= at_ms * NS_OF_MS):
            now, after = due, shape
        else:
            at_ms, slot, up = left.pop(0)
            now, after = at_ms * NS_OF_MS, with_carrier(shape, slot, up=up)
        shape = settled(shape, after, now)
        if active(shape) != found[-1][1]:
            found.append((now // NS_OF_MS, active(shape)))
    begun, *steps = found
    return [begun, *dict(steps).items()]  # of what comes at one instant the last holds


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([(10, 1, False)], [(210, {0, 2})]),
        ([(10, 1, False), (209, 1, True)], []),  # back in time: nothing has been
        ([(10, 1, False), (210, 1, True)], [(210, {0, 2}), (510, {0, 1, 2})]),
        ([(10, 1, False), (100, 1, True), (110, 1, False)], [(310, {0, 2})]),
        ([(10, 0, False), (20, 1, False)], [(210, {1, 2}), (220, {2})]),
    ],
)
def test_a_port_whose_link_goes_is_left_when_its_delay_is_over(
    changes: list[Change], expected: list[tuple[int, set[int]]]
) -> None:
    assert timeline(shape_of(), *changes)[1:] == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([(10, 2, True)], [(310, {0, 1, 2})]),
        ([(10, 2, True), (309, 2, False)], []),
        ([(10, 2, True), (309, 2, False), (400, 2, True)], [(700, {0, 1, 2})]),
    ],
)
def test_a_port_whose_link_comes_is_used_when_its_delay_is_over(
    changes: list[Change], expected: list[tuple[int, set[int]]]
) -> None:
    assert timeline(shape_of(up=(0, 1)), *changes)[1:] == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([(10, 2, True)], [(10, {2})]),  # the first to come
        ([(10, 2, True), (20, 0, True)], [(10, {2}), (320, {0, 2})]),
    ],
)
def test_the_first_port_to_come_while_none_is_usable_is_used_at_once(
    changes: list[Change], expected: list[tuple[int, set[int]]]
) -> None:
    assert timeline(shape_of(up=()), *changes)[1:] == expected


def test_a_port_that_waits_is_used_at_once_when_the_last_usable_one_is_left() -> None:
    """One only, who came first; while that one counts as up nobody hurries."""
    shape = shape_of(up=(0,))
    changes = [(10, 2, True), (11, 1, True), (20, 0, False)]
    assert timeline(shape, *changes)[1:] == [(220, {2}), (311, {1, 2})]


def test_without_delays_a_port_is_as_its_link_is() -> None:
    shape = shape_of(up_ms=0, down_ms=0)
    changed = with_carrier(shape, 0, up=False)
    assert settled(shape, changed, 5) is changed
    assert due_at(changed) is None


def test_a_port_that_is_attached_waits_unless_nobody_else_is_usable() -> None:
    empty = replace(shape_of(), ports=(), primary=None, homes=())
    first = settled(empty, empty.with_port(port_of(0, up=True)), 5)
    second = settled(first, first.with_port(port_of(1, up=True)), 5)
    assert active(first) == {0}
    assert active(second) == {0}
    assert due_at(second) == 5 + UP_MS * NS_OF_MS
    assert reason(second, 1, plan(second).distributing) == "waits for up_delay_ms"


def test_with_lacp_all_wait_only_when_one_distributes() -> None:
    shape = settled(
        shape_of(Proto.LACP, up=()),
        shape_of(Proto.LACP, up=(0, 1)),
        0,
    )
    assert active(shape) == {0, 1}
    agreed = shape.with_agreements({0: Agreement(True, True, True)})
    third = settled(agreed, with_carrier(agreed, 2, up=True), 10 * NS_OF_MS)
    assert active(third) == {0, 1}


def test_a_delay_that_is_made_shorter_ends_a_wait_sooner() -> None:
    before = shape_of(up=(0, 1))
    shape = settled(before, with_carrier(before, 2, up=True), 0)
    shorter = replace(shape, options=replace(shape.options, up_delay_ms=0))
    assert active(settled(shape, shorter, 1)) == {0, 1, 2}


def test_explain_says_who_would_carry_were_a_port_down_for_good() -> None:
    before = shape_of(up=(0,))
    shape = settled(before, with_carrier(before, 1, up=True), 0)
    found = explain("lagg0", shape, plan(shape), 1, Hashed(0))
    assert dict(found.without)["eth0"].ports == ()
    assert dict(found.without)["eth1"].ports == ("eth0",)


# ---- whatever happens ----------------------------------------------------------------

HISTORY = st.lists(
    st.tuples(st.integers(0, 150), st.integers(0, PORTS - 1), st.booleans()),
    max_size=25,
)


@given(HISTORY, st.sampled_from((0, 50, 400)), st.sampled_from((0, 50, 400)))
def test_a_port_is_never_used_or_left_later_than_its_delay(
    history: list[tuple[int, int, bool]], up_ms: int, down_ms: int
) -> None:
    now_ms, changes = 0, []
    for pause_ms, slot, up in history:
        now_ms += pause_ms
        changes.append((now_ms, slot, up))
    shape = shape_of(up_ms=up_ms, down_ms=down_ms)
    found = timeline(shape, *changes)
    links = dict.fromkeys(range(PORTS), True)
    for _, slot, up in changes:
        links[slot] = up
    assert found[-1][1] == {slot for slot, up in links.items() if up}
    assert all(was < now for (was, _), (now, _) in pairwise(found[1:]))
    last = changes[-1][0] if changes else 0
    assert found[-1][0] <= last + max(up_ms, down_ms)
