# SPDX-License-Identifier: BSD-2-Clause
"""`show --openconfig` has nothing but leaves of OpenConfig's models, of their types.

The table is of openconfig-interfaces 3.7, openconfig-if-ethernet 2.14, openconfig-if-
aggregate 2.4 and openconfig-lacp 2.1 (Apache-2.0): names and types, written anew.  In
a path a list is "[key]", and each module stands where RFC 7951 (4) wants it.
"""

import json
import re
from collections.abc import Callable, Iterator

import pytest

from lagg import cli
from lagg.cli.openconfig_page import openconfig
from lagg.records import LaggRecord, lacp_record, port_lacp_record
from tests.control.world import World, a_record
from tests.lacp.world import SECOND, against_peer, settings
from tests.lacp.world import World as Lacp

Judge = Callable[[object], bool]


def text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def boolean(value: object) -> bool:
    return isinstance(value, bool)


def number(bits: int) -> Judge:
    return lambda value: type(value) is int and 0 <= value < 1 << bits


def digits(value: object) -> bool:
    """64 bits are a string in JSON: RFC 7951, 6.1."""
    whole = isinstance(value, str) and re.fullmatch(r"0|[1-9]\d*", value)
    return bool(whole) and int(str(value)) < 1 << 64


def mac(value: object) -> bool:
    pair = "[0-9a-fA-F]{2}"
    return isinstance(value, str) and bool(re.fullmatch(f"{pair}(:{pair}){{5}}", value))


def one_of(*words: str) -> Judge:
    return lambda value: value in words


def each(judge: Judge) -> Judge:
    return lambda value: isinstance(value, list) and all(map(judge, value))


KIND = one_of("iana-if-type:ieee8023adLag", "iana-if-type:ethernetCsmacd")
IF = "openconfig-interfaces:interfaces/interface[name]"
ETHERNET = f"{IF}/openconfig-if-ethernet:ethernet"
AGGREGATION = f"{IF}/openconfig-if-aggregate:aggregation"
LACP = "openconfig-lacp:lacp/interfaces/interface[name]"
MEMBER = f"{LACP}/members/member[interface]"

IN_BOTH: dict[str, Judge] = {
    f"{IF}//name": text,
    f"{IF}//type": KIND,
    f"{IF}//mtu": number(16),
    f"{IF}//enabled": boolean,
    f"{ETHERNET}//mac-address": mac,
    f"{ETHERNET}//openconfig-if-aggregate:aggregate-id": text,
    f"{AGGREGATION}//lag-type": one_of("LACP", "STATIC"),
    f"{AGGREGATION}//min-links": number(16),
    f"{LACP}//name": text,
    f"{LACP}//interval": one_of("FAST", "SLOW"),
    f"{LACP}//lacp-mode": one_of("ACTIVE", "PASSIVE"),
    f"{LACP}//system-id-mac": mac,
    f"{LACP}//system-priority": number(16),
    f"{LACP}//fallback": boolean,
    f"{MEMBER}//interface": text,
    f"{MEMBER}//port-priority": number(16),
}
"""Leaves of both containers, config and state, for which "//" stands."""

LEAVES: dict[str, Judge] = {
    f"{IF}/name": text,
    f"{IF}/state/ifindex": number(32),
    f"{IF}/state/admin-status": one_of("UP", "DOWN", "TESTING"),
    f"{IF}/state/oper-status": one_of("UP", "DOWN"),
    f"{IF}/state/last-change": digits,
    f"{IF}/state/logical": boolean,
    **{f"{IF}/state/counters/{way}-pkts": digits for way in ("in", "out")},
    **{f"{IF}/state/counters/{way}-octets": digits for way in ("in", "out")},
    f"{ETHERNET}/state/hw-mac-address": mac,
    f"{AGGREGATION}/state/lag-speed": number(32),
    f"{AGGREGATION}/state/member": each(text),
    f"{LACP}/name": text,
    f"{MEMBER}/interface": text,
    f"{MEMBER}/state/activity": one_of("ACTIVE", "PASSIVE"),
    f"{MEMBER}/state/timeout": one_of("LONG", "SHORT"),
    f"{MEMBER}/state/synchronization": one_of("IN_SYNC", "OUT_SYNC"),
    **{
        f"{MEMBER}/state/{name}": boolean
        for name in ("aggregatable", "collecting", "distributing")
    },
    **{f"{MEMBER}/state/{name}": mac for name in ("system-id", "partner-id")},
    **{
        f"{MEMBER}/state/{name}": number(16)
        for name in (
            *("oper-key", "partner-key", "port-num"),
            *("partner-port-num", "partner-port-priority"),
        )
    },
    **{
        f"{MEMBER}/state/counters/lacp-{name}": digits
        for name in (
            *("in-pkts", "out-pkts", "rx-errors", "tx-errors"),
            *("unknown-errors", "errors"),
        )
    },
    **{
        path.replace("//", f"/{container}/"): judge
        for path, judge in IN_BOTH.items()
        for container in ("config", "state")
    },
}

CONTAINERS = {
    path.rpartition("/")[0][:end]
    for path in LEAVES
    for end in (at.start() for at in re.finditer("/|$", path.rpartition("/")[0]))
}


def complaints(tree: object, path: str = "") -> Iterator[str]:
    """Whatever of a document is no node of the models, or not of its type."""
    if path in LEAVES:
        if not LEAVES[path](tree):
            yield f"{path}: {tree!r}"
    elif isinstance(tree, dict) and (not path or path in CONTAINERS):
        for name, value in tree.items():
            yield from complaints_of_node(name, value, f"{path}/{name}".lstrip("/"))
    else:
        yield f"{path}: no such node"


def complaints_of_node(name: str, value: object, path: str) -> Iterator[str]:
    a_list = re.compile(rf"{re.escape(path)}\[[^]/]*\]")
    keys = [each for each in CONTAINERS if a_list.fullmatch(each)]
    if not keys:
        yield from complaints(value, path)
        return
    (listed,) = keys
    key = listed.rpartition("[")[2].rstrip("]")
    entries = value if isinstance(value, list) else []
    if not entries or len({entry[key] for entry in entries}) < len(entries):
        yield f"{path}: no list, or one key twice"
    for entry in entries:
        if entry["config"][key] != entry[key] or entry["state"][key] != entry[key]:
            yield f"{listed}: a leafref to another value"
        yield from complaints(entry, listed)


def lagg_of(engines: Lacp, name: str = "lagg1") -> LaggRecord:
    """A lagg with LACP as the engine A sees it, with a port for each of its two."""
    view = engines.engines["A"].view()
    found = a_record(name=name, proto="lacp", lacp=lacp_record(view))
    for at, (port, status) in enumerate(zip(found["ports"], view.ports, strict=True)):
        port["lacp"], port["name"] = port_lacp_record(status), f"eth{at + 2}"
    return found


@pytest.fixture(scope="module")
def agreed() -> LaggRecord:
    engines = Lacp.pair(2, settings("A", port_offset=32))
    engines.run(5 * SECOND)
    engines.engines["A"].receive(1, b"short", engines.now)
    return lagg_of(engines)


def unheard() -> LaggRecord:
    engines, _ = against_peer(ports=2)
    return lagg_of(engines, "lagg2")


def static() -> list[LaggRecord]:
    return [a_record(), a_record(name="lagg20", ports=[], link="down")]


def test_every_leaf_is_one_of_the_models_and_of_its_type(agreed: LaggRecord) -> None:
    for laggs in ([], static(), [agreed], [unheard()], [*static(), agreed]):
        assert [*complaints(json.loads(json.dumps(openconfig(laggs))))] == []


def test_the_judge_sees_what_is_no_leaf_or_of_another_type(agreed: LaggRecord) -> None:
    document = json.loads(json.dumps(openconfig([agreed])))
    member = document["openconfig-lacp:lacp"]["interfaces"]["interface"][0]["members"]
    member["member"][0]["state"]["counters"]["lacp-in-pkts"] = 4
    member["member"][0]["state"]["mood"] = "fine"
    member["member"][1]["config"]["interface"] = "eth9"
    document["interfaces"] = {}
    assert {complaint.rpartition("/")[2] for complaint in complaints(document)} == {
        "lacp-in-pkts: 4",
        "mood: no such node",
        "member[interface]: a leafref to another value",
        "interfaces: no such node",
    }


def test_a_lagg_is_an_aggregate_of_its_members(agreed: LaggRecord) -> None:
    found = openconfig([agreed])["openconfig-interfaces:interfaces"]
    lagg, *ports = json.loads(json.dumps(found))["interface"]
    aggregation = lagg["openconfig-if-aggregate:aggregation"]
    assert aggregation["config"] == {"lag-type": "LACP", "min-links": 1}
    assert aggregation["state"]["member"] == ["eth2", "eth3"]
    assert lagg["state"]["last-change"] == "1767225600000000000"
    assert lagg["state"]["type"] == "iana-if-type:ieee8023adLag"
    for port in ports:
        state = port["openconfig-if-ethernet:ethernet"]["state"]
        assert state["openconfig-if-aggregate:aggregate-id"] == "lagg1"


AGREED = {
    "interface": "eth2",
    "port-priority": 32768,
    "activity": "ACTIVE",
    "timeout": "SHORT",
    "synchronization": "IN_SYNC",
    "aggregatable": True,
    "collecting": True,
    "distributing": True,
    "system-id": "02:00:5e:00:53:41",
    "oper-key": 0,
    "port-num": 33,
    "partner-id": "02:00:5e:00:53:42",
    "partner-key": 0,
    "partner-port-num": 1,
    "partner-port-priority": 32768,
    "counters": {},
}


def test_a_member_says_what_both_ends_are(agreed: LaggRecord) -> None:
    found = json.loads(json.dumps(openconfig([agreed])))["openconfig-lacp:lacp"]
    (lagg,) = found["interfaces"]["interface"]
    member, other = (each["state"] for each in lagg["members"]["member"])
    assert member | {"oper-key": 0, "partner-key": 0, "counters": {}} == AGREED
    assert member["oper-key"] == member["partner-key"] > 0
    assert (other["port-num"], other["partner-port-num"]) == (34, 2)
    errors = ("lacp-rx-errors", "lacp-errors", "lacp-unknown-errors")
    assert [member["counters"][name] for name in errors] == ["1", "1", "0"]


def test_of_a_partner_that_nobody_has_heard_there_is_no_leaf() -> None:
    found = json.loads(json.dumps(openconfig([unheard()])))["openconfig-lacp:lacp"]
    state = found["interfaces"]["interface"][0]["members"]["member"][0]["state"]
    assert [name for name in state if name.startswith("partner")] == []
    assert state["synchronization"] == "OUT_SYNC"


def test_laggctl_prints_the_document_for_one_lagg_or_all(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.call("Create", name="lagg0")
    world.call("Create", name="lagg1")

    def names(*words: str) -> list[str]:
        assert cli.main(["show", "--openconfig", *words]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert [*complaints(printed)] == []
        found = printed["openconfig-interfaces:interfaces"]["interface"]
        return [
            each["name"] for each in found if "ieee8023adLag" in each["config"]["type"]
        ]

    assert names() == ["lagg0", "lagg1"]
    assert names("lagg1") == ["lagg1"]
    assert names("lagg1", "--json") == ["lagg1"]
