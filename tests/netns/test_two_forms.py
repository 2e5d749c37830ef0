# SPDX-License-Identifier: BSD-2-Clause
"""What holds whether frames are carried in a process of their own or inside laggd.

    a: lagg0 = p0 p1 p2  ------------  q0 q1 q2 = lagg0 :b

All else is tested by one form: by the default, or inside where only frames matter.
"""

from collections.abc import Iterator

import pytest

from lab import Lab, Pair
from lab.daemon import INSIDE, LAGGD
from tests.leftovers import nft_tables
from tests.netns.partners import Steered, lost_nothing
from tests.netns.steer import LAGG, Tally

FORMS = {"apart": (), "inside": (INSIDE,)}


@pytest.fixture(params=FORMS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with Lab() as lab:
        options = ("--failover-rx-all",)
        yield Pair(lab, cables=3, options=options, laggd=FORMS[request.param])


def test_all_is_changed_under_traffic_and_a_laggd_that_is_stopped_leaves_nothing(
    pair: Pair,
) -> None:
    steered = Steered(pair)
    tallies = [Tally(steer) for steer in steered.steers]
    with pair.streaming(rate=4_000, flows=8) as run:
        for proto in ("roundrobin", "loadbalance", "failover"):
            for steer in steered.steers:
                steer.set(proto=proto)
        for steer, port in zip(steered.steers, ("p2", "q2"), strict=True):  # it is idle
            steer.detach(port)
            steer.attach(port)
    lost_nothing(tallies, *run.results)
    steered.close()
    pair.conserved()
    for end in pair.ends:
        assert end.laggd.stop() == 0
        assert LAGG not in end.host.links()
        assert end.host.inside(nft_tables) == set()
        assert end.host.pids() == []


def test_of_laggs_that_were_left_no_laggd_carries_the_frames_itself() -> None:
    with Lab() as lab:
        host = lab.host("near")
        laggd = lab.daemon(host)
        laggd.ctl("create", LAGG)
        laggd.kill()
        forwarder, held = laggd.forwarder(), host.ifindex(LAGG)
        places = ("--socket", laggd.socket, "--state-dir", laggd.state_dir)
        refused = host.run(LAGGD, *places, INSIDE, check=False)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1].endswith(
            f"lagg-forwarder (pid {forwarder}) carries what a laggd has left: start"
            " laggd without --inside, which goes on with it (EBUSY)"
        )
        assert (laggd.forwarder(), host.ifindex(LAGG)) == (forwarder, held)
        laggd.start()
        assert [each["name"] for each in laggd.records()] == [LAGG]
