# SPDX-License-Identifier: BSD-2-Clause
"""From one protocol to another, live: the one that was carries until the other can.

Owns the order: what LACP needs is open before the shape that needs it is adopted, and
closed when no shape needs it any more.  Runs inside one operation of commands.py.
"""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

from lagg.errors import LaggError
from lagg.model import Proto
from lagg.operations import propagate
from lagg.operations.laggs import Laggs
from lagg.plan.shape import Shape
from lagg.running.bundle import Bundle
from lagg.running.negotiator import Negotiator

log = logging.getLogger(__name__)


async def change_protocol(
    laggs: Laggs,
    bundle: Bundle,
    proto: Proto,
    change: Callable[[Shape], Shape],
    undo: AsyncExitStack,
) -> None:
    """Adopts what `change` makes of the shape, whose protocol is to be `proto`.

    LaggError when something refused; `undo` then has the way back.
    """
    await propagate.hear_local(laggs, bundle, change(bundle.shape), undo)
    if proto is Proto.LACP and bundle.lacp is None:
        await begin(laggs, bundle, undo)
        bundle.adopt(change(bundle.shape.with_agreements({})))
    elif proto is not Proto.LACP and bundle.lacp is not None:
        bundle.adopt(change(bundle.shape))
        await _end(bundle, bundle.lacp)
    else:
        bundle.adopt(change(bundle.shape))


async def begin(laggs: Laggs, bundle: Bundle, undo: AsyncExitStack) -> None:
    """Gives a lagg its negotiator, which listens to all ports and says nothing yet."""
    lacp = laggs.negotiator(bundle)
    undo.push_async_callback(lacp.close)
    for port in bundle.shape.ports:
        await lacp.open_port(port.number, port.link)
        undo.callback(_quietly_admit, bundle, port.slot)
        refuse_lacp(bundle, port.slot)
    bundle.negotiate_by(lacp)
    undo.callback(bundle.negotiate_by, None)


async def _end(bundle: Bundle, negotiator: Negotiator) -> None:
    """Says goodbye to the partners, once the workers send by the new protocol."""
    await negotiator.say_goodbye()
    bundle.negotiate_by(None)
    for port in bundle.shape.ports:
        _quietly_admit(bundle, port.slot)
    await negotiator.close()


def refuse_lacp(bundle: Bundle, slot: int) -> None:
    """The port's LACP and Marker PDUs are no frames of the lagg.  LaggError."""
    try:
        bundle.device.admit_lacp(slot, False)
    except OSError as error:
        raise LaggError.of_os(bundle.name, "filter LACPDUs", error) from error


def _quietly_admit(bundle: Bundle, slot: int) -> None:
    try:
        bundle.device.admit_lacp(slot, True)
    except OSError as error:
        log.warning("%s: slot %d: admit LACPDUs: %s", bundle.name, slot, error.strerror)
