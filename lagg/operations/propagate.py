# SPDX-License-Identifier: BSD-2-Clause
"""What a lagg and its ports must have alike: MAC, MTU, up or down (F-PR-*).

Owns the way back: each change registers its undo before it is tried.  Knows no plan and
no device; what "alike" means for a lagg is in its `link`, which only this file sets.
"""

import errno
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace

from lagg.errors import LaggError, logged
from lagg.kernel.netlink import Netlink
from lagg.link import Link
from lagg.operations.laggs import Laggs
from lagg.plan.shape import LaggMac, Shape
from lagg.running.bundle import Bundle
from lagg.tasks import quietly

log = logging.getLogger(__name__)

Operation = Awaitable[None]


def members(bundle: Bundle) -> tuple[Link, ...]:
    """The lagg's own interface, then its ports."""
    return (bundle.link, *(port.link for port in bundle.shape.ports))


def note_mtu(netlink: Netlink, bundle: Bundle, mtu: int, undo: AsyncExitStack) -> None:
    """Somebody set the MTU on the lagg's own interface; `undo` has the way back.

    The interface is left alone: by now it may have another, still to be looked at.
    """
    step, tap = _mtu_step(netlink, bundle), bundle.link
    undo.push_async_callback(quietly, log.warning, step, tap.ifindex, tap.mtu)
    bundle.note(tap.ifindex, lambda known: replace(known, mtu=mtu))


def note_mac(netlink: Netlink, bundle: Bundle, mac: str, undo: AsyncExitStack) -> None:
    """Somebody set the MAC on the lagg's own interface; `undo` has the way back."""
    step, tap = _mac_step(netlink, bundle), bundle.link
    undo.push_async_callback(quietly, log.warning, step, tap.ifindex, tap.mac)
    bundle.note(tap.ifindex, lambda known: replace(known, mac=mac))


def fix_mtu(bundle: Bundle, fixed: bool, undo: AsyncExitStack) -> None:
    """The MTU is the user's from now on, or the ports' again; `undo` as note_mtu()."""

    def want(fixed: bool) -> None:
        bundle.want(replace(bundle.wanted, mtu_fixed=fixed))

    undo.callback(want, bundle.wanted.mtu_fixed)
    want(fixed)


async def set_mtu(
    netlink: Netlink,
    bundle: Bundle,
    links: Iterable[Link],
    mtu: int,
    undo: AsyncExitStack,
) -> None:
    """The MTU in bytes on all of `links`, or on none (F-PR-MTU).

    Raises LaggError naming the interface that refused; `undo` then has the way back.
    """
    step = _mtu_step(netlink, bundle)
    for link in (link for link in links if link.mtu != mtu):
        undo.push_async_callback(quietly, log.warning, step, link.ifindex, link.mtu)
        with blaming(bundle, link), _unless_gone(bundle, link):
            await step(link.ifindex, mtu)


def _mtu_step(netlink: Netlink, bundle: Bundle) -> Callable[[int, int], Operation]:
    """What sets an interface's MTU and notes it."""

    async def step(ifindex: int, mtu: int) -> None:
        await netlink.set_mtu(ifindex, mtu)
        bundle.note(ifindex, lambda known: replace(known, mtu=mtu))

    return step


async def _set_macs(
    netlink: Netlink,
    bundle: Bundle,
    macs: Iterable[tuple[Link, str]],
    undo: AsyncExitStack,
) -> None:
    """Each link's MAC, or none (F-PR-MAC).  Raises as set_mtu()."""
    step = _mac_step(netlink, bundle)
    for link, mac in macs:
        if link.mac == mac:
            continue
        undo.push_async_callback(quietly, log.warning, step, link.ifindex, link.mac)
        with blaming(bundle, link), _unless_gone(bundle, link):
            await step(link.ifindex, mac)


def _mac_step(netlink: Netlink, bundle: Bundle) -> Callable[[int, str], Operation]:
    """What sets an interface's MAC and notes it."""

    async def step(ifindex: int, mac: str) -> None:
        await netlink.set_mac(ifindex, mac)
        bundle.note(ifindex, lambda known: replace(known, mac=mac))

    return step


async def rule(
    laggs: Laggs, bundle: Bundle, wanted: Shape, undo: AsyncExitStack
) -> None:
    """Sets the MAC that the lagg and its ports are to have as `wanted` has it.

    `wanted`: the shape that is to be, or at least that with its ports and policy.
    Whoever follows the lagg is told when all have it, on the way back, too.  Raises as
    set_mtu().
    """
    mac = wanted.wanted_mac
    wanted = replace(wanted, mac=mac)
    undo.push_async_callback(quietly, log.warning, laggs.rx_wanted.update, bundle)
    undo.callback(bundle.rule, bundle.shape.mac)
    laggs.rx_wanted.let_in(wanted)
    ports = [(port.link, wanted.mac_of(port)) for port in wanted.ports]
    everyone = [(bundle.link, mac.address), *ports]
    await _set_macs(laggs.netlink, bundle, everyone, undo)
    bundle.rule(mac)
    laggs.warn_of_twins(bundle)


async def follow(laggs: Laggs, bundle: Bundle) -> None:
    """Gives the lagg the MAC that its shape wants by now: another port carries it."""
    async with AsyncExitStack() as undo:
        if bundle.shape.wanted_mac != bundle.shape.mac:
            await rule(laggs, bundle, bundle.shape, undo)
        undo.pop_all()


async def set_wanted(
    laggs: Laggs,
    bundle: Bundle,
    mac: str | None,
    mtu: int | None,
    undo: AsyncExitStack,
) -> None:
    """The MAC and MTU a user asked for: they stay when ports come and go.

    None leaves it as it is.  Raises as set_mtu().
    """
    everyone = members(bundle)
    if mtu is not None:
        fix_mtu(bundle, True, undo)
        await set_mtu(laggs.netlink, bundle, everyone, mtu, undo)
    if mac is not None:
        wanted = replace(bundle.shape, mac=LaggMac(mac, fixed=True))
        await rule(laggs, bundle, wanted, undo)


async def set_up(netlink: Netlink, bundle: Bundle, up: bool) -> None:
    """The ports follow the lagg up and down (F-PR-UP); one that will not is logged.

    But not up, those that are down for being held.
    """
    for port in bundle.shape.ports:
        if not (up and port.lowered):
            await _set_up(netlink, port.link.ifindex, up)


async def _set_up(netlink: Netlink, ifindex: int, up: bool) -> None:
    with logged(log.warning):
        await netlink.set_up(ifindex, up)


async def set_down(
    netlink: Netlink, links: Iterable[Link], undo: AsyncExitStack
) -> None:
    """Ports that are to leave; one that will not is logged, `undo` has the way back."""
    for link in links:
        undo.push_async_callback(_set_up, netlink, link.ifindex, link.up)
        await _set_up(netlink, link.ifindex, False)


@contextmanager
def blaming(bundle: Bundle, link: Link) -> Iterator[None]:
    """A refusal inside names the lagg, and the port when it is the port's."""
    try:
        yield
    except LaggError as error:
        thing = bundle.name
        if link.ifindex != bundle.link.ifindex:
            thing += f": port {link.name}"
        raise LaggError(thing, error.cause, error.code) from error


@contextmanager
def _unless_gone(bundle: Bundle, link: Link) -> Iterator[None]:
    """A port that is gone has no say; it departs as soon as the kernel tells."""
    try:
        yield
    except LaggError as error:
        if error.code != errno.ENODEV or bundle.shape.find(link.ifindex) is None:
            raise


async def hear_local(
    laggs: Laggs, bundle: Bundle, shape: Shape, undo: AsyncExitStack
) -> None:
    """Has all ports hear what is for themselves, or not, as `shape` says.  LaggError.

    Before that is adopted: to `pass` nothing is seen twice, to `stay` for a moment.
    """
    for port in bundle.shape.ports:
        ifindex = port.link.ifindex
        before = laggs.takeover.hears_local(ifindex)
        undo.push_async_callback(laggs.takeover.set_hears_local, ifindex, before)
        with _unless_gone(bundle, port.link):
            await laggs.takeover.set_hears_local(ifindex, shape.keeps_local)
