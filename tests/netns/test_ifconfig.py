# SPDX-License-Identifier: BSD-2-Clause
"""`ifconfig` on real interfaces: the lines of lagg(4), and what comes of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import Lab, ping, wait_until
from lab.daemon import LAGGCTL, Daemon
from lab.host import CommandError, Host

SECONDS = 60.0

Ifconfig = Callable[..., str]


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host, Daemon]]:
    """near: em0 em1  ----  far: q0 q1, bridged by nothing."""
    with Lab() as lab:
        near, far = lab.host("near"), lab.host("far")
        for port, end in (("em0", "q0"), ("em1", "q1")):
            lab.cable(near, port, far, end)
        yield near, far, lab.daemon(near)


@pytest.fixture
def ifconfig(hosts: tuple[Host, Host, Daemon], tmp_path: Path) -> Ifconfig:
    """laggctl through a link of that name, inside near."""
    near, _, laggd = hosts
    link = tmp_path / "ifconfig"
    link.symlink_to(LAGGCTL)
    environment = f"LAGGD_SOCKET={laggd.socket}"
    return lambda line: near.run("env", environment, link, *line.split()).stdout


def test_the_examples_of_lagg4_run(
    hosts: tuple[Host, Host, Daemon], ifconfig: Ifconfig
) -> None:
    near, far, _ = hosts
    for line in (
        "em0 up",
        "em1 up",
        "lagg0 create",
        "lagg0 laggproto failover laggport em0 laggport em1"
        " 192.0.2.1 netmask 255.255.255.0",
    ):
        ifconfig(line)
    far.add_address("q0", "192.0.2.2/24")
    wait_until(lambda: ping(near, "192.0.2.2").lost == 0, SECONDS, "it carries")
    assert near.addresses("lagg0") >= {"192.0.2.1/24"}
    page = ifconfig("lagg0")
    assert page.splitlines()[0] == (
        "lagg0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> metric 0 mtu 1500"
    )
    assert "\tinet 192.0.2.1 netmask 0xffffff00 broadcast 192.0.2.255\n" in page
    assert "\tlaggport: em0 flags=5<MASTER,ACTIVE>\n" in page
    assert page.endswith("\tstatus: active\n")
    assert near.link("lagg0").mac in ifconfig("em1")  # a port has the lagg's address


def test_a_lagg_goes_down_and_up_with_its_ports(
    hosts: tuple[Host, Host, Daemon], ifconfig: Ifconfig
) -> None:
    near, _, _ = hosts
    ifconfig("lagg0 create laggport em0 mtu 1400 ether 02:00:5e:00:53:77")
    assert (near.link("em0").mtu, near.link("em0").mac) == (1400, "02:00:5e:00:53:77")
    ifconfig("lagg0 down")
    wait_until(lambda: not near.link("em0").up, SECONDS, "the port is down")
    assert "\tstatus: no carrier" in ifconfig("lagg0")
    ifconfig("lagg0 up")
    wait_until(lambda: near.link("em0").up, SECONDS, "the port is up")


def test_a_port_that_is_not_there_does_not_take_the_lagg_down(
    hosts: tuple[Host, Host, Daemon], ifconfig: Ifconfig
) -> None:
    _, _, laggd = hosts
    line = "lagg0 create laggport em0 laggport em7 laggport em1 laggproto loadbalance"
    with pytest.raises(CommandError) as refused:
        ifconfig(line)
    assert refused.value.code == 1
    assert "ifconfig: lagg0: port em7: " in refused.value.output
    record = laggd.record()
    assert [port["name"] for port in record["ports"]] == ["em0", "em1"]
    assert record["proto"] == "loadbalance"
    ifconfig("lagg0 laggport em0 laggport em1")  # again: success, as on FreeBSD


def test_an_ordinary_interface_is_set_too(
    hosts: tuple[Host, Host, Daemon], ifconfig: Ifconfig
) -> None:
    near, _, _ = hosts
    ifconfig("em0 down ether 02:00:5e:00:53:66 mtu 1300 198.51.100.1/25 up")
    link = near.link("em0")
    assert (link.mac, link.mtu, link.up) == ("02:00:5e:00:53:66", 1300, True)
    assert "198.51.100.1/25" in near.addresses("em0")
    assert "laggproto" not in ifconfig("em0")


def test_flags_description_and_broadcast_are_set_on_a_lagg_and_on_any(
    hosts: tuple[Host, Host, Daemon], ifconfig: Ifconfig
) -> None:
    near, _, _ = hosts
    ifconfig("lagg0 create laggport em0")
    for name in ("lagg0", "em1"):
        ifconfig(f"{name} descr uplink promisc -arp debug")
        shown = near.run("ip", "-d", "link", "show", name).stdout
        flags = set(shown.partition("<")[2].partition(">")[0].split(","))
        assert flags >= {"PROMISC", "NOARP", "DEBUG"}
        assert shown.rstrip().endswith("alias uplink")
        ifconfig(f"{name} -descr -promisc arp -debug")
        shown = near.run("ip", "-d", "link", "show", name).stdout
        flags = set(shown.partition("<")[2].partition(">")[0].split(","))
        assert not flags & {"PROMISC", "NOARP", "DEBUG"}
        assert "uplink" not in shown
    ifconfig("em1 192.0.2.1 netmask 255.255.255.0 broadcast 192.0.2.127")
    assert "inet 192.0.2.1 netmask 0xffffff00 broadcast 192.0.2.127" in ifconfig("em1")


def test_a_lagg_keeps_the_description_it_was_given(
    hosts: tuple[Host, Host, Daemon], ifconfig: Ifconfig
) -> None:
    near, _, _ = hosts
    ifconfig("lagg0 create descr uplink")
    ifconfig("lagg0 laggport em0")
    assert near.run("ip", "link", "show", "lagg0").stdout.rstrip().endswith("uplink")
