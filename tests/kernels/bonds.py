# SPDX-License-Identifier: BSD-2-Clause
"""Inside a machine: bonds of the kernel, led through histories of their ports' carrier.

    python -m tests.kernels.bonds      JSON: by bond, who was active after each step

Owns the bonds, one a case, and the histories, through which those of like delays go at
once.  A step is short or long: the next comes when each bond has noticed it, before a
delay is over, or when no bond waits any more.  That is asked for, so a slow machine
changes nothing.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from random import Random

from tests.netns.taps import set_tap_carrier, tap

SEED = 2026
PORTS = 3
SPEEDS_MBPS = (1000, 10_000, 10_000)

MIIMON_MS, DELAY_MS = 100, 4000
LOOK_S, DEADLINE_S = 0.02, 300.0
APART_S = 5 * MIIMON_MS / 1000
"""Between two changes, so that no two delays end in one look of the bond's."""

HISTORIES, STEPS, LONG_EVERY = 4, 8, 2
TRIES = 10
"""A history is led again when a step was too slow to be short."""

NET = Path("/sys/class/net")

SIOCETHTOOL, ETHTOOL_SSET, DUPLEX_FULL = 0x8946, 0x2, 1

Step = tuple[int, bool]
"""The port whose carrier becomes what it was not, and whether the step is long."""


@dataclass(frozen=True)
class Case:
    """A bond of active-backup."""

    delays_up: bool
    delays_down: bool
    reselect: str
    primary: int | None
    prio: tuple[int, ...]

    @property
    def preferred(self) -> int:
        """The primary, or the first of those with the highest prio."""
        best = self.prio.index(max(self.prio))
        return best if self.primary is None else self.primary


RANKS: tuple[tuple[int | None, tuple[int, ...]], ...] = (
    (None, (0, 0, 0)),
    (None, (0, 10, 20)),
    (1, (0, 0, 0)),
    (0, (0, 10, 20)),
)

CASES = [
    Case(up, down, reselect, primary, prio)
    for up, down, reselect, (primary, prio) in product(
        (False, True), (False, True), ("always", "better", "failure"), RANKS
    )
]


def histories() -> list[list[Step]]:
    """Each begins with all links up, and ends with a long step."""
    random = Random(SEED)
    return [
        [
            (random.randrange(PORTS), step % LONG_EVERY == LONG_EVERY - 1)
            for step in range(STEPS)
        ]
        for _ in range(HISTORIES)
    ]


class Bond:
    """One, with its ports: TAPs, which have a speed and a carrier of our choice."""

    def __init__(self, number: int, case: Case) -> None:
        self.case = case
        self.name = f"bond{number}"
        self.ports = [f"t{number}.{port}" for port in range(PORTS)]
        self._taps = [tap(name) for name in self.ports]
        for name, mbps in zip(self.ports, SPEEDS_MBPS, strict=True):
            _set_speed(name, mbps)
        (NET / "bonding_masters").write_text(f"+{self.name}")
        self._set("mode", "active-backup")
        self._set("miimon", MIIMON_MS)
        self.links = [True] * PORTS

    def words(self) -> list[str]:
        """ip(8)'s, that gather the ports."""
        return [
            *(f"link set {port} master {self.name}" for port in self.ports),
            *(
                f"link set {port} type bond_slave prio {prio}"
                for port, prio in zip(self.ports, self.case.prio, strict=True)
            ),
            f"link set {self.name} up",
        ]

    def begin(self) -> None:
        """All links up."""
        for option in ("updelay", "downdelay"):
            self._set(option, 0)
        self._set("primary_reselect", "always")
        primary = self.case.primary
        self._set("primary", "" if primary is None else self.ports[primary])
        for port in range(PORTS):
            self.give(port, up=True)

    def arm(self) -> None:
        """With the port that is preferred carrying, which the last history may not."""
        self._set("active_slave", self.ports[self.case.preferred])
        self._set("primary_reselect", self.case.reselect)
        self._set("updelay", DELAY_MS * self.case.delays_up)
        self._set("downdelay", DELAY_MS * self.case.delays_down)

    def give(self, port: int, *, up: bool) -> None:
        """A port its carrier, or takes it."""
        self.links[port] = up
        set_tap_carrier(self._taps[port], up)

    def noticed(self) -> bool:
        """Whether it waits for, or counts with, each link as it is."""
        words = {True: ("up", "going back"), False: ("down", "going down")}
        return all(
            status in words[up]
            for status, up in zip(self.states(), self.links, strict=True)
        )

    def settled(self) -> bool:
        words = ["up" if up else "down" for up in self.links]
        return self.states() == words

    def states(self) -> list[str]:
        """What each port counts as."""
        return [
            (NET / port / "bonding_slave" / "mii_status").read_text().strip()
            for port in self.ports
        ]

    def active(self) -> int | None:
        """Who carries, when what the bond is about to do is done (it holds rtnl)."""
        self.give(0, up=self.links[0])
        said = (NET / self.name / "bonding" / "active_slave").read_text().strip()
        return self.ports.index(said) if said else None

    def close(self) -> None:
        """Neither it nor its ports are there any more."""
        (NET / "bonding_masters").write_text(f"-{self.name}")
        for each in self._taps:
            os.close(each)

    def _set(self, option: str, value: object) -> None:
        (NET / self.name / "bonding" / option).write_text(f"{value}\n")


def _set_speed(name: str, mbps: int) -> None:
    """As `ethtool -s` does, full duplex."""
    settings = struct.pack("3IHB25x", ETHTOOL_SSET, 0, 0, mbps, DUPLEX_FULL)
    buffer = ctypes.create_string_buffer(settings, len(settings))
    request = struct.pack("16sQ16x", name.encode(), ctypes.addressof(buffer))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
        fcntl.ioctl(asks, SIOCETHTOOL, request)


def run() -> dict[str, object]:
    """Every bond through every history."""
    found: list[list[list[int | None]]] = []
    for _, cases in groupby(CASES, lambda case: (case.delays_up, case.delays_down)):
        bonds = [Bond(number, case) for number, case in enumerate(cases)]
        words = "\n".join(line for bond in bonds for line in bond.words())
        subprocess.run(["ip", "-batch", "-"], input=words, text=True, check=True)
        by_history = [_led_in_time(bonds, history) for history in histories()]
        found += [list(each) for each in zip(*by_history, strict=True)]
        for bond in bonds:
            bond.close()
    return {"kernel": os.uname().release, "active": found}


def _led_in_time(bonds: list[Bond], history: list[Step]) -> list[list[int | None]]:
    """Led again when a step was too slow to be short."""
    for _ in range(TRIES - 1):
        try:
            return _led(bonds, history)
        except TimeoutError as error:
            print(error, flush=True)
    return _led(bonds, history)


def _led(bonds: list[Bond], history: list[Step]) -> list[list[int | None]]:
    """Who was active after each step, by bond."""
    for bond in bonds:
        bond.begin()
    _until(bonds, Bond.settled)
    for bond in bonds:
        bond.arm()
    steps, pause = [], threading.Event()
    for port, is_long in history:
        pause.wait(APART_S)
        began = time.monotonic()
        for bond in bonds:
            bond.give(port, up=not bond.links[port])
        _until(bonds, Bond.settled if is_long else Bond.noticed)
        steps.append([bond.active() for bond in bonds])
        late = 1000 * (time.monotonic() - began) > DELAY_MS / 2
        if late and not is_long:
            raise TimeoutError("too slow: a delay may be over within a short step")
    return [list(each) for each in zip(*steps, strict=True)]


def _until(bonds: list[Bond], holds: Callable[[Bond], bool]) -> None:
    """Waits until it holds of each bond."""
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while left := [bond for bond in bonds if not holds(bond)]:
        if time.monotonic() > deadline:
            said = {bond.name: (bond.states(), bond.links) for bond in left}
            raise TimeoutError(f"bonds do not get there: {said}")
        pause.wait(LOOK_S)


if __name__ == "__main__":
    print(json.dumps(run()))
