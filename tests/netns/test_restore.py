# SPDX-License-Identifier: BSD-2-Clause
"""A port is put back as it was found: on detach, on the end, and after SIGKILL."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.daemon import INSIDE
from lagg.errors import LaggError
from lagg.kernel.netlink.generic import Generic
from lagg.model import Proto
from lagg.ports.originals import _digest
from tests.netns.commands_world import World, differences
from tests.waiting import wait_until

MAC = "02:00:5e:00:53:99"

LAGGD = "from lagg.daemon.process import main; raise SystemExit(main())"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def interfaces(world: World) -> dict[str, str]:
    """All that the host had before there was a lagg, down to nft and multicast."""
    return {key: value for key, value in world.calm().items() if "descr" not in key}


# ---- detach ------------------------------------------------------------------------

# What a port may be like, as lines of ip(8).
PORTS = {
    "an ordinary one": [],
    "with another MTU": ["link set p1 mtu 1400"],
    "with a MTU too small for IPv6": ["link set p1 mtu 1000"],
    "without a link-local address": [
        "link set p1 addrgenmode none",
        "addr flush dev p1 scope link",
    ],
    "with random link-local addresses": ["link set p1 addrgenmode random"],
    "with a link-local address by hand": ["addr add fe80::53/64 dev p1"],
    "that is promiscuous already": ["link set p1 promisc on"],
    "that hears all multicast already": ["link set p1 allmulticast on"],
    "with a multicast address by hand": ["maddr add 01:00:5e:7f:00:01 dev p1"],
}

# Those that a veth has; of LRO only hardware knows.
OFFLOADS = ("rx-gro-list", "rx-udp-gro-forwarding")

WAYS: dict[str, Callable[[World], None]] = {
    "detach": lambda world: world.detach("p1"),
    "destroy": lambda world: world.destroy(),
    "the daemon's end": lambda world: world.stop(),
}


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("what", PORTS)
def test_detach_puts_a_port_back(world: World, what: str, up: bool) -> None:
    world.start()
    world.warm_up()
    world.plug(0)
    world.plug(1, up=up)
    for line in PORTS[what]:
        world.ip(line)
    before = interfaces(world)
    world.create("lagg0", "p0", mac=MAC, mtu=1500)
    world.ip("link set lagg0 promisc on")
    world.ip("link set lagg0 allmulticast on")
    world.attach("p1")
    port = world.link("p1")
    assert (port["address"], port["addresses"]) == (MAC, [])
    assert port["inet6_addr_gen_mode"] == "none"
    world.wait(lambda: "p1" not in world.carrying() or up, "p1 is a port")
    world.detach("p1", "p0")
    world.destroy()
    with suppress(TimeoutError):
        world.wait(lambda: interfaces(world) == before, "it is put back")
    assert differences(before, interfaces(world)) == []
    if up:
        world.wait(lambda: world.hears(1), "p1 hears again")


@pytest.mark.parametrize("way", WAYS)
def test_every_way_out_puts_the_ports_back(world: World, way: str) -> None:
    world.plug(0, mtu=1400)
    world.plug(1)
    world.plug(2, up=False)
    before = world.kernel()
    world.start()
    world.create("lagg0", "p0", "p1", "p2", proto=Proto.BROADCAST)
    world.ip("link set lagg0 promisc on")
    assert not world.hears(1)
    WAYS[way](world)
    world.wait(lambda: world.hears(1), "p1 hears again")
    if way != "detach":
        world.wait(lambda: world.kernel() == before, "all is as it was")
    world.wait(lambda: world.link("p1") == before["links"]["p1"], "p1 is as it was")


def test_a_port_that_the_lagg_took_down_is_up_again(world: World) -> None:
    world.plug(0, 1)
    before = world.kernel()
    world.start()
    world.create("lagg0", "p0", "p1")
    world.ip("link set lagg0 down")
    world.wait(lambda: "UP" not in world.link("p1")["flags"], "p1 is down")
    world.detach("p1", "p0")
    world.destroy()
    world.wait(lambda: world.kernel() == before, "the ports are as they were")


def test_ipv6_that_a_small_mtu_took_does_not_come_back_on_a_port(world: World) -> None:
    """Below 1280 bytes there is none, and nothing that was set of it is kept."""
    world.plug(0, 1)
    before = world.kernel()
    world.start()
    world.create("lagg0", "p0", "p1")
    for mtu in (1000, 1500):
        world.change(mtu=mtu)
    world.calm()
    assert [world.link(name)["addresses"] for name in ("p0", "p1")] == [[], []]
    world.destroy()
    world.wait(lambda: world.kernel() == before, "the ports are as they were")


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("on", [OFFLOADS, OFFLOADS[:1], OFFLOADS[1:]])
def test_offloads_that_stop_a_ring_are_off_while_an_interface_is_a_port(
    world: World, on: tuple[str, ...], up: bool
) -> None:
    """packet(7) cannot describe what they make of frames."""
    world.plug(0, 1)
    world.plug(2, up=up)
    for name in ("p1", "p2"):
        world.offload(name, *on)
    before = world.kernel()
    assert before["offloads"]["p2"] == sorted(on)
    world.start()
    world.create("lagg0", "p0", "p1", "p2")
    assert not any(world.kernel()["offloads"].values())
    world.detach("p1")
    world.wait(lambda: world.link("p1") == before["links"]["p1"], "p1 is as it was")
    assert world.kernel()["offloads"] == before["offloads"] | {"p2": [], "lagg0": []}
    world.destroy()
    world.wait(lambda: world.kernel() == before, "all is as it was")


def test_an_offload_that_somebody_sets_on_a_port_is_let_be(world: World) -> None:
    world.plug(0)
    world.start()
    world.create("lagg0", "p0")
    world.offload("p0", OFFLOADS[0])
    world.calm()
    assert world.kernel()["offloads"]["p0"] == [OFFLOADS[0]]
    world.destroy()
    assert world.kernel()["offloads"]["p0"] == [OFFLOADS[0]]


@pytest.fixture
def lro_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """LRO is on and [fixed], as no driver of this kernel without hardware has it."""
    told = Generic._features

    async def features(generic: Generic, ifindex: int) -> bytes:
        return await told(generic, ifindex) + b"rx-lro\0"

    monkeypatch.setattr(Generic, "_features", features)


@pytest.mark.usefixtures("lro_fixed")
def test_a_port_whose_driver_keeps_an_offload_on_is_taken_and_it_is_said_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.plug(0)
    world.offload("p0", *OFFLOADS)
    before = world.kernel()
    world.start()
    world.create("lagg0", "p0")
    assert world.carrying() == ["p0"]
    assert world.kernel()["offloads"]["p0"] == []  # the others are off all the same
    world.change(proto=Proto.BROADCAST)
    world.destroy()
    world.wait(lambda: world.kernel() == before, "all is as it was")
    said = [each.getMessage() for each in caplog.records]
    kept = "p0: set rx-lro off: the driver leaves it as it is (EOPNOTSUPP)"
    assert said == [kept, "lagg0: link: down: no-port (p0 left)"]


# ---- SIGKILL -----------------------------------------------------------------------


def laggd(world: World, *ports: str) -> subprocess.Popen[bytes]:
    """A laggd with a lagg0 of these ports, serving."""
    config = world.state_dir / "laggd.toml"
    listed = ", ".join(f'"{port}"' for port in ports)
    config.write_text(f'[[lagg]]\nname = "lagg0"\nports = [{listed}]\nmtu = 1300\n')
    socket = world.state_dir / "laggd.sock"
    words = [INSIDE, "--config", config, "--socket", socket]
    words += ["--state-dir", world.state_dir]
    daemon = world.near.inside(
        lambda: subprocess.Popen(
            [sys.executable, "-c", LAGGD, *map(str, words)], stderr=subprocess.DEVNULL
        )
    )
    world.wait(lambda: carried(world, *ports), "laggd has its ports")
    return daemon


def carried(world: World, *ports: str) -> bool:
    seen = world.kernel()
    taken = [seen["links"][port]["ifindex"] for port in ports]
    chains = [f"{way}{ifindex}" for ifindex in taken for way in ("local", "out")]
    return "lagg0" in seen["links"] and seen["chains"] == sorted(chains)


def kill(daemon: subprocess.Popen[bytes]) -> None:
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()


@pytest.fixture
def killed(world: World) -> dict[str, object]:
    """What the kernel was like before a laggd that was killed at work."""
    world.plug(0)
    world.plug(1, mtu=1400)
    world.plug(2, up=False)
    world.offload("p1", *OFFLOADS)
    before = world.kernel()
    daemon = laggd(world, "p0", "p1", "p2")
    assert world.kernel()["offloads"]["p1"] == []
    world.ip("link set lagg0 promisc on")
    world.wait(lambda: world.link("p1")["promiscuity"] > 0, "p1 is promiscuous")
    kill(daemon)
    return before


def let_go(seen: dict[str, Any]) -> bool:
    """Whether no port is deaf, promiscuous, or listened to."""
    ports = [seen["links"][name] for name in ("p0", "p1", "p2")]
    heard = {port[key] for port in ports for key in ("promiscuity", "allmulti")}
    return (seen["chains"], seen["packet sockets"], heard) == ([], [], {0})


def test_after_sigkill_nothing_is_deaf_or_promiscuous_at_once(
    world: World, killed: dict[str, object]
) -> None:
    world.wait(lambda: "lagg0" not in world.kernel()["links"], "the TAP is gone")
    world.wait(lambda: let_go(world.kernel()), "all that it held is free")
    world.wait(lambda: world.hears(0), "p0 hears")


def test_after_sigkill_the_next_start_puts_everything_back(
    world: World, killed: dict[str, object]
) -> None:
    assert world.kernel() != killed
    world.start()
    world.wait(lambda: world.kernel() == killed, "the ports are as they were")
    assert not (world.state_dir / "ports.json").exists()
    world.create("lagg0", "p0", "p1", "p2")  # and are free


def test_after_sigkill_a_port_that_is_gone_or_another_by_now_is_left_alone(
    world: World, killed: dict[str, object]
) -> None:
    world.ip("link del p0")
    world.ip("link set p1 name other")
    world.wait(lambda: not world.link("other")["promiscuity"], "nobody holds it")
    before = world.kernel()["links"]["other"]
    world.start()
    assert world.kernel()["links"]["other"] == before
    assert world.link("p2")["mtu"] == 1500


@pytest.mark.parametrize("where", ["boot", "netns"])
def test_a_state_file_of_another_boot_or_namespace_is_ignored(
    world: World, killed: dict[str, object], where: str
) -> None:
    other = World(world.state_dir)
    with other:
        if where == "netns":
            other.start().stop()
        else:
            rewrite(world.state_dir / "ports.json")
            world.start().stop()
    assert world.link("p1")["mtu"] == 1300


def rewrite(path: Path) -> None:
    """Makes the state file one that was written by an earlier boot."""
    body = json.loads(path.read_text())["body"]
    body["where"]["boot"] = "0" * 36
    path.write_text(json.dumps({"sha256": _digest(body), "body": body}))


def test_a_damaged_state_file_keeps_nobody_from_starting(
    world: World, killed: dict[str, object]
) -> None:
    path = world.state_dir / "ports.json"
    path.write_bytes(path.read_bytes()[:-40])
    world.start()
    assert path.with_suffix(".damaged").exists()
    world.create("lagg0", "p0")
    assert world.port_names() == ["p0"]


def test_a_second_laggd_of_one_state_directory_is_refused(world: World) -> None:
    world.start()
    with World(world.state_dir) as second, pytest.raises(LaggError, match="EBUSY"):
        second.start()


def test_a_killed_laggd_leaves_no_descriptor_in_the_way(world: World) -> None:
    """Deaths in a row, each with the ports of the one before."""
    world.plug(0, 1)
    before = world.kernel()
    for _ in range(3):
        kill(laggd(world, "p0", "p1"))
    world.start()
    world.wait(lambda: world.kernel() == before, "the ports are as they were")
    assert os.listdir(world.state_dir)
    wait_until(lambda: world.hears(1), 60, "p1 hears")
