# SPDX-License-Identifier: BSD-2-Clause
"""Commands on the real kernel, with cables to a far namespace, and all it may change.

    far: q0 q1 ...  ------------  p0 p1 ... :near, where they run

Owns their event loop, in a thread of the near namespace: a test stays ordinary
code that asks, changes the kernel by ip(8), and waits for what follows.
"""

import asyncio
import errno
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import pytest
from pyroute2.nftables.main import NFTables

from lab import Namespace
from lab.waiting import SLOWNESS
from lagg.errors import LaggError
from lagg.events import Event
from lagg.lacp.values import PortCounts
from lagg.model import Counters, LaggChange, LaggConfig
from lagg.operations.commands import Commands
from lagg.plan.shape import Port
from lagg.records import (
    LaggRecord,
    PortRecord,
    counters_record,
    port_counts_record,
)
from tests.netns import ethtool
from tests.waiting import wait_until

T = TypeVar("T")

DEADLINE_S = 60.0
"""Far longer than anything takes; reached only by what never happens."""

OFFLOADS = {"rx-gro-list", "rx-udp-gro-forwarding", "rx-lro"}
"""The offloads that are switched off while an interface is a port."""

SETTLED_S = 20.0 * SLOWNESS
"""The kernel joins the multicast group of an address from a queue, some time later."""

Operation = Coroutine[None, None, T]
OpenCommands = Callable[[Path], Coroutine[Any, Any, Commands]]


def _as_told(port: Port) -> dict[str, Any]:
    """A port as laggd has it, but for what the kernel tells by chance alone.

    Of its promiscuity there is the kernel's own word.
    """
    return asdict(replace(port, link=replace(port.link, promiscuity=0)))


class World:
    """Two namespaces, cables between them, and Commands in the near one."""

    def __init__(self, state_dir: Path) -> None:
        """Without Commands yet: see start()."""
        self.state_dir = state_dir
        self.events: list[Event] = []
        self.near, self.far = Namespace(), Namespace()
        for namespace in (self.near, self.far):
            namespace.inside(_without_dad)
        self.loop = asyncio.new_event_loop()
        # Not the namespace's own pool: this one is busy as long as the world is.
        self._thread = threading.Thread(
            target=lambda: self.near.inside(self.loop.run_forever), name="commands"
        )
        self._thread.start()
        self._commands: Commands | None = None

    def start(self, open_commands: OpenCommands = Commands.open) -> Self:
        """Starts Commands; they end with the world."""
        self._commands = self.do(open_commands(self.state_dir))
        self.loop.call_soon_threadsafe(self._commands.subscribe, self.events.append)
        return self

    def stop(self) -> None:
        """Ends them as laggd does on SIGTERM."""
        if self._commands is not None:
            self.do(self._commands.close())
            self._commands = None

    @property
    def commands(self) -> Commands:
        assert self._commands is not None, "start() comes first"
        return self._commands

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()
            self.near.close()
            self.far.close()

    def do(self, operation: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in their loop and waits for its result."""
        future = asyncio.run_coroutine_threadsafe(operation, self.loop)
        return future.result(timeout=60 * SLOWNESS)

    # ---- what a user does ----------------------------------------------------------

    def create(self, name: str, *ports: str, **config: Any) -> None:  # noqa: ANN401
        self.do(self.commands.create(LaggConfig(name, ports=ports, **config)))

    def destroy(self, name: str = "lagg0") -> None:
        self.do(self.commands.destroy(name))

    def attach(self, *ports: str, lagg: str = "lagg0") -> None:
        self.do(self.commands.attach(lagg, ports))

    def detach(self, *ports: str, lagg: str = "lagg0") -> None:
        self.do(self.commands.detach(lagg, ports))

    def release(self, *ports: str, lagg: str = "lagg0") -> None:
        self.do(self.commands.release(lagg, ports))

    def change(self, lagg: str = "lagg0", **change: Any) -> None:  # noqa: ANN401
        self.do(self.commands.set(lagg, LaggChange(**change)))

    def refused(self, act: Callable[[], object]) -> LaggError:
        """The refusal of what `act` asks for."""
        with pytest.raises(LaggError) as caught:
            act()
        return caught.value

    def ip(self, words: str) -> str:
        """ip(8) in the near namespace."""
        return self.near.inside(lambda: _ip(words))

    def offload(self, name: str, *offloads: str, on: bool = True) -> None:
        """As `ethtool -K` sets them."""
        for each in offloads:
            self.near.inside(partial(ethtool.set_feature, name, each, on=on))

    def far_ip(self, words: str) -> str:
        return self.far.inside(lambda: _ip(words))

    def without_ipv6(self) -> None:
        """From now on the kernel sends nothing by itself, on either side."""
        for namespace in (self.near, self.far):
            namespace.inside(_without_ipv6)

    # ---- cables --------------------------------------------------------------------

    def plug(self, *numbers: int, up: bool = True, mtu: int = 1500) -> list[str]:
        """New ports p<number>, their far ends q<number> up; waits until all is calm."""
        self.plug_quick(*numbers, up=up, mtu=mtu)
        for number in numbers:
            self.wait(lambda n=number: self._calm(f"p{n}", up), f"p{number} is calm")  # type: ignore[misc]
        return [f"p{number}" for number in numbers]

    def plug_quick(self, *numbers: int, up: bool = True, mtu: int = 1500) -> None:
        """Plugs veths as plug(), while others see them and may take them at once."""
        for number in numbers:
            far = {"ifname": f"q{number}", "net_ns_fd": self.far.descriptor, "mtu": mtu}
            self.near.netlink(
                "link", "add", ifname=f"p{number}", kind="veth", peer=far, mtu=mtu
            )
            self.far.set_link(f"q{number}", state="up")
            self.near.set_link(f"p{number}", state="up")
            if not up:
                self.near.set_link(f"p{number}", state="down")

    def _calm(self, name: str, up: bool) -> bool:
        (link,) = json.loads(self.ip(f"-j addr show {name}"))
        if not up:
            return bool(link["operstate"] == "DOWN" and not link["addr_info"])
        # Below 1280 bytes there is no IPv6.
        there = link["addr_info"] or link["mtu"] < 1280
        usable = not any("tentative" in each for each in link["addr_info"])
        return bool(link["operstate"] == "UP" and there and usable)

    def carrier(self, number: int, up: bool) -> None:
        """Pulls or plugs the cable of p<number>."""
        self.far.set_link(f"q{number}", state="up" if up else "down")

    # ---- what can be seen ----------------------------------------------------------

    def record(self, name: str = "lagg0") -> LaggRecord:
        return self.do(self.commands.records(name))[0]

    def laggs(self) -> list[LaggRecord]:
        """Every record without what only ever grows."""
        return [_still(each) for each in self.do(self.commands.records(None))]

    def port_names(self) -> list[str]:
        return [port["name"] for port in self.record()["ports"]]

    def carrying(self) -> list[str]:
        """The ports that carry frames."""
        return [
            port["name"] for port in self.record()["ports"] if port["reason"] is None
        ]

    def link(self, name: str) -> dict[str, Any]:
        """What `ip -d link` and `ip addr` tell of an interface."""
        return self.kernel()["links"][name]  # type: ignore[no-any-return]

    def groups(self, name: str) -> set[str]:
        """The multicast MACs an interface listens to."""
        return {mac for owner, mac in self.kernel()["groups"] if owner == name}

    def kernel(self) -> dict[str, Any]:
        """All of the near namespace that laggd may change."""
        return self.near.inside(_kernel)

    def whole(self) -> dict[str, str]:
        """The kernel, our descriptors and files, and every lagg's record and plan."""
        saved = self.state_dir / "ports.json"
        seen = self.kernel() | {
            "descriptors": len(os.listdir("/proc/self/fd")),
            "saved": json.loads(saved.read_text()) if saved.exists() else None,
            "laggs": {each["name"]: each for each in self.laggs()},
            "inside": {
                name: {
                    "plan": str(bundle.plan),
                    "homes": str(bundle.shape.homes),
                    "ports": [_as_told(port) for port in bundle.shape.ports],
                    "link": asdict(bundle.link),
                    "fixed": (bundle.shape.mac, bundle.wanted.mtu_fixed),
                }
                for name, bundle in self.commands._laggs.bundles.items()
            },
        }
        return dict(_flat("", seen))

    def calm(self) -> dict[str, str]:
        """whole(), when it has stopped to change."""
        seen = [self.whole()]

        def same_as_before() -> bool:
            # First: what is seen then is as settled.
            settled = self._hears() and not self._tentative()
            seen.append(self.whole())
            return settled and seen[-1] == seen[-2] == seen[max(len(seen) - 4, 0)]

        self.wait(same_as_before, "the world is calm")
        return seen[-1]

    def _tentative(self) -> bool:
        """Whether some address is to be used soon: from a queue, some time later."""
        addresses = (
            each.get("addresses", ()) for each in self.kernel()["links"].values()
        )
        return any(usable_soon for each in addresses for *_, usable_soon in each)

    def _hears(self) -> bool:
        """Whether the ports listen to all groups of their lagg, as laggd sees to."""
        return all(
            self.groups(lagg["name"]) <= self.groups(port["name"])
            for lagg in self.laggs()
            for port in lagg["ports"]
        )

    def unchanged(self, before: dict[str, str], what: str = "") -> None:
        """Fails with each difference to `before`, a calm() of earlier."""
        found = differences(before, self.calm())
        end = time.monotonic() + SETTLED_S
        while found and time.monotonic() < end:
            found = differences(before, self.calm())
        assert not found, "\n  ".join([f"{what}: changed", *found])

    def warm_up(self) -> None:
        """Opens what laggd opens once, so that descriptors can be compared."""
        self.ip("link add warm0 type veth peer name warm1")
        self.create("warm", "warm0")
        self.destroy("warm")
        self.ip("link del warm0")

    def wait(self, holds: Callable[[], object], what: str) -> float:
        return wait_until(holds, DEADLINE_S, what)

    def wait_event(self, event: str, port: str | None = None) -> Event:
        """Waits for an event that was not waited for yet, and takes it."""
        found: list[Event] = []

        def told() -> bool:
            found[:] = [
                each
                for each in self.events
                if each.event.value == event and port in (None, each.port)
            ]
            return bool(found)

        self.wait(told, f"event {event} {port or ''}")
        self.events.remove(found[0])
        return found[0]

    def hears(self, number: int, name: str = "") -> bool:
        """Whether the host answers a ping at p<number>, called `name` by now."""
        name = name or f"p{number}"
        self.ip(f"addr replace 192.0.2.1/24 dev {name}")
        self.far_ip(f"addr replace 192.0.2.2/24 dev q{number}")
        self.far_ip("neigh flush all")
        try:
            ping = ["ping", "-c1", "-W0.3", "192.0.2.1"]
            return self.far.inside(lambda: _status(ping)) == 0
        finally:
            self.ip(f"addr del 192.0.2.1/24 dev {name}")
            self.far_ip(f"addr del 192.0.2.2/24 dev q{number}")


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [
        f"{key}: {before.get(key)} -> {after.get(key)}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def _flat(path: str, value: object) -> Iterator[tuple[str, str]]:
    """Every leaf of a tree of dictionaries and lists, by its path."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(f"{path}/{key}", each)
    elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        for number, each in enumerate(value):
            yield from _flat(f"{path}/{number}", each)
    else:
        yield path, str(value)


def _without_dad() -> None:
    """An address is usable at once, so that a state is complete when it is seen."""
    for scope in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad").write_text("0")


def _without_ipv6() -> None:
    for scope in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")


def _ip(words: str) -> str:
    done = subprocess.run(
        ["ip", *words.split()], capture_output=True, text=True, errors="replace"
    )
    assert done.returncode == 0, f"ip {words}: {done.stderr}"
    return done.stdout


def _status(command: list[str]) -> int:
    return subprocess.run(command, capture_output=True).returncode


def _kernel() -> dict[str, Any]:
    # ip(8) prints control characters of a name as they are.
    told = json.loads(_ip("-j -d link"), strict=False)
    links = {each["ifname"]: each for each in told}
    for each in json.loads(_ip("-j addr"), strict=False):
        links.setdefault(each["ifname"], {})["addresses"] = sorted(
            (a["local"], a["prefixlen"], a["scope"], a.get("tentative", False))
            for a in each["addr_info"]
            if "local" in a
        )
    up = {name for name, link in links.items() if "UP" in link.get("flags", ())}
    return {
        "links": links,
        "offloads": _offloads(),
        "chains": _chains(),
        # Of a link that is down they mean nothing, and show whether it was ever up.
        "groups": sorted(
            (row[1], row[4]) for row in _proc("dev_mcast") if row[1] in up
        ),
        # Bound to an interface: announcements are sent by one that is not.
        "packet sockets": sorted(
            row[2:5] for row in _proc("packet")[1:] if row[4] != "0"
        ),
    }


def _offloads() -> dict[str, list[str]]:
    found = {}
    for _, name in socket.if_nameindex():
        try:
            found[name] = sorted(ethtool.features(name) & OFFLOADS)
        except OSError as error:
            if error.errno != errno.ENODEV:  # it has gone at this moment
                raise
    return found


def _proc(name: str) -> list[list[str]]:
    with open(f"/proc/thread-self/net/{name}", "rb") as lines:
        return [
            [word.decode(errors="replace") for word in line.split()] for line in lines
        ]


def _chains() -> list[str]:
    """The deaf and dumb ports: "in" and "out" with the ifindex of each."""
    with NFTables(nfgen_family=5) as nft:
        names = [str(each.get_attr("NFTA_CHAIN_NAME")) for each in nft.get_chains()]
    return sorted(re.sub(r"\.\d+$", "", name) for name in names)


def _still(record: LaggRecord) -> LaggRecord:
    """The record without what only ever grows: frames, and LACP's among them."""
    counters = counters_record(Counters(0, 0, 0, 0, {}))
    ports = [_still_port(port) for port in record["ports"]]
    still = {**record, "counters": counters, "generation": 0, "ports": ports}
    past = {"failovers": 0, "last_failover": None, "link_since": "", "link_losses": 0}
    return cast(LaggRecord, {**still, **past})


def _still_port(port: PortRecord) -> PortRecord:
    lacp = port["lacp"]
    if lacp is not None:
        lacp = {**lacp, "counters": port_counts_record(PortCounts())}
    still: PortRecord = {
        **port,
        "lacp": lacp,
        "tx_frames": 0,
        "tx_bytes": 0,
        "rx_frames": 0,
        "rx_bytes": 0,
        "drops": {},
        "state_since": "",
        "failures": 0,
        "departures": {},
        "last_departure": None,
    }
    return still
