# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl balance --flows`: an elephant among mice is found, with its load."""

import json
from typing import Any

from lab import Stream
from lab.daemon import LAGGCTL
from lab.stream import PORT
from tests.netns.partners import Partners, flowed
from tests.netns.steer import LAGG

MICE, ELEPHANT_PORT = 100, PORT + 1
SHARE = 500 * 1042 / (500 * 1042 + 2000 * 142)
"""What the elephant sends, of what all do."""


def asked(partners: Partners, *words: str) -> dict[str, Any]:
    """What laggctl says in a's namespace, where it finds neighbours and frames."""
    a = partners.pair.a
    base = (str(LAGGCTL), "--socket", str(a.laggd.socket))
    found: dict[str, Any] = json.loads(a.host.run(*base, *words, "--json").stdout)
    return found


def test_an_elephant_among_mice_is_the_heaviest_flow(partners: Partners) -> None:
    partners.set(proto="loadbalance")
    a, b = partners.pair.ends
    mice = Stream(a.host, b.host, b.address, rate=2000, flows=MICE, payload_bytes=100)
    elephant = Stream(
        a.host, b.host, b.address, rate=500, port=ELEPHANT_PORT, payload_bytes=1000
    )
    flowed(partners, 2000)
    found = asked(partners, "balance", LAGG, "--flows", "3")
    for stream in (mice, elephant):
        stream.stop()
        stream.result()
    print(json.dumps(found, indent=1))
    flows = found["flows"]
    first, second, *_ = flows["heaviest"]
    assert flows["samples"] > 50
    assert f" dport={ELEPHANT_PORT}" in first["flow"]
    assert f"src={a.address} dst={b.address} proto=udp " in first["flow"]
    # Three times what is right 19 times of 20.
    wanted = SHARE * flows["bytes_per_s"]
    assert abs(first["bytes_per_s"] - wanted) <= 3 * first["error"] < wanted
    assert second["bytes_per_s"] < first["bytes_per_s"] / 5
    way = asked(partners, "explain", LAGG, *first["flow"].split())
    assert first["bucket"] == way["bucket"]
    assert first["ports"] == way["choice"]["ports"]
    load = {port["port"]: port["bytes"] for port in found["ports"]}
    assert max(load, key=lambda port: load[port]) in first["ports"]
