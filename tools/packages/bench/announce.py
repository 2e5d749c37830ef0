# SPDX-License-Identifier: BSD-2-Clause
"""How soon neighbours are told that a lagg has another MAC, or is reached another way.

Run as `tools/bench announce`.  By packet times: of the first gratuitous ARP at the
other end of the cables, since the order was given, and since the kernel told of the
event: of lagg0's new MAC, or of the carrier that is gone.  An order takes its own time,
as that a port is deleted.
"""

import argparse
import os
import re
import socket
import statistics
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from lab import Lab
from lab.waiting import wait_until
from lagg.control.client import Client

COUNT = 21
DEADLINE_S = 20.0
QUIET_S = 0.4
"""After what is not measured, until nothing more is said of it."""

AFTER_S = 0.15
"""After the first announcement, in which an old MAC would come."""

LAGG, NAMES = "lagg0", ("p0", "p1", "p2")
ADDRESS, MAC = "192.0.2.77", "02:00:5e:00:53:99"

_ETH_P_ARP = 0x0806
_SOL_PACKET, _PACKET_IGNORE_OUTGOING, _SO_TIMESTAMPNS = 263, 23, 35
_TIMESPEC = struct.Struct("@ll")
_OURS = socket.inet_aton(ADDRESS)


class Scene:
    """A lagg of three ports, an ear at the other ends, and what the kernel tells."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.near, self.far = lab.host("near"), lab.host("far")
        self._config = self.near.directory / "laggd.toml"
        self._config.write_text("")
        laggd = lab.daemon(self.near, config=self._config, log_level="warning")
        self._client = Client(str(laggd.socket))
        self._ear = self.far.open_socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP)
        )
        self._ear.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._ear.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._ear.setblocking(False)
        monitor = self.near.popen("ip", "-ts", "-o", "monitor", "link")
        assert monitor.stdout is not None
        self._told = monitor.stdout.fileno()
        os.set_blocking(self._told, False)

    def close(self) -> None:
        """The lab ends the rest."""
        self._client.close()
        self._ear.close()

    # ---- what is done ----------------------------------------------------------------

    def call(self, method: str, **words: object) -> None:
        """Has laggd do something with lagg0."""
        self._client.call(method, name=LAGG, **words)

    def options(self, **options: object) -> None:
        """Sets options."""
        self.call("Set", options=options)

    def reload(self, *ports: str, mac: str | None = None) -> None:
        """Has a file with lagg0 of these ports, or none without any, be what runs."""
        lines = [f"[[lagg]]\nname = '{LAGG}'\nports = {[*ports]}\n"] if ports else []
        lines += [f"mac = '{mac}'\n"] if mac else []
        self._config.write_text("".join(lines))
        self._client.call("Reload")

    def fresh(self) -> None:
        """lagg0 anew, with all its ports, the first of them carrying."""
        self.reload()
        if self.near.has_link(LAGG):
            self.call("Destroy")
        if self.far.has_link(NAMES[0]):  # it has moved there
            self.far.netlink("link", "del", index=self.far.ifindex(NAMES[0]))
        for name in NAMES:
            end = name.replace("p", "q")
            if not self.near.has_link(name):
                self._lab.cable(self.near, name, self.far, end)
            self.far.set_link(end, state="up")
        self.call("Create", proto="failover", ports=[*NAMES])
        self.near.add_address(LAGG, f"{ADDRESS}/24")
        wait_until(lambda: self.near.link(LAGG).carrier, DEADLINE_S, "it has carrier")

    # ---- what is heard ---------------------------------------------------------------

    def mac(self) -> str:
        """What lagg0 has as its MAC now."""
        return self.near.link(LAGG).mac

    def announced(self) -> list[tuple[int, str]]:
        """When (ns since 1970) by which MAC, since this was asked last."""
        found = []
        with suppress(BlockingIOError):
            while True:
                frame, control, _, _ = self._ear.recvmsg(2048, 64)
                seconds, ns = _TIMESPEC.unpack_from(control[0][2])
                if frame[28:32] == _OURS == frame[38:42]:
                    found.append((seconds * 10**9 + ns, frame[22:28].hex(":")))
        return found

    def told(self) -> list[tuple[int, str]]:
        """When (ns since 1970) the kernel told what of a link, since this was asked."""
        said = b""
        with suppress(BlockingIOError):
            while part := os.read(self._told, 1 << 16):
                said += part
        lines = (line.partition("] ") for line in said.decode().splitlines())
        return [(_ns_of(at.strip("[")), what) for at, _, what in lines if what]


def _ns_of(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1e6) * 1000


# ---- ways ----------------------------------------------------------------------------

Step = Callable[[Scene], object]


@dataclass(frozen=True, slots=True)
class Way:
    """By which lagg0 has another MAC, or another port carries it."""

    act: Step
    before: Sequence[Step] = field(default=())
    told: str = ""  # what the kernel says of the event, as a pattern
    other_mac: bool = True


NEW_MAC = rf" {LAGG}: .*link/ether {{mac}} "
NO_CARRIER = r" p0@\S+ <[^>]*NO-CARRIER"
AS_LAGG4 = (lambda s: s.options(mac_policy="primary"),)


def _delete(scene: Scene) -> None:
    scene.near.netlink("link", "del", index=scene.near.ifindex("p0"))


def _move(scene: Scene) -> None:
    scene.near.set_link("p0", net_ns_fd=scene.far.descriptor)


def _detach(scene: Scene) -> None:
    scene.call("Detach", ports=["p0"])


def _cut(scene: Scene) -> None:
    scene.far.set_link("q0", state="down")


def _mac(act: Step, *before: Step) -> Way:
    return Way(act, before, NEW_MAC)


def _port(act: Step, *before: Step, told: str = "") -> Way:
    return Way(act, before, told, other_mac=False)


WAYS = {
    "MAC by laggctl set": _mac(lambda s: s.call("Set", mac=MAC)),
    "MAC by ip link set": _mac(lambda s: s.near.set_link(LAGG, address=MAC)),
    "MAC by a file": _mac(lambda s: s.reload(*NAMES, mac=MAC)),
    "MAC given up by a file": _mac(
        lambda s: s.reload(*NAMES), lambda s: s.reload(*NAMES, mac=MAC)
    ),
    "other order in a file": _mac(
        lambda s: s.reload(*NAMES[::-1]), lambda s: s.reload(*NAMES)
    ),
    "other mac_policy": _mac(lambda s: s.options(mac_policy="primary"), _detach),
    "primary detached": _mac(_detach, *AS_LAGG4),
    "primary deleted": _mac(_delete, *AS_LAGG4),
    "primary moved away": _mac(_move, *AS_LAGG4),
    "mac_policy active, cable cut": _mac(
        _cut, lambda s: s.options(mac_policy="active")
    ),
    "failover: cable cut": _port(_cut, told=NO_CARRIER),
    "failover: laggctl set --active": _port(lambda s: s.call("Set", active="p1")),
    "failover: --hold": _port(lambda s: s.call("Set", port={"p0": {"hold": True}})),
    "failover: its port detached": _port(_detach),
    "loadbalance: cable cut": _port(
        _cut, lambda s: s.call("Set", proto="loadbalance"), told=NO_CARRIER
    ),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One change."""

    since_order_ms: float
    since_told_ms: float | None
    old_macs: int  # announcements with the MAC of before, after the first of the new


def measure(scene: Scene, way: Way) -> Sample:
    """Makes one change of a lagg that is made for it."""
    scene.fresh()
    for step in way.before:
        time.sleep(QUIET_S)
        step(scene)
    time.sleep(QUIET_S)
    old = scene.mac()
    scene.announced()
    scene.told()
    ordered_ns = time.time_ns()
    way.act(scene)
    heard: list[tuple[int, str]] = []

    def is_announced() -> bool:
        heard.extend(scene.announced())
        return any((mac != old) is way.other_mac for _, mac in heard)

    wait_until(is_announced, DEADLINE_S, "it is announced")
    time.sleep(AFTER_S)
    heard += scene.announced()
    news = [at for at, mac in sorted(heard) if mac == scene.mac()]
    event = way.told.format(mac=scene.mac())
    told = [at for at, what in scene.told() if event and re.search(event, f" {what}")]
    return Sample(
        (news[0] - ordered_ns) / 1e6,
        (news[0] - told[0]) / 1e6 if told else None,
        sum(mac != scene.mac() and at > news[0] for at, mac in heard),
    )


HEAD = (
    *("", "times", "since the order, ms", "since the kernel told, ms"),
    *("with the old MAC later", "load"),
)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _row(name: str, samples: Sequence[Sample]) -> str:
    told = [each.since_told_ms for each in samples if each.since_told_ms is not None]
    cells = (
        name,
        str(len(samples)),
        _spread([each.since_order_ms for each in samples]),
        _spread(told),
        str(sum(each.old_macs for each in samples)),
        f"{os.getloadavg()[0]:.1f}",
    )
    return _line(cells)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(words: Sequence[str] | None = None) -> None:
    """Prints a row for each way."""
    parser = argparse.ArgumentParser(prog="tools/bench announce", description=__doc__)
    parser.add_argument("--way", action="append", choices=WAYS)
    parser.add_argument("--count", type=int, default=COUNT, help=f"default {COUNT}")
    chosen = parser.parse_args(words)
    print(_line(HEAD))
    print(_line(["---"] * len(HEAD)))
    with Lab("announce") as lab:
        scene = Scene(lab)
        for name in chosen.way or WAYS:
            samples = [measure(scene, WAYS[name]) for _ in range(chosen.count)]
            print(_row(name, samples), flush=True)
        scene.close()
    print("\nMedian (least to most), by packet times.")


if __name__ == "__main__":
    main()
