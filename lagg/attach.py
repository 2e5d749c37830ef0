# SPDX-License-Identifier: BSD-2-Clause
"""A port comes and goes: attach, detach, departure.

Owns the order: a port is seen by the workers only when all else has succeeded, and is
closed only when no worker can see it any more.  Runs inside one operation of driver.py.
"""

import asyncio
import errno
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from lagg import propagate
from lagg.bundle import Bundle
from lagg.eligible import check_port
from lagg.errors import LaggError
from lagg.fleet import Fleet
from lagg.link import Link
from lagg.model import MAC_HEARD
from lagg.shape import Port, Shape, port_number
from lagg.switch import refuse_lacp
from lagg.tasks import together
from lagg.uses import tell_uses


async def attach(fleet: Fleet, bundle: Bundle, name: str, undo: AsyncExitStack) -> None:
    """Makes the interface `name` a port; `undo` then has the way back.

    It is deaf and dumb before it has the lagg's MAC.  A port of this lagg already is
    fine (F-AT-IDEM).  LaggError names what refused.
    """
    if bundle.shape.named(name) is not None:
        return
    slot = _free_slot(bundle, name)
    link = await _candidate(fleet, bundle, name)
    heard = bool(bundle.shape.ports) and link.mac == bundle.link.mac
    undo.push_async_callback(fleet.follow_speed, bundle)
    undo.callback(fleet.watch_ports)
    with propagate.blaming(bundle, link):
        await fleet.custody.take(link)
        undo.push_async_callback(fleet.custody.give_back, link.ifindex)
    await _make_alike(fleet, bundle, link, undo)
    with propagate.blaming(bundle, link):
        await _open(fleet, bundle, slot, link, undo)
    if heard:
        bundle.emit(MAC_HEARD, "it had the lagg's MAC before", link.name)
    fleet.watch_ports()
    await fleet.follow_speed(bundle)
    await tell_uses(fleet, bundle, link.ifindex)  # begun while it became a port


def _free_slot(bundle: Bundle, name: str) -> int:
    slot = bundle.shape.free_slot(name)
    if slot is None:
        raise _refusal(bundle, name, "a lagg has at most 32 ports", errno.ENOSPC)
    return slot


async def _candidate(fleet: Fleet, bundle: Bundle, name: str) -> Link:
    """The interface, if it may become a port."""
    try:
        link = await _named(fleet, name)
        _check_free(fleet, link)
        check_port(
            link,
            bundle.link.ifindex,
            await fleet.netlink.links(),
            fleet.ports_by_tap(),
            await fleet.netlink.addresses(link.ifindex),
            wireless=await fleet.netlink.wireless(link.ifindex),
        )
    except LaggError as error:
        raise _refusal(bundle, name, error.cause, error.code) from error
    return link


async def _named(fleet: Fleet, name: str) -> Link:
    try:
        return await fleet.netlink.by_name(name)
    except LaggError as error:
        if error.code != errno.ENODEV:
            raise
        raise LaggError(name, "no such interface", errno.ENODEV) from error


def _check_free(fleet: Fleet, link: Link) -> None:
    held = fleet.of_port(link.ifindex)
    if held is not None:
        raise LaggError(link.name, f"already a port of {held[0].name}", errno.EBUSY)


def _refusal(bundle: Bundle, port: str, cause: str, code: int) -> LaggError:
    return LaggError(f"{bundle.name}: port {port}", cause, code)


async def _make_alike(
    fleet: Fleet, bundle: Bundle, link: Link, undo: AsyncExitStack
) -> None:
    """The first port gives the lagg its MAC and MTU, a later one takes the lagg's.

    A file's first port gives its MAC when it comes later than others, too.
    """
    first = not bundle.shape.ports
    gives_mtu = first and not bundle.mtu_fixed
    gives_mac = first or bundle.shape.donates(link.name)
    mtu_links = [bundle.link] if gives_mtu else [link]
    mtu = link.mtu if gives_mtu else bundle.link.mtu
    await propagate.set_mtu(fleet.netlink, bundle, mtu_links, mtu, undo)
    if gives_mac and not bundle.mac_fixed:
        links, donor = propagate.members(bundle), (link.name, link.mac)
        await propagate.give_mac(fleet.netlink, bundle, links, donor, undo)
    else:
        await propagate.set_mac(fleet.netlink, bundle, [link], bundle.link.mac, undo)
    with propagate.blaming(bundle, link):
        await fleet.custody.silence(link.ifindex)  # the new MTU may have brought IPv6
        if bundle.link.up != link.up:
            await fleet.netlink.set_up(link.ifindex, bundle.link.up)


async def _open(
    fleet: Fleet, bundle: Bundle, slot: int, link: Link, undo: AsyncExitStack
) -> None:
    """Sockets, receive filter, and at last the snapshot that names the port."""
    device = bundle.device
    fleet.claim(link.ifindex, bundle)
    await _listen(bundle, slot, link, undo)
    try:
        # In a thread: the kernel takes its time, and a lost carrier must not wait.
        sockets = await asyncio.to_thread(device.open_sockets, link.ifindex)
    except OSError as error:
        raise LaggError.of_os(link.name, "open packet sockets", error) from error
    device.add_port(slot, sockets)
    undo.push_async_callback(withdraw, fleet, bundle, [slot], bundle.shape)
    if bundle.lacp is not None:
        refuse_lacp(bundle, slot)
    fleet.listen_port(bundle, link.ifindex)
    now = await fleet.netlink.link(link.ifindex)
    modes = await fleet.netlink.modes(link.ifindex)
    port = Port(slot, now, home_mac=link.mac, modes=modes)
    bundle.adopt(bundle.shape.with_port(port))
    # Its carrier may have come while it was nobody's port and events passed it by.
    now = await fleet.netlink.link(link.ifindex)
    bundle.adopt(bundle.shape.with_link(now, modes))


async def _listen(bundle: Bundle, slot: int, link: Link, undo: AsyncExitStack) -> None:
    if bundle.lacp is not None:
        number = port_number(slot)
        await bundle.lacp.listen(number, link)
        undo.push_async_callback(bundle.lacp.ignore, [number])


async def withdraw(
    fleet: Fleet, bundle: Bundle, slots: Sequence[int], rest: Shape
) -> None:
    """Ports leave the workers' sight, then their sockets are drained and closed.

    `rest` is the shape without them.  LaggError when a worker does not let go; then
    they are ports as before.
    """
    before = bundle.shape
    async with AsyncExitStack() as undo:
        undo.callback(lambda: bundle.adopt(_with_news_of(bundle.shape, before)))
        await _lower(fleet, bundle, slots, rest, undo)
        await _pass(bundle, rest)
        undo.pop_all()
    taken = [bundle.device.remove_port(slot) for slot in slots]
    await together(asyncio.to_thread(sockets.close) for sockets in taken)
    if bundle.lacp is not None:
        await bundle.lacp.ignore([port_number(slot) for slot in slots])


async def _lower(
    fleet: Fleet,
    bundle: Bundle,
    slots: Sequence[int],
    rest: Shape,
    undo: AsyncExitStack,
) -> None:
    """Sets those down that will be so, while the workers take what they still get.

    Their partners see it and send elsewhere; until then nothing may be missed.
    """
    leaving = [port.link for port in bundle.shape.ports if port.slot in slots]
    lowered = [each for each in leaving if fleet.custody.to_be_down(each.ifindex)]
    if lowered:
        closing = bundle.plan.rx_accept.intersection(slots)
        await _pass(bundle, replace(rest, closing=closing))
        await propagate.set_down(fleet.netlink, lowered, undo)


async def _pass(bundle: Bundle, shape: Shape) -> None:
    """When this returns, no worker sees another shape.  LaggError."""
    bundle.adopt(_with_news_of(bundle.shape, shape))
    await bundle.grace()


def _with_news_of(newer: Shape, shape: Shape) -> Shape:
    """`shape` with what was heard of its ports since it was made."""
    for port in newer.ports:
        shape = shape.with_link(port.link, port.modes)
    shape = replace(shape, donor=newer.donor)
    return shape.with_agreements({port.slot: port.lacp for port in newer.ports})


async def detach(
    fleet: Fleet, bundle: Bundle, names: Iterable[str], undo: AsyncExitStack
) -> None:
    """Takes ports out, as they were found.  LaggError (ENOENT) if one is none.

    All that can be refused comes before the first is given back.  The lagg's MAC goes
    to its next primary first, so that no two interfaces have it.
    """
    leaving = [attached(bundle, name) for name in dict.fromkeys(names)]
    rest = bundle.shape
    for port in leaving:
        rest = rest.without_port(port.slot)
    await _pass_mac(fleet, bundle, rest, undo)
    if bundle.lacp is not None:
        numbers = [port.number for port in leaving]
        undo.callback(bundle.lacp.stay, numbers)
        await bundle.lacp.leave(numbers)
    await withdraw(fleet, bundle, [port.slot for port in leaving], rest)
    for port in leaving:
        await fleet.custody.give_back(port.link.ifindex)
        bundle.emit("port-detached", f"slot {port.slot}", port.link.name)
    fleet.watch_ports()
    await fleet.follow_speed(bundle)


def attached(bundle: Bundle, name: str) -> Port:
    """The port of that name.  LaggError (ENOENT)."""
    port = bundle.shape.named(name)
    if port is None:
        raise _refusal(bundle, name, "not a port of this lagg", errno.ENOENT)
    return port


async def _pass_mac(
    fleet: Fleet, bundle: Bundle, rest: Shape, undo: AsyncExitStack
) -> None:
    """A lagg's MAC is its primary's (F-DT-1); a user's own MAC stays."""
    heir = rest.primary_port
    if bundle.mac_fixed or heir is None or heir.slot == bundle.shape.primary:
        return
    links = [bundle.link, *(port.link for port in rest.ports)]
    await propagate.give_mac(fleet.netlink, bundle, links, heir.donor, undo)


async def depart(fleet: Fleet, bundle: Bundle, port: Port) -> None:
    """The interface was deleted or moved away: nothing is left to put back (F-DT-3)."""
    rest = bundle.shape.without_port(port.slot)
    await withdraw(fleet, bundle, [port.slot], rest)
    await fleet.custody.forget(port.link.ifindex)
    fleet.watch_ports()
    async with AsyncExitStack() as undo:
        heir = bundle.shape.primary_port
        if (
            heir is not None
            and not bundle.mac_fixed
            and port.home_mac == bundle.link.mac
        ):
            links = propagate.members(bundle)
            await propagate.give_mac(fleet.netlink, bundle, links, heir.donor, undo)
        undo.pop_all()
    await fleet.follow_speed(bundle)
    bundle.emit("port-departed", f"slot {port.slot}", port.link.name)
