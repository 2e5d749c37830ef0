# SPDX-License-Identifier: BSD-2-Clause
"""With real partners: the ports of both ends become one aggregate, or do not."""

import json
import time
from functools import partial
from typing import Any

import pytest

from lab import conserved, ping, wait_until
from lab.partner import Lacp
from tests.interop.world import ADDRESS, World

FAST, SLOW = Lacp(fast=True), Lacp(fast=False)
PASSIVE_FAST, PASSIVE_SLOW = Lacp(active=False), Lacp(active=False, fast=False)
PINGS = 20
FLOWS = 16
IPERF_S = 30.0
TCP_S = 240.0
IPERF_PORT, IPERF_BYTES = 5201, 4 << 20
TCP_LISTEN = "0A"  # as /proc/net/tcp writes it
SOON_S = 30.0
"""Far longer than it takes; reached only by what never happens."""

NEVER_S = 5.0
"""Two ends of which one is active agree in three seconds."""


@pytest.mark.parametrize(
    ("ours", "theirs", "ports"),
    [
        pytest.param(FAST, FAST, 2, id="fast-fast-2"),
        pytest.param(SLOW, SLOW, 3, id="slow-slow-3"),
        pytest.param(FAST, PASSIVE_SLOW, 4, id="fast-passive_slow-4"),
        pytest.param(PASSIVE_FAST, SLOW, 2, id="passive_fast-slow-2"),
    ],
)
def test_all_ports_agree_and_traffic_passes(
    world: World, ours: Lacp, theirs: Lacp, ports: int
) -> None:
    """State octets on both sides: 0x3f or 0x3d, less activity where passive."""
    world.form(ours=ours, theirs=theirs, ports=ports)
    took_s = world.wait_until_agreed()
    print(f"{world.partner.version}: agreed after {took_s:.1f} s: {world.states()}")
    record = world.record()
    aggregators = {port["lacp"]["aggregator"] for port in record["ports"]}
    assert aggregators == {record["lacp"]["aggregator"]}
    assert all(
        {"ACTIVE", "COLLECTING", "DISTRIBUTING"} <= {*port["flags"]}
        for port in record["ports"]
    )
    assert record["link"] == "up"
    assert ping(world.near, world.partner.address, count=PINGS).lost == 0
    conserved(world.record())


def test_two_passive_ends_never_form(world: World) -> None:
    world.form(ours=PASSIVE_FAST, theirs=PASSIVE_FAST, ports=2)
    end = time.monotonic() + NEVER_S

    def over() -> bool:
        assert not any(member.aggregated for member in world.members())
        return time.monotonic() > end

    wait_until(over, 2 * NEVER_S, "the time in which it never forms")
    assert world.record()["link"] == "down"


@pytest.mark.parametrize(
    ("counter", "words"),
    [
        pytest.param("tx_frames", (), id="to-the-partner"),
        pytest.param("rx_frames", ("--reverse",), id="from-the-partner"),
    ],
)
def test_tcp_passes_by_all_ports(
    world: World, counter: str, words: tuple[str, ...]
) -> None:
    """Runs of other flows each, until each port has carried some.

    Chance may leave a port out of one.  Open vSwitch gives all flows to those ports
    that agreed first, by a moment, and deals them out anew once a second by their load.
    """
    world.form(ports=3, lagghash=["l3", "l4"])
    world.wait_until_agreed()
    before = world.record()["ports"]
    wait_until(
        lambda: carried(world, *words) and min(moved(world, before, counter)) > FLOWS,
        TCP_S,
        "TCP passes, and by all ports",
    )
    conserved(world.record())


def moved(world: World, before: list[dict[str, Any]], counter: str) -> list[int]:
    """By each port since then."""
    now = world.record()["ports"]
    found = [b[counter] - a[counter] for a, b in zip(before, now, strict=True)]
    print(f"{world.partner.version}: {counter} {found}")
    return found


def carried(world: World, *words: str) -> bool:
    """Some flows by iperf3, so many bytes; whether it was content.

    A second, but where all is emulated: there it may wait for its own partner longer
    than it cares to, so that it is told in the output and no failure yet.  A server of
    its own for each run: one that serves again and again does not listen for a moment
    after each, or is still busy with the last.
    """
    server = world.partner.place.popen("iperf3", "--server", "--one-off")
    listens = partial(listening, world, IPERF_PORT)
    wait_until(lambda: server.poll() is not None or listens(), IPERF_S, "it listens")
    ends = ("--client", world.partner.address, "--bind", ADDRESS)
    flows = ("--parallel", str(FLOWS), "--bitrate", "2M", "--window", "32K")
    report = ("--bytes", str(IPERF_BYTES), "--json", *words)
    command = ("timeout", str(IPERF_S), "iperf3", *ends, *flows, *report)
    done = world.near.run(*command, check=False, timeout_s=2 * IPERF_S)
    received = bytes_received(done.stdout) if done.returncode == 0 else None
    if received is None:
        server.terminate()
    said = (done.returncode, done.stdout[-500:], server.communicate())
    print(f"{world.partner.version} {words}: {received} bytes, {said}")
    # The rest may be in the 32 buffers at the end, of twice 32 KiB each.
    return received is not None and received >= IPERF_BYTES / 2


def bytes_received(report: str) -> int | None:
    """By an iperf3 that has ended well; None: it complains, and exits with 0."""
    found = json.loads(report)
    return None if "error" in found else int(found["end"]["sum_received"]["bytes"])


def listening(world: World, port: int) -> bool:
    """Whether somebody waits for TCP on the partner's side."""
    rows = world.partner.run("cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
    states = {(row.split()[1][-5:], row.split()[3]) for row in rows}
    return (f":{port:04X}", TCP_LISTEN) in states


def test_a_change_of_the_rate_is_told_at_once_and_flaps_nothing(world: World) -> None:
    world.form(ours=FAST, theirs=FAST)
    world.wait_until_agreed()
    for fast, octet in ((False, 0x3D), (True, 0x3F)):
        world.set(lacp_fast_timeout=fast)
        wait_until(
            partial(holds, world, octet), SOON_S, f"the partner holds {octet:#x}"
        )
        assert {member.actor for member in world.members()} == {octet}
    assert world.flaps() == [0, 0]


def holds(world: World, octet: int) -> bool:
    return {member.partner for member in world.partner.members()} == {octet}
