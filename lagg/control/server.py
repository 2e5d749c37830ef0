# SPDX-License-Identifier: BSD-2-Clause
"""The control socket of laggd: the varlink interface org.laggd.Lagg.

Owns how many clients there may be, what each may ask for, and the queue of events of
each reader.  Knows no kernel but the socket: effects are those of lagg.operations.
"""

import asyncio
import errno
import logging
import resource
import socket
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from typing import Protocol

from asyncvarlink import (
    TypedVarlinkErrorReply,
    VarlinkInterface,
    VarlinkInterfaceRegistry,
    varlinkmethod,
)
from asyncvarlink.serviceinterface import VarlinkServiceInterface

import lagg
from lagg.config.files import ConfigError, to_toml
from lagg.config.requests import (
    parse_create,
    parse_frame,
    parse_lagg_name,
    parse_port_names,
    parse_set,
)
from lagg.control.messages import (
    BucketJson,
    EventJson,
    ExplanationJson,
    OptionsChangeJson,
    PortOptionsChangeJson,
    bucket_json,
    event_json,
    explanation_json,
)
from lagg.control.peer import Peer, group_name, peer_of
from lagg.control.varlink import MESSAGE_BYTES_MAX, Connection, Phase, refusal
from lagg.errors import LaggError
from lagg.events import Asker, Event, EventKind
from lagg.model import Health, LaggChange, LaggConfig
from lagg.plan.explain import Bucket, Explanation
from lagg.records import LaggRecord, OptionsRecord, options_record
from lagg.tasks import asked

CLIENTS_MAX = 64
"""Connections at a time.  A newcomer takes the place of the longest silent one."""

MONITORS_MAX = 32
"""Clients that follow events.  They keep their place, so half is left for calls."""

EVENTS_MAX = 1024
"""Events that wait for a slow reader; later ones are counted, and it is told."""

DESCRIPTORS_SHARE = 4
"""Clients may hold one in so many of the descriptors that laggd may have: its ports
and laggs want the others."""

ACCEPTS_AT_ONCE = 4
"""A client is read some four turns of the event loop after it is accepted; until then
far fewer than CLIENTS_MAX may follow, or a crowd would push out who has just come."""

BACKLOG = 512
"""Connections that wait in the kernel to be accepted."""

CLOSE_SECONDS = 30
"""How long changes that are under way may take when the daemon stops."""

Reload = Callable[[], Awaitable[tuple[str, ...]]]
"""Answers a line for each change.  May raise LaggError or ConfigError."""

_log = logging.getLogger(__name__)


class Operations(Protocol):
    """What the socket needs of lagg.operations.  Every method may raise LaggError."""

    async def create(self, config: LaggConfig) -> None:
        """Makes a lagg with its ports, or changes nothing."""

    async def destroy(self, name: str) -> None:
        """Puts its ports back and removes it."""

    async def set(self, name: str, change: LaggChange) -> None:
        """Applies the whole change, or none of it."""

    async def attach(self, name: str, ports: Sequence[str]) -> None:
        """Adds all these ports, or none."""

    async def detach(self, name: str, ports: Sequence[str]) -> None:
        """Removes all these ports, or none."""

    async def release(self, name: str, ports: Sequence[str]) -> None:
        """Ends the hold of these ports, or of none."""

    async def reload(self, wanted: Sequence[LaggConfig]) -> tuple[str, ...]:
        """Makes what runs be this, or changes nothing; a line for each change."""

    async def running(self) -> tuple[LaggConfig, ...]:
        """What would make all that runs anew."""

    async def records(self, name: str | None) -> tuple[LaggRecord, ...]:
        """The record of one lagg, or of all."""

    async def explain(self, name: str, frame: bytes) -> Explanation:
        """Which port of a lagg carries this frame, under the running snapshot."""

    async def buckets(self, name: str) -> tuple[Bucket, ...]:
        """Frames sent by each bucket of a lagg's flow table."""

    def subscribe(self, sink: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `sink` in the event loop with each event until the result is called."""

    def health(self) -> Health:
        """How laggs and workers are; cheap."""

    async def close(self) -> None:
        """Puts every port back."""


class Refused(TypedVarlinkErrorReply, interface="org.laggd.Lagg"):
    """The request was refused and nothing has changed: which thing, why, errno."""

    class Parameters:
        """As `laggctl` prints them: "thing: cause (errno_name)"."""

        thing: str
        cause: str
        errno: int
        errno_name: str


class BadConfiguration(TypedVarlinkErrorReply, interface="org.laggd.Lagg"):
    """The files are not a configuration, and nothing has changed."""

    class Parameters:
        """A line for each thing that is wrong: file, key, what is allowed."""

        complaints: list[str]


class EventQueue:
    """The events one reader has not taken yet, at most EVENTS_MAX."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._lost_count = 0
        self._lost: Event | None = None  # the last of these

    def put(self, event: Event) -> None:
        """Keeps the event, or counts it as lost.  Event loop only."""
        if len(self._events) < EVENTS_MAX:
            self._events.append(event)
        else:
            self._lost_count += 1
            self._lost = event
        self._arrived.set()

    async def get(self) -> Event:
        """The next event; after a gap, the notice of it."""
        while not self._events:
            if self._lost is not None:
                return self._notice(self._lost)
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    def _notice(self, last: Event) -> Event:
        details = f"{self._lost_count} events lost: this reader is too slow"
        self._lost_count, self._lost = 0, None
        return Event("", None, EventKind.EVENTS_LOST, details, last.time_ns, last.at)


class LaggInterface(VarlinkInterface, name="org.laggd.Lagg"):
    """Link aggregation as FreeBSD's lagg(4), changed while traffic flows.

    Every change is done whole or not at all. Who may connect may read; root and
    members of the socket's group may change.
    """

    errors = (Refused, BadConfiguration)

    def __init__(
        self,
        commands: Operations,
        deny: str | None,
        asker: Asker,
        monitors: set["LaggInterface"],
        reload: Reload,
        defaults: dict[str, object],
    ) -> None:
        """For the client `asker`; `deny` says why it may change nothing, if so."""
        self._reload = reload
        self._commands = commands
        self._deny = deny
        self._asker = asker
        self._monitors = monitors
        self._defaults = defaults

    @varlinkmethod
    async def Create(
        self,
        *,
        name: str,
        proto: str | None = None,
        ports: list[str] | None = None,
        mac: str | None = None,
        mtu: int | None = None,
        options: OptionsChangeJson | None = None,
        port: dict[str, PortOptionsChangeJson] | None = None,
    ) -> None:
        """Makes a lagg with its ports."""
        with self._change(name):
            wanted = _wanted(
                options, proto=proto, mac=mac, mtu=mtu, ports=ports, port=port
            )
            config = parse_create(name, {**self._defaults, **wanted})
            await self._commands.create(config)

    @varlinkmethod(return_parameter="options")
    async def Defaults(
        self, *, options: OptionsChangeJson | None = None
    ) -> OptionsRecord:
        """What an option is that Create does not give; sets some, until laggd ends."""
        if options is not None:
            with self._change("defaults"):
                wanted = _wanted(options)
                parse_set("defaults", wanted)
                self._defaults.update(wanted)
        return options_record(parse_create("defaults", self._defaults).options)

    @varlinkmethod
    async def Destroy(self, *, name: str) -> None:
        """Puts the ports of a lagg back and removes it."""
        with self._change(name):
            await self._commands.destroy(parse_lagg_name(name))

    @varlinkmethod
    async def Set(
        self,
        *,
        name: str,
        proto: str | None = None,
        mac: str | None = None,
        mtu: int | None = None,
        options: OptionsChangeJson | None = None,
        port: dict[str, PortOptionsChangeJson] | None = None,
    ) -> None:
        """Changes what is given and leaves the rest; live."""
        with self._change(name):
            wanted = _wanted(options, proto=proto, mac=mac, mtu=mtu, port=port)
            await self._commands.set(name, parse_set(name, wanted))

    @varlinkmethod
    async def Attach(self, *, name: str, ports: list[str]) -> None:
        """Adds ports; one that is there already stays as it is."""
        with self._change(name):
            await self._commands.attach(name, parse_port_names(name, ports))

    @varlinkmethod
    async def Detach(self, *, name: str, ports: list[str]) -> None:
        """Removes ports and puts them back as they were found."""
        with self._change(name):
            await self._commands.detach(name, parse_port_names(name, ports))

    @varlinkmethod
    async def Release(self, *, name: str, ports: list[str]) -> None:
        """LACP no longer holds these ports off, whose partner changed too often."""
        with self._change(name):
            await self._commands.release(name, parse_port_names(name, ports))

    @varlinkmethod(return_parameter="changes")
    async def Reload(self) -> list[str]:
        """Makes what runs be what the files say; a line for each change."""
        with self._change("reload"):
            try:
                return list(await self._reload())
            except ConfigError as error:
                raise BadConfiguration(
                    complaints=[*map(str, error.complaints)]
                ) from error

    @varlinkmethod(return_parameter="toml")
    async def Save(self) -> str:
        """All that runs, as a file that a reload of changes nothing."""
        return to_toml(await self._commands.running())

    @varlinkmethod(return_parameter="laggs")
    async def List(self, *, name: str | None = None) -> list[LaggRecord]:
        """The record of the lagg of this name, or of every lagg."""
        with _refusals():
            wanted = None if name is None else parse_lagg_name(name)
            return [*await self._commands.records(wanted)]

    @varlinkmethod(return_parameter="explanation")
    async def Explain(self, *, name: str, frame: str) -> ExplanationJson:
        """Which port an Ethernet frame (in hexadecimal; its head is enough) takes."""
        with _refusals():
            wanted, bytes_ = parse_lagg_name(name), parse_frame(name, frame)
            return explanation_json(await self._commands.explain(wanted, bytes_))

    @varlinkmethod(return_parameter="buckets")
    async def Buckets(self, *, name: str) -> list[BucketJson]:
        """Frames sent by each bucket of the flow table since the lagg was created."""
        with _refusals():
            found = await self._commands.buckets(parse_lagg_name(name))
            return [bucket_json(each) for each in found]

    @varlinkmethod(return_parameter="event", delay_generator=False)
    async def Monitor(self) -> AsyncIterator[EventJson | None]:
        """Events as they happen. The first reply has none: it says that they follow."""
        if len(self._monitors) >= min(MONITORS_MAX, clients_max() // 2):
            cause = f"{len(self._monitors)} clients follow events already"
            raise refusal("monitor", cause, errno.EUSERS)
        events = EventQueue()
        self._monitors.add(self)
        unsubscribe = self._commands.subscribe(events.put)
        try:
            yield None
            while True:
                yield event_json(await events.get())
        finally:
            unsubscribe()
            self._monitors.discard(self)

    @contextmanager
    def _change(self, thing: str) -> Iterator[None]:
        if self._deny is not None:
            raise refusal(thing, self._deny, errno.EPERM)
        with _refusals(), asked(self._asker):
            yield


class ControlServer:
    """Serves org.laggd.Lagg on a listening socket."""

    def __init__(self, commands: Operations, gid: int, reload: Reload) -> None:
        """Members of the group `gid` may change things."""
        self._reload = reload
        self._commands = commands
        self._gid = gid
        self._clients: dict[Connection, asyncio.Task[None]] = {}
        self._monitors: set[LaggInterface] = set()
        self._defaults: dict[str, object] = {}
        self._server: asyncio.Server | None = None

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
        client = Connection(reader, writer, self._registry_for(peer))
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

    def _registry_for(self, peer: Peer) -> VarlinkInterfaceRegistry:
        deny = None
        if not peer.may_change(self._gid):
            group = group_name(self._gid)
            deny = f"uid {peer.uid} is neither root nor in group {group}"
        registry = VarlinkInterfaceRegistry()
        registry.register_interface(
            LaggInterface(
                self._commands,
                deny,
                peer.asker,
                self._monitors,
                self._reload,
                self._defaults,
            )
        )
        registry.register_interface(
            VarlinkServiceInterface("laggd", "laggd", lagg.__version__, "", registry)
        )
        return registry


def clients_max() -> int:
    """Connections at a time, under the limit that laggd has now."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(CLIENTS_MAX, descriptors // DESCRIPTORS_SHARE)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turns what an operation raises into what a client reads."""
    try:
        yield
    except LaggError as error:
        raise refusal(error.thing, error.cause, error.code) from error


def _wanted(
    options: OptionsChangeJson | None, **basics: object
) -> Mapping[str, object]:
    """The fields that a request gives, by the keys of the configuration file."""
    named = {key: value for key, value in basics.items() if value is not None}
    chosen = {} if options is None else dict(options)
    return named | {key: each for key, each in chosen.items() if each is not None}
