# SPDX-License-Identifier: BSD-2-Clause
"""The frames of each bucket, beside all that went out and what `explain` says."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from lab import Lab, Pair, wait_until
from lagg.control.client import Client
from tests.netns.bare import Bare
from tests.netns.flows import random_flows
from tests.netns.steer import DEADLINE_S, LAGG

FLOWS = 100
ONE_FLOW = 500
"""Frames; far more than two hosts say by themselves meanwhile."""


def counted(client: Client) -> Counter[int]:
    """Frames by bucket, those that sent any."""
    rows = client.call("Buckets", name=LAGG)["buckets"]
    return Counter({row["bucket"]: row["frames"] for row in rows if row["frames"]})


def explained(client: Client, frames: Sequence[bytes]) -> Counter[int]:
    """How many of these frames `explain` has in each bucket."""
    calls = (client.call("Explain", name=LAGG, frame=each.hex()) for each in frames)
    return Counter(reply["explanation"]["bucket"] for reply in calls)


def tx_out(client: Client) -> int:
    found: int = client.call("List", name=LAGG)["laggs"][0]["counters"]["tx_out"]
    return found


@pytest.mark.parametrize("kind", ["crc32c", "fnv1"])
def test_the_buckets_that_grow_are_those_that_explain_names(
    bare: Bare, rng: Random, kind: str
) -> None:
    """And together they are all that went out, a port's stand-in included."""
    bare.steer.set(proto="loadbalance", hash=kind, hash_seed=rng.randrange(2**32))
    flows = random_flows(rng, FLOWS)
    frames = [flow.frame(number) for number, flow in enumerate(flows)]
    with Client(str(bare.laggd.socket)) as client:
        for dead in (None, 2):
            if dead is not None:
                bare.cut(dead)
            before, sent_before = counted(client), tx_out(client)
            bare.ways(frames)
            growth = counted(client) - before
            assert growth == explained(client, frames)
            assert growth.total() == tx_out(client) - sent_before == FLOWS


def test_other_protocols_leave_the_buckets_as_they_were(
    bare: Bare, rng: Random
) -> None:
    flows = random_flows(rng, FLOWS)
    frames = [flow.frame(number) for number, flow in enumerate(flows)]
    with Client(str(bare.laggd.socket)) as client:
        bare.steer.set(proto="loadbalance")
        before = counted(client)
        for proto, copies in (("failover", 1), ("roundrobin", 1), ("broadcast", 4)):
            bare.steer.set(proto=proto)
            bare.ways(frames, copies=copies)
        bare.steer.set(proto="loadbalance")
        assert counted(client) == before


@pytest.mark.parametrize("workers", ["1", "2"])
def test_under_lacp_they_are_all_that_went_out_and_one_flow_is_one_bucket(
    rng: Random, workers: str
) -> None:
    with Lab() as lab:
        pair = Pair(lab, cables=3, proto="lacp", laggd=("--workers", workers))
        frame, *others = (flow.frame(0) for flow in random_flows(rng, FLOWS))
        with Client(str(pair.a.laggd.socket)) as client:
            (bucket,) = explained(client, [frame])
            before = counted(client)
            with pair.a.host.packet_socket(LAGG) as into:
                for _ in range(ONE_FLOW):
                    into.send(frame)
            wait_until(
                lambda: (counted(client) - before)[bucket] >= ONE_FLOW,
                DEADLINE_S,
                "the flow's bucket grows",
            )
            assert (counted(client) - before).total() < ONE_FLOW * 1.1
            with pair.a.host.packet_socket(LAGG) as into:
                for each in others:  # of every worker
                    into.send(each)
            # From its creation on it had no other protocol.
            wait_until(
                lambda: counted(client).total() == tx_out(client),
                DEADLINE_S,
                "the buckets are all that went out",
            )
