# SPDX-License-Identifier: BSD-2-Clause
"""Numbered frames between a booted machine's lagg0 and another laggd's, both ways.

    near, the machine's network: lagg0 = p0 p1  ------------  q0 q1 = lagg0 :far

Owns what is to be true after whatever happens to the machine's laggd meanwhile.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from lab import Lab, Stream, conserved, overload, wait_until
from tests.debian_root import Machine
from tests.netns.outliving import Facts, facts
from tests.netns.partners import know

DEADLINE_S = 120.0

RATE, FLOWS = 4_000, 8


class Crossing:
    """Frames of the two hosts `near` and `far` of a lab."""

    def __init__(self, lab: Lab, machine: Machine) -> None:
        self._machine = machine
        self._near, self._far = lab.hosts["near"], lab.hosts["far"]
        self._laggd = lab.daemon(self._far)
        self._laggd.ctl(
            "create", "lagg0", "--proto=loadbalance", "--port=q0", "--port=q1"
        )
        ends = (self._near, "10.77.0.1"), (self._far, "10.77.0.2")
        for (host, address), (other, its) in (ends, ends[::-1]):
            host.add_address("lagg0", f"{address}/24")
            know(host, "lagg0", its, other.link("lagg0").mac)
        wait_until(self._has_settled, DEADLINE_S, "no address is tentative")
        self._found = self._kept()

    def _has_settled(self) -> bool:
        """Whether lagg0 has the kernel's own address, and it is no longer probed."""
        (link,) = self._kept()["addresses"]
        found = link["addr_info"]
        own = [each for each in found if each["family"] == "inet6"]
        return bool(own) and not any(each.get("tentative") for each in own)

    def _kept(self) -> Facts:
        return facts(self._near, "lagg0")

    def _dropped_for_want_of_cpu(self) -> int:
        """At both ends; every frame is accounted for there."""
        (ours,) = json.loads(self._machine.run("laggctl", "--json", "show"))
        records = ours, self._laggd.record()
        for record in records:
            conserved(record)
        return sum(overload(record["counters"]["drops"]) for record in records)

    @contextmanager
    def unbroken(self, what: str, *, lost_max: int = 0) -> Iterator[None]:
        """Frames flow each way while the block runs, and so many may be missing."""
        dropped = self._dropped_for_want_of_cpu()
        streams = [
            Stream(self._near, self._far, "10.77.0.2", rate=RATE, flows=FLOWS),
            Stream(self._far, self._near, "10.77.0.1", rate=RATE, flows=FLOWS),
        ]
        yield
        wait_for_status(self._machine, "1 lagg, 2 ports, 2 carry")
        for stream in streams:
            stream.stop()
        results = [stream.result() for stream in streams]
        print(what, *results, sep="\n  ")
        dropped = self._dropped_for_want_of_cpu() - dropped
        assert max(each.lost for each in results) <= lost_max + dropped, what
        assert sum(each.corrupt for each in results) == 0
        assert self._kept() == self._found, what


def wait_for_status(machine: Machine, status: str) -> None:
    wait_until(
        lambda: machine.property_of("laggd", "StatusText") == status,
        DEADLINE_S,
        f"laggd says {status!r}",
    )
