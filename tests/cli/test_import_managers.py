# SPDX-License-Identifier: BSD-2-Clause
"""`import` of what network managers and switches say, each in its own words."""

import tomllib
from typing import Any

import pytest

from lagg.cli.importing import converted
from lagg.cli.importing.networkd import milliseconds
from lagg.cli.importing.text import Source
from tests.cli.imported import sources


def imported(*files: tuple[str, str]) -> tuple[dict[str, Any], str]:
    """The one lagg of these files, and all of what is printed."""
    toml = converted([Source(name, text) for name, text in files])
    (lagg,) = tomllib.loads(toml)["lagg"]
    return lagg, toml


# ---- networkd ----------------------------------------------------------------------

NETDEV = "[NetDev]\nName=bond0\nKind=bond\n[Bond]\nMode=active-backup\n"


@pytest.mark.parametrize(
    ("value", "time_ms"),
    [
        ("1", "1000"),
        ("100ms", "100"),
        ("0.100s", "100"),
        ("1min 2s", "62000"),
        ("1500us", "1"),
        ("2 h", "7200000"),
        ("", None),
        ("infinity", None),
        ("5 apples", None),
        ("-1s", None),
    ],
)
def test_a_time_is_systemd_s(value: str, time_ms: str | None) -> None:
    assert milliseconds(value) == time_ms


def test_a_drop_in_is_read_after_its_file_wherever_it_is_named() -> None:
    drop_in = "etc/systemd/network/bond0.netdev.d/mtu.conf"
    lagg, _ = imported(
        (drop_in, "[NetDev]\nMTUBytes=9000\n[Bond]\nMode=balance-rr\n"),
        ("etc/systemd/network/bond0.netdev", NETDEV),
    )
    assert (lagg["proto"], lagg["mtu"]) == ("roundrobin", 9000)


def test_the_network_of_a_bond_is_the_first_that_matches() -> None:
    _, toml = imported(
        ("bond0.netdev", NETDEV),
        ("90-rest.network", "[Match]\nName=*\n[Network]\nDHCP=yes\n"),
        ("10-bonds.network", "[Match]\nName=bond?\n[Network]\nDHCP=ipv4\n"),
    )
    assert "# [Network] DHCP=ipv4: stays in 10-bonds.network" in toml
    assert "# 90-rest.network: no bond and no port of these" in toml


def test_a_port_that_has_no_name_is_told_with_the_remedy() -> None:
    lagg, toml = imported(
        ("bond0.netdev", NETDEV),
        ("ports.network", "[Match]\nName=eth0 en*\n[Network]\nBond=bond0\n"),
    )
    assert lagg["ports"] == ["eth0"]
    assert "# ports.network: [Match] Name=en*: which interface that is" in toml


def test_a_port_of_a_bond_that_is_not_there_names_the_file_that_lacks() -> None:
    _, toml = imported(
        ("bond0.netdev", NETDEV),
        ("ports.network", "[Match]\nName=eth0\n[Network]\nBond=bond1\n"),
    )
    assert "a port of bond1, of which there is no .netdev: give it, too" in toml


def test_what_stands_on_a_bond_is_told_as_commands() -> None:
    toml = converted(sources("networkd"))
    assert "ip link add link uplink name storage type vlan id 41" in toml
    assert "ip link add br0 type bridge; ip link set uplink master br0" in toml
