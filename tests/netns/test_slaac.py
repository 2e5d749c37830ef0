# SPDX-License-Identifier: BSD-2-Clause
"""A port that made itself addresses of a router's advertisement, and has them again."""

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.daemon import INSIDE
from lagg.kernel.netlink import messages
from lagg.kernel.netlink.wire import Request, Socket
from tests.netns.commands_world import World
from tests.waiting import wait_until

PREFIX = "2001:db8:5:"
VALID_S, PREFERRED_S, ROUTER_S = 3600, 1800, 1800

_ADVERTISEMENT = struct.Struct("!BBHBBHII")
_PREFIX_OPTION = struct.Struct("!BBBBIII16s")
_ON_LINK_AUTONOMOUS = 0xC0
_ALL_NODES = "ff02::1"

LAGGD = "from lagg.daemon.process import main; raise SystemExit(main())"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.near.inside(_heed_routers)
        yield made


def _heed_routers() -> None:
    conf = Path("/proc/sys/net/ipv6/conf")
    for scope in ("all", "default"):
        (conf / scope / "forwarding").write_text("0")
        (conf / scope / "accept_ra").write_text("1")
        (conf / scope / "use_tempaddr").write_text("2")


def advertise(name: str) -> None:
    """A router on the interface of that name says its prefix."""
    body = _ADVERTISEMENT.pack(134, 0, 0, 64, 0, ROUTER_S, 0, 0)
    body += _PREFIX_OPTION.pack(
        *(3, 4, 64, _ON_LINK_AUTONOMOUS, VALID_S, PREFERRED_S, 0),
        socket.inet_pton(socket.AF_INET6, f"{PREFIX}:"),
    )
    index = socket.if_nametoindex(name)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        s.sendto(body, (_ALL_NODES, 0, 0, index))


def advertised(world: World, name: str) -> list[str]:
    """The addresses of that prefix that an interface has."""
    found = world.link(name)["addresses"]
    return sorted(address for address, *_ in found if address.startswith(PREFIX))


def routes(world: World, name: str) -> set[str]:
    """Where the kernel would send by it: destinations of the main table."""
    lines = world.ip(f"-6 route show dev {name}").splitlines()
    return {line.split()[0] for line in lines}


@pytest.fixture
def grown(world: World) -> dict[str, object]:
    """p0, up, with a public and a temporary address, and routes; it as it is."""
    world.plug(0)
    world.far.inside(lambda: advertise("q0"))
    world.wait(lambda: len(advertised(world, "p0")) == 2, "p0 has made its addresses")
    world.wait(lambda: "default" in routes(world, "p0"), "p0 knows its router")
    return lasting(world)


def lasting(world: World) -> dict[str, object]:
    """p0 without the temporary addresses, which the kernel draws anew each time."""
    lines = world.ip("-6 -o addr show dev p0").splitlines()
    addresses = {line.split()[3] for line in lines if "temporary" not in line}
    link = world.link("p0")
    keys = ("address", "mtu", "inet6_addr_gen_mode")
    return {"addresses": addresses} | {key: link[key] for key in keys}


def test_it_is_attached_and_neither_speaks_nor_is_spoken_through(
    world: World, grown: dict[str, object]
) -> None:
    world.start()
    world.create("lagg0", "p0")
    assert world.link("p0")["addresses"] == []
    assert routes(world, "p0") == set()
    world.far.inside(lambda: advertise("q0"))
    world.wait(lambda: advertised(world, "lagg0"), "the lagg hears its router")
    assert world.link("p0")["addresses"] == []
    assert routes(world, "p0") == set()
    world.detach("p0")
    assert lasting(world) == grown


@pytest.mark.usefixtures("grown")
def test_what_expires_before_it_is_taken_away_keeps_it_from_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, gone = Socket.ask, {messages.RTM_DELADDR: 0, messages.RTM_DELROUTE: 0}

    async def ask_too_late(asker: Socket, *requests: Request) -> list[bytes]:
        if requests[0].kind in gone:
            gone[requests[0].kind] += 1
            await ask(asker, *requests)  # so that it is gone already
        return await ask(asker, *requests)

    monkeypatch.setattr(Socket, "ask", ask_too_late)
    world.start()
    world.create("lagg0", "p0")
    assert all(gone.values())
    assert world.link("p0")["addresses"] == []
    assert routes(world, "p0") == set()


@pytest.mark.usefixtures("grown")
def test_what_it_has_again_has_lived_on_meanwhile(world: World) -> None:
    world.start()
    world.create("lagg0", "p0")
    world.detach("p0")
    (line,) = [
        line
        for line in world.ip("-6 -o addr show dev p0").splitlines()
        if PREFIX in line and "temporary" not in line
    ]
    words = line.replace("sec", "").split()
    valid_s = int(words[words.index("valid_lft") + 1])
    preferred_s = int(words[words.index("preferred_lft") + 1])
    assert VALID_S - 120 <= valid_s <= VALID_S
    assert PREFERRED_S - 120 <= preferred_s <= PREFERRED_S
    # A router's next word makes it live longer, so it is the kernel's own again.
    world.far.inside(lambda: advertise("q0"))
    world.wait(lambda: "default" in routes(world, "p0"), "it knows its router")
    assert len(advertised(world, "p0")) == 2
    world.attach("p0")  # and no reason to refuse it


def test_the_next_laggd_gives_them_back_after_a_kill(
    world: World, grown: dict[str, object], tmp_path: Path
) -> None:
    config = tmp_path / "laggd.toml"
    config.write_text('[[lagg]]\nname = "lagg0"\nports = ["p0"]\n')

    def start() -> "subprocess.Popen[bytes]":
        words = ["--config", str(config), "--socket", str(tmp_path / "s")]
        words += ["--state-dir", str(tmp_path / "state"), INSIDE]
        return subprocess.Popen([sys.executable, "-c", LAGGD, *words])

    process = world.near.inside(start)
    try:
        wait_until(lambda: world.link("p0")["addresses"] == [], 60, "p0 is a port")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    config.write_text("")
    process = world.near.inside(start)
    try:
        wait_until(lambda: lasting(world) == grown, 60, "p0 is as it was")
    finally:
        process.terminate()
        process.wait()


def test_an_address_that_somebody_gave_it_beside_is_refused(
    world: World, grown: dict[str, object]
) -> None:
    world.start()
    world.ip("addr add 2001:db8:6::1/64 dev p0")
    error = world.refused(lambda: world.create("lagg0", "p0"))
    assert "has the address 2001:db8:6::1/64" in error.cause
    world.ip("addr del 2001:db8:6::1/64 dev p0")
    assert lasting(world) == grown
    assert "default" in routes(world, "p0")
