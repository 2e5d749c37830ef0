# SPDX-License-Identifier: BSD-2-Clause
"""Link watches as values: what is asked of a path, and what was found.

Owns their words.  A watch is a user's, of a lagg; a verdict is what one watch says of
one port; what the port counts as is Watched.  Frozen values only; knows no frame, no
socket and no clock.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from enum import Enum
from ipaddress import ip_address
from typing import Annotated

from lagg.frozen import dataclass
from lagg.lacp.values import Count, Mac

WATCHES_MAX = 16
"""Watches of one lagg."""

TARGETS_MAX = 16
"""Targets of one watch, as in Linux bonding."""

INTERVAL_MS_MIN = 10
INTERVAL_MS_MAX = 3_600_000
MISSED_MAX = 255
VLAN_MAX = 4094
TAGS_MAX = 2

MEMORY_BYTES_MAX = 64

PROBE_OCTET = 0x62
"""The first byte of the MACs that probes are from: a local address (IEEE 802-2014,
8.4), administratively assigned (802c).  By it the kernel keeps other frames out."""


class WatchKind(Enum):
    """How a path is looked at."""

    ARP = "arp"
    NS = "ns"
    BFD = "bfd"
    POLL = "poll"  # the driver is asked whether there is a carrier


class WatchPolicy(Enum):
    """How many of a port's watches must find its path alive; teamd's words."""

    ALL = "all"
    ANY = "any"


class Answer(Enum):
    """By which port an answer may come in."""

    PORT = "port"  # by that which asked
    LAGG = "lagg"  # by any of the lagg, whose partner spreads what it sends


class WatchState(Enum):
    """What a watch says of a port's path."""

    INIT = "init"  # not known yet, and counts as alive: it carried before
    UP = "up"
    DOWN = "down"


def is_address(text: str) -> bool:
    """Whether this is an IP address as all of ours are written."""
    try:
        return str(ip_address(text)) == text
    except ValueError:
        return False


def is_octets(text: str) -> bool:
    """Whether this is bytes as a watch remembers them, each by two digits."""
    return re.fullmatch(f"([0-9a-f]{{2}}){{0,{MEMORY_BYTES_MAX}}}", text) is not None


Address = Annotated[str, is_address]
Vlan = Annotated[int, range(1, VLAN_MAX + 1)]


@dataclass(frozen=True, slots=True)
class LinkWatch:
    """One watch of a lagg; the rule of each field is in config/watches.py."""

    kind: WatchKind
    targets: Annotated[tuple[Address, ...], range(TARGETS_MAX + 1)] = ()  # any of them
    interval_ms: Annotated[int, range(INTERVAL_MS_MIN, INTERVAL_MS_MAX + 1)] = 1000
    missed_max: Annotated[int, range(1, MISSED_MAX + 1)] = 3
    init_wait_ms: Annotated[int, range(INTERVAL_MS_MAX + 1)] = 0  # before the first
    vlan: Annotated[tuple[Vlan, ...], range(TAGS_MAX + 1)] = ()  # the outer tag first
    ports: tuple[str, ...] = ()  # by name; none: all
    source: Address | None = None  # that probes are from; None: see the kind's machine
    target_mac: Mac | None = None  # that alone answers; None: whoever has the target
    answer: Answer = Answer.PORT

    def applies_to(self, port: str) -> bool:
        """Whether the port of this name is watched."""
        return not self.ports or port in self.ports

    def renamed(self, was: str, name: str) -> "LinkWatch":
        """As it is once a port has another name."""
        ports = tuple(name if port == was else port for port in self.ports)
        return replace(self, ports=ports)

    @property
    def question(self) -> tuple[object, ...]:
        """What it asks of one port, whatever it asks how often.

        A port has one watch with this question; what that found outlives a change of
        the rest.
        """
        asked = self.kind, self.targets, self.vlan
        return *asked, self.source, self.target_mac, self.answer

    def overlaps(self, other: "LinkWatch") -> bool:
        """Whether both would ask a port the same."""
        apart = self.ports and other.ports and not {*self.ports} & {*other.ports}
        return not apart and self.question == other.question

    @property
    def target(self) -> str:
        """What is asked, in words."""
        return "/".join(self.targets)

    def __str__(self) -> str:
        """As it is written after `--watch`."""
        words = [self.kind.value]
        words += [f"target={target}" for target in self.targets]
        for each in fields(self)[2:]:
            value = getattr(self, each.name)
            if value == each.default:
                continue
            if each.name == "ports":
                words += [f"port={port}" for port in self.ports]
            elif each.name == "vlan":
                words.append(f"vlan={'.'.join(map(str, self.vlan))}")
            else:
                words.append(f"{each.name}={getattr(value, 'value', value)}")
        return ",".join(words)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one watch says of one port."""

    watch: LinkWatch
    state: WatchState
    reason: str  # in words
    since_ns: Annotated[int, range(1 << 63)] = 0  # of this state, since 1970
    failures: Count = 0  # times that the path was lost while its carrier was there
    # What its machine goes on from, which alone knows what it says.
    memory: Annotated[str, is_octets] = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """All that is said of one port's path, and by which policy."""

    verdicts: tuple[Verdict, ...] = ()
    policy: WatchPolicy = WatchPolicy.ALL

    def of(self, watch: LinkWatch) -> Verdict | None:
        """What this watch says, or did when it asked the same at another pace."""
        question = watch.question
        found = (each for each in self.verdicts if each.watch.question == question)
        return next(found, None)

    def told(self, said: Mapping[LinkWatch, "Verdict"]) -> "Watched":
        """With what these watches say now."""
        verdicts = tuple(
            replace(each, state=now.state, reason=now.reason, memory=now.memory)
            if (now := said.get(each.watch)) is not None
            else each
            for each in self.verdicts
        )
        return self if verdicts == self.verdicts else replace(self, verdicts=verdicts)

    def renamed(self, was: str, name: str) -> "Watched":
        """As it is once a port has another name."""
        verdicts = (
            replace(each, watch=each.watch.renamed(was, name)) for each in self.verdicts
        )
        return replace(self, verdicts=tuple(verdicts))

    @property
    def alive(self) -> bool:
        """Whether the path counts as one; that of a port without watches does."""
        if not self.verdicts:
            return True
        found = (each.state is not WatchState.DOWN for each in self.verdicts)
        return any(found) if self.policy is WatchPolicy.ANY else all(found)

    @property
    def reason(self) -> str | None:
        """Why the path is dead, in words; None while it is alive."""
        down = (each for each in self.verdicts if each.state is WatchState.DOWN)
        said = (f"{each.watch.kind.value}: {each.reason}" for each in down)
        return None if self.alive else "; ".join(said)
