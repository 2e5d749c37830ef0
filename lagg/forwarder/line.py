# SPDX-License-Identifier: BSD-2-Clause
"""The line to the forwarder that serves: held, and taken up again when it breaks.

Owns the connection and which process is at its other end.  Of one that died the standby
takes the place, at the same path; one that lives and does not answer is asked again,
and heard when it does.  Whoever had the laggs must be dead before another process is
given them, for two would carry the same frames.  Knows nothing of what is said.
"""

import asyncio
import errno
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock

from lagg.errors import LaggError, logged
from lagg.forwarder.client import ForwarderClient, GoneError, Heard
from lagg.forwarder.heartbeat import Heartbeat
from lagg.forwarder.process import Process, wake

log = logging.getLogger(__name__)

PAUSE_S_MIN, PAUSE_S_MAX = 0.05, 1.0
"""Before it is tried again what was refused; longer each time."""

DEATH_MS = 100
"""From the end of a process's connections to its own, at most."""

END_MS = 1_000
"""For a process that has nothing left to do, on a busy machine."""

START_S_MIN = 1.0
"""From one forwarder that we start to the next."""

TakeUp = Callable[[ForwarderClient], None]
"""Makes a forwarder ours that greeted, and gives it all; LaggError: it has not."""


class ForwarderLine:
    """One connection after the other.  Event loop's thread only, but for `lock`."""

    def __init__(
        self, client: ForwarderClient, heard: Heard, family: Process | None
    ) -> None:
        """`client` greeted; `heard` is that of each that follows.

        `family`: what we started, if we did.  LaggError: whom it is of has ended.
        """
        self.lock = Lock()
        """Whose holder may use `client`."""
        self.client = client
        self.process = Process(client.pid)
        self.may_start = True
        self._path = client.path
        self._heard = heard
        self._family = family
        self._take_up: TakeUp | None = None  # while it is held
        self._knocking: ForwarderClient | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._pause_s = PAUSE_S_MIN
        self._started_s = time.monotonic() if family is not None else -START_S_MIN
        self._broken: str | None = None
        self._heartbeat = Heartbeat(self._path, self._on_silence)
        self.deaths = 0
        """Processes at the other end that ended, since the line was opened."""

    @classmethod
    def open(cls, path: Path, heard: Heard, *, may_start: bool) -> "ForwarderLine":
        """To whoever serves at `path`; if nobody does, one is started.  LaggError."""
        family = None
        try:
            client = ForwarderClient(path, heard)
        except GoneError:
            if not may_start:
                raise
            family = Process.start(path)
            client = ForwarderClient(path, heard)
        line = cls(client, heard, family)
        line.may_start = may_start
        return line

    def ailment(self) -> str | None:
        """Why nothing can be said to the forwarder, in words; None: it can."""
        if self._broken is None and self._heartbeat.silences > 0:
            return f"lagg-forwarder (pid {self.process.pid}) does not answer"
        return self._broken

    def hold(self, take_up: TakeUp) -> None:
        """From now on; by `take_up`, which is called with the lock held."""
        self._take_up = take_up
        self._follow()
        self._heartbeat.begin()
        if self._family is not None:
            self._await(self._family)

    def replace(self, client: ForwarderClient, family: Process) -> None:
        """Another forwarder has all; the one before may end.  With the lock held.

        LaggError: whom `client` is of has ended.  Who stands by at the path is given
        all, as soon as the one before has ended.
        """
        before = self.client
        try:
            process = Process(client.pid)
        except LaggError:
            client.disconnect()
            raise
        self._forget_client()
        self._use(client, process)
        self._family = family
        before.disconnect()

    def await_end(self) -> None:
        """Waits for a forwarder that was told to end, and for a parent that is ours."""
        for each in (self.process, self._family):
            if each is not None and not each.ended(END_MS):
                log.warning("lagg-forwarder (pid %d) does not end", each.pid)

    def close(self) -> None:
        """Disconnects; who is at the other end goes on."""
        self._heartbeat.close()
        if self._retry is not None:
            self._retry.cancel()
        if self._knocking is not None:
            asyncio.get_running_loop().remove_reader(self._knocking.fileno())
            self._knocking.disconnect()
        if self._take_up is not None:
            self._forget_client()
            if self._family is not None:
                asyncio.get_running_loop().remove_reader(self._family.fileno())
        if self._family is not None:
            self._family.close()
        self.client.disconnect()
        self.process.close()

    # ---- while it holds ------------------------------------------------------------

    def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self.client.fileno(), self._on_readable)

    def _forget_client(self) -> None:
        if self._broken is None:
            asyncio.get_running_loop().remove_reader(self.client.fileno())

    def _use(self, client: ForwarderClient, process: Process) -> None:
        self.process.close()
        self.client, self.process = client, process
        self._follow()

    def _on_readable(self) -> None:
        """Something is said, or it is over: by whomever, and in whatever thread."""
        with self.lock:
            try:
                self.client.listen()
            except LaggError as error:
                self._forget_client()
                self._broken = f"lagg-forwarder (pid {self.process.pid}): {error.cause}"
                self.client.disconnect()
        if self._broken is not None:
            broken = self._broken
            self._knock()
            log.error("%s", broken)  # it takes longer: nobody waits for it

    def _on_silence(self, parent: int) -> None:
        """Kills the forwarder: it carries nothing, and its standby would.

        Nobody else does that.  A supervisor that is told of no life ends us, and the
        next laggd would have no answer either.  If all of the forwarder was stopped,
        its `parent` has to run to see that end.
        """
        pid = self.process.pid
        log.critical("lagg-forwarder (pid %d) does not answer: killed", pid)
        with logged(log.error):
            self.process.kill()
        with logged(log.warning):
            wake(parent)

    # ---- while it is broken --------------------------------------------------------

    def _knock(self) -> None:
        self._retry = None
        try:
            self._knocking = self._knocked()
        except LaggError as error:
            self._try_later(error)
        else:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._knocking.fileno(), self._on_answer)

    def _knocked(self) -> ForwarderClient:
        try:
            return ForwarderClient.knock(self._path, self._heard)
        except GoneError:
            if not self.may_start:
                raise
        self._start()
        return ForwarderClient.knock(self._path, self._heard)

    def _start(self) -> None:
        self._require_end()
        if time.monotonic() - self._started_s < START_S_MIN:
            cause = "one that was just started has ended: see its own words"
            raise LaggError("lagg-forwarder", cause, errno.EAGAIN)
        self._started_s = time.monotonic()
        self._family = self.start(self._path)

    def _on_answer(self) -> None:
        client, self._knocking = self._knocking, None
        assert client is not None
        asyncio.get_running_loop().remove_reader(client.fileno())
        try:
            client.require_greeting()
            if client.pid != self.process.pid:
                self._require_end()
            with self.lock:
                self._give_all(client)
        except LaggError as error:
            client.disconnect()
            self._try_later(error)
            return
        self._broken, self._pause_s = None, PAUSE_S_MIN
        log.info("lagg-forwarder (pid %d) has all", client.pid)

    def _give_all(self, client: ForwarderClient) -> None:
        assert self._take_up is not None
        process = Process(client.pid)
        try:
            self._take_up(client)
        except BaseException:
            process.close()
            raise
        self.deaths += process.pid != self.process.pid
        self._use(client, process)

    def _require_end(self) -> None:
        """LaggError unless the process that had all has ended."""
        if not self.process.ended(DEATH_MS):
            cause = f"pid {self.process.pid} may carry frames still: kill -9 it"
            raise LaggError("lagg-forwarder", cause, errno.EBUSY)

    def _try_later(self, error: LaggError) -> None:
        words = f"frames may be carried by nobody: {error}"
        if self._broken != words:
            log.critical("%s", words)
        self._broken = words
        loop = asyncio.get_running_loop()
        self._retry = loop.call_later(self._pause_s, self._knock)
        self._pause_s = min(2 * self._pause_s, PAUSE_S_MAX)

    # ---- the parent that we started ------------------------------------------------

    def start(self, path: Path) -> Process:
        """One more at `path`, whose end is seen to.  LaggError."""
        family = Process.start(path)
        self._await(family)
        return family

    def _await(self, family: Process) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(family.fileno(), partial(self._on_end, family))

    def _on_end(self, family: Process) -> None:
        """A child of ours would be there for ever if nobody asked how it ended.

        The process that serves may go on, and has no standby then.
        """
        asyncio.get_running_loop().remove_reader(family.fileno())
        with logged(log.warning):
            family.ended()
        if family.exit_code != 0:
            pid, code = family.pid, family.exit_code
            log.error("lagg-forwarder's parent (pid %d) ended: %s", pid, code)
        family.close()
        if self._family is family:
            self._family = None
