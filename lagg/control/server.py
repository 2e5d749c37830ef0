# SPDX-License-Identifier: BSD-2-Clause
"""A socket of laggd, on which it serves org.laggd.Lagg.

Owns how many clients there may be, and the end of each.  Knows no call: what a client
may ask for is its LaggInterface's.
"""

import asyncio
import errno
import logging
import resource
import socket

import lagg
from lagg.control.interface import LaggInterface, Operations, Reload
from lagg.control.monitors import Monitors
from lagg.control.peer import Denial, Peer, peer_of
from lagg.control.varlink import MESSAGE_BYTES_MAX, Connection, Phase, registry_of
from lagg.life import Life

CLIENTS_MAX = 64
"""Connections at a time.  A newcomer takes the place of the longest silent one."""

DESCRIPTORS_SHARE = 4
"""Clients of a socket may hold one in so many of the descriptors that laggd may have:
its ports and laggs want the others."""

ACCEPT_TURNS = 4
"""Turns of the event loop from accept(2) until a client is read."""

ACCEPTS_AT_ONCE = 4
"""Until a client is read, ACCEPT_TURNS later, far fewer than CLIENTS_MAX may follow, or
a crowd would push out who has just come."""

BACKLOG = 512
"""Connections that wait in the kernel to be accepted."""

CLOSE_SECONDS = 30
"""How long changes that are under way may take when the daemon stops."""


_log = logging.getLogger(__name__)


class ControlServer:
    """Serves org.laggd.Lagg on a listening socket."""

    def __init__(
        self, commands: Operations, denial: Denial, reload: Reload, life: Life
    ) -> None:
        """`denial`: which clients may change nothing, and why."""
        self._reload = reload
        self._life = life
        self._commands = commands
        self._denial = denial
        self._clients: dict[Connection, asyncio.Task[None]] = {}
        self._monitors = Monitors(clients_max)
        self._defaults: dict[str, object] = {}
        self._server: asyncio.Server | None = None

    def beside(self, denial: Denial) -> "ControlServer":
        """One that serves the same by another rule, and whose clients are its own.

        However many of them there are, they take no place from those of this one.
        """
        other = ControlServer(self._commands, denial, self._reload, self._life)
        other._defaults = self._defaults
        return other

    async def start(self, listener: socket.socket) -> None:
        """Serves from now on; the socket is closed by close()."""
        self._server = await asyncio.start_unix_server(
            self._connected,
            sock=listener,
            limit=MESSAGE_BYTES_MAX,
            backlog=ACCEPTS_AT_ONCE,
        )
        # asyncio takes one number for two things: how many it accepts in one go, and
        # the kernel's queue, which may be longer.
        listener.listen(BACKLOG)

    async def close(self) -> None:
        """Ends every connection, once changes that are under way are finished."""
        if self._server is not None:
            await _accept_no_more(self._server)
            self._server.close()
        tasks = list(self._clients.values())
        for client in list(self._clients):
            client.end()
        if tasks:
            _, unfinished = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in unfinished:
                _log.error("a change was still under way and is abandoned")
                task.cancel()

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = peer_of(writer.get_extra_info("socket"))
        interface = self._interface_for(peer)
        client = Connection(reader, writer, registry_of(interface, lagg.__version__))
        if not self._make_room():
            cause = f"{len(self._clients)} clients at once"
            await client.refuse("laggd", cause, errno.EUSERS)
            client.drop()
            return
        task = asyncio.current_task()
        assert task is not None
        self._clients[client] = task
        try:
            await client.serve()
        except asyncio.CancelledError:
            # Only close() cancels, and Python 3.11 would log that as an error.
            _log.debug("a client was abandoned")
        finally:
            self._clients.pop(client, None)

    def _make_room(self) -> bool:
        if len(self._clients) < clients_max():
            return True
        silent = [each for each in self._clients if each.state is Phase.WAITING]
        if not silent:
            return False
        longest = min(silent, key=lambda each: each.heard_seconds)
        longest.drop()
        del self._clients[longest]
        return True

    def _interface_for(self, peer: Peer) -> LaggInterface:
        return LaggInterface(
            self._commands,
            self._denial(peer),
            peer.asker,
            self._monitors,
            self._reload,
            self._defaults,
            self._life,
        )


async def _accept_no_more(server: asyncio.Server) -> None:
    """Returns when who has been accepted is served.

    asyncio forgets whom it accepts as its server closes, and leaves him unanswered.
    """
    for listener in server.sockets:
        asyncio.get_running_loop().remove_reader(listener.fileno())
    for _ in range(ACCEPT_TURNS):
        await asyncio.sleep(0)


def clients_max() -> int:
    """Connections at a time, under the limit that laggd has now."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(CLIENTS_MAX, descriptors // DESCRIPTORS_SHARE)
