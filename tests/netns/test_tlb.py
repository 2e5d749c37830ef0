# SPDX-License-Identifier: BSD-2-Clause
"""laggproto tlb on a switch that knows no aggregation, with hosts as they are."""

from collections.abc import Iterator

import pytest

from lab import Lab, StreamResult, conserved, wait_until
from tests.netns.plain_switch import (
    DEADLINE_S,
    HOSTS,
    NEAR,
    NEAR6,
    PORTS,
    Learning,
    Office,
    answers,
)
from tests.netns.test_announce import make_macvlan

RATE, FLOWS = 3_000, 64
HASH = "--lagghash", "l3,l4", "--hash-seed", "1"
"""No MAC that chance gave counts."""
SILENCE_MS_MAX = 1000.0
"""For how long a host hears nothing when the lagg's way in is lost."""


@pytest.fixture(scope="module")
def built() -> Iterator[Office]:
    with Lab() as lab:
        yield Office.built(lab, "tlb", *HASH)


@pytest.fixture
def office(built: Office) -> Office:
    """All ports carry, and the first is the way in."""
    for cable in built.cables:
        cable.mend()
    wait_until(lambda: home(built) == "p0", DEADLINE_S, "the primary is the way in")
    wait_until(lambda: carrying(built) == [*PORTS], DEADLINE_S, "all carry")
    wait_until(lambda: built.learned().get(built.macs["lagg0"]) == {"s0"}, 60, "s0")
    return built


def home(office: Office) -> str:
    found: str = office.laggd.record("lagg0")["active"]
    return found


def carrying(office: Office) -> list[str]:
    ports = office.laggd.record("lagg0")["ports"]
    return [port["name"] for port in ports if port["reason"] is None]


def spread(before: dict[str, int], after: dict[str, int]) -> list[int]:
    return [after[name] - before[name] for name in before]


def test_flows_leave_by_all_ports_and_the_switch_sees_no_mac_move(
    office: Office,
) -> None:
    wait_until(lambda: {*PORTS} <= at_home_ports(office), DEADLINE_S, "all are learned")
    learning, before, came = Learning(office), office.sent(), office.received()
    dropped = office.overload()
    streams = office.streams(there=True, rate=RATE, flows=FLOWS)
    back = office.streams(there=False, rate=RATE // 10, flows=8)
    wait_until(lambda: sum(spread(before, office.sent())) > 2_000_000, DEADLINE_S, "it")
    for stream in (*streams, *back):
        stream.stop()
    results = [stream.result() for stream in (*streams, *back)]
    sent = spread(before, office.sent())
    assert whole(results, office.overload() - dropped)
    mean = sum(sent) / len(sent)
    assert all(abs(each - mean) <= mean / 4 for each in sent), sent
    assert spread(came, office.received())[0] > 0
    assert moved(learning.stop(), office) == []
    record = office.laggd.record("lagg0")
    conserved(record)
    assert record["counters"]["drops"].get("tx-error", 0) == 0


def at_home_ports(office: Office) -> set[str]:
    """The ports whose MAC the switch looks for there, each as it sends."""
    for number in range(2, 2 + len(HOSTS)):
        for flow in range(8):
            office.near.run(
                *("ping", "-c1", "-W1", "-p", f"{flow:02x}", f"10.81.0.{number}"),
                check=False,
            )
    learned = office.learned()
    macs = office.macs
    found = {"p0"} if learned.get(macs["lagg0"]) == {"s0"} else set()
    for name in PORTS[1:]:
        if learned.get(macs[name]) == {f"s{name[1]}"}:
            found.add(name)
    return found


def whole(results: list[StreamResult], overload: int) -> bool:
    """Each frame came, once and in order, but for so many that a slow machine cost."""
    return sum(each.lost for each in results) <= overload and all(
        each.duplicated == each.reordered == each.corrupt == 0 for each in results
    )


def moved(learned: list[tuple[str, str]], office: Office) -> list[tuple[str, str]]:
    """Where the switch has learned a MAC of the lagg's or its ports' anew."""
    macs = {*office.macs.values()}
    return [(mac, port) for mac, port in learned if mac in macs]


def test_a_port_whose_own_mac_the_lagg_has_speaks_by_another_while_it_is_not_home(
    office: Office,
) -> None:
    mac = office.macs["lagg0"]
    assert mac == office.macs["p0"]
    office.laggd.ctl("set", "lagg0", "--active", "p2")
    wait_until(lambda: office.learned()[mac] == {"s2"}, DEADLINE_S, "it is announced")
    learning, before, dropped = Learning(office), office.sent(), office.overload()
    streams = office.streams(there=True, rate=RATE, flows=FLOWS)
    wait_until(lambda: min(spread(before, office.sent())) > 50_000, DEADLINE_S, "all")
    for stream in streams:
        stream.stop()
    results = [stream.result() for stream in streams]
    assert whole(results, office.overload() - dropped)
    assert office.learned()[mac] == {"s2"}
    local = f"{int(mac[:2], 16) ^ 2:02x}{mac[2:]}"
    learned = [port for each, port in learning.stop() if each in (mac, local)]
    assert learned in ([], ["s0"])
    assert office.learned()[local] == {"s0"}
    office.laggd.ctl("set", "lagg0", "--active", "")


def test_ipv6_broadcast_and_hosts_that_nobody_knows_are_reached(office: Office) -> None:
    for number, host in enumerate(office.hosts.values(), start=2):
        for address in (NEAR, NEAR6):
            host.run("ip", "neigh", "flush", "dev", "e")
            assert answers(host, address)
        assert office.reaches(f"fd81::{number}")
    office.near.run("ip", "neigh", "flush", "dev", "lagg0")
    assert office.reaches("10.81.0.3")
    for host in office.hosts.values():
        host.sysctl("net.ipv4.icmp_echo_ignore_broadcasts", 0)
    done = office.near.run("ping", "-b", "-c1", "-W1", "10.81.0.255", check=False)
    assert "1 received" in done.stdout


def test_a_macvlan_above_has_its_place_at_one_port_of_the_switch(
    office: Office,
) -> None:
    name = make_macvlan(office.near)
    office.near.set_link(name, state="up")
    office.near.add_address(name, "10.82.0.1/24")
    mac = office.near.link(name).mac
    for number, host in enumerate(office.hosts.values(), start=2):
        host.add_address("e", f"10.82.0.{number}/24")
        assert answers(host, "10.82.0.1")
    assert office.learned()[mac] == {"s0"}
    office.cables[0].cut()
    for host in office.hosts.values():
        wait_until(lambda h=host: answers(h, "10.82.0.1"), DEADLINE_S, "it answers")  # type: ignore[misc]
    assert office.learned()[mac] == {f"s{home(office)[1]}"}
    office.near.delete_link(name)


@pytest.mark.alone
def test_no_host_is_without_the_lagg_for_a_second_when_its_way_in_is_lost(
    office: Office,
) -> None:
    streams = [
        *office.streams(there=True, rate=1000, flows=16),
        *office.streams(there=False, rate=1000, flows=16),
    ]
    sent = office.sent()
    wait_until(lambda: sum(spread(sent, office.sent())) > 100_000, DEADLINE_S, "frames")
    office.cables[0].cut()
    wait_until(lambda: home(office) == "p1", DEADLINE_S, "another is the way in")
    sent = office.sent()
    wait_until(lambda: sum(spread(sent, office.sent())) > 100_000, DEADLINE_S, "frames")
    office.cables[0].mend()
    wait_until(lambda: home(office) == "p0", DEADLINE_S, "the primary is again")
    sent = office.sent()
    wait_until(lambda: sum(spread(sent, office.sent())) > 100_000, DEADLINE_S, "frames")
    for stream in streams:
        stream.stop()
    results = [stream.result() for stream in streams]
    assert all(each.duplicated == 0 for each in results)
    assert max(each.silence_ms_max for each in results) < SILENCE_MS_MAX
    wait_until(lambda: office.learned()[office.macs["lagg0"]] == {"s0"}, 60, "s0")
