# SPDX-License-Identifier: BSD-2-Clause
"""Who puts right what an event of a lagg's may have left, in a turn of its own.

Owns that all laggs are looked at once when it begins, and each after its news.  Knows
not what is looked for: that is a subclass's.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Self

from lagg.events import Event, EventKind
from lagg.operations.laggs import Laggs
from lagg.running.bundle import Bundle
from lagg.tasks import Tasks

Operation = Coroutine[Any, Any, None]


class Attendant(ABC):
    """Looks at each lagg after its news; an async context manager."""

    NEWS: ClassVar[frozenset[EventKind]]
    """The events after which a lagg is looked at."""

    def __init__(
        self, laggs: Laggs, whole: Callable[[Callable[[], Operation]], Operation]
    ) -> None:
        """`whole` runs an operation in its turn."""
        self._laggs = laggs
        self._whole = whole
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        """Listens to the laggs' events, and looks at what came before."""
        self._unsubscribe = self._laggs.subscribe(self._on_event)
        for bundle in self._laggs.bundles.values():
            self._look_at(bundle)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listens no more."""
        self._unsubscribe()
        await self._tasks.close()

    def _on_event(self, event: Event) -> None:
        bundle = self._laggs.bundles.get(event.lagg)
        if event.event in self.NEWS and bundle is not None:
            self._look_at(bundle)

    @abstractmethod
    def _look_at(self, bundle: Bundle) -> None:
        """Begins a task for what is to be put right; nothing is awaited here."""
