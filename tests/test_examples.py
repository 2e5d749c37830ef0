# SPDX-License-Identifier: BSD-2-Clause
"""The configurations in examples/ are good ones.  tests/netns runs the programs."""

from configparser import ConfigParser
from pathlib import Path

import pytest

from lagg.config.files import load
from tests.tree import ROOT

FILES = sorted((ROOT / "examples").glob("*.toml"))


NETWORK = ROOT / "examples" / "network"


def test_each_network_manager_leaves_the_ports_alone() -> None:
    networkd = ConfigParser(delimiters="=")
    networkd.read(NETWORK / "10-laggd-ports.network")
    assert networkd["Match"]["Name"].split() == ["eth1", "eth2"]
    assert networkd["Link"]["Unmanaged"] == "yes"
    manager = ConfigParser(delimiters="=")
    manager.read(NETWORK / "NetworkManager-laggd.conf")
    listed = manager["keyfile"]["unmanaged-devices"].split(";")
    assert [each.removeprefix("interface-name:") for each in listed] == [
        *("eth1", "eth2", "lagg0")
    ]
    stanzas = (NETWORK / "interfaces").read_text().splitlines()
    assert [line for line in stanzas if line.startswith("iface ")] == [
        "iface lagg0 inet static"
    ]


def test_every_file_for_a_network_manager_is_listed() -> None:
    listed = (NETWORK / "README.md").read_text()
    assert all(f"`{path.name}`" in listed for path in NETWORK.glob("[!R]*"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_example_is_a_configuration_that_laggd_takes(file: Path) -> None:
    laggs = load(file)
    assert laggs[0].proto.value == file.stem
    assert all(lagg.ports for lagg in laggs)
