# SPDX-License-Identifier: BSD-2-Clause
"""What is asked of one lagg's flows: the bucket and the port of each, and their loads.

Owns that the answers are of the snapshot which the workers have.  Changes nothing.
"""

import errno

from lagg.frozen import dataclass
from lagg.kernel.lowered import hashed
from lagg.model import BUCKETS, HashKind, Spread
from lagg.plan import explain as plan_explain
from lagg.plan.balance import FlowLoad, capacities
from lagg.plan.balance_report import Report, report
from lagg.plan.explain import Bucket, Explanation
from lagg.plan.flow_moves import policy
from lagg.plan.pins import pins
from lagg.plan.plan import dealt_among
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


@dataclass(frozen=True, slots=True)
class Counted:
    """What went out by each bucket so far."""

    sizes: tuple[int, ...]  # bytes
    basis: tuple[object, ...]  # of two that differ nobody can tell what was between


def counted(bundle: Bundle) -> Counted:
    """The counts of now."""
    ports = frozenset(port.slot for port in dealt_among(bundle.shape))
    sizes = tuple(size for _, size in bundle.device.buckets())
    return Counted(sizes, (ports, policy(bundle.plan)))


def load_since(bundle: Bundle, before: Counted) -> FlowLoad | None:
    """What went out since, as it is dealt now.

    None: ports came or went meanwhile, flows are in other buckets or in none, or the
    counts began anew.
    """
    now, shape = counted(bundle), bundle.shape
    sizes = [b - a for a, b in zip(before.sizes, now.sizes, strict=True)]
    dealt = bundle.plan.slot_of(0) is not None
    if now.basis != before.basis or min(sizes) < 0 or not dealt:
        return None
    among = capacities(shape, dealt_among(shape))
    return FlowLoad(sizes, bundle.plan.tx_slots, among, frozenset(pins(shape)))


def report_since(bundle: Bundle, before: Counted, ms: int) -> Report:
    """What went out since, so many milliseconds ago.

    LaggError: nobody carries (ENETDOWN), or nobody can tell (EAGAIN).
    """
    if bundle.plan.slot_of(0) is None:
        raise bundle.refuse("no port carries, so there is no load", errno.ENETDOWN)
    load = load_since(bundle, before)
    if load is None:
        cause = "its ports, buckets or hash changed during the look; ask again"
        raise bundle.refuse(cause, errno.EAGAIN)
    return report(bundle.shape, load, ms)


def bucket_of(bundle: Bundle, spot: int | bytes) -> int:
    """A bucket by its number or by a frame (no runt) of a flow in it.

    LaggError (EOPNOTSUPP) when the lagg has none that could stay on a port.
    """
    require_buckets(bundle)
    if isinstance(spot, int):
        return spot
    return hashed(bundle.plan, spot).hash % BUCKETS


def require_buckets(bundle: Bundle) -> None:
    """LaggError (EOPNOTSUPP): it has none that could stay on a port."""
    options, proto = bundle.shape.options, bundle.shape.proto
    if bundle.plan.spread is not Spread.FLOW:
        cause = f"laggproto {proto.value} has no flow table"
        remedy = "loadbalance, lacp, tlb and alb have one"
        raise bundle.refuse(f"{cause}; {remedy}", errno.EOPNOTSUPP)
    if options.hash is HashKind.FNV1:
        cause = "hash fnv1 has no buckets that could stay on a port; crc32c has"
        raise bundle.refuse(cause, errno.EOPNOTSUPP)
