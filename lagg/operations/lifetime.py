# SPDX-License-Identifier: BSD-2-Clause
"""A lagg's life: made with its interface and ports, and destroyed.

Owns what there is of a new lagg, and the order in which all of it goes.  Runs inside
one operation of commands.py.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from lagg.errors import LaggError, logged
from lagg.events import EventKind
from lagg.model import LaggConfig, Options, Proto
from lagg.operations import propagate
from lagg.operations.altname import rename
from lagg.operations.attach import attach, withdraw
from lagg.operations.laggs import Laggs
from lagg.operations.protocol_change import begin
from lagg.plan.shape import Port, Shape
from lagg.running.bundle import Bundle
from lagg.tasks import in_turn, together

log = logging.getLogger(__name__)

QUEUE_FRAMES = 4096
"""A lagg's txqueuelen: 40 ms at 100 kpps; a busy CPU keeps a worker off so long.

reference: docs/adr/0013.
"""


async def make(laggs: Laggs, config: LaggConfig, undo: AsyncExitStack) -> Bundle:
    """Makes a lagg with its ports.  LaggError; `undo` then has the way back."""
    if laggs.named(config.name) is not None:
        raise LaggError(config.name, "already exists", errno.EEXIST)
    bundle = await _make_bundle(laggs, config, undo)
    await propagate.set_wanted(laggs, bundle, config.mac, config.mtu, undo)
    for port in config.ports:
        await attach(laggs, bundle, port, undo)
    return bundle


async def _make_bundle(
    laggs: Laggs, config: LaggConfig, undo: AsyncExitStack
) -> Bundle:
    netlink = laggs.netlink
    identity = laggs.claim_identity(config.name)
    undo.callback(laggs.disclaim_identity, identity)
    try:
        device = laggs.make_device(config.name)
    except OSError as error:
        raise await _no_tap(laggs, config.name, error) from error
    undo.callback(device.close)
    ifindex = (await netlink.by_name(config.name)).ifindex
    await netlink.set_queue(ifindex, QUEUE_FRAMES)
    await netlink.set_up(ifindex, True)
    shape = Shape(
        config.proto,
        with_seed(config.options),
        port_options=config.port_options,
    )
    link = await netlink.link(ifindex)
    bundle = Bundle(
        link,
        device,
        shape,
        identity=identity,
        emit=laggs.emit,
        tx_dropped=netlink.tx_dropped,
    )
    undo.callback(bundle.give_up)
    laggs.add(bundle)
    undo.callback(laggs.bundles.pop, config.name)
    await rename(netlink, bundle, (), config.options.altname, undo)
    if config.proto is Proto.LACP:
        await begin(laggs, bundle, undo)
    await laggs.show_speed(bundle)
    return bundle


async def _no_tap(laggs: Laggs, name: str, error: OSError) -> LaggError:
    """Why there is none: nearly always because there is such an interface."""
    there = (await laggs.netlink.links()).values()
    also = [link for link in there if name in (link.name, *link.altnames)]
    if error.errno != errno.EBUSY or not also:
        return LaggError.of_os(name, "create the TAP", error)
    kind = f" ({also[0].kind})" if also[0].kind else ""
    cause = (
        f"there is an interface of that name{kind}, which is no lagg of this laggd;"
        " choose another name or take that away"
    )
    return LaggError(name, cause, errno.EBUSY)


def with_seed(options: Options) -> Options:
    """lagg(4) draws a seed at each attach of a protocol; ours is drawn once."""
    if options.hash_seed is not None:
        return options
    return replace(options, hash_seed=int.from_bytes(os.urandom(4), "little"))


async def keep_mac(laggs: Laggs, bundle: Bundle) -> None:
    """Sets the MAC again if it is another by now: no user knows of the lagg yet.

    It is udev's, when that looked before the TAP's own was kept (native/tap.c).
    """
    ifindex, mac = bundle.link.ifindex, bundle.shape.mac.address
    if (await laggs.netlink.link(ifindex)).mac != mac:
        await laggs.netlink.set_mac(ifindex, mac)


async def destroy(laggs: Laggs, name: str) -> None:
    """Destroys a lagg: whatever fails on the way, it is gone, its ports are put back.

    Raises what failed first.
    """
    bundle = laggs.find(name)
    ports = bundle.shape.ports
    await in_turn(
        partial(_end_lacp, bundle),
        partial(_let_go, laggs, bundle),
        partial(_remove, laggs, bundle),
        partial(_give_back, laggs, bundle, ports),
    )


async def _remove(laggs: Laggs, bundle: Bundle) -> None:
    del laggs.bundles[bundle.name]
    laggs.disclaim_identity(bundle.identity)
    bundle.give_up()
    await asyncio.to_thread(bundle.device.close)


async def _give_back(laggs: Laggs, bundle: Bundle, ports: Sequence[Port]) -> None:
    give_back = laggs.takeover.give_back
    found = await together([give_back(port.link.ifindex) for port in ports])
    laggs.watch_ports()
    bundle.emit(EventKind.DESTROYED, _put_back_words(sum(found), len(ports)))


def _put_back_words(found: int, ports: int) -> str:
    """As "1 port put back", or "1 of 2 ports put back"; of none nothing."""
    if not ports:
        return ""
    of_all = "" if found == ports else f"{found} of "
    return f"{of_all}{ports} {'port' if ports == 1 else 'ports'} put back"


async def _end_lacp(bundle: Bundle) -> None:
    """The partners are told before the sockets close."""
    negotiator = bundle.lacp
    if negotiator is not None:
        await negotiator.leave([port.number for port in bundle.shape.ports])
        await negotiator.close()
        bundle.negotiate_by(None)


async def _let_go(laggs: Laggs, bundle: Bundle) -> None:
    """The ports' sockets close beside each other; with the device's, one by one."""
    slots = [port.slot for port in bundle.shape.ports]
    rest = bundle.shape
    for slot in slots:
        rest = rest.without_port(slot)
    with logged(log.warning):
        await withdraw(laggs, bundle, slots, rest)
