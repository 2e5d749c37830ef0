# SPDX-License-Identifier: BSD-2-Clause
"""With real partners: a cable pulled, a partner silent, and a port that leaves."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from scapy.contrib.lacp import LACP

from lab import Stream, StreamResult, overload, wait_until
from lab.partner import SLOW_PROTOCOLS
from tests.interop.hand import overheard
from tests.interop.world import ADDRESS, ENDS, World
from tests.waiting import in_time

SHORT_S = 3.0
"""Short_Timeout: after so long without a PDU the partner is gone."""

PERIOD_S = 1.0
LATEST_S = 4.0
BACK_S = 3.0
MARGIN_S = 1.0
"""For a machine that emulates another one beside the test."""

DEADLINE_S = 20.0
"""Far longer than anything takes, and less than a slow period or Long_Timeout: 30 and
90 s.  What came in time is asserted beside it."""

OUTAGE_MS_MAX = 50.0
SYNC = 0x08


class Streams:
    """Both ways at once; results after the block."""

    def __init__(self, world: World) -> None:
        there, back = world.near, world.partner.place
        to, rate = world.partner.address, world.partner.frames_per_s
        self._streams = (
            Stream(there, back, to, rate=rate, flows=8),
            Stream(back, there, ADDRESS, rate=rate // 4, flows=4, port=5002),
        )
        self.results: tuple[StreamResult, ...] = ()

    def end(self) -> None:
        for stream in self._streams:
            stream.stop()
        self.results = tuple(stream.result() for stream in self._streams)

    def __str__(self) -> str:
        return "; ".join(map(str, self.results))


@contextmanager
def streaming(world: World) -> Iterator[Streams]:
    """Numbered frames both ways, well before and after what the block does."""
    streams = Streams(world)
    flowed(world, 100)
    yield streams
    flowed(world, 100)
    streams.end()
    print(streams)


def flowed(world: World, frames: int) -> None:
    """Until so many more have gone out and come in."""
    begun = world.record()["counters"]

    def enough() -> bool:
        now = world.record()["counters"]
        return all(now[key] - begun[key] >= frames for key in ("tx_in", "rx_in"))

    wait_until(enough, 60, "frames flow both ways")


def distributing(world: World, number: int) -> bool:
    return world.member(number).aggregated


@pytest.mark.alone
def test_a_pulled_port_hands_its_traffic_to_the_others(world: World) -> None:
    """Within 50 ms, by carrier; what the streams show is printed."""
    world.form(ports=3)
    world.wait_until_agreed()

    def outages_ms() -> list[float]:
        with streaming(world) as streams:
            world.partner.cables[0].cut()
            wait_until(lambda: not distributing(world, 0), DEADLINE_S, "p0 is out")
        there, back = (result.outage_ms_max for result in streams.results)
        print(f"{world.partner.version}: out {there:.1f} ms, back {back:.1f} ms")
        world.partner.cables[0].mend()
        print(f"back after {world.wait_until_agreed():.1f} s")
        return [there, back]

    # The way back is the partner's, and it is emulated.
    in_time(outages_ms, OUTAGE_MS_MAX, 10 * OUTAGE_MS_MAX)


@pytest.mark.parametrize("gone_s", [0.0, 4.0], ids=["expired", "defaulted"])
def test_a_silent_partner_is_out_in_time_and_comes_back(
    world: World, gone_s: float
) -> None:
    """Its carrier stays, its frames do not come; nor do ours, for which it leaves, too.

    Out when Short_Timeout has passed since its last PDU, which came at most a second
    before.  Back in time, also when both ends have given up.
    """
    world.form(ports=2)
    world.wait_until_agreed()
    cable = world.partner.cables[0]

    def took_s() -> list[float]:
        begun_s = time.monotonic()
        for to_near in (True, False):
            cable.lose(to_near=to_near)
        wait_until(lambda: not distributing(world, 0), DEADLINE_S, "p0 is out")
        out_s = time.monotonic() - begun_s
        assert out_s > SHORT_S - PERIOD_S - MARGIN_S
        assert distributing(world, 1)
        end_s = time.monotonic() + gone_s
        wait_until(lambda: time.monotonic() >= end_s, DEADLINE_S, "a while passes")
        for to_near in (True, False):
            cable.pass_again(to_near=to_near)
        back_s = wait_until(lambda: distributing(world, 0), DEADLINE_S, "p0 is back")
        print(f"{world.partner.version}: out {out_s:.2f} s, back {back_s:.2f} s")
        world.wait_until_agreed()
        return [out_s, back_s]

    in_time(took_s, LATEST_S, BACK_S + MARGIN_S)
    assert world.flaps()[1] == 0
    late = world.record()["ports"][0]["lacp"]["counters"]["lacpdu_late"]
    assert late > 0


def test_a_partner_that_does_not_hear_us_is_believed(world: World) -> None:
    """Its PDUs say that it expired us: we stop, though we hear it all the time."""
    world.form(ports=2)
    world.wait_until_agreed()
    cable = world.partner.cables[0]
    cable.lose(to_near=False, protocol=SLOW_PROTOCOLS)
    wait_until(lambda: not distributing(world, 0), DEADLINE_S, "p0 is out")
    port = world.record()["ports"][0]
    assert port["lacp"]["receive"] == "current"
    assert port["lacp"]["counters"]["lacpdu_late"] == 0
    cable.pass_again(to_near=False)
    world.wait_until_agreed()


@pytest.mark.alone
def test_a_planned_detach_loses_nothing_either_way(world: World) -> None:
    """The partner is told first: Sync, Collecting, Distributing are gone in a PDU."""
    world.form(ports=3)
    world.wait_until_agreed()
    before = overload(world.record()["counters"]["drops"])
    with overheard(world.far, ENDS[1]) as ear:
        with streaming(world) as streams:
            world.call("Detach", ports=["p1"])
        states = [frame[LACP].actor_state for _, frame in ear.heard(LACP)]
    assert states, "no PDU was heard"
    assert not states[-1] & SYNC, [hex(state) for state in states]
    lost = sum(result.lost for result in streams.results)
    after = overload(world.record()["counters"]["drops"])
    assert lost <= after - before, str(streams)


def test_the_others_stay_when_the_port_that_lent_the_mac_leaves(world: World) -> None:
    """lagg(4)'s system id follows the MAC, and all ports begin anew."""
    world.form(ports=3, mac_policy="primary")
    world.wait_until_agreed()
    before = world.record()
    world.call("Detach", ports=["p0"])
    after = world.record()
    assert after["mac"] != before["mac"]
    assert after["lacp"]["actor"]["system"] == before["mac"]
    wait_until(lambda: world.partner_carries(2), DEADLINE_S, "two ports are left")
    assert [member.aggregated for member in world.members()] == [True, True]
    assert world.flaps() == [0, 0]
