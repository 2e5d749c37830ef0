# SPDX-License-Identifier: BSD-2-Clause
"""A lagg whose cables end in bare interfaces, where every frame that leaves is seen.

    near: lagg0 = p0 p1 p2 p3  ------------  q0 q1 q2 q3 :far

Owns its silence: no host speaks by itself here, so that every count is exact.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from lab import Host, Lab, conserved, wait_until
from lab.daemon import INSIDE
from lab.lab import PANEL
from tests.netns.frames import Capture
from tests.netns.steer import DEADLINE_S, LAGG, Steer

PORTS = ("p0", "p1", "p2", "p3")
ENDS = ("q0", "q1", "q2", "q3")

BURST = 256
"""Frames sent before their arrival is waited for: a quarter of the TAP's queue."""

Ways = list[tuple[int, ...]]
"""The numbers of the ports that each frame left by."""


class Bare:
    """The lagg, its four cables, and the frames that go into it."""

    def __init__(self, lab: Lab, *options: str) -> None:
        self.near, self.far = lab.host("near"), lab.host("far")
        for host in (self.near, self.far, lab.host(PANEL)):
            silence(host)
        # Patched: a far end whose cable is cut can still be looked at.
        self.cables = [
            lab.cable(self.near, port, self.far, end, patched=True)
            for port, end in zip(PORTS, ENDS, strict=True)
        ]
        # What is asked here of the hot path does not depend on whose threads it has.
        self.laggd = lab.daemon(self.near, log_level="info", options=(INSIDE, *options))
        words = [word for port in PORTS for word in ("--port", port)]
        self.laggd.ctl("create", LAGG, *words)
        self.steer = Steer(self.laggd)
        self.into = self.near.packet_socket(LAGG)

    def close(self) -> None:
        self.into.close()
        self.steer.close()

    def put_back(self) -> None:
        for cable in self.cables:
            cable.mend()
        for port in PORTS:
            self.near.set_link(port, state="up")
        self.steer.put_back(PORTS)

    def cut(self, number: int) -> None:
        """Cuts a cable; returns when laggd has noticed."""
        self.cables[number].cut()
        self.steer.wait_link(PORTS[number], up=False)

    def mend(self, number: int) -> None:
        self.cables[number].mend()
        self.steer.wait_link(PORTS[number], up=True)

    def ways(self, frames: Sequence[bytes], *, copies: int = 1) -> Ways:
        """Sends frames, all different, into the lagg and tells where each came out.

        Asserts that they came out as they went in, and as often as laggd counted;
        `copies` is how often each is to.
        """
        numbers = {frame: number for number, frame in enumerate(frames)}
        assert len(numbers) == len(frames)
        found: list[list[int]] = [[] for _ in frames]
        with self.watched() as ends:
            for start in range(0, len(frames), BURST):
                burst = frames[start : start + BURST]
                sent = self._send(burst, copies)
                for end, wire in _arrivals(ends, sent):
                    found[numbers[wire]].append(end)
        return [tuple(sorted(ends)) for ends in found]

    def _send(self, frames: Sequence[bytes], copies: int) -> int:
        """Sends frames into the lagg; returns how many copies of them left it."""
        before = self.steer.record()["counters"]
        for frame in frames:
            self.into.send(frame)
        wanted = before["tx_in"] + copies * len(frames)
        wait_until(lambda: self._tx_in() >= wanted, DEADLINE_S, "all frames are taken")
        record = self.steer.record()
        conserved(record)
        sent: int = record["counters"]["tx_out"] - before["tx_out"]
        return sent

    def _tx_in(self) -> int:
        taken: int = self.steer.record()["counters"]["tx_in"]
        return taken

    @contextmanager
    def watched(self) -> Iterator[list[Capture]]:
        """What arrives at each far end from now on."""
        with ExitStack() as opened:
            yield [opened.enter_context(Capture(self.far, end)) for end in ENDS]


def _arrivals(ends: Sequence[Capture], count: int) -> list[tuple[int, bytes]]:
    """(number of the far end, frame) of the next `count` frames, and not one more."""
    found: list[tuple[int, bytes]] = []

    def complete() -> bool:
        for number, end in enumerate(ends):
            found.extend((number, seen.wire) for seen in end.take())
        return len(found) >= count

    wait_until(complete, DEADLINE_S, f"{count} frames arrive")
    assert len(found) == count
    return found


def silence(host: Host) -> None:
    """No interface of this host, nor one it will get, sends anything by itself."""
    for which in ("all", "default"):
        host.sysctl(f"net.ipv6.conf.{which}.disable_ipv6", 1)
