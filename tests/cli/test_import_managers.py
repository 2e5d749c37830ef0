# SPDX-License-Identifier: BSD-2-Clause
"""`import` of what network managers and switches say, each in its own words."""

import sys
import tomllib
from typing import Any

import pytest

from lagg.cli.importing import converted
from lagg.cli.importing.netplan import time_ms
from lagg.cli.importing.networkd import milliseconds
from lagg.cli.importing.text import Source
from lagg.cli.output import UsageError
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


# ---- NetworkManager ----------------------------------------------------------------

BOND = (
    "[connection]\ntype=bond\ninterface-name=bond0\nuuid=u-1\nid=Up\n[bond]\nmode=1\n"
)


@pytest.mark.parametrize("word", ["bond0", "u-1", "Up"])
@pytest.mark.parametrize("key", ["controller", "master"])
def test_a_connection_names_its_bond_by_uuid_interface_or_id(
    word: str, key: str
) -> None:
    port = f"[connection]\ntype=ethernet\ninterface-name=eth0\n{key}={word}\n"
    lagg, _ = imported(("a.nmconnection", BOND), ("b.nmconnection", port))
    assert lagg["ports"] == ["eth0"]


def test_a_port_without_a_name_and_one_of_no_bond_here_are_told() -> None:
    of_mac = "[connection]\nmaster=bond0\n[ethernet]\nmac-address=02:00:5e:00:53:01\n"
    alone = "[connection]\ninterface-name=eth9\nmaster=bond9\n"
    lagg, toml = imported(
        ("a.nmconnection", BOND), ("b.nmconnection", of_mac), ("c.nmconnection", alone)
    )
    assert lagg["ports"] == []
    assert "# b.nmconnection: which interface that is, it does not say: name it" in toml
    assert "# c.nmconnection: a port of bond9, of which there is no file" in toml


# ---- netplan -----------------------------------------------------------------------

BONDS = "network:\n  bonds:\n    bond0: {interfaces: [up, eth1]}\n"


def ethernet(settings: str) -> str:
    return f"{BONDS}  ethernets:\n    up: {settings}\n"


@pytest.mark.parametrize(
    ("value", "found"),
    [("100", "100"), ("1s", "1000"), ("1.5", "1500"), ("0.2s", "200"), ("soon", None)],
)
def test_a_bare_whole_number_of_netplan_s_is_in_milliseconds(
    value: str, found: str | None
) -> None:
    assert time_ms(value) == found


@pytest.mark.parametrize(
    ("settings", "ports"),
    [
        ("{}", ["up", "eth1"]),
        ("{set-name: lan0}", ["up", "eth1"]),  # which netplan heeds with match alone
        ("{match: {name: eno7}}", ["eno7", "eth1"]),
        ("{match: {driver: ixgbe}, set-name: lan0}", ["lan0", "eth1"]),
        ("{match: {name: eno*}, set-name: lan0}", ["lan0", "eth1"]),
        ("{match: {name: eno*}}", ["eth1"]),
        ("{match: {macaddress: '02:00:5e:00:53:01'}}", ["eth1"]),
        ("{match: {}}", ["eth1"]),
    ],
)
def test_an_id_is_the_interface_that_its_match_leaves(
    settings: str, ports: list[str]
) -> None:
    lagg, toml = imported(("a.yaml", ethernet(settings)))
    assert lagg["ports"] == ports
    is_told = "# interfaces up: which interface that is, is not known here" in toml
    assert is_told is (ports == ["eth1"])


def test_a_primary_is_the_interface_of_its_id() -> None:
    text = ethernet("{match: {driver: ixgbe}, set-name: lan0}")
    more = "network: {bonds: {bond0: {parameters: {mode: active-backup, primary: up}}}}"
    lagg, _ = imported(("a.yaml", text), ("b.yaml", more))
    assert lagg["primary"] == "lan0"
    _, toml = imported(("a.yaml", ethernet("{match: {driver: x}}")), ("b.yaml", more))
    assert "# parameters.primary=up: which interface that is, is not known" in toml


def test_files_add_up_by_their_names_wherever_they_are() -> None:
    later = "network: {bonds: {bond0: {interfaces: [eth2, eth1], mtu: 9000}}}\n"
    lagg, toml = imported(
        ("etc/netplan/90-local.yaml", later),
        ("lib/netplan/10-first.yaml", BONDS),
        ("run/netplan/50-mtu.yaml", "network: {bonds: {bond0: {mtu: 1400}}}\n"),
    )
    assert (lagg["ports"], lagg["mtu"]) == (["up", "eth1", "eth2"], 9000)
    assert "# bonds.bond0.mtu=1400: what a later file says rules" in toml


@pytest.mark.parametrize(
    "text",
    [
        "{renderer: NetworkManager, bonds: {bond0: {dhcp4: yes}}}",
        "{bonds: {renderer: NetworkManager, bond0: {dhcp4: yes}}}",
        "{renderer: networkd, bonds: {bond0: {dhcp4: yes, renderer: NetworkManager}}}",
    ],
)
def test_where_a_bond_s_addresses_go_its_renderer_says(text: str) -> None:
    _, toml = imported(("a.yaml", f"network: {text}\n"))
    assert "# dhcp4=yes: goes to a connection of type tun, mode tap, for bond0" in toml
    _, toml = imported(
        ("a.yaml", f"network: {text.replace('NetworkManager', 'networkd')}")
    )
    assert "# dhcp4=yes: goes to ethernets.bond0\n" in toml


def test_a_vlan_and_a_bridge_of_netplan_s_are_told_as_commands() -> None:
    toml = converted(sources("netplan"))
    assert "ip link add link bond0 name storage type vlan id 41" in toml
    assert "ip link add br0 type bridge; ip link set bond0 master br0" in toml


def test_json_is_yaml() -> None:
    lagg, _ = imported(("a.json", '{"network": {"bonds": {"bond0": {"mtu": 1400}}}}'))
    assert lagg["mtu"] == 1400


def test_a_script_s_netplan_is_read() -> None:
    script = f"cat > /etc/netplan/a.yaml <<END\n{BONDS}END\nnetplan apply\n"
    lagg, _ = imported(("install.sh", script))
    assert lagg["ports"] == ["up", "eth1"]


def test_without_pyyaml_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    remedy = r"a.yaml: YAML needs PyYAML: pip install 'laggd\[netplan\]', or Debian's"
    with pytest.raises(UsageError, match=remedy):
        imported(("a.yaml", BONDS))
    assert imported(("bond0.netdev", NETDEV))  # which needs none


# ---- the bond that runs ------------------------------------------------------------

HEAD = "Ethernet Channel Bonding Driver: v6\n\nBonding Mode: {mode}\n"


@pytest.mark.parametrize(
    ("mode", "proto"),
    [
        ("load balancing (round-robin)", "roundrobin"),
        ("fault-tolerance (active-backup)", "failover"),
        ("load balancing (xor)", "loadbalance"),
        ("fault-tolerance (broadcast)", "broadcast"),
        ("IEEE 802.3ad Dynamic link aggregation", "lacp"),
    ],
)
def test_a_mode_is_known_by_the_driver_s_words(mode: str, proto: str) -> None:
    assert imported(("bond0", HEAD.format(mode=mode)))[0]["proto"] == proto


def test_a_system_that_is_a_port_s_mac_is_none_that_was_set() -> None:
    text = HEAD.format(mode="IEEE 802.3ad Dynamic link aggregation")
    text += "System MAC address: 02:00:5e:00:53:01\n"
    assert imported(("b", text))[0]["lacp_system"] == "02:00:5e:00:53:01"
    text += "Slave Interface: eth0\nPermanent HW addr: 02:00:5e:00:53:01\n"
    assert "lacp_system" not in imported(("b", text))[0]


# ---- Open vSwitch ------------------------------------------------------------------

PORT = """_uuid : a
bond_mode : {mode}
interfaces : [b, c]
lacp : {lacp}
name : up
other_config : {config}
"""


@pytest.mark.parametrize(
    ("mode", "lacp", "keys"),
    [
        ("[]", "[]", {"proto": "failover", "reselect": "failure"}),
        ("balance-slb", "off", {"proto": "loadbalance", "lagghash": ["l2"]}),
        ("balance-tcp", "passive", {"proto": "lacp", "lacp_active": False}),
        ("active-backup", "active", {"proto": "lacp", "lacp_max_ports": 1}),
    ],
)
def test_a_mode_of_open_vswitch_is_a_protocol(
    mode: str, lacp: str, keys: dict[str, Any]
) -> None:
    lagg, toml = imported(("p", PORT.format(mode=mode, lacp=lacp, config="{}")))
    assert keys.items() <= lagg.items()
    assert "# interface b: give ovs-vsctl list interface, or show, too" in toml


def test_what_a_map_quotes_is_one_value() -> None:
    config = '{bond-hash-basis="7", "a b"="c, d=e"}'
    lagg, toml = imported(("p", PORT.format(mode="[]", lacp="[]", config=config)))
    assert lagg["hash_seed"] == 7
    assert "# other_config a b=c, d=e: has no equivalent" in toml


def test_show_alone_has_the_ports_and_names_what_lacks() -> None:
    text = "x\n    Bridge br0\n        Port up\n"
    text += "            Interface eth0\n            Interface eth1\n"
    lagg, toml = imported(("show", text))
    assert lagg["ports"] == ["eth0", "eth1"]
    assert "# bond_mode: not in show: give ovs-vsctl list port, too" in toml
