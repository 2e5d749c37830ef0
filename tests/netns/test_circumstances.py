# SPDX-License-Identifier: BSD-2-Clause
"""What is adopted in other circumstances than two alike laggs with one worker each.

    a: lagg0 = p0 p1 p2  ------------  q0 q1 q2 = lagg0 :b
       lagg1 = x0  ------------------  y0             in bridge br0
       lagg2: waits for z0, then z1

lagg0 has two workers and another MTU, and is passive; a macvlan and, where this kernel
has them, a VLAN are above it.  What is done right after the adoption is done as well.
"""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab import (
    CommandError,
    Daemon,
    Host,
    Lab,
    Pair,
    StreamResult,
    conserved,
    wait_until,
)
from lab.daemon import LAGGCTL
from lagg.control.client import Client
from tests.netns.outliving import facts, furnish, steady
from tests.netns.partners import Steered
from tests.netns.steer import BY_XDP, DEADLINE_S, LAGG, Tally

RATE, FLOWS, BETWEEN = 1000, 16, 100
MTU = 1400
VLAN, BRIDGE = "lagg0.7", "br0"
ACTIVITY = 0x01  # 802.1AX 6.4.2.3
COUNTED = ("_frames", "_bytes")
SAID = "laggctl: laggd is gone; waiting\nlaggctl: laggd is back\n"


class World(Steered):
    """All of it; a's laggd is the one that is followed."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.config = directory / "laggd.toml"
        self.config.write_text("")
        options = ("--workers", "2", "--config", str(self.config))
        pair = Pair(
            lab,
            cables=3,
            proto="lacp",
            options=("--mtu", str(MTU), "--lacp-fast-timeout"),
            laggd=options,
        )
        super().__init__(pair)
        pair.wait_until_agreed(3)
        self.near, self.laggd = pair.a.host, pair.a.laggd
        lab.cable(self.near, "x0", pair.b.host, "y0")
        self.laggd.ctl("create", "lagg1", "--port", "x0")
        self.wait_for(1)
        furnish(self.near)
        self.near.netlink("link", "add", ifname=BRIDGE, kind="bridge")
        self.near.set_link("lagg1", master=self.near.ifindex(BRIDGE))
        self.vlan = add_vlan(self.near)
        self.a.set(lacp_active=False)

    def wait_for(self, ports: int) -> None:
        """Has lagg2 of the file wait for so many."""
        names = [f"z{number}" for number in range(ports)]
        self.config.write_text(
            f'[[lagg]]\nname = "lagg2"\nports = {json.dumps(names)}\n'
        )
        self.laggd.ctl("reload")

    def plug(self, port: int) -> None:
        """What lagg2 waits for comes, and is attached."""
        self.near.veth(f"z{port}", f"far{port}")
        wait_until(
            lambda: port < len(self.mine()["lagg2"]["ports"]),
            DEADLINE_S,
            f"z{port} is attached",
        )

    def held(self) -> list[Any]:
        """What others have put on the laggs, or hold of them."""
        names = [LAGG, *([VLAN] if self.vlan else [])]
        links = self.near.run("bridge", "link").stdout, self.near.ifindex("lagg1")
        return [links, *(facts(self.near, name) for name in names)]

    def records(self) -> list[dict[str, Any]]:
        """The record of each lagg but lagg2, whose ports come."""
        mine = self.mine()
        return [mine[LAGG], mine["lagg1"], self.b.record()]

    def mine(self) -> dict[str, dict[str, Any]]:
        """a's laggs, by name."""
        with Client(str(self.laggd.socket)) as laggd:
            return {each["name"]: each for each in laggd.call("List")["laggs"]}

    def passive(self) -> bool:
        """Whether b knows that a is."""
        partners = [port["lacp"]["partner"] for port in self.b.record()["ports"]]
        return not any(each["state"] & ACTIVITY for each in partners)

    @contextmanager
    def captured(self, directory: Path) -> Iterator[Callable[[], str]]:
        """While somebody captures; what he says is given."""
        said, out = directory / "said", directory / "out"
        ctl = (LAGGCTL, "--socket", self.laggd.socket, "capture", "lagg1")
        with said.open("wb") as errors, out.open("wb") as file:
            process = self.near.popen(*ctl, stdout=file, stderr=errors)
        wait_until(lambda: out.stat().st_size > 0, DEADLINE_S, "the capture begins")
        yield said.read_text
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0


def add_vlan(host: Host) -> bool:
    """False where this kernel has none."""
    try:
        host.run(
            "ip", "link", "add", "link", LAGG, "name", VLAN, "type", "vlan", "id", "7"
        )
    except CommandError:
        return False
    host.set_link(VLAN, state="up")
    host.add_address(VLAN, "10.79.0.1/24")
    return True


def killed(laggd: Daemon) -> None:
    laggd.kill()
    laggd.start()


def replaced(laggd: Daemon) -> None:
    laggd.restart()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Lab() as lab:
        made = World(lab, tmp_path)
        yield made
        made.close()


@pytest.mark.long
def test_all_of_it_is_adopted_and_what_follows_at_once_is_done(
    world: World, tmp_path: Path
) -> None:
    wait_until(world.passive, DEADLINE_S, "b knows that a is passive")
    held, before = world.held(), world.records()
    tallies = [Tally(steer) for steer in world.steers]
    with (
        world.captured(tmp_path) as said,
        world.pair.streaming(rate=RATE, flows=FLOWS) as run,
    ):
        for number, follow in enumerate((killed, replaced), start=1):
            follow(world.laggd)
            world.wait_for(number + 1)
            world.plug(number - 1)
            wait_until(partial(is_said, said, number), DEADLINE_S, "it captures on")
            world.a.reconnect()
    after = world.records()
    assert world.held() == held
    assert [*map(steady, after)] == [*map(steady, before)]
    assert world.passive()
    for one, other in zip(before, after, strict=True):
        now = counted(other)
        assert [key for key, n in counted(one).items() if now[key] < n] == []
        conserved(other)
    lossless(tallies, run.results)
    assert world.mine()["lagg2"]["waiting_for"] == ["z2"]


def lossless(tallies: list[Tally], results: tuple[StreamResult, ...]) -> None:
    """Each frame came once and in turn, but for those this machine was too slow for."""
    overload = sum(tally.overload for tally in tallies)
    print(*results, overload, sep="\n")
    for result in results:
        assert result.corrupt == result.errors == result.reordered == 0
        assert result.duplicated == 0
        assert result.lost <= overload


def test_ports_that_send_by_af_xdp_do_so_for_whoever_follows() -> None:
    with (
        Lab() as lab,
        closing(Steered(Pair(lab, cables=2, proto="loadbalance"))) as steered,
    ):
        a, laggd = steered.a, steered.pair.a.laggd
        a.await_xdp("p0", "p1")
        tallies = [Tally(steer) for steer in steered.steers]
        with steered.pair.streaming(rate=RATE, flows=FLOWS) as run:
            for follow in (killed, replaced):
                follow(laggd)
                a.reconnect()
                assert a.transmits("p0", "p1") == [BY_XDP, BY_XDP]
        lossless(tallies, run.results)


def is_said(said: Callable[[], str], times: int) -> bool:
    return said() == times * SAID


def counted(record: dict[str, Any]) -> dict[str, int]:
    """What only grows."""
    counters = record["counters"]
    found = counters | counters["drops"]
    for port in record["ports"]:
        numbers = {key: n for key, n in port.items() if key.endswith(COUNTED)}
        numbers |= port["lacp"]["counters"] if port["lacp"] else {}
        found |= {f"{port['name']}: {key}": n for key, n in numbers.items()}
    return {key: n for key, n in found.items() if isinstance(n, int)}
