# SPDX-License-Identifier: BSD-2-Clause
"""With mac_policy active a lagg has the MAC of the port that carries.

Owns that another one is followed at once, in turn, whoever made it carry.  Knows not
how a MAC is set.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Self

from lagg.events import Event, EventKind
from lagg.model import MacPolicy
from lagg.operations import propagate
from lagg.operations.laggs import Laggs
from lagg.running.bundle import Bundle
from lagg.tasks import Tasks

Operation = Coroutine[Any, Any, None]


class ActiveMac:
    """Follows the active port of each lagg; an async context manager."""

    def __init__(
        self, laggs: Laggs, whole: Callable[[Callable[[], Operation]], Operation]
    ) -> None:
        """`whole` runs an operation in its turn."""
        self._laggs = laggs
        self._whole = whole
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        """Listens to the laggs' events; what was not followed yet is."""
        self._unsubscribe = self._laggs.subscribe(self._on_event)
        for bundle in self._laggs.bundles.values():
            self._look(bundle)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listens no more."""
        self._unsubscribe()
        await self._tasks.close()

    def _on_event(self, event: Event) -> None:
        bundle = self._laggs.bundles.get(event.lagg)
        if bundle is not None and event.event is EventKind.ACTIVE_PORT:
            self._look(bundle)

    def _look(self, bundle: Bundle) -> None:
        if bundle.shape.options.mac_policy is MacPolicy.ACTIVE:
            lagg = bundle.link.ifindex
            self._tasks.begin(self._whole, partial(self._follow, lagg))

    async def _follow(self, lagg: int) -> None:
        bundle = self._laggs.of_tap(lagg)
        if bundle is not None:
            await propagate.follow(self._laggs, bundle)
