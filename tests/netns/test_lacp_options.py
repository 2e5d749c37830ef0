# SPDX-License-Identifier: BSD-2-Clause
"""LACP's options, live, at a lagg that has two partners: b with a cable, c with two.

a: lagg0 = p0  ------------  q0 = lagg0 :b
           p1 p2  ---------  q1 q2 = lagg0 :c
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from lab import Daemon, Lab, wait_until
from lab.pair import agreeing
from lagg.control.client import Client
from tests.netns.steer import DEADLINE_S, LAGG

SYSTEMS = {"b": "02:5e:00:00:80:0b", "c": "02:5e:00:00:80:0c"}
PARTNERS = {"p0": "b", "p1": "c", "p2": "c"}
CHANGES = 6
"""Three are free."""


class End:
    """A laggd, and a connection to it; its lagg0 comes and goes."""

    def __init__(self, laggd: Daemon) -> None:
        self._client = Client(str(laggd.socket))

    def close(self) -> None:
        self._client.__exit__(None, None, None)

    def create(self, *ports: str, **options: object) -> None:
        options |= {"lacp_fast_timeout": True}
        words: dict[str, Any] = {"ports": [*ports], "options": options}
        self._client.call("Create", name=LAGG, proto="lacp", **words)

    def destroy(self) -> None:
        """If there is one."""
        if self._client.call("List")["laggs"]:
            self._client.call("Destroy", name=LAGG)

    def set(self, **options: object) -> None:
        self._client.call("Set", name=LAGG, options=options)

    def prefer(self, **priorities: int) -> None:
        """The lower is the better."""
        chosen = {name: {"lacp_port_priority": n} for name, n in priorities.items()}
        self._client.call("Set", name=LAGG, port=chosen)

    def attach(self, *ports: str) -> None:
        self._client.call("Attach", name=LAGG, ports=[*ports])

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.call("List", name=LAGG)["laggs"][0]
        return found

    def ports(self) -> dict[str, dict[str, Any]]:
        return {port["name"]: port for port in self.record()["ports"]}

    def carrying(self) -> list[str]:
        """The ports by which its frames leave."""
        return [name for name, port in self.ports().items() if port["reason"] is None]

    def wait_carrying(self, *ports: str) -> None:
        what = f"{', '.join(ports) or 'nothing'} carries"
        wait_until(lambda: self.carrying() == [*ports], DEADLINE_S, what)


class World:
    def __init__(self, lab: Lab) -> None:
        hosts = {name: lab.host(name) for name in "abc"}
        self.cables = {
            port: lab.cable(hosts["a"], port, hosts[far], port.replace("p", "q"))
            for port, far in PARTNERS.items()
        }
        ends = [End(lab.daemon(host, log_level="info")) for host in hosts.values()]
        self.ends = tuple(ends)
        self.a, self.b, self.c = ends

    def partners(self) -> None:
        self.b.create("q0", lacp_system=SYSTEMS["b"])
        self.c.create("q1", "q2", lacp_system=SYSTEMS["c"])


@pytest.fixture(scope="module")
def lasting() -> Iterator[World]:
    with Lab() as lab, ExitStack() as connections:
        made = World(lab)
        for end in made.ends:
            connections.callback(end.close)
        yield made


@pytest.fixture
def world(lasting: World) -> Iterator[World]:
    """Without any lagg."""
    yield lasting
    for cable in lasting.cables.values():
        cable.mend()
    for end in lasting.ends:
        end.destroy()


def served(end: End, partner: str) -> bool:
    """Whether this partner has the active aggregator, and no other port carries."""
    lacp = end.record()["lacp"]
    ports = [name for name, far in PARTNERS.items() if far == partner]
    return (
        lacp["partner"] is not None
        and lacp["partner"]["system"] == SYSTEMS[partner]
        and end.carrying() == ports
    )


def test_ad_select_chooses_among_two_partners(world: World) -> None:
    """b was there first; c has more ports, which together are faster."""
    world.partners()
    world.a.create("p0")
    world.a.prefer(p0=1)
    wait_until(partial(served, world.a, "b"), DEADLINE_S, "b is served")
    world.a.attach("p1", "p2")
    wait_until(lambda: agreed(world.c) == 2, DEADLINE_S, "c agrees on both")
    assert served(world.a, "b")
    assert {
        port["reason"] for name, port in world.a.ports().items() if name != "p0"
    } == {"other aggregator is active"}
    for policy, partner in (
        ("count", "c"),
        ("port-priority", "b"),
        ("bandwidth", "c"),
        ("stable", "c"),
    ):
        world.a.set(ad_select=policy)
        what = f"{policy}: {partner} is served"
        wait_until(partial(served, world.a, partner), DEADLINE_S, what)


def agreed(end: End) -> int:
    return agreeing(end.record())


def test_a_port_above_max_ports_stands_by_and_the_partner_knows_it(
    world: World,
) -> None:
    world.partners()
    world.a.create("p1", "p2", lacp_max_ports=1)
    world.a.wait_carrying("p1")
    standby = world.a.ports()["p2"]
    assert standby["reason"] == "standby: the aggregator holds 1 ports"
    wait_until(lambda: agreed(world.c) == 1, DEADLINE_S, "c sends by one alone")
    world.cables["p1"].cut()
    world.a.wait_carrying("p2")
    world.cables["p1"].mend()
    world.a.set(lacp_max_ports=2)
    world.a.wait_carrying("p1", "p2")


def test_without_a_partner_the_fallback_carries_until_there_is_one(
    world: World,
) -> None:
    world.a.create("p1", "p2")
    world.a.prefer(p2=1)
    wait_until(lambda: reasons(world.a) == {"no partner heard"}, DEADLINE_S, "nobody")
    assert world.a.record()["link"] == "down"
    world.a.set(lacp_fallback_timeout=1)
    world.a.wait_carrying("p2")
    assert world.a.record()["link"] == "up"
    world.partners()
    world.a.wait_carrying("p1", "p2")
    assert world.a.record()["lacp"]["partner"]["system"] == SYSTEMS["c"]


def test_without_a_partner_both_ports_carry_unless_the_lagg_is_strict(
    world: World,
) -> None:
    world.a.create("p1", "p2", lacp_strict=False)
    world.a.wait_carrying("p1", "p2")
    world.a.set(lacp_strict=True)
    world.a.wait_carrying()


def test_rxtest_ignores_the_partner_until_it_is_heard_again(world: World) -> None:
    world.partners()
    world.a.create("p1", "p2")
    world.a.wait_carrying("p1", "p2")
    world.a.set(lacp_rxtest=True)
    ignored = {"no partner heard: lacp_rxtest ignores it"}
    wait_until(lambda: reasons(world.a) == ignored, DEADLINE_S, "c is not heard")
    for port in world.a.ports().values():
        assert bad(port)["rxtest"] > 0
    wait_until(lambda: agreed(world.c) == 0, DEADLINE_S, "c has seen it")
    world.a.set(lacp_rxtest=False)
    wait_until(lambda: agreed(world.c) == 2, DEADLINE_S, "they agree again")


def reasons(end: End) -> set[str | None]:
    return {port["reason"] for port in end.ports().values()}


def bad(port: Mapping[str, Any]) -> dict[str, int]:
    found: dict[str, int] = port["lacp"]["counters"]["bad"]
    return found


def test_a_sole_partner_that_is_set_up_anew_is_not_held_off(world: World) -> None:
    """H-14 protects the flows of others; here there are none."""
    world.b.create("q0")
    world.a.create("p0")
    world.a.wait_carrying("p0")
    for key in range(1, CHANGES + 1):
        world.b.set(lacp_key=key)
        wait_until(partial(has_key, world.a, key), DEADLINE_S, f"key {key} is heard")
    seen: set[str | None] = set()

    def carries() -> bool:
        seen.update(reasons(world.a))
        return world.a.carrying() == ["p0"]

    wait_until(carries, DEADLINE_S, "p0 carries")
    assert "held: the partner changes too often" not in seen


def has_key(end: End, key: int) -> bool:
    (port,) = end.record()["ports"]
    return bool(port["lacp"]["partner"]["key"] == key)
