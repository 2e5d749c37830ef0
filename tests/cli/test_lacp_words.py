# SPDX-License-Identifier: BSD-2-Clause
"""What a user says of LACP and reads of it: options, records, pages."""

from dataclasses import fields

import pytest

from lagg.cli import main
from lagg.cli.said import plain
from lagg.cli.show_page import show_page
from lagg.control.messages import OptionsChangeJson
from lagg.lacp.values import (
    Bad,
    Churn,
    Mux,
    Party,
    Periodic,
    PortCounts,
    PortId,
    PortStatus,
    Receive,
    Selected,
    State,
    System,
    View,
)
from lagg.model import LaggConfig, Options, PortOptions, Proto
from lagg.records import (
    LaggRecord,
    OptionsRecord,
    lacp_record,
    port_lacp_record,
)
from tests.control.world import World, record_of

AGREED = (
    State.ACTIVITY
    | State.AGGREGATION
    | State.SYNC
    | State.COLLECTING
    | State.DISTRIBUTING
)
ACTOR = Party(System(0x8000, "02:00:5e:00:53:01"), 1, PortId(0x8000, 1), AGREED)
PARTNER = Party(
    System(0x8000, "02:00:5e:00:53:02"), 1, PortId(100, 7), AGREED | State.TIMEOUT
)
STATUS = PortStatus(
    number=1,
    aggregator=1,
    active=True,
    collecting=True,
    distributing=True,
    selected=Selected.SELECTED,
    receive=Receive.CURRENT,
    periodic=Periodic.FAST_PERIODIC,
    mux=Mux.DISTRIBUTING,
    actor_churn=Churn.NO_CHURN,
    partner_churn=Churn.MONITOR,
    actor=ACTOR,
    partner=PARTNER,
    reason=None,
    counts=PortCounts(lacpdu_rx=9, lacpdu_tx=8, bad=((Bad.RUNT, 2), (Bad.TLV, 0))),
)
VIEW = View((STATUS,), 1, ACTOR, PARTNER, flapping=3)


def record() -> LaggRecord:
    found = record_of(LaggConfig("lagg0", proto=Proto.LACP, ports=("eth0", "eth1")))
    found["ports"][0]["lacp"] = port_lacp_record(STATUS)
    found["ports"][0]["lacp_port_priority"] = 100
    found["lacp"] = lacp_record(VIEW)
    return found


def test_a_record_has_both_ends_machines_and_counters() -> None:
    found = record()
    assert found["lacp"] is not None
    assert found["lacp"]["aggregator"] == 1
    assert found["lacp"]["flapping"] == 3
    assert found["lacp"]["partner"] == {
        "system_priority": 32768,
        "system": "02:00:5e:00:53:02",
        "key": 1,
        "port_priority": 100,
        "port": 7,
        "state": 0x3F,
        "state_bits": [
            "ACTIVITY",
            "TIMEOUT",
            "AGGREGATION",
            "SYNC",
            "COLLECTING",
            "DISTRIBUTING",
        ],
    }
    port, other = found["ports"]
    assert (port["lacp_port_priority"], other["lacp"]) == (100, None)
    assert port["lacp"] is not None
    assert port["lacp"]["mux"] == "distributing"
    assert port["lacp"]["periodic"] == "fast"
    counters = port["lacp"]["counters"]
    assert (counters["lacpdu_rx"], counters["bad"]) == (9, {"runt": 2, "tlv": 0})
    assert set(counters) == {field.name for field in fields(PortCounts)}


def test_show_says_with_whom_it_agreed_and_who_else_a_port_hears() -> None:
    found = record()
    assert found["ports"][0]["lacp"] is not None
    other = found["ports"][0]["lacp"] | {
        "partner": found["ports"][0]["lacp"]["partner"] | {"key": 9}
    }
    lines = show_page([found], plain).splitlines()
    assert "  agreed with 02:00:5e:00:53:02, key 1" in lines
    assert not any("ACTIVITY" in line or "hears" in line for line in lines)
    found["ports"][0]["lacp"] = other
    lines = show_page([found], plain).splitlines()
    assert "    hears 02:00:5e:00:53:02, key 9" in lines


def test_show_v_prints_states_as_ifconfig_does() -> None:
    lines = show_page([record()], plain, verbose=True).splitlines()
    bits = "ACTIVITY,AGGREGATION,SYNC,COLLECTING,DISTRIBUTING"
    fast = "ACTIVITY,TIMEOUT,AGGREGATION,SYNC,COLLECTING,DISTRIBUTING"
    assert f"    state 3d<{bits}> partner 3f<{fast}>" in lines
    assert "  lag id [(8000,02-00-5E-00-53-01,0001,8000,0001)," in lines
    assert "          (8000,02-00-5E-00-53-02,0001,0064,0007)]" in lines
    assert "  ports ended to distribute 3 times" in lines


def test_show_v_prints_machines_and_what_was_counted() -> None:
    lines = show_page([record()], plain, verbose=True).splitlines()
    assert (
        "    selected selected, receive current, periodic fast, mux distributing,"
        " actor_churn no-churn, partner_churn monitor" in lines
    )
    assert "    lacpdu_rx 9, lacpdu_tx 8, runt 2" in lines


def test_show_says_that_no_partner_agrees() -> None:
    alone = record()
    alone["lacp"] = lacp_record(View((STATUS,), None, None, None, 0))
    lines = show_page([alone], plain).splitlines()
    assert "  agreed with no partner" in lines


def test_show_v_prints_the_options_of_lacp() -> None:
    page = show_page([record()], plain, verbose=True)
    for option in fields(Options):
        if option.name.startswith(("lacp_", "ad_")) and option.name != "lacp_system":
            assert f"  {option.name} " in page


def test_each_option_has_its_place_in_records_and_requests() -> None:
    names = {field.name for field in fields(Options)}
    assert names == set(OptionsRecord.__annotations__)
    assert names == set(OptionsChangeJson.__annotations__)


def run(world: World, words: str) -> int:
    return main(["--socket", world.path, *words.split()])


def test_laggctl_sets_every_option_of_lacp(world: World) -> None:
    assert run(world, "create lagg0 --port eth0") == 0
    words = (
        "set lagg0 --no-lacp-strict --lacp-fast-timeout --no-lacp-active"
        " --lacp-system-priority 1 --lacp-system 02:00:5e:00:53:09 --lacp-key 7"
        " --ad-select count --lacp-max-ports 2 --lacp-min-links 2"
        " --lacp-port-offset 32"
        " --lacp-fallback-timeout 5 --lacp-coupled --lacp-txtest --lacp-rxtest"
        " --port eth1 --lacp-port-priority 100"
    )
    assert run(world, words) == 0
    made = world.commands.configs["lagg0"]
    names = [field.name for field in fields(Options)]
    changed = {n for n in names if getattr(made.options, n) != getattr(Options(), n)}
    assert changed == {n for n in names if n.startswith(("lacp_", "ad_"))}
    assert made.port_options == {"eth1": PortOptions(lacp_port_priority=100)}


def test_the_system_goes_back_to_the_laggs_mac(world: World) -> None:
    run(world, "create lagg0 --lacp-system 02:00:5e:00:53:09")
    assert run(world, "set lagg0 --lacp-system auto") == 0
    assert world.commands.configs["lagg0"].options.lacp_system is None


@pytest.mark.parametrize("words", ["--port eth1", "--lacp-port-priority 1"])
def test_a_port_option_needs_its_port(world: World, words: str) -> None:
    run(world, "create lagg0")
    assert run(world, f"set lagg0 {words}") == 2
