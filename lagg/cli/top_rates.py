# SPDX-License-Identifier: BSD-2-Clause
"""Rates of laggs and ports: what came between two records, and how it has been.

Owns what a rate is, and the history.  Pure: records and their times in, numbers out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lagg.cli.said import lost_of

if TYPE_CHECKING:
    from lagg.records import LaggRecord, PortRecord

HISTORY = 60
"""Pages that a port's history goes back."""

_NS = 1_000_000_000


class Rates(NamedTuple):
    """A port between two records, per second."""

    tx_frames: float
    tx_bits: float
    rx_frames: float
    rx_bits: float
    drops: float
    lost: float  # of these: those that somebody missed

    @property
    def bits(self) -> float:
        """Both ways."""
        return self.tx_bits + self.rx_bits


STILL = Rates(0, 0, 0, 0, 0, 0)


class History:
    """What was seen of each port; the newest record last."""

    def __init__(self) -> None:
        self._laggs: dict[str, LaggRecord] = {}
        self._time_ns = 0
        self._rates: dict[tuple[str, str], deque[Rates]] = {}

    def add(self, laggs: Sequence[LaggRecord], time_ns: int) -> None:
        """The records of one moment; monotonic time."""
        passed_s = (time_ns - self._time_ns) / _NS
        fresh = {
            (lagg["name"], port["name"]): self._rates_of(lagg, port, passed_s)
            for lagg in laggs
            for port in lagg["ports"]
        }
        self._rates = {
            key: deque([*self._rates.get(key, ()), rates], maxlen=HISTORY)
            for key, rates in fresh.items()
        }
        self._laggs = {lagg["name"]: lagg for lagg in laggs}
        self._time_ns = time_ns

    @property
    def laggs(self) -> list[LaggRecord]:
        """The newest records."""
        return list(self._laggs.values())

    def of(self, lagg: str, port: str) -> Sequence[Rates]:
        """A port's rates, the newest last."""
        return self._rates[lagg, port]

    def _rates_of(self, lagg: LaggRecord, port: PortRecord, passed_s: float) -> Rates:
        before = self._port_before(lagg["name"], port)
        if before is None or passed_s <= 0:
            return STILL

        def rate(now: int, was: int) -> float:
            return max(now - was, 0) / passed_s

        return Rates(
            rate(port["tx_frames"], before["tx_frames"]),
            rate(port["tx_bytes"], before["tx_bytes"]) * 8,
            rate(port["rx_frames"], before["rx_frames"]),
            rate(port["rx_bytes"], before["rx_bytes"]) * 8,
            rate(sum(port["drops"].values()), sum(before["drops"].values())),
            rate(lost_of(port["drops"]), lost_of(before["drops"])),
        )

    def _port_before(self, lagg: str, port: PortRecord) -> PortRecord | None:
        """The port of this ifindex in the record before."""
        if lagg not in self._laggs:
            return None
        ports = self._laggs[lagg]["ports"]
        alike = (p for p in ports if p["ifindex"] == port["ifindex"])
        return next(alike, None)


def rates_json(history: History) -> list[dict[str, Any]]:
    """The newest rates of each port, for programs."""
    return [
        {
            "name": lagg["name"],
            "ports": [
                {
                    "name": port["name"],
                    **history.of(lagg["name"], port["name"])[-1]._asdict(),
                }
                for port in lagg["ports"]
            ],
        }
        for lagg in history.laggs
    ]
