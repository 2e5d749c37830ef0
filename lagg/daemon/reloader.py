# SPDX-License-Identifier: BSD-2-Clause
"""Reading the configuration again while all runs, whoever asks for it.

Owns that one reload runs at a time and that the supervisor knows of it.  Knows no file
name, no signal and no socket: process.py has them.
"""

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from lagg.config.files import ConfigError
from lagg.errors import LaggError
from lagg.model import FOR_GOOD, LaggConfig, Manner
from lagg.plan.outcome import Outcome
from lagg.tasks import Tasks

Read = Callable[[], tuple[LaggConfig, ...]]
Apply = Callable[[Sequence[LaggConfig], Manner], Awaitable[Outcome]]

_log = logging.getLogger("laggd")


class Reloader:
    """Brings what runs into line with the files.  For the event loop's thread alone."""

    def __init__(self, read: Read, apply: Apply, notify: Callable[[str], None]) -> None:
        """`read` may raise ConfigError, `apply` LaggError; both then change nothing.

        `notify` is sd_notify(3).
        """
        self._read = read
        self._apply = apply
        self._notify = notify
        self._turn = asyncio.Lock()
        self._tasks = Tasks()
        self._signalled: asyncio.Task[None] | None = None
        self._closed = False
        self._refusal: ConfigError | None = None

    async def close(self) -> None:
        """Waits for a reload that runs, and refuses every other from now on."""
        self._closed = True
        async with self._turn:
            await self._tasks.close()

    async def reload(self, manner: Manner = FOR_GOOD) -> Outcome:
        """A line for each change that was made.  ConfigError, LaggError: none was."""
        async with self._turn:
            if self._closed:
                raise LaggError("reload", "laggd is stopping", errno.ESHUTDOWN)
            # systemd wants the time to tell this reload from an earlier one.
            now_us = time.monotonic_ns() // 1000
            self._notify(f"RELOADING=1\nMONOTONIC_USEC={now_us}")
            try:
                # In a thread: a slow disk must not hold up a failover.
                wanted = await asyncio.to_thread(self._read)
                outcome = await self._apply(wanted, manner)
            except ConfigError as error:
                self._refusal = error
                raise
            finally:
                self._notify("READY=1")
            if not manner.rehearsed:
                self._note_done(outcome)
        return outcome

    def _note_done(self, outcome: Outcome) -> None:
        self._refusal = None
        for line in outcome.lines:
            _log.info("reload: %s", line)

    def complaints(self) -> tuple[str, ...]:
        """Why what runs is not what the files say by now; mostly nothing."""
        if self._refusal is None:
            return ()
        first, *more = map(str, self._refusal.complaints)
        return (f"files refused: {first}{' ...' if more else ''}",)

    def note(self, refusal: ConfigError | None) -> None:
        """The files were read before, and refused; None: they were not."""
        self._refusal = refusal
        if refusal is not None:
            _complain(refusal)

    def signal(self) -> None:
        """Reloads for who gets no answer, as a signal; complaints go to the log."""
        if self._signalled is not None and not self._signalled.done():
            self._signalled.add_done_callback(lambda _: self._start())
            return
        self._start()

    def _start(self) -> None:
        self._signalled = self._tasks.begin(self._logged)

    async def _logged(self) -> None:
        try:
            outcome = await self.reload()
        except (ConfigError, LaggError) as error:
            _complain(error)
        else:
            _log.info("reload: %d changes", len(outcome.lines))


def _complain(error: ConfigError | LaggError) -> None:
    for line in str(error).splitlines():
        _log.error("reload: %s", line)
    _log.error("reload: nothing was changed")
