# SPDX-License-Identifier: BSD-2-Clause
"""The parts of `import`: sh's grammar, bonding's options, and what is a secret."""

import shlex
import string
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.cli.importing import _drafts
from lagg.cli.importing.bonding import (
    AD_SELECT,
    MODES,
    POLICIES,
    RESELECT,
    pairs,
    set_options,
)
from lagg.cli.importing.draft import Draft
from lagg.cli.importing.shell import commands
from lagg.cli.importing.team import team
from lagg.cli.importing.text import LEFT_OUT, Source, mentions, shown
from lagg.config.keys import OPTION_RULES
from lagg.model import HashLayer, LaggConfig, Options, Proto
from tests.cli.imported import imported

# ---- sh ----------------------------------------------------------------------------


def words(text: str, **known: str) -> list[list[str]]:
    return [command.words for command in commands(text, known)]


GRAMMAR = {
    "words": ("a  b\tc\n d", [["a", "b", "c"], ["d"]]),
    "separators": ("a;b&&c||d|e&f", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]]),
    "quotes": ("""a 'b "c' "d 'e" f"g"h""", [["a", 'b "c', "d 'e", "fgh"]]),
    "an empty word": ("a '' \"\"", [["a", "", ""]]),
    "escapes": (r'a\ b "c\"d" \#e', [["a b", 'c"d', "#e"]]),
    "a line that goes on": ("a \\\n b\\\nc", [["a", "bc"]]),
    "a value of several lines": ("a='b\nc'", [["a=b\nc"]]),
    "comments": ("a # b 'c\n#d\ne#f", [["a"], ["e#f"]]),
    "variables": (
        "a=1; b $a ${a}2 \"$a\" '$a'",
        [["a=1"], ["b", "1", "12", "1", "$a"]],
    ),
    "a variable of several words": (
        'a="b c"; d $a "$a"',
        [["a=b c"], ["d", "b", "c", "b c"]],
    ),
    "one that is set to one": ('a="b c"; d=$a', [["a=b c"], ["d=b c"]]),
    "one that is not known": ("a $b ${c} ${d#e}", [["a", "$b", "${c}", "${d#e}"]]),
    "a default": ("a ${b:-c} ${d-e}", [["a", "c", "e"]]),
    "appended to": ('a="$a b"; a="${a} c"', [["a= b"], ["a= b c"]]),
    "appended to with +=": ("a=b; a+=c; d $a", [["a=b"], ["a+=c"], ["d", "bc"]]),
    "exported": ("export a=1; b $a", [["export", "a=1"], ["b", "1"]]),
    "output of commands": ("a $(b c) `d e`", [["a", "$(b c)", "`d e`"]]),
    "conditions": ("if a; then b; else c; fi", [["a"], ["b"], ["c"]]),
    "loops": (
        "for a in 1 '2 3'; do b \"$a\"; done; c",
        [["b", "1"], ["b", "2 3"], ["c"]],
    ),
    "loops in loops": (
        "for a in 1 2\ndo\nfor b in 3 4; do c $a$b; done\ndone",
        [["c", "13"], ["c", "14"], ["c", "23"], ["c", "24"]],
    ),
    "a loop over nothing": ("for a in; do b; done; c", [["c"]]),
    "here-documents": ("a <<X b\nc 'd\nX\ne", [["a", "b"], ["e"]]),
    "redirections": ("a 2>/dev/null <b c", [["a", "c"]]),
}


@pytest.mark.parametrize(("text", "wanted"), GRAMMAR.values(), ids=GRAMMAR)
def test_commands_are_read_as_sh_reads_them(text: str, wanted: list[list[str]]) -> None:
    assert words(text) == wanted


def test_where_the_output_goes_is_known() -> None:
    targets = [
        command.target for command in commands("a >b; c >> $d 2>&1; e >&2", {"d": "f"})
    ]
    assert targets == ["b", "f", None]


@pytest.mark.parametrize(
    ("text", "here"),
    [
        ("cat > f <<X\na $b 'c\nX\n", "a d 'c\n"),
        ("cat > f <<'X'\na $b\nX\n", "a $b\n"),
        ("cat <<X > f; e\na\nX\n", "a\n"),
        ("cat <<-X\n\ta\n\tX\n", "\ta\n"),
        ("cat <<X\na", "a"),
        ("cat f", None),
    ],
)
def test_a_here_document_is_its_command_s(text: str, here: str | None) -> None:
    assert commands(text, {"b": "d"})[0].here == here


def test_a_command_is_of_the_line_where_it_begins() -> None:
    found = commands("a\n\nb 'c\nd'\ne \\\n f\ng")
    assert [command.line for command in found] == [1, 3, 5, 7]


@pytest.mark.parametrize("text", ["'", '"', "a 'b\nc", 'a "b\\"'])
def test_a_quote_that_is_not_closed_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="line 1: a quote is not closed"):
        commands(text)


PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=20)


@given(st.lists(PLAIN, min_size=1, max_size=5))
def test_what_is_quoted_arrives_as_it_was(given_words: list[str]) -> None:
    line = " ".join(
        ["run", *(f"'{w}'" if "'" not in w else shlex.quote(w) for w in given_words)]
    )
    assert words(line) == [["run", *given_words]]


@given(
    st.text(
        st.sampled_from("ab=$'\"\\ \n;|&#(){}<>`-:1" + string.whitespace), max_size=60
    )
)
def test_no_text_is_too_odd_for_it(text: str) -> None:
    with suppress(ValueError):
        commands(text)


# ---- bonding -----------------------------------------------------------------------

# The kernel's uapi/linux/if_bonding.h and Documentation/networking/bonding.rst.
KERNEL_MODES = (
    "balance-rr active-backup balance-xor broadcast 802.3ad balance-tlb balance-alb"
)
KERNEL_POLICIES = "layer2 layer3+4 layer2+3 encap2+3 encap3+4 vlan+srcmac"
KERNEL_RESELECT = "always better failure"
KERNEL_AD_SELECT = "stable bandwidth count actor_port_prio"


def test_the_numbers_of_bonding_are_the_kernel_s() -> None:
    assert list(MODES) == KERNEL_MODES.split()
    assert list(POLICIES) == KERNEL_POLICIES.split()
    assert list(AD_SELECT) == KERNEL_AD_SELECT.split()
    assert list(RESELECT) == KERNEL_RESELECT.split()


@pytest.mark.parametrize("number", range(7))
def test_a_mode_is_the_same_by_its_number(number: int) -> None:
    by_number, by_word = imported(mode=str(number)), imported(mode=list(MODES)[number])
    assert (by_number.keys, by_number.notes) == (by_word.keys, by_word.notes)
    assert by_number.keys["proto"] in {proto.value for proto in Proto}


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({}, {"proto": "roundrobin"}),
        ({"mode": "2"}, {"lagghash": ["l2"]}),
        ({"mode": "2", "xmit_hash_policy": "0"}, {"lagghash": ["l2"]}),
        ({"mode": "2", "xmit_hash_policy": "1"}, {"lagghash": ["l3", "l4"]}),
        ({"mode": "2", "xmit_hash_policy": "layer3+4"}, {"lagghash": ["l3", "l4"]}),
        ({"mode": "2", "xmit_hash_policy": "2"}, {"lagghash": ["l2", "l3"]}),
        ({"mode": "2", "xmit_hash_policy": "layer2+3"}, {"lagghash": ["l2", "l3"]}),
        ({"mode": "2", "xmit_hash_policy": "3"}, {"lagghash": ["l2", "l3"]}),
        ({"mode": "2", "xmit_hash_policy": "4"}, {"lagghash": ["l3", "l4"]}),
        ({"mode": "2", "xmit_hash_policy": "5"}, {"lagghash": ["l2"]}),
        ({"mode": "1", "all_slaves_active": "1"}, {"failover_rx_all": True}),
        ({"mode": "0", "packets_per_slave": "9"}, {"rr_limit": 9}),
        ({"mode": "0", "packets_per_slave": "0"}, {"rr_limit": 0}),
        ({"mode": "4", "lacp_rate": "1"}, {"lacp_fast_timeout": True}),
        ({"mode": "4", "lacp_rate": "slow"}, {"lacp_fast_timeout": False}),
        ({"mode": "4", "lacp_active": "off"}, {"lacp_active": False}),
        ({"mode": "4", "lacp_active": "1"}, {"lacp_active": True}),
        ({"mode": "4", "ad_select": "1"}, {"ad_select": "bandwidth"}),
        ({"mode": "4", "ad_select": "2"}, {"ad_select": "count"}),
        ({"mode": "4", "ad_select": "3"}, {"ad_select": "port-priority"}),
        ({"mode": "4", "ad_actor_sys_prio": "9"}, {"lacp_system_priority": 9}),
        (
            {"updelay": "200", "downdelay": "9"},
            {"up_delay_ms": 200, "down_delay_ms": 9},
        ),
        ({"mode": "1", "primary_reselect": "failure"}, {"reselect": "failure"}),
        (
            {"mode": "1", "primary_reselect": "1", "primary": "eth1"},
            {"reselect": "better", "primary": "eth1"},
        ),
        (
            {"mode": "4", "ad_actor_system": "02:00:5E:00:53:01"},
            {"lacp_system": "02:00:5e:00:53:01"},
        ),
        ({"mode": "4", "coupled_control": "on"}, {"lacp_coupled": True}),
        (
            {"mode": "5", "xmit_hash_policy": "layer3+4"},
            {"proto": "tlb", "lagghash": ["l3"], "balance_interval_ms": 10_000},
        ),
        (
            {"mode": "6", "primary_reselect": "better"},
            {"proto": "alb", "lagghash": ["l3"], "balance_interval_ms": 10_000},
        ),
        (
            {"mode": "5", "tlb_dynamic_lb": "0", "xmit_hash_policy": "layer3+4"},
            {"proto": "tlb", "lagghash": ["l3", "l4"], "reselect": "failure"},
        ),
        ({"mode": "4", "min_links": "0"}, {"lacp_min_links": 1}),
    ],
)
def test_an_option_of_bonding_is_one_of_ours(
    options: dict[str, str], keys: dict[str, Any]
) -> None:
    found = imported(**options).keys
    assert keys.items() <= found.items()
    assert found.keys() <= {"proto", *OPTION_RULES}


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({}, "mode: none is said here; balance-rr is bonding's default"),
        ({"mode": "1", "tlb_dynamic_lb": "0"}, "tlb_dynamic_lb 0: of modes balance-"),
        ({"mode": "7"}, "mode 7: no such mode of bonding"),
        (
            {"active_slave": "e0"},
            "active_slave e0: a state and no setting: laggctl",
        ),
        ({"arp_interval": "100"}, "arp_interval 100: nobody is asked without"),
        ({"ad_user_port_key": "3"}, "ad_user_port_key 3: has no equivalent"),
        ({"lacp_rate": "2"}, "lacp_rate 2: has no equivalent"),
        ({"lacp_active": "maybe"}, "lacp_active maybe: has no equivalent"),
        ({"xmit_hash_policy": "6"}, "xmit_hash_policy 6: no such policy of bonding"),
        ({"xmit_hash_policy": "4"}, "xmit_hash_policy encap3+4: headers inside a"),
        ({"xmit_hash_policy": "5"}, "xmit_hash_policy vlan+srcmac: l2 has both MACs"),
    ],
)
def test_what_has_no_equivalent_is_a_note(options: dict[str, str], note: str) -> None:
    notes = [f"{what}: {why}" for what, why in imported(**options).notes]
    assert any(each.startswith(note) for each in notes), notes


def test_the_primary_is_named_and_those_behind_it_follow() -> None:
    found = imported(mode="1", primary="eth2 eth1")
    assert found.ports == ["eth2", "eth1", "eth0"]
    assert found.keys["primary"] == "eth2"
    assert imported(mode="1", primary="eth2").ports == ["eth0", "eth1", "eth2"]


@pytest.mark.parametrize("word", [None, "always", "better", "failure"])
def test_without_a_primary_the_port_that_carries_is_left_where_it_is(
    word: str | None,
) -> None:
    said = {} if word is None else {"primary_reselect": word}
    assert imported(mode="1", **said).keys["reselect"] == "failure"
    primary = imported(mode="1", primary="eth2", **said).keys
    assert primary.get("reselect") == word
    assert "reselect" not in imported(mode="4").keys
    alike = team({"runner": {"name": "activebackup"}, "ports": {"e0": {}}}, "t0")
    assert alike.keys["reselect"] == "better"


def test_team_s_prio_sticky_and_delays_are_ours() -> None:
    ports = {"e0": {"prio": -3}, "e1": {"prio": 7, "sticky": True}}
    watch = {"name": "ethtool", "delay_up": 300, "delay_down": 100}
    found = team(
        {"runner": {"name": "activebackup"}, "link_watch": watch, "ports": ports}, "t0"
    )
    assert found.keys == {
        "proto": "failover",
        "reselect": "failure",
        "up_delay_ms": 300,
        "down_delay_ms": 100,
    }
    assert found.port_keys == {"e0": {"priority": -3}, "e1": {"priority": 7}}
    assert [note.what for note in found.notes] == ["sticky true, of some ports"]


IP = """
ip link add bond0 type bond mode {mode}
ip link set eth1 type bond_slave prio -3
ip link set eth0 master bond0
ip link set eth1 master bond0 type bond_slave queue_id 2
ip link set eth0 type bond_slave {key} 10
ip link set eth9 type bond_slave prio 1
"""


@pytest.mark.parametrize(
    ("mode", "key", "ports", "notes"),
    [
        (
            "active-backup",
            "prio",
            {"eth0": {"priority": 10}, "eth1": {"priority": -3}},
            ["eth1 queue_id 2"],
        ),
        (
            "802.3ad",
            "actor_port_prio",
            {"eth0": {"lacp_port_priority": 10}},
            ["eth1 prio -3", "eth1 queue_id 2"],
        ),
        (
            "balance-xor",
            "prio",
            {},
            ["eth1 prio -3", "eth1 queue_id 2", "eth0 prio 10"],
        ),
    ],
)
def test_bonding_s_options_of_a_port_are_its_own(
    mode: str, key: str, ports: dict[str, dict[str, int]], notes: list[str]
) -> None:
    drafts = _drafts([Source("up.sh", IP.format(mode=mode, key=key))])
    (draft,) = drafts
    assert draft.port_keys == ports
    assert [note.what for note in draft.notes] == notes
    assert [note.why for note in drafts.left] == ["eth9 is a port of no bond here"]


def test_team_s_prio_of_another_runner_makes_no_groups() -> None:
    found = team({"runner": {"name": "loadbalance"}, "ports": {"e0": {"prio": 9}}}, "t")
    assert found.port_keys == {}
    assert [note.what for note in found.notes] == ["ports e0 prio 9"]


def test_the_defaults_it_relies_on_are_ours() -> None:
    assert Options().lagghash == (HashLayer.L2, HashLayer.L3, HashLayer.L4)
    assert LaggConfig("x").proto is Proto.FAILOVER


# ---- secrets, and what a comment shows ---------------------------------------------

SECRETS = [
    "wpa-psk hunter2",
    "wpa-psk hunter2 and more",
    "WPA_PSK=hunter2",
    'PASSWORD="hunter2 and more"',
    "wireless-key hunter2",
    "KEY1=hunter2",
    "key hunter2",
    "vhid 1 pass hunter2",
    "notify --password hunter2",
    "notify --password=hunter2",
    '{"secret": "hunter2"}',
    "https://someone:hunter2@example.org/x",
    "SNMP_COMMUNITY hunter2",
    "auth-token: hunter2",
    f"x {'y' * 5000} pass hunter2",
]


@pytest.mark.parametrize("text", SECRETS)
def test_what_is_secret_is_not_shown(text: str) -> None:
    assert "hunter2" not in shown(text)
    assert "more" not in shown(text)


@pytest.mark.parametrize("text", SECRETS[:-1])
def test_that_it_was_left_out_is_shown(text: str) -> None:
    assert LEFT_OUT in shown(text)


@pytest.mark.parametrize(
    "text",
    ["lacp_key 3", "ad_user_port_key 7", "bond-lacp-bypass-allow yes", "keyboard us"],
)
def test_what_only_looks_like_a_secret_is_shown(text: str) -> None:
    assert shown(text) == text


@given(st.text(max_size=200))
def test_a_comment_is_one_printable_line(text: str) -> None:
    assert shown(text).isprintable()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bridge-ports bond0", True),
        ("vlan-raw-device bond0.7", True),
        ("iface bond0:1", True),
        ("vlan7@bond0", True),
        ("bond01", False),
        ("my-bond0", False),
        ("192.0.2.1", False),
    ],
)
def test_an_interface_is_found_where_it_or_a_vlan_of_it_is_named(
    text: str, found: bool
) -> None:
    assert mentions(text, frozenset(("bond0",))) is found


@pytest.mark.parametrize(
    ("options", "count", "interval_ms"),
    [
        ("mode=1 num_grat_arp=3", 3, None),
        ("mode=1 num_unsol_na=30 miimon=80", 30, 80),
        ("mode=1 num_grat_arp=1 miimon=80", 1, None),
        ("mode=1 num_grat_arp=3 miimon=80 peer_notif_delay=160", 3, 160),
        ("mode=1 num_grat_arp=3 miimon=80 peer_notif_delay=0", 3, 80),
        ("mode=1 peer_notif_delay=160", None, 160),
    ],
)
def test_bonding_s_announcements_are_ours(
    options: str, count: int | None, interval_ms: int | None
) -> None:
    draft = Draft("bond0")
    set_options(draft, dict(pairs(options.split())))
    found = (draft.keys.get(f"announce_{key}") for key in ("count", "interval_ms"))
    assert (*found,) == (count, interval_ms)
    assert not [note for note in draft.notes if not note.what.startswith("miimon")]


# ---- MACs ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ("mode=1 fail_over_mac=0", "stable"),
        ("mode=active-backup fail_over_mac=active", "active"),
        ("mode=1 fail_over_mac=2", "own"),
        ("mode=4 fail_over_mac=1", None),  # which bonding ignores
    ],
)
def test_bonding_s_fail_over_mac_is_a_mac_policy(
    options: str, policy: str | None
) -> None:
    draft = Draft("bond0")
    set_options(draft, dict(pairs(options.split())))
    assert draft.keys.get("mac_policy") == policy
    assert [note.what for note in draft.notes] == {
        "own": ["fail_over_mac follow"],
        None: ["fail_over_mac active"],
    }.get(policy, [])


@pytest.mark.parametrize(
    ("runner", "policy"),
    [("activebackup", "active"), ("roundrobin", None)],
)
def test_team_s_hwaddr_policy_is_a_mac_policy(runner: str, policy: str | None) -> None:
    document = {
        "runner": {"name": runner, "hwaddr_policy": "by_active"},
        "notify_peers": {"count": 4, "interval": 50},
        "mcast_rejoin": {"count": 2, "interval": 300},
    }
    draft = team(document, "team0")
    assert draft.keys.get("mac_policy") == policy
    keys = ("announce_count", "announce_interval_ms", "rejoin_count")
    assert [draft.keys[key] for key in keys] == [4, 50, 2]
    assert "mcast_rejoin interval 300" in [note.what for note in draft.notes]
