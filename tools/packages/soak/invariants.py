# SPDX-License-Identifier: BSD-2-Clause
"""What must be true of every reading of a laggd, however much it is disturbed.

Owns the last reading of one connection: readings of one come in order.  Pure but for
that memory; a breach is an AssertionError that says which lagg and what.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.daemon import conserved

Record = Mapping[str, Any]

PORT_COUNTERS = ("tx_frames", "tx_bytes", "rx_frames", "rx_bytes")


class Invariants:
    """Looks at the records that one connection reads."""

    def __init__(self) -> None:
        self.readings = 0
        self._seen: dict[tuple[str, int], Record] = {}  # by name and ifindex

    def check(self, records: Sequence[Record]) -> None:
        """Records of one reading: of one lagg or of all."""
        _claimed_once(records)
        for record in records:
            conserved(record)
            key = (record["name"], record["ifindex"])
            if key in self._seen:
                _went_on(self._seen[key], record)
            self._seen[key] = record
            self.readings += 1

    def laggs(self, name: str) -> int:
        """How many of this name there were, one after the other."""
        return sum(name == each for each, _ in self._seen)

    def frames(self, name: str) -> dict[str, int]:
        """What all of this name have counted, as last read of each."""
        counts = [
            seen["counters"] for key, seen in self._seen.items() if key[0] == name
        ]
        ways = ("tx_in", "tx_out", "rx_in", "rx_out")
        return {way: sum(count[way] for count in counts) for way in ways}


def _claimed_once(records: Sequence[Record]) -> None:
    held = [(port["ifindex"], r["name"]) for r in records for port in r["ports"]]
    assert len({ifindex for ifindex, _ in held}) == len(held), f"held twice: {held}"
    slots = [(r["name"], port["slot"]) for r in records for port in r["ports"]]
    assert len(set(slots)) == len(slots), f"a slot with two ports: {slots}"


def _went_on(before: Record, now: Record) -> None:
    """Nothing that counts may go back."""
    name = now["name"]
    assert before["generation"] <= now["generation"], (
        f"{name}: generation {before['generation']} -> {now['generation']}"
    )
    _grew(name, _flat(before["counters"]), _flat(now["counters"]))
    if before["generation"] != now["generation"]:
        return  # a port may have left and come back: it counts from its attach
    ports = {port["ifindex"]: port for port in before["ports"]}
    for port in now["ports"]:
        old = ports.get(port["ifindex"])
        if old is not None:
            what = f"{name}: port {port['name']}"
            _grew(what, _port_counters(old), _port_counters(port))


def _flat(counters: Record) -> dict[str, int]:
    plain = {key: count for key, count in counters.items() if key != "drops"}
    return {**plain, **counters["drops"]}


def _port_counters(port: Record) -> dict[str, int]:
    return {**{key: port[key] for key in PORT_COUNTERS}, **port["drops"]}


def _grew(what: str, before: Mapping[str, int], now: Mapping[str, int]) -> None:
    back = {key: (was, now[key]) for key, was in before.items() if now[key] < was}
    assert not back, f"{what}: counters went back: {back}"
