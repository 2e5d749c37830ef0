# SPDX-License-Identifier: BSD-2-Clause
"""Watches `bfd` and `poll`, live between two laggds."""

from typing import Any

import pytest

from lab import Host, Lab, wait_until
from lagg.watchers.bfd_packet import CONTROL_BYTES, ControlPacket, decode_control
from tests.netns.frames import Capture

DEADLINE_S = 60.0
"""Far longer than anything takes; reached only by what never happens."""

PATIENT = "missed_max=200"
"""Ten seconds of the shortest interval: no machine stands still for so long."""


def wait_until_agreed(host: Host, port: str, interval_ms: int) -> None:
    """Until what comes in there says this interval, and polls no more."""
    with Capture(host, port) as seen:

        def said() -> bool:
            packets = (decode_control(s.wire[-CONTROL_BYTES:]) for s in seen.take())
            return any(
                isinstance(packet, ControlPacket)
                and packet.desired_min_tx_us == interval_ms * 1000
                and not (packet.poll or packet.final)
                for packet in packets
            )

        wait_until(said, DEADLINE_S, f"{interval_ms} ms are agreed on")


def bfd(target: str, source: str, *, interval_ms: int) -> str:
    return f"bfd,target={target},source={source},interval_ms={interval_ms},{PATIENT}"


@pytest.mark.parametrize(
    "ends",
    [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")],
    ids=["IPv4", "IPv6"],
)
def test_two_laggds_have_micro_sessions_on_each_cable_and_ask_their_drivers(
    ends: tuple[str, str],
) -> None:
    with Lab() as lab:
        hosts = lab.host("a"), lab.host("b")
        for n in range(2):
            lab.cable(hosts[0], f"p{n}", hosts[1], f"p{n}")
        daemons = [lab.daemon(host) for host in hosts]
        for laggd, (ours, theirs) in zip(daemons, (ends, ends[::-1]), strict=True):
            laggd.ctl(
                *("create", "lagg0", "--port", "p0", "--port", "p1"),
                *("--watch", bfd(theirs, ours, interval_ms=100)),
                *("--watch", "poll,interval_ms=100"),
            )

        def states() -> list[str]:
            ports = [p for each in daemons for p in each.record("lagg0")["ports"]]
            return [watch["state"] for port in ports for watch in port["watch"]]

        wait_until(lambda: states() == ["up"] * 8, DEADLINE_S, "every watch is up")

        def sessions() -> list[dict[str, Any]]:
            ports = [p for each in daemons for p in each.record("lagg0")["ports"]]
            return [port["watch"][0] for port in ports]

        before = sessions()
        ours, theirs = ends
        for interval_ms in (1000, 50):
            watch = bfd(theirs, ours, interval_ms=interval_ms)
            daemons[0].ctl("set", "lagg0", "--watch", watch, "--watch", "poll")
            wait_until_agreed(hosts[1], "p1", interval_ms)
        assert sessions() == before, "no session has left Up"
