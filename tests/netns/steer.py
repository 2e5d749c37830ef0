# SPDX-License-Identifier: BSD-2-Clause
"""One connection to a laggd, over which a test steers its lagg0 and reads its record.

Owns what a lagg is between two tests: every port attached, every option as it is at
creation, the seed fixed.  A laggctl for each step would take most of a test's time.
"""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import pytest

from lab import Daemon, conserved, overload, wait_until
from lagg.control.client import Client
from lagg.kernel import privileges

LAGG = "lagg0"
BY_XDP = "xdp+packet"
SNIFFED_S = 4.0
"""More than laggd takes to notice that a sniffer has gone, on a machine at rest."""

_CAP_SYS_RESOURCE = 24

DEADLINE_S = 60.0
"""Far longer than anything takes; reached only by what never happens."""

OPTIONS: dict[str, object] = {
    "lagghash": ["l2", "l3", "l4"],
    "hash": "crc32c",
    "hash_seed": 1,
    "hash_symmetric": False,
    "use_flowid": False,
    "flowid_shift": 16,
    "rr_limit": 1,
    "dedup": False,
    "failover_rx_all": False,
    "damping": False,
    "loop_guard": False,
    "link_local": "stay",
    "announce_count": 0,  # what is sent is the tests' own
    "rejoin_count": 0,
}


class Steer:
    """A connection; `close` ends it."""

    def __init__(self, laggd: Daemon) -> None:
        self._socket = str(laggd.socket)
        self._client = Client(self._socket)

    def reconnect(self) -> None:
        """To the next laggd, in place of one that is gone."""
        self._client.close()
        self._client = Client(self._socket)

    def close(self) -> None:
        self._client.close()

    def set(self, *, proto: str | None = None, **options: object) -> None:
        self._client.call("Set", name=LAGG, proto=proto, options=options or None)

    def set_port(self, port: str, **options: object) -> None:
        self._client.call("Set", name=LAGG, port={port: options})

    def set_mtu(self, mtu: int) -> None:
        self._client.call("Set", name=LAGG, mtu=mtu)

    def set_mac(self, mac: str) -> None:
        self._client.call("Set", name=LAGG, mac=mac)

    def attach(self, *ports: str) -> None:
        self._client.call("Attach", name=LAGG, ports=list(ports))

    def detach(self, *ports: str) -> None:
        self._client.call("Detach", name=LAGG, ports=list(ports))

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.call("List", name=LAGG)["laggs"][0]
        return found

    def ports(self) -> list[str]:
        return [port["name"] for port in self.record()["ports"]]

    def transmits(self, *ports: str) -> list[str]:
        """How these ports send."""
        found = {port["name"]: port["tx"] for port in self.record()["ports"]}
        return [found[port] for port in ports]

    def await_xdp(self, *ports: str) -> None:
        """Until no capture of an earlier test is noticed any more.

        Skips where the limit on locked memory, which all of a user's processes share,
        is used up by others and cannot be raised.
        """
        wanted = [BY_XDP] * len(ports)
        may_lock = bool(privileges.effective() >> _CAP_SYS_RESOURCE & 1)
        deadline_s = DEADLINE_S if may_lock else SNIFFED_S
        try:
            wait_until(
                lambda: self.transmits(*ports) == wanted, deadline_s, "AF_XDP is used"
            )
        except TimeoutError:
            if may_lock:
                raise
            pytest.skip("other processes have locked all the memory a user may")

    def wait_link(self, *ports: str, up: bool) -> None:
        """Until these ports have, or have lost, their carrier."""
        wanted = dict.fromkeys(ports, "up" if up else "down")

        def told() -> bool:
            links = {port["name"]: port["link"] for port in self.record()["ports"]}
            return wanted.items() <= links.items()

        wait_until(told, DEADLINE_S, f"{', '.join(ports)}: {'up' if up else 'down'}")

    def put_back(self, ports: Sequence[str]) -> None:
        """As it was: these ports with carrier, MTU 1500, failover, all options."""
        self.set(proto="failover", **OPTIONS)
        held = {}
        for port in self.record()["ports"]:
            held[port["name"]] = port["flags"]
            if port["weight"] != 1:
                self.set_port(port["name"], weight=1)
        if [*held] != [*ports] or "MASTER" not in held[ports[0]]:
            if held:
                self.detach(*held)
            self.attach(*ports)  # anew, so that the first is the primary
        if self.record()["mtu"] != 1500:
            self.set_mtu(1500)
        self.wait_link(*ports, up=True)


class Tally:
    """What a lagg counted since this was made."""

    def __init__(self, steer: Steer) -> None:
        self._look: Callable[[], dict[str, Any]] = steer.record
        self._before = steer.record()

    def still(self) -> "Tally":
        """As it is now: for looks that are to agree while frames of others come."""
        found, now = copy(self), self._now()
        found._look = lambda: now
        return found

    def __getitem__(self, counter: str) -> int:
        """ "tx_in", "rx_out", ..., of the lagg."""
        now, before = self._now()["counters"], self._before["counters"]
        return int(now[counter] - before[counter])

    @property
    def drops(self) -> dict[str, int]:
        """The lagg's drop reasons that counted anything."""
        before = self._before["counters"]["drops"]
        now = self._now()["counters"]["drops"]
        return {why: now[why] - before[why] for why in now if now[why] != before[why]}

    @property
    def overload(self) -> int:
        """Frames dropped because this machine is too slow."""
        return overload(self.drops)

    def ports(self, counter: str) -> dict[str, int]:
        """ "tx_frames", "rx_bytes", ..., of each port that was there throughout."""
        before = {port["name"]: port[counter] for port in self._before["ports"]}
        return {
            port["name"]: port[counter] - before[port["name"]]
            for port in self._now()["ports"]
            if port["name"] in before
        }

    def port_drops(self, name: str) -> dict[str, int]:
        (before,) = (p["drops"] for p in self._before["ports"] if p["name"] == name)
        (now,) = (p["drops"] for p in self._now()["ports"] if p["name"] == name)
        return {why: now[why] - before[why] for why in now if now[why] != before[why]}

    def _now(self) -> dict[str, Any]:
        record = self._look()
        conserved(record)
        return record
