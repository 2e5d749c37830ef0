# SPDX-License-Identifier: BSD-2-Clause
"""A port comes and goes: attach, detach, departure.

Owns the order: a port is seen by the workers only when all else has succeeded, and is
closed only when no worker can see it any more.  Runs inside one operation of
commands.py.

Attach goes from what others notice least to what they notice most.  Checks come first
and change nothing.  Then the interface is taken over: remembered on disk, and cut off
from the host's stack, before it gets the lagg's MAC, or the host would answer by a
port.  Then MTU and MAC, the sockets, and last the snapshot.  Each step registers its
undo, so a failure anywhere leaves the interface as it was.

Detach is that order reversed, with two waits in it.  LACP's partner is told first and
given time to stop sending.  Then the snapshot without the port is published, and its
grace period waited for; only then the ring is drained and the sockets are closed.  An
interface that was down before is set down under a plan that still reads it, so that
what its peer has sent arrives.  A departed interface skips what needs it to be there.
"""

import asyncio
import errno
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace

from lagg.errors import LaggError, logged
from lagg.events import EventKind
from lagg.kernel.native import PortSockets
from lagg.link import Link, Modes
from lagg.operations import propagate
from lagg.operations.laggs import Laggs
from lagg.operations.protocol_change import refuse_lacp
from lagg.operations.uses import tell_uses
from lagg.plan.shape import Port, Shape, port_number
from lagg.ports.eligible import check_port
from lagg.running.bundle import Bundle
from lagg.tasks import quietly, together

log = logging.getLogger(__name__)


async def attach(laggs: Laggs, bundle: Bundle, name: str, undo: AsyncExitStack) -> None:
    """Makes the interface `name` a port; `undo` then has the way back.

    The host's stack is kept off it before it has the lagg's MAC.  An interface that is
    a port of this lagg already is no error (F-AT-IDEM).  LaggError names what refused.
    """
    if bundle.shape.named(name) is not None:
        return
    slot = _free_slot(bundle, name)
    link = await _candidate(laggs, bundle, name)
    heard = bool(bundle.shape.ports) and link.mac == bundle.shape.mac.address
    undo.push_async_callback(laggs.show_speed, bundle)
    undo.callback(laggs.watch_ports)
    with propagate.blaming(bundle, link):
        hears = bundle.shape.keeps_local
        await laggs.takeover.take(link, hears_local=hears)
        undo.push_async_callback(laggs.takeover.give_back, link.ifindex)
    await _make_alike(laggs, bundle, slot, link, undo)
    with propagate.blaming(bundle, link):
        await _open(laggs, bundle, slot, link, undo)
    if heard:
        bundle.emit(EventKind.MAC_HEARD, "it had the lagg's MAC before", link.name)
    laggs.watch_ports()
    await laggs.show_speed(bundle)
    # Begun while it became a port.  Of what is only said nothing may be undone.
    with logged(log.warning):
        await tell_uses(laggs, bundle, link.ifindex)


def _free_slot(bundle: Bundle, name: str) -> int:
    slot = bundle.shape.free_slot(name)
    if slot is None:
        raise _refusal(bundle, name, "a lagg has at most 32 ports", errno.ENOSPC)
    return slot


async def _candidate(laggs: Laggs, bundle: Bundle, name: str) -> Link:
    """The interface, if it may become a port."""
    try:
        link = await _named(laggs, name)
        _check_free(laggs, link)
        check_port(
            link,
            bundle.link.ifindex,
            await laggs.netlink.links(),
            laggs.ports_by_tap(),
            await laggs.netlink.addresses(link.ifindex),
            wireless=await laggs.netlink.wireless(link.ifindex),
        )
    except LaggError as error:
        raise _refusal(bundle, name, error.cause, error.code) from error
    return link


async def _named(laggs: Laggs, name: str) -> Link:
    try:
        return await laggs.netlink.by_name(name)
    except LaggError as error:
        if error.code != errno.ENODEV:
            raise
        raise LaggError(name, "no such interface", errno.ENODEV) from error


def _check_free(laggs: Laggs, link: Link) -> None:
    held = laggs.of_port(link.ifindex)
    if held is not None:
        raise LaggError(link.name, f"already a port of {held[0].name}", errno.EBUSY)


def _refusal(bundle: Bundle, port: str, cause: str, code: int) -> LaggError:
    return LaggError(f"{bundle.name}: port {port}", cause, code)


async def _make_alike(
    laggs: Laggs, bundle: Bundle, slot: int, link: Link, undo: AsyncExitStack
) -> None:
    """Gives the lagg the MTU of its first port, and a later port the lagg's.

    With the MAC likewise, unless mac_policy has the lagg take the primary's.
    """
    gives_mtu = not bundle.shape.ports and not bundle.wanted.mtu_fixed
    mtu_links = [bundle.link] if gives_mtu else [link]
    mtu = link.mtu if gives_mtu else bundle.link.mtu
    await propagate.set_mtu(laggs.netlink, bundle, mtu_links, mtu, undo)
    port = Port(slot, link, home_mac=link.mac, modes=Modes())
    with _naming_own(bundle, link):
        await propagate.rule(laggs, bundle, bundle.shape.with_port(port), undo)
    with propagate.blaming(bundle, link):
        await laggs.takeover.silence(link.ifindex)  # the new MTU may have brought IPv6
        if bundle.link.up != link.up:
            await laggs.netlink.set_up(link.ifindex, bundle.link.up)


@contextmanager
def _naming_own(bundle: Bundle, link: Link) -> Iterator[None]:
    """A port that refuses the lagg's MAC may keep its own: the refusal says how."""
    try:
        yield
    except LaggError as error:
        if error.code == errno.ENODEV or not error.thing.endswith(f"port {link.name}"):
            raise
        remedy = f"mac_policy own leaves each port of {bundle.name} its own MAC"
        cause = f"{error.cause}; {remedy}"
        raise LaggError(error.thing, cause, error.code) from error


async def _open(
    laggs: Laggs, bundle: Bundle, slot: int, link: Link, undo: AsyncExitStack
) -> None:
    """Opens sockets, sets the receive filter, and last adopts the port."""
    device = bundle.device
    laggs.claim(link.ifindex, bundle)
    await _open_lacp(bundle, slot, link, undo)
    try:
        # In a thread: the kernel takes its time, and a lost carrier must not wait.
        sockets = await asyncio.to_thread(device.open_sockets, link.ifindex)
    except OSError as error:
        raise LaggError.of_os(link.name, "open packet sockets", error) from error
    _give(bundle, slot, link, sockets)
    undo.push_async_callback(withdraw, laggs, bundle, [slot], bundle.shape)
    await asyncio.to_thread(device.bind_port, slot)
    if bundle.lacp is not None:
        refuse_lacp(bundle, slot)
    await laggs.rx_wanted.update_port(bundle, link.ifindex)
    laggs.await_egress(bundle, slot, link.ifindex)
    now = await _as_it_is(laggs, link)
    modes = await laggs.netlink.modes(link.ifindex)
    port = Port(slot, now, home_mac=link.mac, modes=modes)
    bundle.adopt(bundle.shape.with_port(port))
    # Its carrier may have come while it was nobody's port and events passed it by.
    now = await _as_it_is(laggs, link)
    bundle.adopt(bundle.shape.with_link(now, modes))


def _give(bundle: Bundle, slot: int, link: Link, sockets: PortSockets) -> None:
    try:
        bundle.device.add_port(slot, sockets)
    except OSError as error:
        sockets.close()
        raise LaggError.of_os(link.name, "have its frames carried", error) from error


async def _as_it_is(laggs: Laggs, link: Link) -> Link:
    """The interface as it is now.  LaggError (ENODEV) when it has another name.

    Its chains hook the name that it had, and the event of the rename is over.
    """
    now = await laggs.netlink.link(link.ifindex)
    if now.name != link.name:
        raise LaggError(link.name, f"is called {now.name} by now", errno.ENODEV)
    return now


async def _open_lacp(
    bundle: Bundle, slot: int, link: Link, undo: AsyncExitStack
) -> None:
    if bundle.lacp is not None:
        number = port_number(slot)
        await bundle.lacp.open_port(number, link)
        undo.push_async_callback(bundle.lacp.close_ports, [number])


async def withdraw(
    laggs: Laggs, bundle: Bundle, slots: Sequence[int], rest: Shape
) -> None:
    """Ports leave the workers' sight, then their sockets are drained and closed.

    `rest` is the shape without them.  LaggError when a worker does not let go; then
    they are ports as before.
    """
    before = bundle.shape
    async with AsyncExitStack() as undo:
        undo.push_async_callback(quietly, log.warning, _catch_up, laggs, bundle, slots)
        undo.callback(lambda: bundle.adopt(_with_news_of(bundle.shape, before)))
        await _lower(laggs, bundle, slots, rest, undo)
        await _pass(bundle, rest)
        undo.pop_all()
    try:
        taken = [bundle.device.remove_port(slot) for slot in slots]
    except OSError as error:
        raise LaggError.of_os(bundle.name, "let go of its port", error) from error
    await together(asyncio.to_thread(sockets.close) for sockets in taken)
    if bundle.lacp is not None:
        await bundle.lacp.close_ports([port_number(slot) for slot in slots])


async def _catch_up(laggs: Laggs, bundle: Bundle, slots: Sequence[int]) -> None:
    """Adopts what the kernel told of the slots' ports while they were none.  LaggError.

    A newer name or master has more to it than a snapshot, and is seen in its turn.
    """
    links = await laggs.netlink.links()
    for port in [port for port in bundle.shape.ports if port.slot in slots]:
        now = links.get(port.link.ifindex, port.link)
        known = replace(now, name=port.link.name, master=port.link.master)
        bundle.adopt(bundle.shape.with_link(known, port.modes))


async def _lower(
    laggs: Laggs,
    bundle: Bundle,
    slots: Sequence[int],
    rest: Shape,
    undo: AsyncExitStack,
) -> None:
    """Sets the ports down that are to be down, while the workers still read them.

    Their peers lose carrier and send elsewhere; what came before that is delivered.
    """
    leaving = [port.link for port in bundle.shape.ports if port.slot in slots]
    lowered = [each for each in leaving if laggs.takeover.to_be_down(each.ifindex)]
    if lowered:
        closing = bundle.plan.rx_accept.intersection(slots)
        await _pass(bundle, replace(rest, closing=closing))
        await propagate.set_down(laggs.netlink, lowered, undo)


async def _pass(bundle: Bundle, shape: Shape) -> None:
    """Adopts a shape, and waits until no worker sees any before it.  LaggError."""
    bundle.adopt(_with_news_of(bundle.shape, shape))
    await bundle.grace()


def _with_news_of(newer: Shape, shape: Shape) -> Shape:
    """`shape` with what was heard of its ports since it was made."""
    for port in newer.ports:
        shape = shape.with_link(port.link, port.modes)
    shape = replace(shape, mac=newer.mac)
    return shape.with_agreements({port.slot: port.lacp for port in newer.ports})


async def detach(
    laggs: Laggs, bundle: Bundle, names: Iterable[str], undo: AsyncExitStack
) -> None:
    """Takes ports out, as they were found.  LaggError (ENOENT) if one is none.

    All that can be refused comes before the first is given back.  When the lagg's MAC
    is to be its next primary's, that is set first, so that no two interfaces have one.
    """
    leaving = [attached(bundle, name) for name in dict.fromkeys(names)]
    rest = bundle.shape
    for port in leaving:
        rest = rest.without_port(port.slot)
    await _pass_mac(laggs, bundle, rest, undo)
    if bundle.lacp is not None:
        numbers = [port.number for port in leaving]
        undo.callback(bundle.lacp.cancel_leave, numbers)
        await bundle.lacp.leave(numbers)
    await withdraw(laggs, bundle, [port.slot for port in leaving], rest)
    await quietly(log.warning, propagate.follow, laggs, bundle)
    for port in leaving:
        await laggs.takeover.give_back(port.link.ifindex)
        bundle.emit(EventKind.PORT_DETACHED, "", port.link.name)
        with suppress(LaggError):  # it has gone at this moment
            laggs.warn_of_shared_mac(await laggs.netlink.link(port.link.ifindex))
    laggs.watch_ports()
    await laggs.show_speed(bundle)


def attached(bundle: Bundle, name: str) -> Port:
    """The port of that name.  LaggError (ENOENT)."""
    port = bundle.shape.named(name)
    if port is None:
        raise _refusal(bundle, name, "not a port of this lagg", errno.ENOENT)
    return port


async def _pass_mac(
    laggs: Laggs, bundle: Bundle, rest: Shape, undo: AsyncExitStack
) -> None:
    """Sets the MAC that the lagg is to have with the `rest` of its ports (F-DT-1)."""
    await propagate.rule(laggs, bundle, rest, undo)


async def depart(laggs: Laggs, bundle: Bundle, port: Port) -> None:
    """The interface was deleted or moved away: nothing is left to put back (F-DT-3)."""
    rest = bundle.shape.without_port(port.slot)
    with logged(log.warning):
        async with AsyncExitStack() as undo:
            await _pass_mac(laggs, bundle, rest, undo)
            undo.pop_all()
    await withdraw(laggs, bundle, [port.slot], rest)
    await quietly(log.warning, propagate.follow, laggs, bundle)
    await laggs.takeover.forget(port.link.ifindex)
    laggs.watch_ports()
    await laggs.show_speed(bundle)
    bundle.emit(EventKind.PORT_DEPARTED, "", port.link.name)
