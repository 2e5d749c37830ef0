# SPDX-License-Identifier: BSD-2-Clause
"""Interfaces named as people name them: ours, and strangers' in the same namespace.

Linux takes any bytes for a name but a blank and two signs.
"""

import errno
import fcntl
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from lab import Lab, wait_until
from lagg.config.rules import BadValueError, parse_name
from lagg.errors import LaggError
from lagg.kernel.netlink import Netlink
from lagg.link import Modes
from lagg.ports.originals import Original, StateFile
from tests.netns.commands_world import World
from tests.netns.test_upkeep import GROUP, GROUP_MAC

STRANGERS = {
    "UTF-8": "büro".encode(),
    "no UTF-8": b"b\xfcro",
    "a blank of Unicode": "a\u2003b".encode(),
    "the end of a line of Unicode": "a\u2028b".encode(),
    "a control character": b"a\x01b",
    "a word of the tables": b"ALL",
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.plug(0, 1)
        yield made.start()


def add_stranger(name: bytes) -> None:
    for words in (
        (b"link", b"add", name, b"type", b"veth", b"peer", b"name", b"peer0"),
        (b"link", b"set", name, b"up"),
    ):
        subprocess.run([b"ip", *words], check=True)


@pytest.mark.parametrize("what", STRANGERS)
def test_a_stranger_s_name_keeps_no_port_away_and_no_group(
    world: World, what: str
) -> None:
    world.near.inside(lambda: add_stranger(STRANGERS[what]))
    world.create("lagg0", "p0")
    world.attach("p1")
    assert world.port_names() == ["p0", "p1"]
    world.ip(f"maddr add {GROUP} dev lagg0")
    world.wait(lambda: GROUP_MAC in world.groups("p1"), "the port hears the group")
    assert world.commands.health().ailments == ()


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_a_lagg_and_its_ports_may_be_named_in_any_script(
    locale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    monkeypatch.setenv("PYTHONUTF8", str(int(locale != "C")))
    with Lab() as lab:
        near, far = lab.host("near"), lab.host("far")
        lab.cable(near, "büro", far, "q0")
        lab.cable(near, "網路", far, "q1")
        config = near.directory / "laggd.toml"
        config.write_text(
            '[[lagg]]\nname = "łącze0"\nports = ["büro", "網路"]\nproto = "lacp"\n',
            encoding="utf-8",
        )
        daemon = lab.daemon(near, config=config)

        def links() -> dict[str, str]:
            return {
                port["name"]: port["link"]
                for lagg in daemon.records()
                for port in lagg["ports"]
            }

        both_up = {"büro": "up", "網路": "up"}
        wait_until(lambda: links() == both_up, 30, "the ports are there")
        near.set_link("büro", state="down")
        near.set_link("büro", ifname="bureau")
        renamed = {"bureau": "down", "網路": "up"}
        wait_until(lambda: links() == renamed, 30, "one has another name")
        assert daemon.stop() == 0
        assert near.link("網路").mac != near.link("bureau").mac


@pytest.fixture
def rename_at_look(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, p0 is called wan0 as soon as a port's modes are asked for."""
    modes, done = Netlink.modes, list[str]()

    async def modes_slowly(netlink: Netlink, ifindex: int) -> Modes:
        if not done:
            done.append(world.ip("link set p0 name wan0"))
        return await modes(netlink, ifindex)

    return lambda: monkeypatch.setattr(Netlink, "modes", modes_slowly)


def test_an_interface_that_is_renamed_while_it_becomes_a_port_is_refused(
    world: World, rename_at_look: Callable[[], None]
) -> None:
    world.create("lagg0", "p1")
    rename_at_look()
    error = world.refused(lambda: world.attach("p0"))
    assert (error.thing, error.cause) == ("lagg0: port p0", "is called wan0 by now")
    assert world.port_names() == ["p1"]
    assert world.hears(0, "wan0")


def test_a_port_that_is_renamed_while_it_is_looked_at_is_known_by_its_new_name(
    world: World, rename_at_look: Callable[[], None]
) -> None:
    world.create("lagg0", "p0", "p1")
    rename_at_look()
    world.ip("link set p0 mtu 1400")  # so that it is looked at
    assert world.wait_event("port-renamed", "wan0").details == "was p0"
    assert not world.hears(0, "wan0")


def test_a_port_that_is_renamed_stays_deaf_though_that_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: StateFile, originals: Iterable[Original]) -> None:
        raise LaggError("ports.json", "save: No space left on device", errno.ENOSPC)

    world.create("lagg0", "p0", "p1")
    monkeypatch.setattr(StateFile, "save", full)
    world.ip("link set p0 name wan0")
    world.wait(lambda: not world.hears(0, "wan0"), "it is deaf")


def test_a_port_that_is_renamed_and_down_at_once_is_known_by_its_new_name(
    world: World,
) -> None:
    world.create("lagg0", "p0", "p1")
    may_go_on = threading.Event()
    world.loop.call_soon_threadsafe(may_go_on.wait)  # so that both are one event
    world.ip("link set p0 down")
    world.ip("link set p0 name wan0")
    may_go_on.set()
    assert world.wait_event("port-renamed", "wan0").details == "was p0"
    world.ip("link set wan0 up")
    world.wait(lambda: world.carrying() == ["wan0"], "it carries again")
    assert not world.hears(0, "wan0")


SIOCSIFNAME = 0x8923
NAME_BYTES = 16

CHARACTERS = [chr(code) for code in (*range(1, 0x400), *range(0x2000, 0x2070))]


def named(old: bytes, new: bytes) -> bool:
    """Whether the kernel gives an interface another name."""
    request = struct.pack(f"{NAME_BYTES}s{NAME_BYTES}s8x", old, new)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, SIOCSIFNAME, request)
        except OSError:
            return False
    return True


def test_every_name_that_check_accepts_is_one_the_kernel_takes(world: World) -> None:
    world.ip("link set p1 down")

    def refused() -> list[str]:
        found, now = [], b"p1"
        for each in filter(is_name, (f"a{c}b" for c in CHARACTERS)):
            if named(now, each.encode()):
                now = each.encode()
            else:
                found.append(each)
        return found

    assert world.near.inside(refused) == []


def is_name(text: str) -> bool:
    try:
        return bool(parse_name(text))
    except BadValueError:
        return False
