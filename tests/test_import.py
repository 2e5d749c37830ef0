# SPDX-License-Identifier: BSD-2-Clause
"""`import`: what other systems' files ask for, in ours, and what is left out."""

import tomllib
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lagg import cli
from lagg.cli.import_ import converted
from lagg.cli.import_bonding import _MODES, set_options
from lagg.cli.imported import Imported
from lagg.cli.output import UsageError
from lagg.files import load
from lagg.model import HashLayer, LaggConfig, Options, Proto
from lagg.rules import OPTION_RULES

IFUPDOWN = """\
auto lo
iface lo inet loopback

auto bond0
iface bond0 inet static
    address 192.0.2.10/24
    bond-slaves eth0 eth1
    bond-mode active-backup
    bond-miimon 100
    bond-primary eth1
    mtu 9000
    hwaddress ether 02:00:5E:00:53:01

iface bond1 inet manual
    bond-slaves none
    bond_mode 4
    bond-lacp-rate fast
    bond-xmit-hash-policy layer3+4
    bond-min-links 1

iface eth2 inet manual
    bond-master bond1
iface eth3 inet manual
    bond-master bond1
"""

FROM_IFUPDOWN = """\
[[lagg]]
name = "bond0"
proto = "failover"
ports = ["eth1", "eth0"]
mtu = 9000
mac = "02:00:5e:00:53:01"
# miimon 100: the kernel tells laggd of a link at once; nothing is polled
# address 192.0.2.10/24: stays in /etc/network/interfaces

[[lagg]]
name = "bond1"
proto = "lacp"
ports = ["eth2", "eth3"]
lagghash = ["l3", "l4"]
lacp_fast_timeout = true
lacp_min_links = 1
"""

COMMANDS = """\
#!/bin/sh
modprobe bonding
ip link add name bond0 type bond mode 2 xmit_hash_policy layer2+3 miimon 100
ip link set dev eth0 down; ip link set eth0 master bond0
sudo ip link set eth1 up master bond0 && ip link set bond0 mtu 1400
ip link set bond0 up
ip addr add 192.0.2.10/24 dev bond0
"""

FROM_COMMANDS = """\
[[lagg]]
name = "bond0"
proto = "loadbalance"
ports = ["eth0", "eth1"]
mtu = 1400
lagghash = ["l2", "l3"]
# miimon 100: the kernel tells laggd of a link at once; nothing is polled
"""

RED_HAT = {
    "etc/ifcfg-bond0": 'DEVICE=bond0\nBONDING_OPTS="mode=0 packets_per_slave=4"\n'
    "MTU=1400\nIPADDR=192.0.2.10\n",
    "etc/ifcfg-eth0": "DEVICE=eth0\nMASTER=bond0\nSLAVE=yes\n",
    "etc/ifcfg-eth1": "MASTER=bond0\nSLAVE=yes\n",
}

SUSE = {
    "ifcfg-bond0": "BONDING_MASTER=yes\nBONDING_SLAVE0=eth0\nBONDING_SLAVE1=eth1\n"
    "BONDING_MODULE_OPTS='mode=balance-rr packets_per_slave=4'\nMTU='1400'\n"
    "IPADDR=192.0.2.10\n",
}

FROM_IFCFG = """\
[[lagg]]
name = "bond0"
proto = "roundrobin"
ports = ["eth0", "eth1"]
rr_limit = 4
mtu = 1400
# IPADDR 192.0.2.10: stays where it is
"""

RC_CONF = """\
hostname="beastie"
ifconfig_em0="up"
ifconfig_em1="up"
cloned_interfaces="lagg0 lagg1 bridge0"
ifconfig_lagg0="laggproto loadbalance laggport em0 laggport em1 lagghash l3,l4 \\
    mtu 9000 192.0.2.10/24"
ifconfig_lagg0_ipv6="inet6 2001:db8::10/64"
create_args_lagg1="laggproto failover laggport em2"
ifconfig_lagg1="SYNCDHCP use_numa"
"""

FROM_RC_CONF = """\
[[lagg]]
name = "lagg0"
proto = "loadbalance"
ports = ["em0", "em1"]
mac_policy = "primary"
lagghash = ["l3", "l4"]
mtu = 9000
# inet 192.0.2.10 netmask 255.255.255.0: addresses are for ip(8)
# ifconfig_lagg0_ipv6="inet6 2001:db8::10/64": addresses are for ip(8)

[[lagg]]
name = "lagg1"
proto = "failover"
ports = ["em2"]
mac_policy = "primary"
# SYNCDHCP: addresses are for ip(8)
# use_numa: laggd knows no NUMA domains
"""

TEAM = """\
{"device": "team0", "hwaddr": "02:00:5E:00:53:01",
 "runner": {"name": "activebackup", "hwaddr_policy": "by_active"},
 "link_watch": {"name": "ethtool"},
 "ports": {"eth0": {"prio": -10, "sticky": true}, "eth1": {"prio": 100}}}
"""

FROM_TEAM = """\
[[lagg]]
name = "team0"
proto = "failover"
ports = ["eth1", "eth0"]
mac = "02:00:5e:00:53:01"
# ports eth1 prio 100: the first of ports is preferred
# ports eth0 prio -10: the first of ports is preferred
# ports eth0 sticky: has no equivalent
# runner hwaddr_policy: has no equivalent
# link_watch: the kernel tells laggd of a link at once; nothing else is asked
"""

TEAM_LACP = """\
{"device": "team0",
 "runner": {"name": "lacp", "active": false, "fast_rate": true, "sys_prio": 7,
            "min_ports": 2, "agg_select_policy": "bandwidth",
            "tx_hash": ["eth", "ipv4", "tcp"]},
 "ports": {"eth0": {"lacp_prio": 10}, "eth1": {"lacp_key": 3}}}
"""

FROM_TEAM_LACP = """\
[[lagg]]
name = "team0"
proto = "lacp"
ports = ["eth0", "eth1"]
lagghash = ["l2", "l3", "l4"]
lacp_active = false
lacp_fast_timeout = true
lacp_system_priority = 7
lacp_min_links = 2
ad_select = "bandwidth"
# ports eth1 lacp_key: has no equivalent
[lagg.port.eth0]
lacp_port_priority = 10
"""

CASES = {
    "ifupdown": ({"interfaces": IFUPDOWN}, FROM_IFUPDOWN),
    "ip": ({"bond.sh": COMMANDS}, FROM_COMMANDS),
    "red hat": (RED_HAT, FROM_IFCFG),
    "suse": (SUSE, FROM_IFCFG),
    "rc.conf": ({"rc.conf": RC_CONF}, FROM_RC_CONF),
    "teamd": ({"team0.conf": TEAM}, FROM_TEAM),
    "teamd lacp": ({"team0.conf": TEAM_LACP}, FROM_TEAM_LACP),
}


@pytest.mark.parametrize(("texts", "toml"), CASES.values(), ids=CASES)
def test_a_file_of_another_system_becomes_ours(
    texts: dict[str, str], toml: str
) -> None:
    assert "\n".join(lagg.toml() for lagg in converted(texts)) == toml
    assert tomllib.loads(toml)["lagg"]


def written(tmp_path: Path, texts: dict[str, str]) -> list[str]:
    paths = []
    for name, text in texts.items():
        path = tmp_path / Path(name).name
        path.write_text(text)
        paths.append(str(path))
    return paths


@pytest.mark.parametrize("case", CASES)
def test_what_is_printed_is_a_file_that_laggd_takes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    assert cli.main(["import", *written(tmp_path, CASES[case][0])]) == 0
    path = tmp_path / "laggd.toml"
    path.write_text(capfd.readouterr().out)
    assert [lagg.name for lagg in load(path)] == [
        lagg.name for lagg in converted(CASES[case][0])
    ]


def test_the_first_port_is_the_primary_of_bonding(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    texts = {"interfaces": IFUPDOWN.partition("iface bond1")[0]}
    assert cli.main(["import", *written(tmp_path, texts)]) == 0
    path = tmp_path / "laggd.toml"
    path.write_text(capfd.readouterr().out)
    assert load(path) == (
        LaggConfig(
            "bond0", Proto.FAILOVER, ("eth1", "eth0"), "02:00:5e:00:53:01", mtu=9000
        ),
    )


# Bonding's options


def imported(**options: str) -> Imported:
    lagg = Imported("bond0")
    set_options(lagg, options)
    return lagg


@pytest.mark.parametrize("mode", [*_MODES, *"0123456"])
def test_every_mode_of_bonding_has_a_protocol(mode: str) -> None:
    (table,) = tomllib.loads(imported(mode=mode).toml())["lagg"]
    assert table["proto"] in {proto.value for proto in Proto}


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({}, {"proto": "roundrobin"}),
        ({"mode": "2"}, {"lagghash": ["l2"]}),
        ({"mode": "2", "xmit_hash_policy": "1"}, {"lagghash": ["l2", "l3"]}),
        ({"mode": "2", "xmit_hash_policy": "encap3+4"}, {"lagghash": ["l3", "l4"]}),
        ({"mode": "1", "all_slaves_active": "1"}, {"failover_rx_all": True}),
        ({"mode": "0", "packets_per_slave": "9"}, {"rr_limit": 9}),
        ({"mode": "4", "lacp_rate": "1"}, {"lacp_fast_timeout": True}),
        ({"mode": "4", "lacp_active": "off"}, {"lacp_active": False}),
        ({"mode": "4", "ad_select": "2"}, {"ad_select": "count"}),
        ({"mode": "4", "ad_actor_sys_prio": "9"}, {"lacp_system_priority": 9}),
        ({"mode": "4", "ad_actor_system": "02:00:5E:00:53:01"}, {}),
        ({"mode": "4", "coupled_control": "on"}, {"lacp_coupled": True}),
    ],
)
def test_an_option_of_bonding_is_one_of_ours(
    options: dict[str, str], keys: dict[str, Any]
) -> None:
    (table,) = tomllib.loads(imported(**options).toml())["lagg"]
    assert keys.items() <= table.items()
    assert table.keys() <= {"name", "proto", "ports", *OPTION_RULES}


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"mode": "balance-alb"}, "# mode balance-alb: flows are spread by their hash"),
        ({"mode": "7"}, "# mode 7: no such mode of bonding"),
        ({"packets_per_slave": "0"}, "# packets_per_slave 0: has no equivalent"),
        ({"updelay": "200"}, "# updelay 200: no delay: a port carries as soon as"),
        ({"arp_interval": "100"}, "# arp_interval 100: there is no ARP monitor"),
        ({"ad_user_port_key": "3"}, "# ad_user_port_key 3: has no equivalent"),
        ({"mode": "2", "xmit_hash_policy": "x"}, "# xmit_hash_policy x: no such pol"),
        ({"mode": "2", "xmit_hash_policy": "4"}, "# xmit_hash_policy encap3+4: head"),
    ],
)
def test_what_has_no_equivalent_is_a_comment(
    options: dict[str, str], note: str
) -> None:
    assert note in imported(**options).toml()


# What is no such file


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hello", "none of rc.conf, teamd's JSON"),
        ("{", "not understood: Expecting property name"),
        ('cloned_interfaces="bridge0"\n', "no bond, team or lagg is in there"),
        ("iface eth0 inet dhcp\n", "no bond, team or lagg is in there"),
    ],
)
def test_a_file_without_any_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, complaint: str
) -> None:
    assert cli.main(["import", *written(tmp_path, {"file": text})]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert complaint in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_file_is_converted_or_refused(rng: Random, case: str) -> None:
    texts = CASES[case][0]
    for _ in range(300):
        damaged = {}
        for name, text in texts.items():
            at, size = rng.randrange(len(text)), rng.choice((1, 3, 20))
            junk = rng.choice(("", "\n", '"', "{", "=", "iface", " 7 ", "[]"))
            damaged[name] = text[:at] + junk + text[at + size :]
        try:
            for lagg in converted(damaged):
                tomllib.loads(lagg.toml())
        except UsageError:
            continue


def test_a_file_that_is_not_there_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import", "/nowhere/rc.conf"]) == 2
    assert capfd.readouterr().err == (
        "laggctl: /nowhere/rc.conf: No such file or directory\n"
    )


def test_the_defaults_it_relies_on_are_ours() -> None:
    assert Options().lagghash == (HashLayer.L2, HashLayer.L3, HashLayer.L4)
    assert LaggConfig("x").proto is Proto.FAILOVER
