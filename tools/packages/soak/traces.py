# SPDX-License-Identifier: BSD-2-Clause
"""What a laggd leaves: what it holds, what its ports are like, what it has logged.

Owns how much of each may be left when all laggs are gone.  Knows no actor.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.daemon import Daemon
from lab.host import Host
from lab.waiting import wait_until
from soak.actors import RENAMED

MTU = 1500
SETTLE_S = 60.0
"""For what the kernel and laggd do on their own after the last action."""

RSS_GROWTH_KB_MAX = 24 << 10
RSS_GROWTH_KB_MAX_SANITIZED = 192 << 10
"""ASan's shadow and quarantine, and TSan's, grow with use."""

POOL_THREADS = 8
"""What asyncio.to_thread may have started, and keeps."""

COMPLAINTS = re.compile(r"Traceback|\bERROR\b|runtime error:|Sanitizer")
"""What no daemon of ours may ever log."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds."""

    descriptors: int
    threads: int
    rss_kb: int

    @classmethod
    def of(cls, pid: int) -> "Footprint":
        """The footprint of a process of this machine."""
        proc = Path(f"/proc/{pid}")
        (rss,) = re.findall(r"VmRSS:\s+(\d+) kB", (proc / "status").read_text())
        descriptors, threads = (
            len(list((proc / each).iterdir())) for each in ("fd", "task")
        )
        return cls(descriptors, threads, int(rss))


def connections(laggd: Daemon) -> int:
    """Clients' connections in this namespace: open, or not read to their end."""
    table = Path("/proc/net/unix").read_text()
    return sum(line.endswith(f" {laggd.socket}") for line in table.splitlines())


def near_mac(number: int) -> str:
    """The MAC of the near end of a wire, also of a later wire of that number."""
    return f"02:00:5e:00:a0:{number:02x}"


def _facts(link: dict[str, Any]) -> dict[str, Any]:
    return {
        "mac": link["address"],
        "mtu": link["mtu"],
        "up": "UP" in link["flags"],
        "promiscuity": link["promiscuity"],
        "allmulti": link.get("allmulti", 0),
        "mode": link["inet6_addr_gen_mode"],
        "master": link.get("master"),
    }


def _as_made(number: int) -> dict[str, Any]:
    return {
        "mac": near_mac(number),
        "mtu": MTU,
        "up": True,
        "promiscuity": 0,
        "allmulti": 0,
        "mode": "eui64",
        "master": None,
    }


def ports_of(host: Host) -> dict[str, dict[str, Any]]:
    """All that laggd changes of a port, by its first name."""
    listed = json.loads(host.run("ip", "-d", "-j", "link", "show").stdout)
    old, new = RENAMED
    return {
        old if link["ifname"] == new else link["ifname"]: _facts(link)
        for link in listed
        if re.fullmatch(r"[pr]\d", link["ifname"])
    }


def check_ports(host: Host, wires: int) -> None:
    """AssertionError when a port is not, in SETTLE_S, as it was made."""
    wanted = {f"p{number}": _as_made(number) for number in range(wires)}
    try:
        wait_until(lambda: ports_of(host) == wanted, SETTLE_S, "ports are as before")
    except TimeoutError as error:
        found = ports_of(host)
        wrong = {k: found.get(k) for k in wanted if found.get(k) != wanted[k]}
        raise AssertionError(f"not as before: {wrong}") from error


def settled_footprint(laggd: Daemon, wanted: Footprint | None = None) -> Footprint:
    """Once no connection is open, and no more is held than `wanted`; AssertionError."""

    def settled() -> bool:
        now = Footprint.of(laggd.pid)
        return connections(laggd) == 0 and (
            wanted is None
            or (
                now.descriptors <= wanted.descriptors
                and now.threads <= wanted.threads + POOL_THREADS
            )
        )

    try:
        wait_until(settled, SETTLE_S, "everything is closed")
    except TimeoutError as error:
        now = Footprint.of(laggd.pid)
        raise AssertionError(f"leaked: {wanted} -> {now}") from error
    return Footprint.of(laggd.pid)


def complaints(laggd: Daemon) -> list[str]:
    """What it should not have logged."""
    log = laggd.log.read_text()
    found = COMPLAINTS.search(log)
    return [f"in the log: {log[found.start() :][:4000]}"] if found else []
