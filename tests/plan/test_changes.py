# SPDX-License-Identifier: BSD-2-Clause
"""What differs from one shape to the next, in words."""

from dataclasses import replace

import pytest

from lagg.events import EventKind
from lagg.link import Link, Modes
from lagg.model import Agreement, HashLayer, Options, PortOptions, Proto
from lagg.plan.changes import News, active_news, cause, news, option_changes
from lagg.plan.plan import plan
from lagg.plan.shape import LaggMac, Port, Shape

MAC = "02:00:5e:00:53:01"


def port(number: int, *, up: bool = True) -> Port:
    state = "UP" if up else "DOWN"
    link = Link(number + 10, f"eth{number}", MAC, 1500, True, up, state, 1)
    return Port(number, link, MAC, Modes(1000))


def shape(*ports: Port, **given: object) -> Shape:
    found = Shape(Proto.FAILOVER, Options(hash_seed=0))
    for each in ports:
        found = found.with_port(each)
    return replace(found, **given)  # type: ignore[arg-type]


TWO = shape(port(0), port(1))


def lines(before: Shape, after: Shape) -> list[str]:
    return [
        f"{change.port or 'lagg'}: {change}" for change in option_changes(before, after)
    ]


def test_each_option_that_is_another_is_told_with_both_values() -> None:
    options = Options(
        hash_seed=0, lacp_strict=False, lagghash=(HashLayer.L3,), lacp_system=MAC
    )
    assert lines(TWO, replace(TWO, options=options)) == [
        "lagg: lagghash: l2,l3,l4 -> l3",
        "lagg: lacp_strict: true -> false",
        f"lagg: lacp_system: the lagg's -> {MAC}",
    ]
    assert lines(TWO, TWO) == []


def test_options_of_ports_are_told_by_port_attached_or_not() -> None:
    chosen = {"eth1": PortOptions(1), "eth7": PortOptions(2)}
    after = replace(TWO, port_options=chosen)
    assert lines(TWO, after) == [
        "eth1: lacp_port_priority: 32768 -> 1",
        "eth7: lacp_port_priority: 32768 -> 2",
    ]
    assert lines(after, TWO)[0] == "eth1: lacp_port_priority: 1 -> 32768"


def test_what_follows_a_port_to_another_name_is_no_change() -> None:
    before = replace(TWO, port_options={"eth1": PortOptions(1)})
    link = replace(before.at(1).link, name="lan1")
    after = before.with_link(link, Modes(1000))
    assert lines(before, after) == []
    again = replace(after, port_options={"lan1": PortOptions(3)})
    assert lines(before, again) == ["lan1: lacp_port_priority: 1 -> 3"]


DISTRIBUTES = Agreement(active=True, collecting=True, distributing=True)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (TWO, TWO, None),
        (TWO, replace(TWO, proto=Proto.NONE), "laggproto none"),
        (TWO, TWO.in_order(["eth1", "eth0"]), "the order of its ports"),
        (TWO, TWO.with_link(port(0, up=False).link, Modes()), "eth0 down"),
        (shape(port(0, up=False)), shape(port(0)), "eth0 up"),
        (TWO, TWO.without_port(0), "eth0 left"),
        (TWO, shape(port(0), port(1), port(2)), "eth2 attached"),
        (shape(port(0)), shape(port(1)), "eth0 left, eth1 attached"),
        (TWO, TWO.with_agreements({0: DISTRIBUTES}), "eth0 distributes"),
        (
            TWO.with_agreements({0: DISTRIBUTES}),
            TWO.with_agreements({0: Agreement(reason="leaving")}),
            "eth0 distributes no more: leaving",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_made_the_plan_another(
    before: Shape, after: Shape, words: str | None
) -> None:
    assert cause(before, after) == words


def test_links_mac_and_protocol_that_are_others_are_news() -> None:
    mac = LaggMac("02:00:5e:00:53:09", donor="eth1")
    after = shape(port(0, up=False), port(1), port(2), proto=Proto.LACP, mac=mac)
    assert [*news(TWO, after)] == [
        News(EventKind.PORT_LINK, "down", "eth0", warns=True),
        News(EventKind.MAC, mac.address, cause="that of eth1"),
        News(EventKind.PROTO, "failover -> lacp"),
    ]
    assert [*news(after, after)] == []


def test_another_port_that_carries_is_news_while_one_does() -> None:
    after = shape(port(0, up=False), port(1))
    none = shape(port(0, up=False), port(1, up=False))
    carries = News(EventKind.ACTIVE_PORT, "eth0 -> eth1", "eth1", "eth0 down")
    assert [*active_news(TWO, plan(TWO), after, plan(after))] == [carries]
    assert [*active_news(after, plan(after), after, plan(after))] == []
    assert [*active_news(TWO, plan(TWO), none, plan(none))] == []
