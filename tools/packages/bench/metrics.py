# SPDX-License-Identifier: BSD-2-Clause
"""What a bench found: metrics, the rounds of each, and the file they are kept in.

Owns the list of metrics, in the order of the tables.  Pure.
"""

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum, auto
from typing import Any, Self

VETH = "veth (R)"
REDIRECT = "eBPF redirect (E1)"
"""The rows that others are compared with: nothing in between, and the least that could
be."""

BASES = {VETH: "R", REDIRECT: "E1"}
"""Short for a table's cells."""

Rows = dict[str, dict[str, list[float]]]
"""Rounds by row and metric; no entry where a metric means nothing for a row."""


class Comparison(Enum):
    """How a metric is put beside another row's."""

    RATIO = auto()
    DIFFERENCE = auto()
    NONE = auto()


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a measurement."""

    key: str
    title: str
    unit: str
    group: str
    digits: int = 2
    comparison: Comparison = Comparison.RATIO


FRAMES, CPU, BULK, LATENCY = (
    "64-byte frames",
    "CPU",
    "Bulk",
    "Latency of a round trip, and idle CPU",
)

METRICS = (
    Metric("tx_offered", "out, offered", "Mpps", FRAMES, comparison=Comparison.NONE),
    Metric("tx", "out, delivered", "Mpps", FRAMES),
    Metric("tx_lossless", "out, without loss", "Mpps", FRAMES),
    Metric("rx_offered", "in, offered", "Mpps", FRAMES, comparison=Comparison.NONE),
    Metric("rx", "in, delivered", "Mpps", FRAMES),
    Metric("rx_lossless", "in, without loss", "Mpps", FRAMES),
    Metric("tx_busy", "out, machine", "ns a frame", CPU, 0),
    Metric("tx_path", "out, datapath", "ns a frame", CPU, 0, Comparison.NONE),
    Metric("rx_busy", "in, machine", "ns a frame", CPU, 0),
    Metric("rx_path", "in, datapath", "ns a frame", CPU, 0, Comparison.NONE),
    Metric("tcp1_out", "TCP 1 out", "Gbit/s", BULK, 1),
    Metric("tcp1_in", "TCP 1 in", "Gbit/s", BULK, 1),
    Metric("tcp4_out", "TCP 4 out", "Gbit/s", BULK, 1),
    Metric("tcp4_in", "TCP 4 in", "Gbit/s", BULK, 1),
    Metric("gso", "UDP GSO out", "thousand/s of 48 kB", BULK, 1),
    Metric("same_p50", "one CPU p50", "us", LATENCY, 1, Comparison.DIFFERENCE),
    Metric("same_p99", "one CPU p99", "us", LATENCY, 1, Comparison.NONE),
    Metric("other_p50", "two CPUs p50", "us", LATENCY, 1, Comparison.NONE),
    Metric("other_p99", "two CPUs p99", "us", LATENCY, 1, Comparison.NONE),
    Metric("any_p50", "unplaced p50", "us", LATENCY, 1, Comparison.NONE),
    Metric("any_p99", "unplaced p99", "us", LATENCY, 1, Comparison.NONE),
    Metric("idle", "idle", "% of a CPU", LATENCY, 2, Comparison.NONE),
)


@dataclass(frozen=True, slots=True)
class Spread:
    """Some rounds of one metric."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, rounds: Iterable[float]) -> Self:
        """At least one round."""
        values = sorted(rounds)
        return cls(statistics.median(values), values[0], values[-1])


@dataclass(slots=True)
class Results:
    """All rounds, by section: the systems, and each sweep."""

    about: dict[str, Any] = field(default_factory=dict)
    """Machine, kernel, commit, command: what a reader must know to compare."""

    absent: dict[str, str] = field(default_factory=dict)
    """Peers that were not measured, and why."""

    sections: dict[str, Rows] = field(default_factory=dict)
    others: list[float] = field(default_factory=list)
    """Percent of all CPUs that were busy just before a round: a quiet machine has 0."""

    instructions: dict[str, float] = field(default_factory=dict)
    """Instructions of the hot path in user space, a frame; rounds do not vary."""

    def add(self, section: str, row: str, found: Mapping[str, float]) -> None:
        """One round of some metrics."""
        metrics = self.sections.setdefault(section, {}).setdefault(row, {})
        for key, value in found.items():
            metrics.setdefault(key, []).append(value)

    @property
    def rounds(self) -> int:
        """The number of rounds of the metric that has most."""
        every = (
            len(values)
            for rows in self.sections.values()
            for metrics in rows.values()
            for values in metrics.values()
        )
        return max(every, default=0)

    def to_json(self) -> str:
        """The file."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """ValueError when it is no such file."""
        found = json.loads(text)
        names = set(cls.__dataclass_fields__)
        if not isinstance(found, dict) or set(found) != names:
            raise ValueError(f"not a file of tools/bench: wanted {sorted(names)}")
        return cls(**found)
