# SPDX-License-Identifier: BSD-2-Clause
"""What is asked of one lagg's flows: the bucket and the port of each, and their loads.

Owns that the answers are of the snapshot which the workers have.  Changes nothing.
"""

import errno

from lagg.kernel.lowered import hashed
from lagg.model import BUCKETS, HashKind, Spread
from lagg.plan import explain as plan_explain
from lagg.plan.explain import Bucket, Explanation
from lagg.running.bundle import Bundle


def explain(bundle: Bundle, frame: bytes) -> Explanation:
    """The way of a frame (no runt) under the snapshot the workers have."""
    generation = bundle.device.read().generation
    found = hashed(bundle.plan, frame)
    return plan_explain.explain(
        bundle.name, bundle.shape, bundle.plan, generation, found
    )


def buckets(bundle: Bundle) -> tuple[Bucket, ...]:
    """What went out by each bucket.  LaggError (EOPNOTSUPP): no flow table."""
    frames = [frames for frames, _ in bundle.device.buckets()]
    return plan_explain.buckets(bundle.name, bundle.shape, bundle.plan, frames)


def bucket_of(bundle: Bundle, spot: int | bytes) -> int:
    """A bucket by its number or by a frame (no runt) of a flow in it.

    LaggError (EOPNOTSUPP) when the lagg has none that could stay on a port.
    """
    _require_buckets(bundle)
    if isinstance(spot, int):
        return spot
    return hashed(bundle.plan, spot).hash % BUCKETS


def _require_buckets(bundle: Bundle) -> None:
    options, proto = bundle.shape.options, bundle.shape.proto
    if bundle.plan.spread is not Spread.FLOW:
        cause = f"laggproto {proto.value} has no flow table; loadbalance and lacp have"
        raise bundle.refuse(f"{cause} one", errno.EOPNOTSUPP)
    if options.hash is HashKind.FNV1:
        cause = "hash fnv1 has no buckets that could stay on a port; crc32c has"
        raise bundle.refuse(cause, errno.EOPNOTSUPP)
