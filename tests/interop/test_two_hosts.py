# SPDX-License-Identifier: BSD-2-Clause
"""Two laggds with one system and key are one partner to Open vSwitch; either is lost.

    core --- one:   lagg0 = p0 p1  --------  q0 q1 :br0, Open vSwitch
         \\- other: lagg0 = p0 p1  --------  q2 q3 :

Both hosts have lagg0's MAC and address, and route what comes in to the core: so frames
of one flow may come by either, and all are counted in one place.  Neighbours are given:
the hosts tell each other nothing of what they learn.
"""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab import Host, Lab, Stream, StreamResult, ovs, wait_until
from lab.cable import Patched, Plug
from lab.ovs import BOND, BRIDGE, MAC, OpenVswitch
from lab.partner import Lacp, Member
from lagg.lacp.values import State
from tests.interop.world import ACTIVE_FAST, AGREE_S, LAGG, agreed, octet
from tests.waiting import in_time

SYSTEM = "02:00:5e:00:53:aa"
OFFSETS = {"one": 0, "other": 32}
GATEWAY, SWITCH, CORE = "10.77.0.1", "10.77.0.2", "10.99.0.1"
OUTAGE_MS_MAX = 50.0
ROUTES = {"ip_forward": 1, "conf.all.rp_filter": 0, "conf.default.rp_filter": 0}
CARRY_S = 60.0
"""Far longer than it takes; reached only by what never happens."""


class World:
    """All of the picture; nothing is agreed yet."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.far, self.core = lab.host("ovs"), lab.host("core")
        self.core.add_address("lo", f"{CORE}/32")
        self.hosts = {name: lab.host(name) for name in OFFSETS}
        for host in (self.core, *self.hosts.values()):
            for key, value in ROUTES.items():
                host.sysctl(f"net.ipv4.{key}", value)
        self.cables: dict[str, list[Patched]] = {}
        for at, (name, host) in enumerate(self.hosts.items()):
            self.cables[name] = [
                lab.patched(Plug(host, f"p{n}"), Plug(self.far, f"q{2 * at + n}"))
                for n in (0, 1)
            ]
            self._join_core(host, at)
        for cable in itertools.chain(*self.cables.values()):
            cable.complete()
        self._make_switch()
        self.laggds = {name: lab.daemon(host) for name, host in self.hosts.items()}

    def _make_switch(self) -> None:
        self.switch = OpenVswitch(self.far, [f"q{n}" for n in range(4)], MAC)
        self.far.set_link(BRIDGE, state="up")
        self.far.add_address(BRIDGE, f"{SWITCH}/24")
        self._neighbour(self.far, BRIDGE, GATEWAY, SYSTEM)
        self.far.run("ip", "route", "add", f"{CORE}/32", "via", GATEWAY)

    def _join_core(self, host: Host, at: int) -> None:
        self._lab.cable(host, "up0", self.core, f"c{at}")
        host.add_address("up0", f"10.88.{at}.1/24")
        self.core.add_address(f"c{at}", f"10.88.{at}.2/24")
        host.run("ip", "route", "add", f"{CORE}/32", "via", f"10.88.{at}.2")

    @staticmethod
    def _neighbour(host: Host, link: str, address: str, mac: str) -> None:
        words = ("replace", address, "lladdr", mac, "dev", link, "nud", "permanent")
        host.run("ip", "neigh", *words)

    def form(self) -> None:
        """Both hosts speak as one system; returns when all four ports carry."""
        self.switch.set_lacp(Lacp(), self.switch.ports)
        for name, laggd in self.laggds.items():
            said = ("--lacp-system", SYSTEM, "--lacp-key", "10", "--lacp-fast-timeout")
            offset = ("--lacp-port-offset", str(OFFSETS[name]))
            make = ("create", LAGG, "p0", "p1", "--proto", "lacp", "--mac", SYSTEM)
            laggd.ctl(*make, *said, *offset)
            self.hosts[name].add_address(LAGG, f"{GATEWAY}/24")
            self._neighbour(self.hosts[name], LAGG, SWITCH, MAC)
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        fine = octet(ACTIVE_FAST)
        wait_until(
            lambda: agreed(self.switch.members(), 4, fine, fine),
            AGREE_S,
            "all four ports of the switch carry",
        )
        wait_until(
            lambda: all(distributing(d.record()) == 2 for d in self.laggds.values()),
            AGREE_S,
            "and both of each host's",
        )

    def carriers(self) -> list[str]:
        """The switch's ports that carry."""
        return [each.name for each in self.switch.members() if carries(each)]

    def partners(self, key: str) -> list[str]:
        """What the switch says of its ports' partners, by the word of lacp/show."""
        shown = self.switch.appctl("lacp/show", BOND)
        found: list[str] = re.findall(rf"^\s*partner {key}: (.*)$", shown, re.MULTILINE)
        return found


def carries(member: Member) -> bool:
    return member.aggregated and bool(member.actor & State.DISTRIBUTING)


def distributing(record: dict[str, Any]) -> int:
    return sum("DISTRIBUTING" in port["flags"] for port in record["ports"])


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """All four ports carry."""
    if why := ovs.missing():
        pytest.skip(why)
    with Lab() as lab:
        made = World(lab)
        made.form()
        yield made


def test_two_laggds_are_one_aggregator_of_open_vswitch(world: World) -> None:
    assert world.carriers() == ["q0", "q1", "q2", "q3"]
    assert world.partners("sys_id") == [SYSTEM] * 4
    assert world.partners("key") == ["10"] * 4
    assert world.partners("port_id") == ["1", "2", "33", "34"]
    for name, laggd in world.laggds.items():
        numbers = [port["lacp"]["actor"]["port"] for port in laggd.record()["ports"]]
        assert numbers == [OFFSETS[name] + 1, OFFSETS[name] + 2]


@pytest.mark.alone
@pytest.mark.parametrize("lost", OFFSETS)
def test_either_host_lost_the_switch_goes_on_by_the_other(
    world: World, lost: str
) -> None:
    """By carrier.  What the other host sends notices nothing of it."""
    other = next(name for name in OFFSETS if name != lost)
    ends = {"one": ["q0", "q1"], "other": ["q2", "q3"]}
    flaps = world.laggds[other].record()["lacp"]["flapping"]

    def measured() -> list[float]:
        with streaming(world, other) as streams:
            for cable in world.cables[lost]:
                cable.cut()
            wait_until(lambda: world.carriers() == ends[other], CARRY_S, "two carry")
        for cable in world.cables[lost]:
            cable.mend()
        world.wait_until_whole()
        return judged(*(stream.result() for stream in streams))

    in_time(measured, OUTAGE_MS_MAX, 1)
    assert world.laggds[other].record()["lacp"]["flapping"] == flaps


def judged(there: StreamResult, back: StreamResult) -> list[float]:
    """What the switch sent: the outage, and what overtook a frame at the lost host."""
    print(f"there {there}; back {back}")
    assert (there.duplicated, there.corrupt) == (0, 0)
    assert (back.lost, back.duplicated, back.reordered, back.corrupt) == (0, 0, 0, 0)
    return [there.outage_ms_max, there.reordered]


@contextmanager
def streaming(world: World, other: str) -> Iterator[tuple[Stream, Stream]]:
    """From the switch by either host, and from one host, before and after the block.

    Heavy enough for the switch to deal its flows out to both hosts, which it does by
    their load; whether it has is its affair.
    """
    there = Stream(world.far, world.core, CORE, rate=800, flows=16, payload_bytes=700)
    back = Stream(world.hosts[other], world.far, SWITCH, rate=400, flows=4, port=5002)
    flowed(world, other, 1000)
    yield there, back
    flowed(world, other, 200)
    for stream in (there, back):
        stream.stop()


def flowed(world: World, other: str, frames: int) -> None:
    """Until so many more have come in by both hosts together, and left that one."""

    def passed() -> tuple[int, int]:
        now = {n: each.record()["counters"] for n, each in world.laggds.items()}
        return sum(each["rx_in"] for each in now.values()), now[other]["tx_in"]

    begun = passed()
    wait_until(
        lambda: all(b - a >= frames for a, b in zip(begun, passed(), strict=True)),
        CARRY_S,
        "frames flow both ways",
    )
