# SPDX-License-Identifier: BSD-2-Clause
"""`show --bonding`: what scripts look for in /proc/net/bonding is there."""

from pathlib import Path
from typing import Any, cast

import pytest

from lagg import cli
from lagg.cli.bonding import bonding_page
from lagg.model import LaggConfig, Proto
from lagg.records import LaggRecord
from lagg.watches import LinkWatch, WatchKind
from tests.control.world import record_of, world_at

PARTY = {
    "system_priority": 32768,
    "system": "02:00:5e:00:53:01",
    "key": 9,
    "port_priority": 255,
    "port": 1,
    "state": 61,
}
LACP_OPTIONS = {
    "lacp_active": True,
    "lacp_fast_timeout": True,
    "lacp_min_links": 1,
    "ad_select": "stable",
}

FAILOVER = """\
laggd: in the words of the Ethernet Channel Bonding Driver

Bonding Mode: fault-tolerance (active-backup)
Primary Slave: eth0 (primary_reselect always)
Currently Active Slave: eth0
MII Status: up
MII Polling Interval (ms): 0
Up Delay (ms): 0
Down Delay (ms): 0
Peer Notification Delay (ms): 200

Slave Interface: eth0
MII Status: up
Speed: 10000 Mbps
Duplex: full
Link Failure Count: 0
Permanent HW addr: 02:00:5e:00:53:00
Slave queue ID: 0

Slave Interface: eth1
MII Status: down
Speed: Unknown
Duplex: full
Link Failure Count: 1
Permanent HW addr: 02:00:5e:00:53:01
Slave queue ID: 0"""

LACP_HEAD = """\
Bonding Mode: IEEE 802.3ad Dynamic link aggregation
Transmit Hash Policy: l2,l3,l4
MII Status: up
MII Polling Interval (ms): 0
Up Delay (ms): 0
Down Delay (ms): 0
Peer Notification Delay (ms): 200

802.3ad info
LACP active: on
LACP rate: fast
Min links: 1
Aggregator selection policy (ad_select): stable
System priority: 32768
System MAC address: 02:00:5e:00:53:01
Active Aggregator Info:
\tAggregator ID: 1
\tNumber of ports: 1
\tActor Key: 9
\tPartner Key: 9
\tPartner Mac Address: 02:00:5e:00:53:01
"""

LACP_PORT = """\
Aggregator ID: 1
Actor Churn State: none
Partner Churn State: churned
Actor Churned Count: 0
Partner Churned Count: 2
details actor lacp pdu:
    system priority: 32768
    system mac address: 02:00:5e:00:53:01
    port key: 9
    port priority: 255
    port number: 1
    port state: 61
details partner lacp pdu:
    system priority: 32768
    system mac address: 02:00:5e:00:53:01
    oper key: 9
"""


def record(proto: str = "failover") -> dict[str, Any]:
    made = record_of(LaggConfig("lagg0", ports=("eth0", "eth1")))
    return {**cast(dict[str, Any], made), "proto": proto}


def page(lagg: dict[str, Any]) -> str:
    return bonding_page(cast(LaggRecord, lagg))


def lacp_record() -> dict[str, Any]:
    lagg = record("lacp")
    lagg["options"] |= LACP_OPTIONS
    lagg["lacp"] = {"aggregator": 1, "actor": PARTY, "partner": PARTY, "flapping": 0}
    for port, aggregator in zip(lagg["ports"], (1, None), strict=True):
        churn: dict[str, Any] = {"actor_churn": "no-churn", "partner_churn": "churn"}
        churn["counters"] = {"actor_churns": 0, "partner_churns": 2}
        parties = {"actor": PARTY, "partner": PARTY}
        port["lacp"] = {"aggregator": aggregator, **churn, **parties}
    return lagg


def test_failover_is_active_backup() -> None:
    assert page(record()) == FAILOVER


def test_lacp_shows_the_aggregator_and_both_ends_of_each_port() -> None:
    shown = page(lacp_record())
    assert LACP_HEAD in shown
    assert LACP_PORT in shown
    assert "Aggregator ID: N/A\n" in shown


def test_lacp_without_a_partner_has_no_aggregator() -> None:
    lagg = lacp_record()
    lagg["lacp"] = {"aggregator": None, "actor": None, "partner": None, "flapping": 0}
    assert "Active Aggregator: none\n" in page(lagg)


@pytest.mark.parametrize(
    ("layers", "policy"),
    [
        (["l2"], "layer2 (0)"),
        (["l3", "l4"], "layer3+4 (1)"),
        (["l2", "l3"], "layer2+3 (2)"),
        (["l4"], "l4"),
    ],
)
def test_the_hash_has_bonding_s_name_where_it_has_one(
    layers: list[str], policy: str
) -> None:
    lagg = record("loadbalance")
    lagg["options"]["lagghash"] = layers
    assert f"Transmit Hash Policy: {policy}\n" in page(lagg)


@pytest.mark.parametrize("proto", Proto)
def test_every_protocol_has_a_mode(proto: Proto) -> None:
    assert "\nBonding Mode: " in page(record(proto.value))


def test_show_takes_the_option(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = str(tmp_path / "laggd.sock")
    with world_at(path) as world:
        words = ["--socket", path, "show", "--bonding"]
        assert cli.main(words) == 0
        assert capfd.readouterr().out == "no laggs\n"
        for name in ("lagg0", "lagg1"):
            world.call("Create", name=name, ports=[f"{name}e0"])
        assert cli.main(words) == 0
        assert capfd.readouterr().out.count("Bonding Mode: ") == 2


def test_probes_are_told_as_bonding_tells_its_arp_monitor() -> None:
    lagg = record()
    watches = (
        LinkWatch(WatchKind.POLL, interval_ms=50),
        LinkWatch(WatchKind.ARP, ("192.0.2.1", "192.0.2.2"), interval_ms=100),
        LinkWatch(WatchKind.NS, ("2001:db8::1",)),
    )
    lagg["options"]["watch"] = [str(each) for each in watches]
    assert """\
MII Polling Interval (ms): 50
Up Delay (ms): 0
Down Delay (ms): 0
Peer Notification Delay (ms): 200
ARP Polling Interval (ms): 100
ARP Missed Max: 3
ARP IP target/s (n.n.n.n form): 192.0.2.1, 192.0.2.2
NS IPv6 target/s (xx::xx form): 2001:db8::1
""" in page(lagg)
