# SPDX-License-Identifier: BSD-2-Clause
"""What is remembered of a lagg before a change, and how that outlives laggd."""

from dataclasses import replace
from typing import Any

import pytest

from lagg.handover.trial import (
    Before,
    Trial,
    due,
    next_due,
    put_back,
    text,
    trials_of,
)
from lagg.lacp.values import NS
from lagg.link import Link, Modes
from lagg.model import CONFIRM_MS_MAX, LaggConfig, Options, Pin, Proto
from lagg.plan.shape import LaggMac, Port, Shape

LATEST_NS = CONFIRM_MS_MAX * 10**6


def port(slot: int, name: str, **others: Any) -> Port:  # noqa: ANN401
    mac = f"02:00:5e:00:53:{slot:02x}"
    link = Link(10 + slot, name, mac, 1500, True, True, "UP", 1)
    return Port(slot, link, home_mac=mac, modes=Modes(10000), **others)


def shape(*ports: Port) -> Shape:
    found = Shape(Proto.LOADBALANCE, Options(hash_seed=1))
    for each in ports:
        found = found.with_port(each)
    return replace(found, mac=LaggMac("02:00:5e:00:53:00", donor="p0"))


SHAPE = shape(port(0, "p0"), port(1, "p1"))
BEFORE = Before(7, LaggConfig("lagg0", ports=("p0", "p1")), None, SHAPE)
TRIAL = Trial(60 * NS, (BEFORE,), created=("lagg1",))


def test_it_is_read_as_it_was_written() -> None:
    trials = (TRIAL, Trial(70 * NS))
    assert trials_of(text(trials), 10 * NS) == trials


@pytest.mark.parametrize(
    ("saved", "why"),
    [
        (b"laggd-trials 2\n{}", "the trials begin with 'laggd-trials 2'"),
        (b"", "the trials begin with ''"),
        (text([TRIAL])[:-4], "delimiter|Unterminated|Expecting"),
        (text([TRIAL]).replace(b'"due"', b'"dew"'), "a key of Trial, or is missing"),
        (text([Trial(11 * NS + LATEST_NS)]), "one ends later than any can"),
    ],
)
def test_what_no_laggd_wrote_in_this_boot_is_refused(saved: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        trials_of(saved, 10 * NS)


def test_it_knows_its_laggs_by_name_and_by_what_they_are_called_now() -> None:
    assert TRIAL.names == ("lagg0", "lagg1")
    named = [TRIAL.concerns(name) for name in ("lagg0", "lagg1", "lagg2")]
    assert named == [True, True, False]
    assert TRIAL.concerns("renamed0", 7)
    assert not TRIAL.concerns("renamed0", 8)


def test_the_first_to_end_is_due_first_and_of_two_that_are_the_one_begun_last() -> None:
    trials = (TRIAL, Trial(50 * NS), Trial(70 * NS))
    assert (next_due(trials), next_due(())) == (50 * NS, None)
    assert due(trials, 50 * NS - 1) == ()
    assert due(trials, 60 * NS) == (trials[1], trials[0])
    assert [TRIAL.left_ms(now * NS) for now in (59, 60, 99)] == [1000, 0, 0]


def test_a_lagg_that_is_gone_has_the_mac_again_that_no_port_would_give_it() -> None:
    assert BEFORE.lasting == BEFORE.config
    without = replace(BEFORE, config=replace(BEFORE.config, ports=("p1",)))
    assert without.lasting.mac == "02:00:5e:00:53:00"


def test_links_that_are_others_are_no_change_and_what_a_user_set_is() -> None:
    down = replace(SHAPE.ports[0].link, lower_up=False)
    assert BEFORE.is_as(replace(BEFORE, shape=SHAPE.with_link(down, Modes())))
    for changed in (
        replace(BEFORE, config=replace(BEFORE.config, mtu=1400)),
        replace(BEFORE, shape=replace(SHAPE, picked=1)),
        replace(BEFORE, shape=shape(port(0, "p0"), port(1, "p1", held_until=5))),
        replace(BEFORE, shape=replace(SHAPE, timed_pins=((Pin(3, "p0"), 9),))),
        replace(BEFORE, shape=shape(port(0, "p0"), port(2, "p1"))),
    ):
        assert not BEFORE.is_as(changed)


def test_state_is_put_back_by_port_and_buckets_where_each_has_its_slot_again() -> None:
    pin = (Pin(3, "p1"), 9)
    held = shape(port(0, "p0"), port(1, "p1", held_until=5))
    before = replace(held, picked=1, timed_pins=(pin,), homes=(1,) * 256, primary=1)
    assert put_back(SHAPE, before) == before
    moved = shape(port(0, "p0"), replace(port(2, "p1"), link=held.ports[1].link))
    found = put_back(moved, before)
    assert (found.picked, found.timed_pins) == (2, (pin,))
    assert [each.held_until for each in found.ports] == [None, 5]
    assert (found.homes, found.primary) == (moved.homes, moved.primary)
    gone = put_back(shape(port(0, "p0")), before)
    assert (gone.picked, len(gone.ports)) == (None, 1)
