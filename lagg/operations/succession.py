# SPDX-License-Identifier: BSD-2-Clause
"""The end of a laggd whose laggs live on: handed over to another, or just left.

Owns what is to be true before: no operation is under way, and all is saved.  From GO to
the forwarder's answer the event loop stands, so nothing is written in between; after
DONE the process ends where it is, for whatever it would put in order is another's.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import NoReturn

from lagg.errors import LaggError
from lagg.forwarder.keeper import Keeper
from lagg.operations.keeping import Keeping
from lagg.tasks import Tasks

log = logging.getLogger(__name__)

FORWARDER_S = 60.0
"""How long a laggd that is to leave waits for a forwarder; no longer than a supervisor
waits for that."""

PAUSE_S = 0.05
"""From one question to the next, meanwhile."""

TURN_S = 1.1
"""How long whoever asks for the laggs may wait for an operation, of its 2 s."""


class HandingOver:
    """Gives all to another laggd that asks.  Event loop's thread only."""

    def __init__(
        self,
        keeper: Keeper,
        keeping: Keeping,
        turn: asyncio.Lock,
        unlock: Callable[[], object],
    ) -> None:
        """`turn`: whose holder may change something.

        `unlock`: lets another laggd have the state directory, which waits for that.
        """
        self._unlock = unlock
        self._keeper = keeper
        self._keeping = keeping
        self._turn = turn
        self._tasks = Tasks()

    def begin(self) -> None:
        """From now on."""
        self._keeper.yield_by(lambda: self._tasks.begin(self._give))

    async def close(self) -> None:
        """Nobody is given anything any more."""
        self._keeper.yield_by(lambda: self._keeper.refuse("it is stopping"))
        await self._tasks.close()

    async def leave(self) -> None:
        """Ends this process, and nothing else: the next laggd goes on with all.

        Stays when that could not, for its state is not saved.  While there is no
        forwarder, or one that ends, all is here alone: then it waits for the next one.
        """
        async with self._turn:
            try:
                self._keeping.save_all()
                await self._leave()
            except LaggError as error:
                log.error("stays, for the next laggd could not go on: %s", error)
                return
            log.info("left all as it is, for the next laggd")
            _end(0)

    async def _leave(self) -> None:
        """LaggError: no forwarder has all, and none has come."""
        deadline_s = time.monotonic() + FORWARDER_S
        while True:
            try:
                return self._keeper.leave()
            except LaggError as error:
                if time.monotonic() > deadline_s:
                    raise
                log.debug("waits for lagg-forwarder: %s", error)
            await asyncio.sleep(PAUSE_S)

    async def _give(self) -> None:
        try:
            async with asyncio.timeout(TURN_S):
                await self._turn.acquire()
        except TimeoutError:
            self._keeper.refuse("a change is under way: try again")
            return
        try:
            self._give_now()
        finally:
            self._turn.release()

    def _give_now(self) -> None:
        """No await in here: what is saved is what another goes on with."""
        try:
            self._keeping.save_all()
        except LaggError as error:
            log.warning("not handed over: %s", error)
            self._keeper.refuse("it cannot save its state: see its log")
            return
        began_s = time.monotonic()
        try:
            gone = self._keeper.give()
        except LaggError as error:
            log.critical("ending, for all may be another laggd's: %s", error)
            _end(1)
        took_ms = (time.monotonic() - began_s) * 1000
        if gone:
            self._unlock()  # the kernel takes its time for the end of a process
            log.info("another laggd goes on with all (%.0f ms)", took_ms)
            _end(0)
        log.warning("another laggd wanted all and gave up; went on (%.0f ms)", took_ms)


def _end(code: int) -> NoReturn:
    logging.shutdown()
    os._exit(code)
