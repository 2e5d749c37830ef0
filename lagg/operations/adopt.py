# SPDX-License-Identifier: BSD-2-Clause
"""Goes on with the laggs of a laggd that has died, whose workers run on.

Owns the order in which what was left becomes laggs again.  What was left is looked at
first, and all of it: if a part is not sound, nothing has been touched, and the frames
of all laggs go on without us.  Files are not read again, for what runs is what somebody
made of them since; what the kernel changed meanwhile is looked at as after an overrun.
"""

import errno
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from functools import partial

from lagg.errors import LaggError, logged
from lagg.forwarder.wire import IDS_MAX
from lagg.frozen import dataclass
from lagg.handover.saved import SavedLagg
from lagg.handover.slots import Slots
from lagg.kernel.datapath import Datapath
from lagg.kernel.native import Device, PortSockets
from lagg.kernel.netlink import DeafPorts, Netlink
from lagg.kernel.rx_filter import Kept
from lagg.kernel.slow import SlowSocket
from lagg.model import Proto, Tuning
from lagg.operations.keeping import NFT, STATE, probe_name, rx_name, slow_name
from lagg.operations.laggs import Laggs
from lagg.options import PORTS_MAX
from lagg.plan.shape import Port
from lagg.ports.originals import StateFile
from lagg.ports.takeover import Takeover
from lagg.running.bundle import Bundle
from lagg.running.lacp_io import LacpIo

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeftLagg:
    """One lagg as it was left, and looked at."""

    lagg: int  # its id
    text: bytes  # as it was saved
    saved: SavedLagg
    state: Slots
    sockets: Mapping[str, int]  # all that is named after the lagg, without its id
    opened: Mapping[int, PortSockets] = field(default_factory=dict)  # by slot

    @property
    def slots(self) -> frozenset[int]:
        """The slots of all ports that are kept, also of one on its way in or out."""
        heads = map(_head, self.sockets)
        return frozenset(int(head) for head in heads if head.isdecimal())

    def of_port(self, slot: int) -> dict[str, int]:
        """What is named after a port of it, without the port's slot."""
        prefix = f"{slot}/"
        return {
            name.removeprefix(prefix): fd
            for name, fd in self.sockets.items()
            if name.startswith(prefix)
        }


@dataclass(frozen=True, slots=True)
class Left:
    """All that a laggd left."""

    laggs: tuple[LeftLagg, ...]
    descriptors: Mapping[str, int]

    @classmethod
    def of(cls, descriptors: Mapping[str, int], seen: "Left | None" = None) -> "Left":
        """What is kept by these names.  LaggError: a part of it is not sound.

        `seen`: what was by these names before; what is saved may have changed since.
        """
        for name in descriptors:
            _check_name(name)
        before = {} if seen is None else {each.lagg: each for each in seen.laggs}
        found = [
            _left_lagg(number, sockets, before.get(number))
            for number, sockets in sorted(_by_lagg(descriptors).items())
        ]
        laggs = tuple(each for each in found if each is not None)
        _check_each_once(laggs)
        return cls(laggs, descriptors)

    def opened(self) -> "Left":
        """With the sockets of its ports mapped, as far as they are what they should be.

        Takes long, and what others do to them meanwhile is theirs.
        """
        laggs = [replace(each, opened=_opened(each)) for each in self.laggs]
        return replace(self, laggs=tuple(laggs))

    def close(self) -> None:
        """Closes all of it."""
        names = set(self.descriptors)
        for lagg in self.laggs:
            for slot, sockets in lagg.opened.items():
                sockets.close()
                names -= {f"{lagg.lagg}/{slot}/{name}" for name in lagg.of_port(slot)}
        for name in names:
            os.close(self.descriptors[name])

    @property
    def alert(self) -> int | None:
        """The eventfd that the workers of all laggs write to."""
        found = (each.sockets.get("alert") for each in self.laggs)
        return next((fd for fd in found if fd is not None), None)

    def take_over(self, netlink: Netlink, deaf: DeafPorts, file: StateFile) -> Takeover:
        """The ports as they were left.  Writes nothing."""
        holds = {hold.ifindex: hold for each in self.laggs for hold in each.saved.holds}
        if NFT in self.descriptors:
            chains = {hold.ifindex: hold.chains for hold in holds.values()}
            deaf.resume(self.descriptors[NFT], chains)
        kept = {
            ifindex: Kept(self.descriptors[rx_name(ifindex)], hold.rx)
            for ifindex, hold in holds.items()
            if rx_name(ifindex) in self.descriptors
        }
        return Takeover.resumed(netlink, deaf, file, kept)


def _head(name: str) -> str:
    return name.partition("/")[0]


def _check_name(name: str) -> None:
    """LaggError unless the numbers in it are those of a lagg, and of a slot of it."""
    head, _, rest = name.partition("/")
    numbers = ((head, range(1, IDS_MAX + 1)), (_head(rest), range(PORTS_MAX)))
    for word, sound in numbers if head.isdecimal() else ():
        if word.isdecimal() and (int(word) not in sound or str(int(word)) != word):
            cause = f"keeps a descriptor as {name!r}, which no laggd does"
            raise LaggError("lagg-forwarder", cause, errno.EPROTO)


def _check_each_once(laggs: Sequence[LeftLagg]) -> None:
    """LaggError when two laggs have one interface, or are the same one."""
    owners: dict[int | str, LeftLagg] = {}
    for each in laggs:
        link, ports = each.saved.link, each.saved.shape.ports
        things: list[int | str] = [link.name, link.ifindex]
        for thing in (*things, *(port.link.ifindex for port in ports)):
            if owners.setdefault(thing, each) is not each:
                cause = f"what laggd left of it has {thing}, and so has another lagg"
                raise LaggError(f"lagg {each.lagg}", cause, errno.EPROTO)


def _by_lagg(descriptors: Mapping[str, int]) -> dict[int, dict[str, int]]:
    """What is named after each lagg, by its id, and without that."""
    found: dict[int, dict[str, int]] = {}
    for name, fd in descriptors.items():
        head, _, rest = name.partition("/")
        if head.isdecimal():
            found.setdefault(int(head), {})[rest] = fd
    return found


def _left_lagg(
    number: int, sockets: Mapping[str, int], seen: LeftLagg | None
) -> LeftLagg | None:
    """None when it was not saved yet: nobody was told that there is such a lagg."""
    if STATE not in sockets:
        return None
    slots = Slots(sockets[STATE], f"lagg {number}")
    text = slots.read()
    if text is None:
        return None
    if seen is not None and seen.text == text:
        return replace(seen, state=slots)
    opened = {} if seen is None else seen.opened
    return LeftLagg(number, text, _saved(number, text), slots, sockets, opened)


def _saved(number: int, text: bytes) -> SavedLagg:
    try:
        return SavedLagg.of(text, time.monotonic_ns())
    except ValueError as error:
        cause = f"what laggd left of it cannot be read: {error}"
        raise LaggError(f"lagg {number}", cause, errno.EPROTO) from error


def _opened(left: LeftLagg) -> dict[int, PortSockets]:
    found = {}
    for port in left.saved.shape.ports:
        with suppress(OSError):  # whoever needs it is told
            found[port.slot] = _port_sockets(left, port)
    return found


def _port_sockets(left: LeftLagg, port: Port) -> PortSockets:
    """The sockets of a port.  OSError when they are not what their names say."""
    workers = sum(name.startswith("tap.") for name in left.sockets)
    kept = left.of_port(port.slot)
    return PortSockets.adopted(port.link.ifindex, workers, kept)


def adopt_device(left: LeftLagg, tuning: Tuning, datapath: Datapath) -> Device:
    """The device with its ports, as its workers have them.  LaggError.

    A port whose interface has gone is adopted as well: it departs like any other.
    """
    name = left.saved.link.name
    try:
        device = Device.adopted(name, tuning, datapath, left.sockets)
        for port in left.saved.shape.ports:
            sockets = left.opened.get(port.slot) or _port_sockets(left, port)
            device.add_adopted(port.slot, sockets)
    except OSError as error:
        raise LaggError.of_os(name, "adopt it", error) from error
    return device


def adopt(laggs: Laggs, left: LeftLagg, device: Device) -> Bundle:
    """Takes in a lagg whose device is adopted.  LaggError.

    Nobody else sees anything of it: who had the lagg may still go on with it.
    """
    bundle = Bundle.resumed(
        left.saved, device, emit=laggs.emit, tx_dropped=laggs.netlink.tx_dropped
    )
    laggs.resume(bundle)
    if left.saved.lacp is not None:
        _adopt_lacp(laggs, bundle, left)
    return bundle


def _adopt_lacp(laggs: Laggs, bundle: Bundle, left: LeftLagg) -> None:
    saved = left.saved.lacp
    assert saved is not None
    sockets = dict(_slow_sockets(left, bundle.shape.ports))
    try:
        changed = partial(laggs.show_speed_soon, bundle)
        lacp = LacpIo.resumed(bundle, changed, saved, sockets)
    except ValueError as error:
        raise LaggError(bundle.name, f"its LACP: {error}", errno.EPROTO) from error
    bundle.negotiate_by(lacp)


async def go_on(bundle: Bundle, left: LeftLagg) -> None:
    """Begins to act for a lagg that is adopted: it is ours alone now.  LaggError."""
    for name in map(probe_name, range(PORTS_MAX)):
        if name in left.sockets:  # the forwarder has it until ours is open
            os.close(left.sockets[name])
    bundle.publish_again()
    bundle.settle()
    saved, lacp = left.saved.lacp, bundle.lacp
    if saved is None or lacp is None:
        return
    lacp.cancel_leave([each.number for each in saved.ports if each.leaving])
    lacp.reconcile()
    if bundle.shape.proto is not Proto.LACP:
        await lacp.say_goodbye()
        bundle.negotiate_by(None)
        await lacp.close()


def _slow_sockets(
    left: LeftLagg, ports: Iterable[Port]
) -> Iterable[tuple[int, SlowSocket]]:
    for port in ports:
        kept = left.sockets.get(slow_name(port.slot))
        if kept is not None:
            with logged(log.warning):
                yield port.number, SlowSocket(port.link.ifindex, port.link.name, kept)


async def put_right(bundle: Bundle, left: LeftLagg) -> None:
    """Lets go of what an operation that was cut off left beside a lagg's ports."""
    orphans = left.slots.difference(port.slot for port in bundle.shape.ports)
    if orphans:
        with logged(log.warning):
            await bundle.grace()
            for slot in orphans:
                bundle.device.forget_port(slot)


async def give_back_rest(laggs: Laggs) -> None:
    """Puts back each interface that was taken over and is no port of any lagg."""
    for ifindex in laggs.takeover.held:
        if laggs.of_port(ifindex) is None:
            with logged(log.warning):
                await laggs.takeover.give_back(ifindex)
