# SPDX-License-Identifier: BSD-2-Clause
"""A watch that asks by one port: its first probe, and what one frame makes of it."""

from lagg.watchers.address import probe_mac
from lagg.watchers.asking import Asking
from lagg.watchers.kinds import MAKERS
from lagg.watchers.watcher import Ends
from lagg.watches import LinkWatch, WatchState

HOST, THIRD = "02:00:5e:00:53:01", "02:00:5e:00:53:03"
ENDS = Ends(probe_mac("02:00:5e:00:53:aa", 0), slot=0)


def asked(watch: LinkWatch) -> tuple[Asking, list[bytes]]:
    """Its machine, and the frames of its first question."""
    machine = MAKERS[watch.kind](watch, ENDS, WatchState.DOWN)
    assert isinstance(machine, Asking)
    machine.link(up=True, now=0)
    return machine, machine.tick(0)


def found(frame: object, watch: LinkWatch) -> WatchState:
    """The verdict when this comes in after the first question."""
    machine, _ = asked(watch)
    machine.heard(bytes(frame), 1)  # type: ignore[call-overload]  # scapy's packets
    return machine.state
