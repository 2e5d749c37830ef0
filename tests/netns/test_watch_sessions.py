# SPDX-License-Identifier: BSD-2-Clause
"""Watches `bfd` and `poll`, live between two laggds."""

import pytest

from lab import Lab, wait_until

DEADLINE_S = 60.0
"""Far longer than anything takes; reached only by what never happens."""


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
                *("--watch", f"bfd,target={theirs},source={ours},interval_ms=100"),
                *("--watch", "poll,interval_ms=100"),
            )

        def states() -> list[str]:
            ports = [p for each in daemons for p in each.record("lagg0")["ports"]]
            return [watch["state"] for port in ports for watch in port["watch"]]

        wait_until(lambda: states() == ["up"] * 8, DEADLINE_S, "every watch is up")
