# SPDX-License-Identifier: BSD-2-Clause
"""Interfaces taken over: what is done to an interface that becomes a port, and undone.

Owns what each port was before (also on disk, for the next daemon), its deafness to the
host stack, and the receive filter it keeps for its lagg.  Knows no lagg and no plan.
"""

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Self

from lagg.errors import LaggError, done_if, logged
from lagg.handover.saved import SavedHold
from lagg.kernel.netlink import DeafPorts, Netlink
from lagg.kernel.rx_filter import Kept, Memberships
from lagg.link import AddrGenMode, Link, RxFilter
from lagg.ports.originals import Original, StateFile, put_back, remember
from lagg.tasks import in_turn

log = logging.getLogger(__name__)


class Takeover:
    """The interfaces that are ports.  Control thread only."""

    def __init__(self, netlink: Netlink, deaf: DeafPorts, file: StateFile) -> None:
        """`file` is locked by us; see after_the_dead()."""
        self._netlink = netlink
        self._deaf = deaf
        self._file = file
        self._originals: dict[int, Original] = {}
        self._memberships: dict[int, Memberships] = {}
        self._lost: dict[int, str] = {}  # names of those that could not be put back
        self._writing = asyncio.Lock()
        self._changes = self._changes_saved = 0  # of the originals, and in the file

    @classmethod
    async def after_the_dead(
        cls, netlink: Netlink, deaf: DeafPorts, file: StateFile
    ) -> Self:
        """Puts back what a killed daemon left changed; `file` is locked by us."""
        for original in file.load():
            await _put_back_for_the_dead(netlink, deaf, original)
        file.clear()
        return cls(netlink, deaf, file)

    @classmethod
    def resumed(
        cls,
        netlink: Netlink,
        deaf: DeafPorts,
        file: StateFile,
        kept: Mapping[int, Kept],
    ) -> Self:
        """Goes on with a predecessor's ports, which are those that his file names.

        `deaf` has his tables, `kept` his membership sockets, by ifindex, which are ours
        from now on.  Whose socket is not kept is told by its name, if it is put back.
        """
        found = cls(netlink, deaf, file)
        found._originals = {each.ifindex: each for each in file.load()}
        for ifindex, each in kept.items():
            original = found._originals.get(ifindex)
            if original is None:
                os.close(each.descriptor)
                continue
            with logged(log.warning):
                found._memberships[ifindex] = Memberships(ifindex, original.name, each)
        return found

    @property
    def held(self) -> frozenset[int]:
        """All interfaces that are ours, also while they become so or are put back."""
        return frozenset(self._originals)

    def hold(self, ifindex: int) -> SavedHold:
        """How a port is held, for a successor."""
        memberships = self._memberships.get(ifindex)
        rx = RxFilter() if memberships is None else memberships.held
        return SavedHold(ifindex, rx, self._deaf.chains(ifindex))

    def kept(self, ifindex: int) -> int | None:
        """The descriptor of a port's memberships, to be kept for a successor."""
        memberships = self._memberships.get(ifindex)
        return None if memberships is None else memberships.fileno()

    def close(self) -> None:
        """Gives up the state directory; every port must have been given back."""
        self._file.close()

    def require_all_put_back(self) -> None:
        """LaggError (EIO) unless every port was put back as it was found."""
        if self._lost:
            names = ", ".join(sorted(self._lost.values()))
            raise LaggError(names, "not as found: see the log", errno.EIO)

    async def take(self, link: Link, *, hears_local: bool) -> None:
        """Makes an interface ours and nobody else's: remembered and deaf.

        `hears_local`: as set_hears_local().  Without offloads that would stop a receive
        ring; a driver that keeps one on is logged.

        All or nothing: raises LaggError with everything put back.
        """
        await self._deaf.claim(link.ifindex, link.name)
        self._lost.pop(link.ifindex, None)
        try:
            original = await remember(self._netlink, link.ifindex)
            self._originals[link.ifindex] = original
            await self._save()
            self._memberships[link.ifindex] = Memberships(link.ifindex, link.name)
            await self._deaf.deafen(link.ifindex, link.name, hears_local=hears_local)
            await self._switch_off(original)
        except BaseException:
            await self.give_back(link.ifindex)
            raise

    async def _switch_off(self, original: Original) -> None:
        """Switches off offloads that packet(7) cannot describe, if it can be."""
        for offload in original.offloads:
            with logged(log.warning):
                await self._netlink.set_offload(original.ifindex, offload, on=False)

    def holds(self, ifindex: int) -> bool:
        """Whether an interface is ours, also while it becomes so or is put back."""
        return ifindex in self._originals

    def mtu_found(self, ifindex: int) -> int:
        """The MTU in bytes that a port had before it was one.  LaggError."""
        return self.original(ifindex).mtu

    async def silence(self, ifindex: int) -> None:
        """No address or route of the port's own: the host must not speak through it.

        To be called again when IPv6 has come back to it: an MTU below 1280 takes it
        away with all that was set.  The port must be deaf, or a router's next word
        would make them again.
        """
        link = await self._netlink.link(ifindex)
        if link.addr_gen_mode not in (None, AddrGenMode.NONE):
            await self._netlink.set_addr_gen_mode(ifindex, AddrGenMode.NONE)
        found = [
            each for each in await self._netlink.addresses(ifindex) if each.self_made
        ]
        for address in found:
            if not address.temporary:  # those go with the one they were made of
                # It expired meanwhile, or all IPv6 went with an MTU below 1280.
                with done_if(errno.EADDRNOTAVAIL, errno.ENODEV):
                    await self._netlink.delete_address(ifindex, address)
        if found:
            await self._netlink.delete_kernel_routes(ifindex)

    async def rename(self, ifindex: int, name: str) -> None:
        """Notes a port's new name, and hooks its chains to that.  LaggError."""
        original = self.original(ifindex)
        self._originals[ifindex] = replace(original, name=name)
        local = self._deaf.hears_local(ifindex)
        deafen = partial(self._deaf.deafen, ifindex, name, hears_local=local)
        await in_turn(self._save, deafen)

    def hears_local(self, ifindex: int) -> bool:
        """Whether sockets on a port have what is for the port itself."""
        return self._deaf.hears_local(ifindex)

    async def set_hears_local(self, ifindex: int, hears: bool) -> None:
        """Whether they are to have it.  LaggError: nothing has changed."""
        if self.hears_local(ifindex) is not hears:
            name = self.original(ifindex).name
            await self._deaf.deafen(ifindex, name, hears_local=hears)

    def set_rx_filter(self, ifindex: int, rx: RxFilter) -> None:
        """Sets what the port receives besides its MAC.  LaggError: nothing changed."""
        memberships = self._memberships.get(ifindex)
        if memberships is None:
            raise _was_put_back(ifindex)
        memberships.apply(
            promisc=rx.promisc,
            allmulti=rx.allmulti,
            multicast=rx.multicast,
            unicast=rx.unicast,
        )

    def let_in(self, ifindex: int, macs: frozenset[str]) -> None:
        """Has the port receive what is for these MACs, too.  As set_rx_filter()."""
        memberships = self._memberships.get(ifindex)
        if memberships is not None:
            held = memberships.held
            more = replace(held, unicast=held.unicast | macs)
            self.set_rx_filter(ifindex, more)

    def to_be_down(self, ifindex: int) -> bool:
        """Whether the interface is there, and was down before it became a port."""
        memberships = self._memberships.get(ifindex)
        there = memberships is not None and memberships.same
        return there and not self.original(ifindex).up

    async def require_free(self, link: Link) -> None:
        """What take() would refuse.  LaggError (EBUSY): another laggd has it."""
        await self._deaf.require_free(link.ifindex, link.name)

    def original(self, ifindex: int) -> Original:
        """How a port was found.  LaggError (EAGAIN)."""
        original = self._originals.get(ifindex)
        if original is None:
            raise _was_put_back(ifindex)
        return original

    async def give_back(self, ifindex: int) -> bool:
        """Puts an interface back as it was found, if it is ours; what fails is logged.

        False when something failed.
        """
        original = self._originals.get(ifindex)
        if original is None:
            await self._hear(ifindex)
            return True
        memberships = self._memberships.get(ifindex)
        if memberships is None:
            done = await put_back(self._netlink, original)
        else:
            with logged(log.warning):
                memberships.apply(promisc=False, allmulti=False)
            # It may have been renamed, and we are not told yet.
            done = await put_back(
                self._netlink, original, same=lambda: memberships.same
            )
        if not done:
            self._lost[ifindex] = original.name
        await self.forget(ifindex)
        return done

    async def forget(self, ifindex: int) -> None:
        """Drops what is known of an interface that is gone, or was put back."""
        await self._close_memberships(ifindex)
        await self._hear(ifindex)
        self._originals.pop(ifindex, None)
        with contextlib.suppress(LaggError):
            await self._save()

    async def _hear(self, ifindex: int) -> None:
        # Even if the interface is gone: the next one of its name would be deaf.
        with logged(log.warning):
            await self._deaf.undeafen(ifindex)

    async def _close_memberships(self, ifindex: int) -> None:
        memberships = self._memberships.pop(ifindex, None)
        if memberships is not None:
            # In a thread: the kernel takes 10 ms, for many at once as for one.
            await asyncio.to_thread(memberships.close)

    async def _save(self) -> None:
        """Returns when the file has all that is known by now.  LaggError.

        One writing serves all who ask while another runs, or the cost of a port would
        grow with the ports that come together.
        """
        self._changes += 1
        mine = self._changes
        async with self._writing:
            if self._changes_saved >= mine:
                return
            latest, originals = self._changes, tuple(self._originals.values())
            await asyncio.to_thread(self._write, originals)
            self._changes_saved = latest

    def _write(self, originals: Sequence[Original]) -> None:
        if originals:
            self._file.save(originals)
        else:
            self._file.clear()


def _was_put_back(ifindex: int) -> LaggError:
    """The refusal for a port that was put back while a worker still had it."""
    return LaggError(f"interface {ifindex}", "was put back", errno.EAGAIN)


async def _put_back_for_the_dead(
    netlink: Netlink, deaf: DeafPorts, original: Original
) -> None:
    try:
        await deaf.claim(original.ifindex, original.name)
    except LaggError as error:
        if error.code == errno.EBUSY:
            log.warning("not put back: %s", error)
            return
        log.warning("%s", error)
    log.warning("%s: putting it back for a daemon that died", original.name)
    await put_back(netlink, original)
    with logged(log.warning):
        await deaf.undeafen(original.ifindex)
