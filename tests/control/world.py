# SPDX-License-Identifier: BSD-2-Clause
"""A world for the control plane's tests: commands without a kernel, and a server.

Run as a program it is laggd with those commands.
"""

import asyncio
import errno
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

from lagg.config.diff import diff, report_lines
from lagg.config.files import load
from lagg.control.peer import of_members
from lagg.control.server import ControlServer
from lagg.daemon import journal
from lagg.daemon.process import main
from lagg.daemon.reloader import Reloader
from lagg.errors import LaggError
from lagg.events import Event, EventKind
from lagg.lacp.values import PRIORITY_DEFAULT
from lagg.life import Life, Succession
from lagg.link import Link, Modes
from lagg.model import (
    FOR_GOOD,
    Counters,
    Drop,
    Health,
    LaggChange,
    LaggConfig,
    Manner,
    Proto,
    Transmit,
)
from lagg.plan.balance import FlowLoad, capacities
from lagg.plan.balance_report import Report, report
from lagg.plan.explain import Bucket, Explanation, Hashed, buckets, explain
from lagg.plan.history import Cause
from lagg.plan.outcome import Outcome
from lagg.plan.pins import Placed, Spot
from lagg.plan.plan import dealt_among, plan
from lagg.plan.shape import Port, Shape
from lagg.records import (
    DampingRecord,
    LaggRecord,
    Limbo,
    PortRecord,
    TrialRecord,
    counters_record,
    drops_record,
    options_record,
)
from lagg.tasks import asker
from tests import waiting
from tests.control.fake_trials import AT, FakeTrials

DEADLINE_SECONDS = 60
SINCE = "2026-01-01T00:00:00.000000Z"


def wait_until(
    holds: Callable[[], object], deadline_s: float = DEADLINE_SECONDS
) -> None:
    """Returns as soon as `holds()` does; fails at the deadline."""
    waiting.wait_until(holds, deadline_s, "what the test waits for")


def happened(
    event: EventKind, lagg: str, details: str, time_ns: int, port: str | None = None
) -> Event:
    return Event(lagg, port, event, details, time_ns, AT, by=asker())


class FakeCommands:
    """Operations as the socket needs them, with dictionaries for a kernel."""

    def __init__(self, state_dir: Path | None = None) -> None:
        self.configs: dict[str, LaggConfig] = {}
        self.said: dict[str, LaggConfig] = {}
        self.sinks: list[Callable[[Event], None]] = []
        self.calls: list[str] = []
        self.gate: asyncio.Event | None = None  # what a change waits for, if set
        self.closed = False
        self.adopted = 0
        self.succession = Succession()
        self.bucket_frames = [0] * 256
        self.placed: tuple[str, Spot, str | None, int | None] | None = None
        self.on_trial = FakeTrials()
        self.released: tuple[str, tuple[str, ...]] | None = None
        self._state_dir = state_dir

    @classmethod
    async def open(cls, state_dir: Path) -> Self:
        state_dir.mkdir(exist_ok=True)  # as lagg.ports.originals does
        return cls(state_dir)

    async def leave(self) -> None:
        raise LaggError("laggd", "carries frames itself", errno.EOPNOTSUPP)

    async def create(self, config: LaggConfig, manner: Manner = FOR_GOOD) -> Outcome:
        await self._begin("create")
        if config.name == "broken0":
            raise RuntimeError("a bug")
        if config.name in self.configs:
            raise LaggError(config.name, "exists already", errno.EEXIST)
        self._refuse_taken(config.name, config.ports)
        self.configs[config.name] = config
        self.emit(happened(EventKind.CREATED, config.name, config.proto.value, 1))
        return self.on_trial.outcome(config.name, manner)

    async def destroy(self, name: str) -> None:
        await self._begin("destroy")
        self._config(name)
        del self.configs[name]
        self.emit(happened(EventKind.DESTROYED, name, "", 2))

    async def set(
        self, name: str, change: LaggChange, manner: Manner = FOR_GOOD
    ) -> Outcome:
        await self._begin("set")
        config = self._config(name)
        self.configs[name] = replace(
            config,
            proto=change.proto or config.proto,
            mac=change.mac or config.mac,
            mtu=change.mtu or config.mtu,
            options=change.options_after(config.options),
            port_options=change.port_options_after(config.port_options),
        )
        self.emit(happened(EventKind.OPTION, name, "", 3))
        return self.on_trial.outcome(name, manner)

    async def attach(
        self, name: str, ports: Sequence[str], manner: Manner = FOR_GOOD
    ) -> Outcome:
        await self._begin("attach")
        config = self._config(name)
        self._refuse_taken(name, ports)
        both = tuple(dict.fromkeys((*config.ports, *ports)))
        self.configs[name] = replace(config, ports=both)
        self.emit(happened(EventKind.PORT_ATTACHED, name, "", 4, ports[0]))
        return self.on_trial.outcome(name, manner)

    async def detach(
        self, name: str, ports: Sequence[str], manner: Manner = FOR_GOOD
    ) -> Outcome:
        await self._begin("detach")
        config = self._config(name)
        for port in ports:
            if port not in config.ports:
                raise LaggError(f"{name}: port {port}", "no port of it", errno.ENOENT)
        left = tuple(port for port in config.ports if port not in ports)
        if not manner.rehearsed:
            self.configs[name] = replace(config, ports=left)
        return self.on_trial.outcome(name, manner)

    async def release(self, name: str, ports: Sequence[str]) -> None:
        await self._begin("release")
        self.released = name, tuple(ports)

    async def reload(
        self, wanted: Sequence[LaggConfig], manner: Manner = FOR_GOOD
    ) -> Outcome:
        await self._begin("reload")
        found = diff(self.configs, self.said, wanted)
        for config in wanted:
            if config.name == "broken0":
                raise RuntimeError("a bug")
            if config.name == "refused0":
                raise LaggError(config.name, "will not", errno.EBUSY)
        gone = {config.name for config in found.destroy}
        kept = {n: c for n, c in self.configs.items() if n not in gone}
        after = {each.name: each.after for each in found.change}
        self.configs = kept | after | {config.name: config for config in found.create}
        self.said = {config.name: config for config in wanted}
        lines = report_lines(found, {"absent0"})
        return self.on_trial.outcome("lagg0", manner, lines)

    async def confirm(self, name: str | None, *, revert: bool) -> tuple[str, ...]:
        await self._begin("revert" if revert else "confirm")
        return self.on_trial.end(name)

    def trials(self) -> tuple[TrialRecord, ...]:
        return tuple(self.on_trial.tried)

    async def running(self) -> tuple[LaggConfig, ...]:
        return tuple(self.configs.values())

    async def records(self, name: str | None) -> tuple[LaggRecord, ...]:
        wanted = self.configs.values() if name is None else [self._config(name)]
        return tuple(record_of(config) for config in wanted)

    async def explain(self, name: str, frame: bytes) -> Explanation:
        shape = shape_of(self._config(name))
        return explain(name, shape, plan(shape), 17, Hashed(len(frame)))

    async def buckets(self, name: str) -> tuple[Bucket, ...]:
        shape = shape_of(self._config(name))
        return buckets(name, shape, plan(shape), self.bucket_frames)

    async def balance(self, name: str, look_ms: int) -> Report:
        shape = shape_of(self._config(name))
        among = capacities(shape, dealt_among(shape))
        load = FlowLoad(self.bucket_frames, plan(shape).tx_slots, among)
        return report(shape, load, look_ms)

    async def pin(self, name: str, spot: Spot, port: str, for_ms: int | None) -> Placed:
        await self._begin("pin")
        self.placed = name, spot, port, for_ms
        return Placed(spot if isinstance(spot, int) else len(spot), port)

    async def unpin(self, name: str, spot: Spot) -> Placed:
        await self._begin("unpin")
        self.placed = name, spot, None, None
        return Placed(spot if isinstance(spot, int) else len(spot), None)

    async def move(self, name: str, spot: Spot, port: str) -> Placed:
        await self._begin("move")
        self.placed = name, spot, port, None
        return Placed(spot if isinstance(spot, int) else len(spot), port)

    def subscribe(self, sink: Callable[[Event], None]) -> Callable[[], None]:
        self.sinks.append(sink)
        return lambda: self.sinks.remove(sink)

    def health(self) -> Health:
        ports = sum(len(config.ports) for config in self.configs.values())
        ailing = tuple(f"{n}: ails" for n in self.configs if n.startswith("ailing"))
        return Health(len(self.configs), ports, ports, ailing)

    async def close(self) -> None:
        self.closed = True
        if self._state_dir is not None:
            (self._state_dir / "closed").write_text(" ".join(self.configs))

    def emit(self, event: Event) -> None:
        for sink in list(self.sinks):
            sink(event)

    async def _begin(self, call: str) -> None:
        self.calls.append(call)
        if self.gate is not None:
            await self.gate.wait()

    def _config(self, name: str) -> LaggConfig:
        if name not in self.configs:
            raise LaggError(name, "no such lagg", errno.ENXIO)
        return self.configs[name]

    def _refuse_taken(self, name: str, ports: Sequence[str]) -> None:
        for other in self.configs.values():
            taken = set(other.ports) & set(ports)
            if other.name != name and taken:
                cause = f"already a port of {other.name}"
                raise LaggError(f"{name}: port {taken.pop()}", cause, errno.EBUSY)


def record_of(config: LaggConfig) -> LaggRecord:
    """The record a lagg of this configuration may have; its last port is down."""
    ports = [
        _port_record(name, slot, is_down=slot == len(config.ports) - 1)
        for slot, name in enumerate(config.ports)
    ]
    counters = Counters(10, 8, 5, 4, {Drop.NO_PORT: 3, Drop.TX_FULL: 0})
    return LaggRecord(
        name=config.name,
        ifindex=7,
        proto=config.proto.value,
        up=True,
        link="up" if len(ports) > 1 else "down",
        mac=config.mac or "02:00:5e:00:53:01",
        mtu=config.mtu or 1500,
        speed_mbps=10000 * max(0, len(ports) - 1),
        generation=17,
        workers=1,
        limbo=Limbo(snapshots=0, oldest_ms=0, worker=None),
        options=options_record(config.options),
        ports=ports,
        active=config.ports[0] if len(ports) > 1 else None,
        active_reason="the primary carries all" if len(ports) > 1 else None,
        failovers=0,
        last_failover=None,
        link_since=SINCE,
        link_losses=0,
        balance_moves=0,
        pins=[],
        waiting_for=[],
        trial=None,
        counters=counters_record(counters),
        lacp=None,
    )


def _port_record(name: str, slot: int, *, is_down: bool) -> PortRecord:
    return PortRecord(
        name=name,
        ifindex=10 + slot,
        slot=slot,
        link="down" if is_down else "up",
        speed_mbps=0 if is_down else 10000,
        flags=["MASTER", "ACTIVE"] if slot == 0 else [],
        reason="carrier down" if is_down else None,
        warnings=[],
        tx=(Transmit.XDP if slot == 0 else Transmit.PACKET).value,
        tx_frames=1234567,
        tx_bytes=150_000_000,
        rx_frames=3,
        rx_bytes=180,
        rings_reopened=0,
        drops=drops_record({Drop.TX_ERROR: slot}),
        promisc=None,
        lacp_port_priority=PRIORITY_DEFAULT,
        weight=1,
        priority=0,
        watch=[],
        held=False,
        hold_link="up",
        damping=DampingRecord(penalty=0, suppressed=False, reuse_ms=0),
        looped=False,
        state_since=SINCE,
        failures=slot,
        departures={each.value: 0 for each in Cause} | {"carrier": slot},
        last_departure={"cause": "carrier", "at": SINCE} if slot else None,
        home_mac=f"02:00:5e:00:53:{slot:02x}",
        full_duplex=True,
        lacp=None,
    )


def shape_of(config: LaggConfig) -> Shape:
    """A configuration as a shape, whose last port is down."""
    shape = Shape(config.proto, replace(config.options, hash_seed=1))
    for slot, port in enumerate(record_of(config)["ports"]):
        state = port["link"].upper()
        up = port["link"] == "up"
        link = Link(port["ifindex"], port["name"], "", 1500, True, up, state, 1)
        shape = shape.with_port(Port(slot, link, "", Modes(port["speed_mbps"])))
    return shape


class World:
    """A ControlServer in a thread of its own, and clients that speak raw bytes."""

    def __init__(self, path: str, gid: int) -> None:
        self.path = path
        self.commands = FakeCommands()
        self._gid = gid
        self._loop = asyncio.new_event_loop()
        self.file = Path(path).with_name("laggd.toml")  # what a reload reads
        self.told: list[str] = []  # the supervisor
        self.reloader = Reloader(
            lambda: load(self.file), self.commands.reload, self.told.append
        )
        self.server = ControlServer(
            self.commands, of_members(gid), self.reloader.reload, Life()
        )
        self._thread = threading.Thread(target=self._loop.run_forever)

    def start(self) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        self._thread.start()
        self.run(self.server.start(listener))

    def stop(self) -> None:
        self.run(self.server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Any) -> Any:  # noqa: ANN401  any coroutine
        """The result of a coroutine in the server's own loop."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(DEADLINE_SECONDS)

    def soon(self, act: Callable[[], object]) -> Any:  # noqa: ANN401  what `act` gives
        """The result of a plain function, called in the server's loop."""

        async def work() -> object:
            return act()

        return self.run(work())

    def connect(self) -> "RawClient":
        return RawClient(self.path)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        with self.connect() as client:
            return client.call(method, **parameters)


class RawClient:
    """A socket with the few words of varlink that a test needs."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(DEADLINE_SECONDS)
        try:
            self._connect(path)
        except BaseException:
            self.socket.close()
            raise
        self._unread = b""

    def _connect(self, path: str) -> None:
        self.socket.setblocking(True)
        self.socket.connect(path)
        self.socket.settimeout(DEADLINE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, text: bytes) -> None:
        self.socket.sendall(text)

    def request(self, method: str, **parameters: object) -> None:
        self._request({"method": full(method), "parameters": parameters})

    def request_more(self, method: str) -> None:
        self._request({"method": full(method), "more": True})

    def _request(self, call: dict[str, object]) -> None:
        self.send(json.dumps(call).encode() + b"\0")

    def reply(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            piece = self.socket.recv(65536)
            if not piece:
                raise EOFError
            self._unread += piece
        message, _, self._unread = self._unread.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        self.request(method, **parameters)
        return self.reply()

    def is_dropped(self) -> bool:
        """Whether the server has ended the connection; does not wait."""
        self.socket.setblocking(False)
        try:
            while True:
                if not self.socket.recv(65536):
                    return True
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def monitor(self) -> Self:
        """Follows events; they are followed when this returns."""
        self.request_more("Monitor")
        assert self.reply()["parameters"] == {"event": None}
        return self


def full(method: str) -> str:
    return method if "." in method else f"org.laggd.Lagg.{method}"


@contextmanager
def world_at(path: str, gid: int = 0) -> Iterator[World]:
    world = World(path, gid)
    world.start()
    try:
        yield world
    finally:
        world.stop()


def open_files_count() -> int:
    return len(os.listdir("/proc/self/fd"))


JOURNAL = "TESTS_JOURNAL"
"""The environment's word for where journald listens, for laggd as a program."""


if __name__ == "__main__":
    journal.SOCKET = os.environ.get(JOURNAL, "/nobody")
    sys.exit(main(open_operations=FakeCommands.open))


def a_record(**changes: object) -> LaggRecord:
    """What laggd may tell of lagg0, with some of it changed."""
    config = LaggConfig("lagg0", proto=Proto.FAILOVER, ports=("eth0", "eth1"))
    return cast(LaggRecord, {**record_of(config), **changes})
