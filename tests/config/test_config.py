# SPDX-License-Identifier: BSD-2-Clause
"""What a configuration may say, and what is said of one that is wrong."""

import dataclasses
import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.config.files import ConfigError, load, parse_toml
from lagg.config.keys import OPTION_RULES, PORT_RULES
from lagg.config.requests import (
    parse_create,
    parse_lagg_name,
    parse_port_names,
    parse_set,
)
from lagg.errors import BadRequestError
from lagg.lacp.values import AdSelect
from lagg.model import (
    HashKind,
    HashLayer,
    LaggChange,
    LaggConfig,
    MacPolicy,
    Options,
    PortOptions,
    Proto,
)

GOOD = """
[[lagg]]
name = "lagg0"
proto = "loadbalance"
ports = ["eth0", "eth1"]
mac = "02:00:5E:00:53:01"
mtu = 9000
altname = ["uplink", "the-other-name-of-lagg0"]
mac_policy = "primary"
lagghash = ["l4", "l3"]
hash = "fnv1"
hash_seed = 4294967295
use_flowid = true
flowid_shift = 0
rr_limit = 7
failover_rx_all = true
lacp_strict = false
lacp_fast_timeout = true
lacp_active = false
lacp_system_priority = 0
lacp_system = "02:00:5E:00:53:02"
lacp_key = 65535
lacp_port_offset = 65503
ad_select = "port-priority"
lacp_max_ports = 4
lacp_min_links = 2
lacp_fallback_timeout = 30
lacp_coupled = true
lacp_txtest = true
lacp_rxtest = true
[lagg.port.eth1]
lacp_port_priority = 100

[[lagg]]
name = "lagg1"
"""


def test_every_key_of_a_good_file_arrives() -> None:
    full, default = parse_toml(GOOD, "good.toml")
    assert default == LaggConfig("lagg1")
    assert full == LaggConfig(
        "lagg0",
        proto=Proto.LOADBALANCE,
        ports=("eth0", "eth1"),
        mac="02:00:5e:00:53:01",
        mtu=9000,
        options=Options(
            altname=("uplink", "the-other-name-of-lagg0"),
            mac_policy=MacPolicy.PRIMARY,
            lagghash=(HashLayer.L3, HashLayer.L4),
            hash=HashKind.FNV1,
            hash_seed=4294967295,
            use_flowid=True,
            flowid_shift=0,
            rr_limit=7,
            failover_rx_all=True,
            lacp_strict=False,
            lacp_fast_timeout=True,
            lacp_active=False,
            lacp_system_priority=0,
            lacp_system="02:00:5e:00:53:02",
            lacp_key=65535,
            lacp_port_offset=65503,
            ad_select=AdSelect.PORT_PRIORITY,
            lacp_max_ports=4,
            lacp_min_links=2,
            lacp_fallback_timeout=30,
            lacp_coupled=True,
            lacp_txtest=True,
            lacp_rxtest=True,
        ),
        port_options={"eth1": PortOptions(lacp_port_priority=100)},
    )


def test_an_empty_file_asks_for_no_lagg() -> None:
    assert parse_toml("", "empty.toml") == ()


def test_every_option_has_its_rule() -> None:
    assert set(OPTION_RULES) == {field.name for field in dataclasses.fields(Options)}
    assert set(PORT_RULES) == {field.name for field in dataclasses.fields(PortOptions)}


def lagg(*lines: str) -> str:
    return "\n".join(("[[lagg]]", 'name = "lagg0"', *lines))


U32 = "a whole number from 0 to 4294967295"
MAC = "a unicast MAC address such as 02:00:5e:00:53:01"
LAYERS = "a list of one or more of l2, l3, l4"

BAD_FILES = [
    ("lagg = 3", "lagg: write [[lagg]], one for each lagg"),
    ("[lagg]\nname = 'lagg0'", "lagg: write [[lagg]], one for each lagg"),
    ("lagg = [1]", "lagg[0]: 1 is not a table: write [[lagg]]"),
    ("[[lag]]", "lag: unknown key (did you mean lagg?); one of lagg"),
    ("[[lagg]]", "lagg[0]: name is missing"),
    ("[[lagg]]\nname = 1", "lagg[0]: name: 1 is not an interface name"),
    ("[[lagg]]\nname = ''", "name: '' cannot name an interface"),
    ("[[lagg]]\nname = '..'", "..: name: '..' cannot name an interface"),
    ("[[lagg]]\nname = 'all'", "all: name: 'all' cannot name an interface"),
    ("[[lagg]]\nname = 'sixteen-bytes-ab'", "has more than 15 bytes"),
    ("[[lagg]]\nname = 'éééééééé'", "has more than 15 bytes"),
    ("[[lagg]]\nname = 'à0'", "à0: name: 'à0' holds a character the kernel refuses"),
    ("[[lagg]]\nname = 'a/b'", "a/b: name: 'a/b' holds a character no name may hold"),
    ("[[lagg]]\nname = 'a b'", "holds a character no name may hold"),
    ("[[lagg]]\nname = 'lagg%d'", "holds a character no name may hold"),
    ("[[lagg]]\nname = 'eth0:1'", "holds a character no name may hold"),
    ('[[lagg]]\nname = "a\\u0007"', "holds a character no name may hold"),
    (lagg("colour = 1"), "lagg0: colour: unknown key; one of name, proto, ports, mac,"),
    (lagg("rr_limt = 1"), "lagg0: rr_limt: unknown key (did you mean rr_limit?)"),
    (
        lagg("flowid-shift = 1"),
        "flowid-shift: unknown key (did you mean flowid_shift?)",
    ),
    (lagg("lacp_strict = 1"), "lagg0: lacp_strict: 1 is neither true nor false"),
    (lagg("lacp_key = 65536"), "lacp_key: 65536 is not a whole number from 0 to 65535"),
    (
        lagg("lacp_port_offset = 65504"),  # port 32 would be 65536
        "lacp_port_offset: 65504 is not a whole number from 0 to 65503",
    ),
    (lagg("lacp_max_ports = 0"), "0 is not a whole number from 1 to 32"),
    (lagg("lacp_min_links = 33"), "33 is not a whole number from 1 to 32"),
    (lagg("lacp_system = 'ff:ff:ff:ff:ff:ff'"), "is multicast or zero, not"),
    (lagg("lacp_fallback_timeout = -1"), "-1 is not a whole number from 0 to 3600"),
    (
        lagg("mac_policy = 'prime'"),
        "mac_policy: 'prime' is not one of stable, primary, active, own (did you mean",
    ),
    (
        lagg("ad_select = 'bandwith'"),
        "ad_select: 'bandwith' is not one of stable, bandwidth, count, port-priority"
        " (did you mean bandwidth?)",
    ),
    (
        lagg("proto = 'failver'"),
        "lagg0: proto: no such protocol 'failver' (did you mean failover?);"
        " one of failover, roundrobin, loadbalance, lacp, broadcast, tlb, alb, none",
    ),
    (lagg("proto = 4"), "lagg0: proto: 4 is not one of failover, roundrobin,"),
    (lagg("ports = 'eth0'"), "ports: 'eth0' is not a list of interface names"),
    (lagg("ports = [1]"), "lagg0: port 1: 1 is not an interface name"),
    (lagg("ports = ['a', 'b', 'a']"), "lagg0: port a: is listed twice"),
    (lagg("ports = ['lagg0']"), "lagg0: port lagg0: a lagg cannot be its own port"),
    (
        lagg(f"ports = {[f'eth{n}' for n in range(33)]}"),
        "lagg0: ports: 33 ports; a lagg has at most 32",
    ),
    (lagg("mac = 5"), f"lagg0: mac: 5 is not {MAC}"),
    (lagg("mac = '02:00:5e:00:53'"), f"lagg0: mac: '02:00:5e:00:53' is not {MAC}"),
    (lagg("mac = '02:00:5e:00:53:1'"), f"mac: '02:00:5e:00:53:1' is not {MAC}"),
    (lagg("mac = '02:00:5e:00:53:+1'"), f"mac: '02:00:5e:00:53:+1' is not {MAC}"),
    (lagg("mac = '03:00:5e:00:53:01'"), f"is multicast or zero, not {MAC}"),
    (lagg("mac = '00:00:00:00:00:00'"), f"is multicast or zero, not {MAC}"),
    (lagg("mtu = 67"), "lagg0: mtu: 67 is not a whole number from 68 to 65521"),
    (lagg("mtu = 65522"), "lagg0: mtu: 65522 is not a whole number"),
    (lagg("mtu = 1500.0"), "lagg0: mtu: 1500.0 is not a whole number"),
    (lagg("mtu = nan"), "lagg0: mtu: nan is not a whole number"),
    (lagg("mtu = '1500'"), "lagg0: mtu: '1500' is not a whole number"),
    (lagg("mtu = true"), "lagg0: mtu: true is not a whole number"),
    (lagg("lagghash = []"), f"lagg0: lagghash: [] is not {LAYERS}"),
    (lagg("lagghash = 'l2'"), f"lagg0: lagghash: 'l2' is not {LAYERS}"),
    (lagg("altname = 'a'"), "lagg0: altname: 'a' is not a list of interface names"),
    (lagg("altname = ['']"), "lagg0: altname: '' cannot name an interface"),
    (lagg(f"altname = ['{'x' * 128}']"), "lagg0: altname: 'xxx"),
    (lagg("altname = ['a b']"), "lagg0: altname: 'a b' holds a character no name"),
    (lagg("altname = ['a', 'a']"), "lagg0: altname: 'a' is given more than once"),
    (lagg(f"altname = {[f'a{n}' for n in range(33)]}"), "altname: 33 names; an inter"),
    (lagg("altname = ['lagg0']"), "lagg0: altname: lagg0 is its name already"),
    (
        lagg("altname = ['a']") + "\n[[lagg]]\nname = 'lagg1'\naltname = ['a']",
        "lagg1: altname: a is a name of lagg0",
    ),
    (
        lagg("altname = ['lagg1']") + "\n[[lagg]]\nname = 'lagg1'",
        "lagg0: altname: lagg1 is a name of lagg1",
    ),
    (lagg("lagghash = ['l5']"), "lagg0: lagghash: no layer 'l5'; any of l2, l3, l4"),
    (
        lagg("lagghash = [['l2']]"),
        "lagg0: lagghash: no layer ['l2']; any of l2, l3, l4",
    ),
    (
        lagg("lagghash = ['inner']"),
        "lagg0: lagghash: inner says whose layers count: give l2, l3 or l4 as well",
    ),
    (lagg("lagghash = ['l2', 'l2']"), "lagg0: lagghash: l2 is given more than once"),
    (
        lagg("hash = 'crc32'"),
        "'crc32' is not one of fnv1, crc32c (did you mean crc32c?)",
    ),
    (lagg("hash = []"), "lagg0: hash: [] is not one of fnv1, crc32c"),
    (lagg("hash_seed = -1"), f"lagg0: hash_seed: -1 is not {U32}"),
    (lagg("hash_seed = 4294967296"), f"lagg0: hash_seed: 4294967296 is not {U32}"),
    (lagg("use_flowid = 1"), "lagg0: use_flowid: 1 is neither true nor false"),
    (lagg("use_flowid = 'yes'"), "lagg0: use_flowid: 'yes' is neither true nor false"),
    (lagg("flowid_shift = 32"), "flowid_shift: 32 is not a whole number from 0 to 31"),
    (lagg("flowid_shift = -1"), "flowid_shift: -1 is not a whole number from 0 to 31"),
    (lagg("rr_limit = -1"), "rr_limit: -1 is not a whole number from 0 to 4294967295"),
    (lagg("rr_limit = true"), "lagg0: rr_limit: true is not a whole number from 0"),
    (lagg("rr_limit = 4294967296"), "rr_limit: 4294967296 is not a whole number"),
    (lagg("failover_rx_all = 0"), "failover_rx_all: 0 is neither true nor false"),
    (lagg("port = 1"), "lagg0: port: write [lagg.port.NAME]"),
    (
        lagg("ports = ['eth0']", "[lagg.port.eth1]"),
        "lagg0: port.eth1: is not in ports (did you mean eth0?); one of eth0",
    ),
    (
        lagg("ports = ['eth0']", "[lagg.port.eth0]", "prioritty = 1"),
        "lagg0: port.eth0: prioritty: unknown key (did you mean priority?)",
    ),
    (
        lagg("ports = ['eth0']", "port.eth0.lacp_port_priority = 65536"),
        "lagg0: port.eth0: lacp_port_priority: 65536 is not a whole number from 0",
    ),
    (
        lagg("ports = ['eth0']", "port.eth0.weight = 'fast'"),
        "lagg0: port.eth0: weight: 'fast' is not a whole number from 0 to 255, or sp",
    ),
    (lagg("ports = ['eth0']", "port.eth0 = 1"), "lagg0: port.eth0: 1 is not a table"),
    (lagg() + "\n" + lagg(), "lagg0: name: there is a lagg of this name already"),
    (
        lagg("ports = ['a']") + "\n[[lagg]]\nname = 'lagg1'\nports = ['a']",
        "lagg1: port a: already a port of lagg0",
    ),
    (
        lagg() + "\n[[lagg]]\nname = 'lagg1'\nports = ['lagg0']",
        "lagg1: port lagg0: a lagg cannot be the port of a lagg",
    ),
    (lagg("mtu = 1", "mtu = 2"), "not TOML: Cannot overwrite a value (at"),
    ("[[lagg]\n", "not TOML: Expected ']]' at the end of an array declaration"),
    ("a = " + "[" * 5000, "not acceptable TOML: "),
    ("a = " + "9" * 5000, "not acceptable TOML: Exceeds the limit"),
]


@pytest.mark.parametrize(
    ("text", "line"), BAD_FILES, ids=[line for _, line in BAD_FILES]
)
def test_a_bad_file_gets_one_line_that_names_file_key_and_what_is_allowed(
    text: str, line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_toml(text, "bad.toml")
    said = str(caught.value)
    assert said.startswith("bad.toml: ")
    assert line in said
    assert len(said.splitlines()) == 1


def test_every_complaint_is_made_at_once() -> None:
    text = lagg("mtu = 1", "rr_limit = -1", "proto = 'x'", "what = 1")
    with pytest.raises(ConfigError) as caught:
        parse_toml(text, "bad.toml")
    keys = [complaint.key for complaint in caught.value.complaints]
    assert sorted(keys) == [
        "lagg0: mtu",
        "lagg0: proto",
        "lagg0: rr_limit",
        "lagg0: what",
    ]


def test_one_bad_lagg_among_good_ones_refuses_the_file() -> None:
    good = "\n".join(f"[[lagg]]\nname = 'lagg{n}'" for n in range(10))
    with pytest.raises(ConfigError):
        parse_toml(good + "\nmtu = 1", "bad.toml")


@pytest.mark.parametrize(
    ("prepare", "cause"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.mkdir(), "no *.toml file in it"),
        (lambda path: path.write_bytes(b"a\xff"), "not UTF-8: byte 1 is 0xff"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_complaint_too(
    tmp_path: Path, prepare: object, cause: str
) -> None:
    assert callable(prepare)
    path = tmp_path / "laggd.toml"
    prepare(path)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {cause}"


def test_a_file_is_read_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "laggd.toml"
    path.write_text(GOOD)
    assert load(path) == parse_toml(GOOD, "x")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (
            {"proto": "lcap"},
            "lagg0: proto: no such protocol 'lcap' (did you mean lacp?); one of"
            " failover, roundrobin, loadbalance, lacp, broadcast, tlb, alb, none"
            " (EPROTONOSUPPORT)",
        ),
        (
            {"rr_limit": -1},
            "lagg0: rr_limit: -1 is not a whole number from 0 to 4294967295",
        ),
        ({"ports": ["a", "a"]}, "lagg0: port a: is listed twice (EEXIST)"),
        ({"ports": ["a"] * 64}, "lagg0: port a: is listed twice (EEXIST)"),
        ({"ports": [str(n) for n in range(33)]}, "a lagg has at most 32 (ENOSPC)"),
    ],
)
def test_a_bad_request_to_create_is_refused_by_the_same_rules(
    wanted: dict[str, object], said: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse_create("lagg0", wanted)
    assert said in str(caught.value)


def test_an_unknown_protocol_is_refused_as_lagg4_does() -> None:
    with pytest.raises(BadRequestError) as caught:
        parse_set("lagg0", {"proto": "bogus"})
    assert caught.value.code == errno.EPROTONOSUPPORT


def test_a_change_names_only_what_it_changes() -> None:
    change = parse_set("lagg0", {"rr_limit": 2, "proto": "roundrobin"})
    assert change == LaggChange(proto=Proto.ROUNDROBIN, options=(("rr_limit", 2),))
    before = Options(flowid_shift=3)
    assert change.options_after(before) == Options(flowid_shift=3, rr_limit=2)


def test_false_and_zero_are_values_and_not_absence() -> None:
    change = parse_set("lagg0", {"use_flowid": False, "flowid_shift": 0})
    assert dict(change.options) == {"use_flowid": False, "flowid_shift": 0}


@pytest.mark.parametrize("key", ["ports", "name", "colour"])
def test_a_change_has_no_other_keys(key: str) -> None:
    with pytest.raises(BadRequestError, match=f"lagg0: {key}: unknown key"):
        parse_set("lagg0", {key: []})


def test_ports_to_attach_may_repeat_and_count_once() -> None:
    assert parse_port_names("lagg0", ["b", "a", "b"]) == ("b", "a")


def test_no_port_to_attach_is_refused() -> None:
    with pytest.raises(BadRequestError, match="lagg0: no port is named"):
        parse_port_names("lagg0", [])


def test_a_name_in_another_script_is_good() -> None:
    assert parse_lagg_name("łącze0") == "łącze0"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


@given(
    name=anything,
    wanted=st.dictionaries(
        st.sampled_from(["proto", "ports", "mac", "mtu", "port", "x", *OPTION_RULES]),
        anything,
    ),
)
def test_a_request_is_accepted_or_refused_in_one_line(
    name: object, wanted: dict[str, object]
) -> None:
    try:
        config = parse_create(name, wanted)
    except BadRequestError as error:
        assert str(error).isprintable()  # noqa: PT017  either outcome is right
    else:
        assert isinstance(config, LaggConfig)
