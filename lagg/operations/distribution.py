# SPDX-License-Identifier: BSD-2-Clause
"""Which port a bucket is on, as a user wants it: pinned there, or moved there once.

Owns what is refused of that.  Runs inside one operation of commands.py; each is one
publication, and the flows that move keep their order as with any other move.
"""

import asyncio
import errno
import time

from lagg.errors import LaggError
from lagg.events import EventKind
from lagg.lacp.values import NS_OF_MS
from lagg.model import Pin
from lagg.operations.attach import attached
from lagg.operations.laggs import Laggs
from lagg.plan.balance_report import Report
from lagg.plan.pins import (
    Placed,
    Spot,
    pins,
    with_moves,
    with_pin,
    with_timed_pin,
    without_pin,
)
from lagg.plan.plan import reason
from lagg.running.bundle import Bundle
from lagg.running.flows import bucket_of, counted, report_since, require_buckets


async def balance(laggs: Laggs, name: str, look_ms: int) -> Report:
    """Looks for a while, in nobody's turn, and changes nothing."""
    bundle = laggs.find(name)
    require_buckets(bundle)
    before, began_ns = counted(bundle), time.monotonic_ns()
    await asyncio.sleep(look_ms / 1000)
    ms = (time.monotonic_ns() - began_ns) // NS_OF_MS
    return report_since(laggs.find(name), before, ms)


async def pin(
    laggs: Laggs, name: str, spot: Spot, port: str, for_ms: int | None
) -> Placed:
    """A bucket stays on this port while that carries, for good or for a time."""
    bundle = laggs.find(name)
    wanted = Pin(bucket_of(bundle, spot), port)
    attached(bundle, port)
    if for_ms is None:
        bundle.adopt(with_pin(bundle.shape, wanted))
    else:
        until = time.monotonic_ns() + for_ms * NS_OF_MS
        bundle.adopt(with_timed_pin(bundle.shape, wanted, until))
    return _placed(bundle, wanted.bucket)


async def unpin(laggs: Laggs, name: str, spot: Spot) -> Placed:
    """A bucket stays nowhere any more.  LaggError (ENOENT): it did not."""
    bundle = laggs.find(name)
    bucket = bucket_of(bundle, spot)
    if bucket not in pins(bundle.shape):
        raise bundle.refuse(f"bucket {bucket} is not pinned", errno.ENOENT)
    bundle.adopt(without_pin(bundle.shape, bucket))
    return _placed(bundle, bucket)


async def move(laggs: Laggs, name: str, spot: Spot, port: str) -> Placed:
    """A bucket's home is this port, until homes are dealt anew."""
    bundle = laggs.find(name)
    bucket = bucket_of(bundle, spot)
    slot = attached(bundle, port).slot
    pin = pins(bundle.shape).get(bucket)
    if pin is not None:
        cause = f"bucket {bucket} is pinned to {pin}; unpin it first"
        raise bundle.refuse(cause, errno.EBUSY)
    if slot not in bundle.plan.distributing:
        why = reason(bundle.shape, slot, bundle.plan.distributing)
        thing = f"{bundle.name}: port {port}"
        raise LaggError(thing, f"cannot carry: {why}", errno.ENETDOWN)
    if bundle.shape.homes[bucket] != slot:
        bundle.adopt(with_moves(bundle.shape, {bucket: slot}))
        bundle.emit(EventKind.MOVE, f"bucket {bucket}", port)
    return _placed(bundle, bucket)


def _placed(bundle: Bundle, bucket: int) -> Placed:
    slot = bundle.plan.slot_of(bucket)
    port = None if slot is None else bundle.shape.at(slot).link.name
    return Placed(bucket, port)
