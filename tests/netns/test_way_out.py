# SPDX-License-Identifier: BSD-2-Clause
"""Every way out puts back all that can be put back, and says what could not."""

import asyncio
import errno
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Daemon, Host, Lab, wait_until
from lagg.errors import LaggError
from lagg.kernel.native import Device
from lagg.kernel.netlink import Netlink
from lagg.model import LaggConfig
from tests.netns.commands_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """p0 to p3, and no lagg yet."""
    with World(tmp_path) as made:
        made.plug(0, 1, 2, 3)
        made.start()
        yield made


def two_laggs(world: World) -> dict[str, str]:
    """Makes them; the MACs of all ports before."""
    macs = addresses(world)
    world.create("lagg0", "p0", "p1")
    world.create("lagg1", "p2", "p3")
    return macs


def addresses(world: World) -> dict[str, str]:
    links = world.kernel()["links"]
    return {name: links[name]["address"] for name in ("p0", "p1", "p2", "p3")}


def closed(world: World) -> LaggError | None:
    """Ends the commands; what they say could not be done."""
    commands, world._commands = world.commands, None
    try:
        world.do(commands.close())
    except LaggError as error:
        return error
    return None


# ---- laggd -------------------------------------------------------------------------


def test_sigterm_with_many_laggs_says_nothing_but_that_all_is_as_it_was() -> None:
    with Lab() as lab:
        laggd, before = laggd_with_laggs(lab, 8)
        assert laggd.stop() == 0
        assert ended_well(laggd)
        assert macs_of(laggd.host) == before


def test_laggctl_stop_returns_when_all_is_as_it_was_and_both_halves_have_ended() -> (
    None
):
    with Lab() as lab:
        laggd, before = laggd_with_laggs(lab, 1)
        pid = laggd.pid
        assert laggd.ctl("stop") == f"laggd, pid {pid}, has ended\n"
        assert laggd.awaited() == 0
        assert ended_well(laggd)
        assert (macs_of(laggd.host), laggd.forwarder()) == (before, None)


def test_sigterm_while_a_lagg_goes_puts_the_others_ports_back() -> None:
    with Lab() as lab:
        laggd, before = laggd_with_laggs(lab, 2)
        laggd.send(signal.SIGSTOP)
        laggd.host.delete_link("lagg0")
        laggd.send(signal.SIGTERM)
        laggd.send(signal.SIGCONT)
        assert laggd.stop() == 0
        assert ended_well(laggd)
        assert macs_of(laggd.host) == before


def laggd_with_laggs(lab: Lab, laggs: int) -> tuple[Daemon, dict[str, str]]:
    """laggd with so many laggs of two ports; the MACs of all ports before."""
    near, far = lab.host("near"), lab.host("far")
    for number in range(laggs):
        for half in "ab":
            lab.cable(near, f"e{number}{half}", far, f"f{number}{half}")
    laggd = lab.daemon(near)
    before = macs_of(near)
    for number in range(laggs):
        ports = [f"--port=e{number}{half}" for half in "ab"]
        laggd.ctl("create", f"lagg{number}", *ports)
    wait_until(lambda: len(laggd.records()) == laggs, 30, "the laggs are there")
    return laggd, before


def macs_of(host: Host) -> dict[str, str]:
    return {name: host.link(name).mac for name in host.links() if name != "lo"}


def ended_well(laggd: Daemon) -> bool:
    log = laggd.log.read_text()
    assert not [word for word in ("Traceback", "never", "ERROR") if word in log]
    return log.splitlines()[-1].endswith("every port is as it was found")


# ---- what fails on the way ---------------------------------------------------------


def test_a_device_that_does_not_close_keeps_no_port(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = two_laggs(world)
    close, failures = Device.close, [OSError(errno.EBUSY, "for a test")]

    def fail_once(device: Device) -> None:
        close(device)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(Device, "close", fail_once)
    with pytest.raises(OSError, match="for a test"):
        closed(world)
    assert addresses(world) == before


def test_a_port_that_cannot_be_put_back_is_named_and_the_others_are(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = two_laggs(world)
    stubborn = next(p["ifindex"] for p in world.record()["ports"] if p["name"] == "p1")
    set_mac = Netlink.set_mac

    async def refuse(netlink: Netlink, ifindex: int, mac: str) -> None:
        if ifindex == stubborn:
            raise LaggError("p1", f"set MAC {mac}: for a test", errno.EBUSY)
        await set_mac(netlink, ifindex, mac)

    monkeypatch.setattr(Netlink, "set_mac", refuse)
    error = closed(world)
    assert (str(error), addresses(world)["p1"]) == (
        "p1: not as found: see the log (EIO)",
        before["p0"],
    )
    assert addresses(world) == before | {"p1": before["p0"]}
    assert "for a test" in caplog.text
    world.ip(f"link set p1 address {before['p1']}")


def test_what_fails_when_nobody_waits_for_it_any_more_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def give_up() -> None:
        doomed = LaggConfig("lagg0", ports=("p0", "nobody"))
        operation = asyncio.ensure_future(world.commands.create(doomed))
        await asyncio.sleep(0)
        operation.cancel()

    world.do(give_up())
    world.wait(lambda: "no such interface" in caplog.text, "it is logged")
    assert "lagg0: port nobody: no such interface (ENODEV)" in caplog.messages
    assert world.laggs() == []
