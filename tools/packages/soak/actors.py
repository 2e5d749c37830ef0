# SPDX-License-Identifier: BSD-2-Clause
"""Who disturbs a laggd: each an own sequence of actions, drawn from a seed.

Owns what there is to do and how often each was done.  What an actor draws depends on
the seed and its name alone, never on what came of it: a seed replays every sequence,
though not how they interleave.
"""

import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyroute2.netlink.exceptions import NetlinkError

from lab.daemon import Daemon
from lab.host import CommandError, Host
from lagg.control.client import Client
from lagg.errors import LaggError
from lagg.model import Proto
from soak.invariants import Invariants

MAIN, OTHER = "lagg0", "lagg1"
"""The two laggs that clients steer: one stays, the other comes and goes."""

OTHER_ADDRESS = "10.78.0.1/24"

RESIDENT = "p6"
"""The port no client touches: what is done to it from outside is put back."""

PORTS = ("p0", "p1", "p2", "p3", "r3", "p4", "p5")
"""What clients attach and detach: p3 is called r3 at times, p5 is gone at times."""

RENAMED = ("p3", "r3")
LEAVING = "p5"
PROTOCOLS = tuple(proto.value for proto in Proto)
MTUS = (1000, 1280, 1400, 1500, 4000)
AD_SELECTS = ("stable", "bandwidth", "count", "port-priority")
LAYERS = (["l2"], ["l2", "l3"], ["l3", "l4"], ["l2", "l3", "l4"])

Action = Callable[[], None]


class Stop:
    """Tells all actors to end: in time, or because one found a fault."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self.faults: list[str] = []

    def __bool__(self) -> bool:
        """Whether to end."""
        return self._event.is_set()

    def end(self) -> None:
        """Everyone ends after the action under way."""
        self._event.set()

    def fault(self, text: str) -> None:
        """Something is wrong; the run has failed."""
        with self._lock:
            self.faults.append(text)
        self.end()

    def wait(self, seconds: float) -> bool:
        """Until the end, or for some time; returns as __bool__."""
        return self._event.wait(seconds)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How often one action came to what."""

    done: int = 0
    refused: int = 0
    seconds: float = 0.0  # of all, from the call to its end
    slowest_s: float = 0.0

    def __add__(self, other: "Outcome") -> "Outcome":
        """Both together."""
        return Outcome(
            self.done + other.done,
            self.refused + other.refused,
            self.seconds + other.seconds,
            max(self.slowest_s, other.slowest_s),
        )


class Actor:
    """One thread, one sequence."""

    pause_s = 0.2
    """The longest rest between two actions."""

    def __init__(self, name: str, seed: int, stop: Stop) -> None:
        """`name` is part of the seed."""
        self.name = name
        self.rng = random.Random(f"{seed}:{name}")
        self.stop = stop
        self._outcomes: dict[str, Outcome] = {}
        self._why: Counter[str] = Counter()

    @property
    def actions(self) -> Mapping[str, tuple[int, Callable[[], Action]]]:
        """By name: its weight, and what draws one (the result does it)."""
        raise NotImplementedError

    @property
    def kind(self) -> str:
        """The name without number."""
        return self.name.rstrip("0123456789")

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The outcome of each action, also of one that never ran."""
        return {word: self._outcomes.get(word, Outcome()) for word in self.actions}

    @property
    def refusals(self) -> Counter[str]:
        """Causes, without what differs from one to the next."""
        return self._why

    def run(self) -> None:
        """Until the end."""
        table = self.actions
        weights = [weight for weight, _ in table.values()]
        while not self.stop:
            (word,) = self.rng.choices(list(table), weights)
            act = table[word][1]()
            rest_s = self.rng.uniform(0, self.pause_s)
            self._act(word, act)
            self.stop.wait(rest_s)

    def _act(self, word: str, act: Action) -> None:
        start = time.monotonic()
        done = self._is_done(word, act)
        took_s = time.monotonic() - start
        new = Outcome(int(done), int(not done), took_s, took_s)
        self._outcomes[word] = self._outcomes.get(word, Outcome()) + new

    def _is_done(self, word: str, act: Action) -> bool:
        try:
            act()
        except (LaggError, NetlinkError, CommandError, OSError) as error:
            self._why[f"{word}: {_cause(error)}"] += 1
            self._check_refusal(word, error)
            return False
        except Exception:  # noqa: BLE001  whatever it is, it ends the run and is told
            self.stop.fault(f"{self.name}: {word}:\n{traceback.format_exc()}")
            return False
        return True

    def _check_refusal(self, word: str, error: Exception) -> None:
        """Whether it may refuse so."""


def _cause(error: Exception) -> str:
    if isinstance(error, LaggError):
        return f"{error.cause.split(';')[0]} ({error.errno_name})"
    return str(error).splitlines()[-1]


class ControlClient(Actor):
    """One connection to laggd; its readings are looked at."""

    pause_s = 0.02

    def __init__(self, name: str, seed: int, stop: Stop, laggd: Daemon) -> None:
        """Connects when it runs."""
        super().__init__(name, seed, stop)
        self.invariants = Invariants()
        self._laggd = laggd
        self._client: Client | None = None

    @property
    def actions(self) -> Mapping[str, tuple[int, Callable[[], Action]]]:
        """All of laggctl."""
        return {
            "show": (6, lambda: self._read),
            "stats": (3, lambda: lambda: self._read(MAIN)),
            "create": (2, self._create),
            "destroy": (1, lambda: lambda: self._call("Destroy", name=OTHER)),
            "attach": (4, lambda: self._ports("Attach")),
            "detach": (3, lambda: self._ports("Detach")),
            "set proto": (3, lambda: self._set(proto=self._proto())),
            "set options": (2, lambda: self._set(options=self._options())),
            "set port": (1, self._set_port),
            "set mac": (1, lambda: self._set(mac=mac_of(self.rng))),
            "set mtu": (1, lambda: self._set(mtu=self.rng.choice(MTUS))),
        }

    def run(self) -> None:
        """Until the end, over one connection."""
        try:
            with Client(str(self._laggd.socket)) as self._client:
                super().run()
        except Exception:  # noqa: BLE001  whatever it is, it ends the run and is told
            self.stop.fault(f"{self.name}:\n{traceback.format_exc()}")

    def _call(self, method: str, **parameters: object) -> None:
        assert self._client is not None
        self._client.call(method, **parameters)

    def _read(self, name: str | None = None) -> None:
        assert self._client is not None
        self.invariants.check(self._client.call("List", name=name)["laggs"])

    def _create(self) -> Action:
        ports = self.rng.sample(PORTS, self.rng.randrange(3))
        proto = self._proto()
        return lambda: self._call("Create", name=OTHER, proto=proto, ports=ports)

    def _ports(self, method: str) -> Action:
        name = self._lagg()
        ports = self.rng.sample(PORTS, self.rng.choice((1, 1, 2)))
        return lambda: self._call(method, name=name, ports=ports)

    def _set(self, **change: object) -> Action:
        name = self._lagg()
        return lambda: self._call("Set", name=name, **change)

    def _set_port(self) -> Action:
        priority = self.rng.randrange(1 << 16)
        chosen = {self.rng.choice(PORTS): {"lacp_port_priority": priority}}
        return self._set(port=chosen)

    def _lagg(self) -> str:
        return self.rng.choice((MAIN, MAIN, OTHER))

    def _proto(self) -> str:
        return self.rng.choice(PROTOCOLS)

    def _options(self) -> dict[str, object]:
        every: dict[str, object] = {
            "lagghash": self.rng.choice(LAYERS),
            "hash": self.rng.choice(("crc32c", "fnv1")),
            "hash_seed": self.rng.getrandbits(32),
            "rr_limit": self.rng.choice((1, 2, 64)),
            "failover_rx_all": self.rng.random() < 0.5,
            # Not strict, ports carry without a partner, of which there is none.
            "lacp_strict": self.rng.random() < 0.3,
            "lacp_fast_timeout": self.rng.random() < 0.5,
            "lacp_active": self.rng.random() < 0.8,
            "lacp_key": self.rng.randrange(4),
            "lacp_port_offset": self.rng.choice((0, 32, 65503)),
            "lacp_min_links": self.rng.choice((1, 1, 2)),
            "lacp_max_ports": self.rng.choice((1, 3, 32)),
            "lacp_coupled": self.rng.random() < 0.3,
            "lacp_fallback_timeout": self.rng.choice((0, 1)),
            "lacp_system": self.rng.choice(("auto", mac_of(self.rng))),
            "ad_select": self.rng.choice(AD_SELECTS),
            "mac_policy": self.rng.choice(("stable", "primary")),
            "dedup": self.rng.random() < 0.5,
            "loop_guard": self.rng.random() < 0.5,
            "link_local": self.rng.choice(("stay", "pass")),
        }
        chosen = self.rng.sample(sorted(every), self.rng.randint(1, len(every)))
        return {key: every[key] for key in chosen}

    def _check_refusal(self, word: str, error: Exception) -> None:
        if not isinstance(error, LaggError):
            self.stop.fault(f"{self.name}: {word}: no answer: {error!r}")
        elif error.code <= 0 or error.thing == "laggd" or "internal" in error.cause:
            self.stop.fault(f"{self.name}: {word}: {error}")


def mac_of(rng: random.Random) -> str:
    """A local unicast address that no port has."""
    return ":".join(["06", *(f"{rng.randrange(256):02x}" for _ in range(5))])


class Flapper(Actor):
    """Link flaps: far ends go down and up."""

    def __init__(self, seed: int, stop: Stop, far: Host, ends: tuple[str, ...]) -> None:
        """`ends` are interfaces of `far`."""
        super().__init__("link", seed, stop)
        self._far = far
        self._ends = ends

    @property
    def actions(self) -> Mapping[str, tuple[int, Callable[[], Action]]]:
        """Up comes more often."""
        return {
            "far end down": (2, lambda: self._turn("down")),
            "far end up": (3, lambda: self._turn("up")),
        }

    def _turn(self, state: str) -> Action:
        name = self.rng.choice(self._ends)
        return lambda: self._far.set_link(name, state=state)


class Admin(Actor):
    """A user with ip(8): on the laggs, and on the resident port."""

    def __init__(self, seed: int, stop: Stop, host: Host) -> None:
        """On `host`."""
        super().__init__("ip", seed, stop)
        self._host = host

    @property
    def actions(self) -> Mapping[str, tuple[int, Callable[[], Action]]]:
        """Up comes more often."""
        rng = self.rng
        return {
            "lagg down": (1, lambda: self._set(MAIN, state="down")),
            "lagg up": (4, lambda: self._set(MAIN, state="up")),
            "lagg mac": (2, lambda: self._set(MAIN, address=mac_of(rng))),
            "lagg mtu": (2, lambda: self._set(MAIN, mtu=rng.choice(MTUS))),
            "port mac": (2, lambda: self._set(RESIDENT, address=mac_of(rng))),
            "port mtu": (2, lambda: self._set(RESIDENT, mtu=rng.choice(MTUS))),
            "lagg1 address": (3, lambda: self._address),
            "delete lagg1": (1, lambda: lambda: self._host.delete_link(OTHER)),
        }

    def _set(self, name: str, **change: object) -> Action:
        return lambda: self._host.set_link(name, **change)

    def _address(self) -> None:
        """The flood that is for OTHER goes out of it from now on."""
        self._host.add_address(OTHER, OTHER_ADDRESS)


class Members(Actor):
    """Members are renamed, and leave for good; others of their name come."""

    def __init__(
        self, seed: int, stop: Stop, host: Host, renew: Callable[[], None]
    ) -> None:
        """`renew` deletes LEAVING and makes it again."""
        super().__init__("member", seed, stop)
        self._host = host
        self._renew = renew
        self._names = RENAMED

    @property
    def actions(self) -> Mapping[str, tuple[int, Callable[[], Action]]]:
        """Both are equally likely."""
        return {
            "rename": (1, lambda: self._rename),
            "delete and make": (1, lambda: self._renew),
        }

    def _rename(self) -> None:
        old, new = self._names
        self._host.set_link(old, ifname=new)
        self._names = (new, old)


class Bridger(Actor):
    """The lagg becomes a port of a bridge, and promiscuous, and is so no more."""

    def __init__(self, seed: int, stop: Stop, host: Host, bridge: str) -> None:
        """`bridge` is an interface of `host`."""
        super().__init__("bridge", seed, stop)
        self._host = host
        self._bridge = bridge

    @property
    def actions(self) -> Mapping[str, tuple[int, Callable[[], Action]]]:
        """Each undoes another."""
        return {
            "join": (1, lambda: lambda: self._master(self._host.ifindex(self._bridge))),
            "leave": (1, lambda: lambda: self._master(0)),
            "promisc on": (1, lambda: lambda: self._promisc("on")),
            "promisc off": (1, lambda: lambda: self._promisc("off")),
        }

    def _master(self, ifindex: int) -> None:
        self._host.set_link(MAIN, master=ifindex)

    def _promisc(self, state: str) -> None:
        self._host.run("ip", "link", "set", MAIN, "promisc", state)
