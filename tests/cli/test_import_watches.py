# SPDX-License-Identifier: BSD-2-Clause
"""What `import` makes of bonding's monitors and of team's link watches."""

import pytest

from lagg.cli.importing.team import team
from tests.cli.imported import imported


@pytest.mark.parametrize(
    ("options", "watches", "policy"),
    [
        (
            {"arp_interval": "100", "arp_ip_target": "192.0.2.1,192.0.2.2"},
            ["arp,target=192.0.2.1,target=192.0.2.2,interval_ms=100,missed_max=2"],
            None,
        ),
        (
            {
                "arp_interval": "250",
                "arp_ip_target": "+192.0.2.1 +192.0.2.2",
                "arp_missed_max": "5",
                "arp_all_targets": "1",
            },
            [
                "arp,target=192.0.2.1,interval_ms=250,missed_max=5",
                "arp,target=192.0.2.2,interval_ms=250,missed_max=5",
            ],
            None,
        ),
        (
            {
                "arp_interval": "250",
                "arp_ip_target": "192.0.2.1",
                "ns_ip6_target": "2001:db8::1",
            },
            [
                "arp,target=192.0.2.1,interval_ms=250,missed_max=2",
                "ns,target=2001:db8::1,interval_ms=250,missed_max=2",
            ],
            "any",
        ),
    ],
)
def test_bondings_arp_monitor_is_a_watch(
    options: dict[str, str], watches: list[str], policy: str | None
) -> None:
    found = imported(mode="1", **options, arp_validate="all")
    assert found.keys["watch"] == watches
    assert found.keys.get("watch_policy") == policy
    notes = [note.what for note in found.notes]
    assert notes[-1:] == ["arp_validate all"]


def test_a_target_that_no_watch_takes_is_a_note() -> None:
    found = imported(arp_interval="100", arp_ip_target="192.0.2.1[10/]")
    assert "watch" not in found.keys
    assert found.notes[-1].what == "arp_interval 100 arp_ip_target 192.0.2.1[10/]"


@pytest.mark.parametrize("mode", ["balance-rr", "balance-xor", "broadcast"])
def test_where_the_partner_is_one_device_an_answer_may_come_by_any_port(
    mode: str,
) -> None:
    of_bonding = {"arp_interval": "100", "arp_ip_target": "192.0.2.1"}
    found = imported(mode=mode, **of_bonding).keys["watch"]
    assert found == ["arp,target=192.0.2.1,interval_ms=100,missed_max=2,answer=lagg"]


@pytest.mark.parametrize("runner", ["roundrobin", "random", "broadcast", "loadbalance"])
def test_so_it_does_with_team(runner: str) -> None:
    watch = {"name": "arp_ping", "target_host": "192.0.2.1"}
    document = {"runner": {"name": runner}, "link_watch": watch}
    assert team(document, "t").keys["watch"] == ["arp,target=192.0.2.1,answer=lagg"]


@pytest.mark.parametrize(
    ("options", "watches", "notes"),
    [
        ({"miimon": "100"}, None, ["miimon 100"]),
        ({"miimon": "100", "use_carrier": "1"}, None, ["miimon 100", "use_carrier 1"]),
        (
            {"miimon": "100", "use_carrier": "0"},
            ["poll,interval_ms=100,missed_max=1"],
            [],
        ),
        (
            {"miimon": "50", "use_carrier": "off", "downdelay": "200"},
            ["poll,interval_ms=50,missed_max=5"],
            [],
        ),
        ({"miimon": "0", "use_carrier": "0"}, None, ["miimon 0", "use_carrier 0"]),
    ],
)
def test_drivers_that_bonding_asks_are_asked(
    options: dict[str, str], watches: list[str] | None, notes: list[str]
) -> None:
    found = imported(mode="1", **options)
    assert found.keys.get("watch") == watches
    assert [note.what for note in found.notes] == notes


def test_teams_link_watches_are_watches_and_a_ports_own_stand_in_their_place() -> None:
    found = team(
        {
            "runner": {"name": "activebackup"},
            "link_watch": [
                {"name": "ethtool", "delay_up": 50},
                {
                    "name": "arp_ping",
                    "interval": 200,
                    "missed_max": 5,
                    "init_wait": 10,
                    "vlanid": 7,
                    "source_host": "192.0.2.9",
                    "target_host": "192.0.2.1",
                },
            ],
            "ports": {
                "e0": {},
                "e1": {"link_watch": {"name": "nsna_ping", "target_host": "fe80::1"}},
            },
        },
        "team0",
    )
    assert found.keys["watch"] == [
        "arp,interval_ms=200,missed_max=5,init_wait_ms=10,vlan=7,target=192.0.2.1,"
        "port=e0",
        "ns,target=fe80::1,port=e1",
    ]
    assert found.keys["watch_policy"] == "any"
    assert found.keys["up_delay_ms"] == 50
    assert [note.what for note in found.notes] == ['link_watch source_host "192.0.2.9"']


def test_a_delay_of_one_port_is_told_to_be_of_all() -> None:
    ports = {"e0": {"link_watch": {"name": "ethtool", "delay_up": 10}}, "e1": {}}
    found = team({"runner": {"name": "activebackup"}, "ports": ports}, "t")
    assert [note.why for note in found.notes] == [
        "delays are of all ports: up_delay_ms, down_delay_ms"
    ]
