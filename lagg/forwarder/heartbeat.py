# SPDX-License-Identifier: BSD-2-Clause
"""Whether the forwarder answers: asked now and then, by a connection of its own.

Owns the asking, which waits for nothing.  A forwarder that is stopped or wedged carries
nothing, and says nothing of it.  Knows not what is done about it: whoever is to be
killed is the process that has our laggs, and not one that somebody put into its place.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lagg.errors import LaggError
from lagg.forwarder.client import ForwarderClient

BEAT_S = 2.0
"""From an answer, or a silence, to the next question."""

ANSWER_S = 2.0
"""For an answer, which takes microseconds."""

SILENCES_MAX = 3
"""In a row, each of ANSWER_S in which our own event loop ran: that is no accident."""


class Heartbeat:
    """Asks as long as it is open.  Event loop's thread only."""

    def __init__(self, path: Path, given_up: Callable[[int], object]) -> None:
        """`given_up` is called when whoever is at `path` was silent for too long.

        With the pid of the parent of who serves there.
        """
        self.silences = 0
        """Questions in a row that had no answer."""
        self._path = path
        self._given_up = given_up
        self._asked: ForwarderClient | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """From now on."""
        self._rest()

    def close(self) -> None:
        """Asks no more."""
        self._hang_up()

    def _rest(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._ask)

    def _ask(self) -> None:
        try:
            self._asked = ForwarderClient.knock(self._path, lambda _: None)
        except LaggError:  # nobody is there: who holds the line sees to that
            self._rest()
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._asked.fileno(), self._on_answer, self._asked)
        self._timer = loop.call_later(ANSWER_S, self._on_silence)

    def _hang_up(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._asked is not None:
            asyncio.get_running_loop().remove_reader(self._asked.fileno())
            self._asked.disconnect()
            self._asked = None

    def _on_answer(self, asked: ForwarderClient) -> None:
        """An end is an answer, too: somebody ended it."""
        with suppress(LaggError):
            asked.require_greeting()
        self.silences = 0
        self._hang_up()
        self._rest()

    def _on_silence(self) -> None:
        assert self._asked is not None
        parent = self._asked.parent
        self._hang_up()
        self.silences += 1
        if self.silences >= SILENCES_MAX:
            self.silences = 0
            self._given_up(parent)
        self._rest()
