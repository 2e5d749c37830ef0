# SPDX-License-Identifier: BSD-2-Clause
"""Configured ports that are not there: waited for, and attached when they appear.

Owns which names are waited for, and that one which will not become a port is tried
again when something about it has changed, never in a loop.  Only ports that a file
names are waited for, and those that a change which reverts could not bring back.
Knows no file and no netlink message.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Self

from lagg.errors import LaggError
from lagg.events import Event, EventKind
from lagg.frozen import dataclass
from lagg.model import LaggConfig
from lagg.operations.apply import tell_attached
from lagg.operations.attach import attach
from lagg.operations.laggs import Laggs
from lagg.ports.eligible import Use, uses
from lagg.running.bundle import Bundle
from lagg.tasks import Tasks

log = logging.getLogger(__name__)

PACE_S = 1.0
"""The least time between two attempts with one interface, whatever becomes of it."""

Operation = Coroutine[Any, Any, None]


@dataclass(frozen=True, slots=True)
class _Seen:
    """All of an interface that an attempt may depend on; so not its carrier."""

    ifindex: int
    facts: tuple[object, ...]
    uses: frozenset[Use]
    lagg: str | None  # whose port it is


class HotPlug:
    """Attaches what is waited for; an async context manager."""

    def __init__(
        self, laggs: Laggs, whole: Callable[[Callable[[], Operation]], Operation]
    ) -> None:
        """`whole` runs an operation in its turn."""
        self._laggs = laggs
        self._whole = whole
        self._refused: dict[str, _Seen | None] = {}  # as each was that would not
        self._tried_s: dict[str, float] = {}
        self._due: set[str] = set()  # names that wait for their turn already
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        """Listens to the laggs' events."""
        self._unsubscribe = self._laggs.subscribe(self._on_event)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Waits for nothing more."""
        self._unsubscribe()
        await self._tasks.close()

    @property
    def waiting(self) -> frozenset[str]:
        """The names that are waited for."""
        bundles = self._laggs.bundles.values()
        return frozenset(name for each in bundles for name in each.wanted.waiting_for)

    def _waits(self, name: str) -> Bundle | None:
        """The lagg that waits for an interface of that name."""
        bundles = self._laggs.bundles.values()
        return next((b for b in bundles if name in b.wanted.waiting_for), None)

    def expect(self, bundle: Bundle, config: LaggConfig) -> None:
        """What a file says of a lagg from now on: all its ports, there or not."""
        self.wait_for(bundle, config, config.ports)

    def wait_for(
        self, bundle: Bundle, said: LaggConfig | None, ports: Iterable[str]
    ) -> None:
        """Waits for those of these ports that are not there; `said`: by the files."""
        bundle.want(replace(bundle.wanted, said=said))
        self._set_waiting(bundle, ports)

    def give_up(self, bundle: Bundle, names: Iterable[str]) -> None:
        """Waits for these no more, until a file says so again."""
        gone = frozenset(names)
        waiting = bundle.wanted.waiting_for
        self._set_waiting(bundle, [name for name in waiting if name not in gone])

    def try_soon(self, name: str) -> None:
        """Tries an interface of which something was told, if it is waited for."""
        if name not in self._due and self._waits(name) is not None:
            self._due.add(name)
            self._tasks.begin(self._try_in_turn, name)

    def try_ifindex(self, ifindex: int) -> None:
        """Tries the interface of this ifindex, if it was refused before."""
        for name, seen in tuple(self._refused.items()):
            if seen is not None and seen.ifindex == ifindex:
                self.try_soon(name)

    def try_refused(self) -> None:
        """Tries again whatever was refused, if it is not as it was."""
        for name in tuple(self._refused):
            self.try_soon(name)

    def try_all(self) -> None:
        """Tries every name that is waited for."""
        for bundle in tuple(self._laggs.bundles.values()):
            for name in bundle.wanted.waiting_for:
                self.try_soon(name)

    def _on_event(self, event: Event) -> None:
        bundle = self._laggs.bundles.get(event.lagg)
        match event.event:
            case EventKind.PORT_DEPARTED if bundle is not None:
                wanted = bundle.wanted
                if wanted.said is not None and event.port in wanted.said.ports:
                    self._set_waiting(bundle, [*wanted.waiting_for, event.port])
            case EventKind.PORT_ATTACHED if bundle is not None:
                self._set_waiting(bundle, bundle.wanted.waiting_for)
            case EventKind.DESTROYED | EventKind.PORT_DETACHED:
                self.try_all()

    def _set_waiting(self, bundle: Bundle, names: Iterable[str]) -> None:
        before = bundle.wanted.waiting_for
        waiting = tuple(name for name in names if bundle.shape.named(name) is None)
        bundle.want(replace(bundle.wanted, waiting_for=waiting))
        for name in waiting:
            if name not in before:
                self._refused.pop(name, None)
                bundle.emit(EventKind.PORT_WAITING, "attached when it appears", name)
                self.try_soon(name)  # it may have come meanwhile

    async def _try_in_turn(self, name: str) -> None:
        try:
            await asyncio.sleep(self._pause_s(name))
        finally:
            self._due.discard(name)
        await self._whole(partial(self._try, name))

    def _pause_s(self, name: str) -> float:
        now_s = asyncio.get_running_loop().time()
        return max(self._tried_s.get(name, now_s - PACE_S) + PACE_S - now_s, 0)

    async def _try(self, name: str) -> None:
        bundle = self._waits(name)
        if bundle is None:
            return
        state = await self._state(name)
        if state is None or state == self._refused.get(name):
            return
        self._tried_s[name] = asyncio.get_running_loop().time()
        try:
            await self._attach(bundle, name)
        except LaggError as error:
            # As it is after all was undone: our own doing is no reason to try again.
            undone = await self._state(name)
            # What it is used for is others' doing, and may have ended meanwhile.
            self._refused[name] = undone and replace(undone, uses=state.uses)
            log.warning("%s", error)
            bundle.emit(EventKind.PORT_REFUSED, error.cause, name)

    async def _attach(self, bundle: Bundle, name: str) -> None:
        async with AsyncExitStack() as undo:
            await attach(self._laggs, bundle, name, undo)
            undo.pop_all()
        tell_attached(bundle, [name], cause="it was waited for")

    async def _state(self, name: str) -> _Seen | None:
        """The interface as it is now; None: it is not there."""
        netlink = self._laggs.netlink
        try:
            link = await netlink.by_name(name)
            addresses = await netlink.addresses(link.ifindex)
            links = await netlink.links()
        except LaggError:
            return None
        held = self._laggs.of_port(link.ifindex)
        return _Seen(
            link.ifindex,
            (link.mac, link.mtu, link.up, link.arphrd, link.kind, link.lower),
            frozenset(uses(link, links, addresses)),
            None if held is None else held[0].name,
        )
