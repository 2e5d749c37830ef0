# SPDX-License-Identifier: BSD-2-Clause
"""A port that flaps as fast as the kernel lets it, while numbered frames flow.

One end damps it and the other does not, so that both are seen beside each other.
"""

import time
from dataclasses import dataclass, field
from itertools import count

import pytest

from lab import StreamResult, wait_until
from tests.netns.partners import PORTS, Partners, flowed
from tests.netns.steer import DEADLINE_S, Tally
from tests.netns.test_hitless import FLOWS, RATE, homes

pytestmark = pytest.mark.alone

FLAPS, FLAPS_LONG_S = 100, 10.0
LOSSES = 3
"""After so many within seconds a port is kept out."""

PUBLICATIONS = LOSSES + 2 * (LOSSES - 1)
"""One for each loss; two for each return: flows wait, and then move."""


@dataclass
class Flapping:
    """Pulls and plugs the cable of p0 and q0, until laggd has had enough of it."""

    partners: Partners
    flaps: int = 0
    began: float = field(default_factory=time.monotonic)

    def run(self, *, times: int, at_least_s: float = 0) -> None:
        cable = self.partners.pair.cables[0]
        for _ in count():
            cable.cut()
            cable.mend()
            self.flaps += 1
            # Of flaps that it hears of together laggd sees no more than the last.
            enough = self.flaps >= times and self.seconds >= at_least_s
            if self.is_damped() and enough:
                return

    def is_damped(self) -> bool:
        """Asked after each flap, which lets laggd hear of it by itself, too."""
        damped: bool = self.partners.a.record()["ports"][0]["damping"]["suppressed"]
        return damped

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def test_a_damped_port_s_flaps_are_few_publications_and_no_other_flow_notices(
    partners: Partners, tallies: list[Tally], long_run: bool
) -> None:
    partners.set(proto="loadbalance")
    partners.a.set(damping=True)
    a, b = partners.pair.ends
    with partners.pair.streaming(rate=RATE, flows=FLOWS) as run:
        ways = homes(b.host, PORTS[1]), homes(a.host, PORTS[0])
        before = generations(partners)
        flapping = Flapping(partners)
        flapping.run(times=FLAPS, at_least_s=FLAPS_LONG_S * long_run)
        published = [
            now - was for was, now in zip(before, generations(partners), strict=True)
        ]
        seconds, (damped, *others) = flapping.seconds, partners.a.record()["ports"]
        after = homes(b.host, PORTS[1]), homes(a.host, PORTS[0])
        flowed(partners, RATE // 10)
    print(f"{flapping.flaps} flaps in {seconds:.2f} s: {published} publications")
    print(*run.results, sep="\n")
    assert damped["damping"]["suppressed"]
    assert damped["reason"] == "kept out until it is steady: it was lost too often"
    assert [port["reason"] for port in others] == [None] * 3
    assert published[0] <= PUBLICATIONS + 6 * (seconds // 5)
    # Of who damps nothing: one for a loss, and for a return one, and one for each port
    # that the flows which move have left.
    assert published[1] <= (2 + len(others)) * flapping.flaps
    for result, had, has in zip(run.results, ways, after, strict=True):
        steady = [flow for flow, port in had.items() if port[1] != "0"]
        assert steady  # which port a flow takes is chance: on p0 are all in 4^-16
        assert [has[flow] for flow in steady] == [had[flow] for flow in steady]
        noticed_nothing(result, steady, tallies)


def noticed_nothing(
    result: StreamResult, flows: list[int], tallies: list[Tally]
) -> None:
    """These flows have all frames, in order, but for what no machine had time for."""
    lost = sum(result.flows[flow].lost for flow in flows)
    assert lost <= result.overflows + sum(tally.overload for tally in tallies)
    assert sum(result.flows[flow].reordered for flow in flows) == 0


def generations(partners: Partners) -> list[int]:
    return [steer.record()["generation"] for steer in partners.steers]


def test_who_is_kept_out_is_let_in_when_the_others_are_gone_or_it_is_asked_for(
    partners: Partners,
) -> None:
    partners.set(proto="failover", damping=True)
    for _ in range(LOSSES):
        for up in (False, True):
            cable = partners.pair.cables[0]
            (cable.mend if up else cable.cut)()
            partners.a.wait_link("p0", up=up)
    assert partners.a.record()["active"] == "p1"
    assert partners.a.record()["active_reason"] == (
        "the primary, p0, is not in use; this port stands in"
    )
    for cable in partners.pair.cables[1:]:
        cable.cut()
    carried_by(partners, "p0")
    for cable in partners.pair.cables[1:]:
        cable.mend()
    partners.a.set(damping=False)
    port = partners.a.record()["ports"][0]
    assert port["damping"] == {"penalty": 0, "suppressed": False, "reuse_ms": 0}


def carried_by(partners: Partners, port: str) -> None:
    wait_until(
        lambda: partners.a.record()["active"] == port, DEADLINE_S, f"{port} carries"
    )
