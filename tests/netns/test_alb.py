# SPDX-License-Identifier: BSD-2-Clause
"""laggproto alb on a switch that knows no aggregation: peers send by all ports."""

from collections.abc import Iterator

import pytest

from lab import Host, Lab, conserved, wait_until
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
from tests.netns.test_tlb import HASH, SILENCE_MS_MAX, carrying, home, spread, whole


@pytest.fixture(scope="module")
def built() -> Iterator[Office]:
    with Lab() as lab:
        yield Office.built(lab, "alb", *HASH)


@pytest.fixture
def office(built: Office) -> Office:
    """All ports carry, the first is home, and each host sends by another port."""
    for cable in built.cables:
        cable.mend()
    wait_until(lambda: carrying(built) == [*PORTS], DEADLINE_S, "all carry")
    wait_until(lambda: home(built) == "p0", DEADLINE_S, "the primary is home")
    wait_until(lambda: len(taught(built)) == len(HOSTS), DEADLINE_S, "each its own")
    return built


def taught(office: Office, address: str = NEAR) -> set[str]:
    """The MACs by which hosts know the lagg."""
    macs = set()
    for host in office.hosts.values():
        line = host.run("ip", "neigh", "show", address, "dev", "e").stdout.split()
        if "lladdr" in line:
            macs.add(line[line.index("lladdr") + 1])
    return macs


def test_what_hosts_send_comes_in_by_all_ports_and_the_switch_sees_no_mac_move(
    office: Office,
) -> None:
    learning, before, dropped = Learning(office), office.received(), office.overload()
    streams = office.streams(there=False, rate=3000, flows=16)
    back = office.streams(there=True, rate=300, flows=16)
    wait_until(
        lambda: sum(spread(before, office.received())) > 2_000_000, DEADLINE_S, "it"
    )
    for stream in (*streams, *back):
        stream.stop()
    results = [stream.result() for stream in (*streams, *back)]
    came = spread(before, office.received())
    assert whole(results, office.overload() - dropped)
    mean = sum(came) / len(came)
    assert all(abs(each - mean) <= mean / 4 for each in came), came
    macs = {*office.macs.values()}
    assert [each for each in learning.stop() if each[0] in macs] == []
    conserved(office.laggd.record("lagg0"))


def test_ipv6_hosts_are_taught_and_unknown_ones_and_broadcast_work(
    office: Office,
) -> None:
    for number, host in enumerate(office.hosts.values(), start=2):
        host.run("ip", "neigh", "flush", "dev", "e")
        assert answers(host, NEAR)
        assert answers(host, NEAR6)
        assert office.reaches(f"fd81::{number}")
    wait_until(lambda: len(taught(office, NEAR6)) > 1, DEADLINE_S, "by IPv6, too")
    office.near.run("ip", "neigh", "flush", "dev", "lagg0")
    before = {name: known(host) for name, host in office.hosts.items()}
    assert office.reaches("10.81.0.3")
    assert {name: known(host) for name, host in office.hosts.items()} == before
    for host in office.hosts.values():
        host.sysctl("net.ipv4.icmp_echo_ignore_broadcasts", 0)
    done = office.near.run("ping", "-b", "-c1", "-W1", "10.81.0.255", check=False)
    assert "1 received" in done.stdout


def known(host: Host) -> str:
    """The MAC by which a host knows the lagg, whatever state that entry is in."""
    line = host.run("ip", "neigh", "show", NEAR, "dev", "e").stdout.split()
    return line[line.index("lladdr") + 1] if "lladdr" in line else ""


def test_peers_are_told_the_same_while_laggd_is_away(office: Office) -> None:
    before = {name: known(host) for name, host in office.hosts.items()}
    assert len({*before.values()}) == len(HOSTS)
    office.laggd.kill()
    for host in office.hosts.values():
        host.run("ip", "neigh", "flush", "dev", "e")
        assert answers(host, NEAR)
    assert {name: known(host) for name, host in office.hosts.items()} == before
    office.laggd.start()
    wait_until(lambda: carrying(office) == [*PORTS], DEADLINE_S, "it goes on")
    assert {name: known(host) for name, host in office.hosts.items()} == before


@pytest.mark.alone
@pytest.mark.parametrize("lost", range(len(PORTS)))
def test_no_host_is_without_the_lagg_for_a_second_when_a_port_is_lost(
    office: Office, lost: int
) -> None:
    streams = [
        *office.streams(there=True, rate=1000, flows=16),
        *office.streams(there=False, rate=1000, flows=16),
    ]
    flowed(office)
    office.cables[lost].cut()
    left = [name for name in PORTS if name != f"p{lost}"]
    wait_until(lambda: carrying(office) == left, DEADLINE_S, "it is out")
    flowed(office)
    wait_until(lambda: len(taught(office)) == len(left), DEADLINE_S, "taught anew")
    flowed(office)
    for stream in streams:
        stream.stop()
    results = [stream.result() for stream in streams]
    assert all(each.duplicated == 0 for each in results)
    assert max(each.silence_ms_max for each in results) < SILENCE_MS_MAX


def flowed(office: Office) -> None:
    """Frames came in, a while of them."""
    before = office.received()
    wait_until(
        lambda: sum(spread(before, office.received())) > 200_000, DEADLINE_S, "frames"
    )
