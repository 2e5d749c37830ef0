# SPDX-License-Identifier: BSD-2-Clause
"""Buckets that are pinned or were moved: where they are, and what becomes of that."""

from dataclasses import replace

import pytest

from lagg.config.files import ConfigError, parse_toml, to_toml
from lagg.config.requests import parse_set
from lagg.errors import BadRequestError
from lagg.events import EventKind
from lagg.model import Agreement, Pin, Proto
from lagg.plan import pins
from lagg.plan.changes import news, option_news
from lagg.plan.explain import Hashed, explain
from lagg.plan.plan import plan
from lagg.plan.shape import Shape
from tests.plan.test_delays import with_carrier
from tests.plan.test_election import shape_of

PINNED = 17
SPREADS = (Proto.LOADBALANCE, Proto.LACP)


def shape(proto: Proto = Proto.LOADBALANCE) -> Shape:
    """Three ports that carry, and a bucket whose home is none of the last."""
    agreed = {slot: Agreement(True, True, True) for slot in range(3)}
    found = shape_of(proto).with_agreements(agreed).rehomed()
    return pins.with_moves(found, {PINNED: 0})


@pytest.mark.parametrize("proto", SPREADS)
def test_a_pinned_bucket_is_on_its_port_and_no_other_bucket_has_moved(
    proto: Proto,
) -> None:
    before = shape(proto)
    after = pins.with_pin(before, Pin(PINNED, "eth2"))
    was, now = plan(before).tx_slots, plan(after).tx_slots
    moved = [bucket for bucket in range(256) if was[bucket] != now[bucket]]
    assert (moved, now[PINNED]) == ([PINNED], 2)


@pytest.mark.parametrize("proto", SPREADS)
def test_without_its_port_a_bucket_goes_as_if_unpinned_and_comes_back(
    proto: Proto,
) -> None:
    before = shape(proto)
    after = pins.with_pin(before, Pin(PINNED, "eth2"))
    assert (
        plan(with_carrier(after, 2, up=False)).tx_slots
        == plan(with_carrier(before, 2, up=False)).tx_slots
    )
    lost = after.without_port(2)
    assert plan(lost).tx_slots == plan(before.without_port(2)).tx_slots
    assert plan(lost.with_port(after.at(2))).tx_slots[PINNED] == 2


def test_a_pin_is_kept_over_protocols_that_have_no_bucket() -> None:
    after = pins.with_pin(shape(), Pin(PINNED, "eth2"))
    assert plan(replace(after, proto=Proto.FAILOVER)).tx_slots[0] == 0
    lacp = replace(shape(Proto.LACP), options=after.options)
    assert plan(lacp).tx_slots[PINNED] == 2


def test_a_pin_for_a_time_counts_before_a_lasting_one_and_ends_by_itself() -> None:
    lasting = pins.with_pin(shape(), Pin(PINNED, "eth1"))
    timed = pins.with_timed_pin(lasting, Pin(PINNED, "eth2"), until=100)
    assert plan(timed).tx_slots[PINNED] == 2
    assert pins.due_at(timed) == 100
    assert pins.settled(timed, 99) is timed
    over = pins.settled(timed, 100)
    assert over == lasting
    assert pins.due_at(over) is None
    assert pins.without_pin(timed, PINNED) == shape()


def test_a_pin_follows_its_port_to_another_name() -> None:
    timed = pins.with_timed_pin(shape(), Pin(18, "eth2"), until=100)
    before = pins.with_pin(timed, Pin(PINNED, "eth2"))
    port = before.at(2)
    after = before.with_link(replace(port.link, name="red0"), port.modes)
    assert pins.pins(after) == {PINNED: "red0", 18: "red0"}
    assert plan(after).tx_slots == plan(before).tx_slots


def test_a_moved_bucket_stays_until_homes_are_dealt_anew() -> None:
    fair = shape_of(Proto.LOADBALANCE).rehomed()
    of_first = [b for b, slot in enumerate(fair.homes) if slot == 0]
    moved = pins.with_moves(fair, dict.fromkeys(of_first, 1))
    assert plan(moved).distributing == (1, 2)
    back = with_carrier(moved, 1, up=False)
    assert plan(back.with_link(moved.at(1).link, moved.at(1).modes)) == plan(moved)
    dealt = moved.rehomed()
    assert {dealt.homes.count(slot) for slot in range(3)} <= {85, 86}


def test_what_lasts_of_pins_is_of_ports_that_are_there() -> None:
    after = pins.with_pin(shape(), Pin(PINNED, "eth2"))
    assert after.lasting_options(["eth2"]).pin == (Pin(PINNED, "eth2"),)
    assert after.lasting_options(["eth0"]).pin == ()


def test_explain_says_that_a_bucket_is_pinned_and_whether_there() -> None:
    after = pins.with_pin(shape(Proto.LACP), Pin(PINNED, "eth2"))
    found = explain("lagg0", after, plan(after), 1, Hashed(256 + PINNED))
    assert found.choice.ports == ("eth2",)
    assert found.why.endswith("; the bucket is pinned to eth2")
    lost = with_carrier(after, 2, up=False)
    said = explain("lagg0", lost, plan(lost), 1, Hashed(PINNED)).why
    assert "pinned to eth2, which carries nothing, and this one stands in" in said
    assert "pinned" not in explain("lagg0", after, plan(after), 1, Hashed(18)).why


def test_each_pin_that_comes_or_goes_is_told_and_nothing_twice() -> None:
    before = pins.with_pin(shape(), Pin(3, "eth1"))
    after = pins.with_timed_pin(
        pins.without_pin(before, 3), Pin(PINNED, "eth2"), until=100
    )
    told = [(each.event, each.port, each.details) for each in news(before, after)]
    assert told == [
        (EventKind.PIN, "eth1", "bucket 3 no more"),
        (EventKind.PIN, "eth2", "bucket 17 is pinned"),
    ]
    assert [*option_news(before, after)] == []


TOML = """[[lagg]]
name = "lagg0"
proto = "lacp"
ports = ["eth0", "eth1"]
pin = ["3=eth1", "17=eth0"]
"""


def test_a_file_has_pins_and_save_writes_them() -> None:
    (config,) = parse_toml(TOML, "file")
    assert config.options.pin == (Pin(3, "eth1"), Pin(17, "eth0"))
    assert to_toml([config]) == TOML


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ('["3"]', "pin[0]: '3' is not a bucket and its port, as '17=eth1'"),
        ("[3]", "pin[0]: 3 is not a bucket and its port, as '17=eth1'"),
        ('["256=eth0"]', "pin[0]: 256 is not a whole number from 0 to 255"),
        ('["3=eth0", "3=eth1"]', "pin[1]: bucket 3 is given more than once"),
        ('["3=eth2"]', "pin[0]: eth2 is not in ports (did you mean eth"),
        ('"3=eth0"', """pin: '3=eth0' is not a list as ["17=eth1"]"""),
    ],
)
def test_a_pin_that_is_none_is_refused_with_what_would_be_one(
    said: str, complaint: str
) -> None:
    text = TOML.replace('["3=eth1", "17=eth0"]', said)
    with pytest.raises(ConfigError) as refused:
        parse_toml(text, "file")
    assert str(refused.value).startswith(f"file: lagg0: {complaint}")


def test_a_request_sets_them_too() -> None:
    change = parse_set("lagg0", {"pin": ["3=eth1"]})
    assert change.options == (("pin", (Pin(3, "eth1"),)),)
    with pytest.raises(BadRequestError):
        parse_set("lagg0", {"pin": ["x=eth1"]})
