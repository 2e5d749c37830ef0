# SPDX-License-Identifier: BSD-2-Clause
"""Changes while traffic flows: nothing is lost, and pulled cables cost little.

Streams of numbered frames at 20 kpps; they are measured, so no other test runs.
"""

import pytest

from lab import OVERLOAD, Stream, StreamResult
from tests.netns.partners import PORTS, WAYS, Partners, flowed, lost_nothing
from tests.netns.steer import Tally
from tests.waiting import in_time

pytestmark = pytest.mark.alone

RATE = 20_000
FLOWS = 8

OUTAGE_MS_MAX = 1000
"""tools/demo asks for 50 ms; this is for a machine that does other things, too."""

SET_DOWN = 5
LOST_EACH_MAX = 20
"""Frames: 1 ms."""

SWITCHES = ("failover", "roundrobin", "loadbalance", "broadcast", "failover")


def test_switching_protocols_loses_nothing(
    partners: Partners, tallies: list[Tally]
) -> None:
    # The two ends do not switch at once; until both have, a standby port is sent to.
    partners.set(failover_rx_all=True)
    with partners.pair.streaming(rate=RATE, flows=FLOWS) as run:
        for proto in SWITCHES * 2:
            partners.set(proto=proto)
            flowed(partners, RATE // 20)
    lost_nothing(tallies, *run.results)
    assert run.there.corrupt == run.back.corrupt == 0


def test_an_idle_port_comes_and_goes_and_nothing_is_lost(
    partners: Partners, tallies: list[Tally]
) -> None:
    with partners.pair.streaming(rate=RATE, flows=FLOWS) as run:
        for _ in range(3):
            for steer, ports in zip(partners.steers, PORTS, strict=True):
                steer.detach(ports[3])
                steer.attach(ports[3])
    lost_nothing(tallies, *run.results)
    assert run.there.duplicated == run.back.duplicated == 0


@pytest.mark.parametrize("proto", ["roundrobin", "loadbalance"])
def test_a_busy_port_comes_and_goes_and_nothing_is_lost(
    partners: Partners, tallies: list[Tally], proto: str
) -> None:
    """The receiver has the port for longer than the sender."""
    partners.set(proto=proto)
    a, b = partners.pair.ends
    stream = Stream(a.host, b.host, b.address, rate=RATE, flows=FLOWS)
    for _ in range(3):
        partners.a.detach(PORTS[0][3])
        partners.b.detach(PORTS[1][3])
        partners.b.attach(PORTS[1][3])
        partners.a.attach(PORTS[0][3])
    stream.stop()
    lost_nothing(tallies, stream.result())


@pytest.mark.parametrize("way", WAYS)
def test_traffic_is_back_soon_after_a_cable_is_pulled(
    partners: Partners, way: str
) -> None:
    partners.set(**WAYS[way])

    def outages_ms() -> list[float]:
        with partners.pair.streaming(rate=RATE, flows=FLOWS) as run:
            flowed(partners, RATE // 10)
            partners.pair.cables[0].cut()
            for steer, ports in zip(partners.steers, PORTS, strict=True):
                steer.wait_link(ports[0], up=False)
            flowed(partners, RATE // 5)
            partners.pair.cables[0].mend()
            for steer, ports in zip(partners.steers, PORTS, strict=True):
                steer.wait_link(ports[0], up=True)
        print(*run.results, sep="\n")
        partners.pair.conserved()
        return [stream.outage_ms_max for stream in run.results]

    in_time(outages_ms, OUTAGE_MS_MAX, OUTAGE_MS_MAX)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "broadcast"])
def test_frames_of_a_port_that_is_set_down_take_another(
    partners: Partners, way: str
) -> None:
    """Linux drops what is sent while it takes a port down, and says that it was sent.

    So many frames are lost, and no others.
    """
    partners.set(failover_rx_all=True, **WAYS[way])
    (near, *_), (far, *_) = PORTS

    def swallowed() -> list[float]:
        tallies = [Tally(steer) for steer in partners.steers]
        result = setting_down(partners, near)
        sent = tallies[0].ports("tx_frames")[near]
        found = sent - tallies[1].ports("rx_frames")[far]
        print(found, result)
        overload = sum(tally.overload for tally in tallies)
        assert result.lost <= found + overload, str(result)
        assert not {why for tally in tallies for why in tally.drops} - {*OVERLOAD}
        return [found]

    in_time(swallowed, SET_DOWN * LOST_EACH_MAX)


def setting_down(partners: Partners, port: str) -> StreamResult:
    """A stream from a, one of whose ports is set down and up again SET_DOWN times."""
    a, b = partners.pair.ends
    stream = Stream(a.host, b.host, b.address, rate=RATE, flows=FLOWS)
    for _ in range(SET_DOWN):
        flowed(partners, RATE // 20)
        a.host.set_link(port, state="down")
        partners.a.wait_link(port, up=False)
        a.host.set_link(port, state="up")
        partners.a.wait_link(port, up=True)
    stream.stop()
    return stream.result()
