# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's grammar: what each word asks for, what is printed, what sysctl knows."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from lagg import cli
from lagg.cli.ifconfig_elsewhere import ELSEWHERE
from lagg.cli.ifconfig_page import facts_of, interface_page
from lagg.cli.ifconfig_words import Elsewhere, Step, parse_line
from lagg.cli.interface import Facts, Inet
from lagg.cli.output import UsageError
from lagg.cli.sysctl import KNOBS, MEANINGLESS
from lagg.model import HashLayer, LaggConfig, MacPolicy, Options, Proto
from lagg.records import LaggRecord
from tests.control.world import World, record_of
from tests.tree import ROOT


def ifconfig(line: str) -> int:
    return cli.main(["ifconfig", *line.split()])


# The grammar


def inet(address: str, netmask: str | None = None, to_all: str | None = None) -> Step:
    return Step("inet", (address, netmask, to_all))


LINES = [
    ("create", Step("create")),
    ("destroy", Step("destroy")),
    ("laggproto lacp", Step("proto", "lacp")),
    ("laggproto default", Step("proto", "failover")),
    ("laggport eth0", Step("attach", "eth0")),
    ("-laggport eth0", Step("detach", "eth0")),
    ("lagghash l3,l4", Step("option", ("lagghash", ["l3", "l4"]))),
    ("use_flowid", Step("option", ("use_flowid", True))),
    ("-use_flowid", Step("option", ("use_flowid", False))),
    ("flowid_shift 3", Step("option", ("flowid_shift", 3))),
    ("rr_limit 0x10", Step("option", ("rr_limit", 16))),
    ("lacp_strict", Step("option", ("lacp_strict", True))),
    ("-lacp_strict", Step("option", ("lacp_strict", False))),
    ("lacp_txtest", Step("option", ("lacp_txtest", True))),
    ("-lacp_rxtest", Step("option", ("lacp_rxtest", False))),
    ("lacp_fast_timeout", Step("option", ("lacp_fast_timeout", True))),
    ("ether 02:00:5e:00:53:01", Step("mac", "02:00:5e:00:53:01")),
    ("mtu 9000", Step("mtu", 9000)),
    ("up", Step("up", True)),
    ("down", Step("up", False)),
    ("promisc", Step("promisc", True)),
    ("-promisc", Step("promisc", False)),
    ("-arp", Step("arp", False)),
    ("descr uplink", Step("description", "uplink")),
    ("description uplink", Step("description", "uplink")),
    ("-description", Step("description", "")),
    ("192.0.2.1/24", inet("192.0.2.1", "255.255.255.0")),
    ("inet 192.0.2.1", inet("192.0.2.1")),
    ("192.0.2.1 netmask 255.0.0.0", inet("192.0.2.1", "255.0.0.0")),
    ("192.0.2.1 netmask 0xffffff00", inet("192.0.2.1", "255.255.255.0")),
    (
        "192.0.2.1 broadcast 192.0.2.255 netmask 0xffffff00",
        inet("192.0.2.1", "255.255.255.0", "192.0.2.255"),
    ),
]


@pytest.mark.parametrize(("words", "step"), LINES)
def test_every_word_asks_for_one_thing(words: str, step: Step) -> None:
    assert parse_line(["lagg0", *words.split()]).steps == (step,)


def test_words_are_done_in_the_order_written() -> None:
    words = "lagg0 create laggtype ethernet laggproto none laggport b laggport a up"
    verbs = [step.verb for step in parse_line(words.split()).steps]
    assert verbs == ["create", "proto", "attach", "attach", "up"]


@pytest.mark.parametrize(
    "words", ["-use_numa", "inet", "laggtype ethernet", "metric 0"]
)
def test_what_is_so_anyway_is_no_step(words: str) -> None:
    assert parse_line(["lagg0", *words.split()]).steps == ()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("lagg0 laggprt eth0", "laggprt: no word of ifconfig for a lagg"),
        ("lagg0 laggport", "laggport: a value must follow"),
        ("lagg0 mtu big", "'big' is not a whole number"),
        ("lagg0 laggtype infiniband", "laggtype: 'infiniband': a lagg is made of Eth"),
        ("lagg0 description", "description: a value must follow"),
        ("lagg0 10.0.0.1 netmask 0x1ffffffff", "'0x1ffffffff' has more than 32 bits"),
        ("lagg0 10.0.0.1 broadcast x", "broadcast: 'x' is none"),
        (f"lagg0 mtu 0x{'f' * 9000}", "is not a whole number"),
        (f"lagg0 10.0.0.1/{'9' * 9000}", "is no prefix length from 0 to 32"),
        (f"lagg0 10.0.0.1/{'0' * 9000}", "is no prefix length from 0 to 32"),
        ("lagg0 10.0.0.1/0099", "'0099' is no prefix length from 0 to 32"),
        ("lagg0 netmask 255.0.0.0", "netmask: must follow an address"),
        ("lagg0 10.0.0.1 netmask x", "netmask: 'x' is none"),
        ("lagg0 10.0.0.1/33", "'33' is no prefix length from 0 to 32"),
        ("-z", "-z: no such option; one of -a, -l, -v"),
    ],
)
def test_a_word_that_is_none_is_refused_before_any_is_done(
    world: World, capfd: pytest.CaptureFixture[str], words: str, complaint: str
) -> None:
    with pytest.raises(UsageError) as refused:
        parse_line(words.split())
    assert complaint in str(refused.value)
    assert ifconfig(words.replace("lagg0", "lagg0 create", 1)) == 2
    assert capfd.readouterr().err.startswith("laggctl: ")
    assert world.commands.configs == {}


ELSEWHERE_LINES = [
    ("use_numa", "use_numa", "laggd knows no NUMA domains"),
    ("-tso4", "-tso4", "ethtool -K NAME tx-tcp-segmentation off"),
    ("vlanhwfilter", "vlanhwfilter", "ethtool -K NAME rx-vlan-filter on"),
    ("group uplinks", "group uplinks", "ip link set dev NAME group uplinks"),
    ("metric 7", "metric 7", "ip route ... metric 7"),
    ("name up0", "name up0", "ip link set NAME name up0"),
    ("inet6 ::1", "inet6 ::1", "ip -6 addr add ::1 dev NAME"),
    ("inet6 ::1 prefixlen 64 alias", "inet6 ::1 prefixlen 64 alias", "addr add ::1"),
    ("inet6 ::1/64 -alias", "inet6 ::1/64 -alias", "ip -6 addr del ::1/64 dev NAME"),
    ("inet6 accept_rtadv", "inet6 accept_rtadv", "use ip(8)"),
    ("alias 192.0.2.1/24", "alias 192.0.2.1/24", "addr add 192.0.2.1/24 dev NAME"),
    ("192.0.2.1/24 alias", "alias 192.0.2.1/24", "addr add 192.0.2.1/24 dev NAME"),
    ("inet 192.0.2.1 -alias", "-alias 192.0.2.1/BITS", "addr del 192.0.2.1/BITS"),
    ("-alias", "-alias", "ip addr del ADDRESS dev NAME"),
    ("pass s3same", "pass VALUE", "keepalived"),
]


@pytest.mark.parametrize(("words", "said", "remedy"), ELSEWHERE_LINES)
def test_a_word_that_another_program_has_here_names_it(
    words: str, said: str, remedy: str
) -> None:
    (step,) = parse_line(["lagg0", *words.split()]).steps
    assert step.verb == "elsewhere"
    found = cast(Elsewhere, step.value)
    assert found.said == said
    assert remedy in found.remedy


@pytest.mark.parametrize("word", ELSEWHERE)
def test_such_a_word_takes_no_more_than_is_its_own(word: str) -> None:
    value = ["x"] if ELSEWHERE[word].takes_value else []
    steps = parse_line(["lagg0", "up", word, *value, "down"]).steps
    assert [step.verb for step in steps] == ["up", "elsewhere", "up"]


# What is done


def test_a_word_of_another_program_s_does_not_stop_the_line(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    line = "lagg0 create group uplinks laggproto none pass s3same laggport eth0"
    assert ifconfig(line) == 1
    assert capfd.readouterr().err.splitlines() == [
        "laggctl: lagg0: group uplinks: use ip(8): ip link set dev lagg0 group uplinks",
        "laggctl: lagg0: pass VALUE: Linux has no CARP; keepalived(8) speaks VRRP",
    ]
    config = world.commands.configs["lagg0"]
    assert (config.ports, config.proto) == (("eth0",), Proto.NONE)


def test_a_line_makes_a_lagg(world: World) -> None:
    line = (
        "lagg0 create laggproto loadbalance laggport eth0 laggport eth1 lagghash l3,l4"
        " use_flowid flowid_shift 3 rr_limit 7 ether 02:00:5e:00:53:01 mtu 9000"
    )
    assert ifconfig(line) == 0
    assert world.commands.configs["lagg0"] == LaggConfig(
        "lagg0",
        proto=Proto.LOADBALANCE,
        ports=("eth0", "eth1"),
        mac="02:00:5e:00:53:01",
        mtu=9000,
        options=Options(
            mac_policy=MacPolicy.PRIMARY,
            lagghash=(HashLayer.L3, HashLayer.L4),
            use_flowid=True,
            flowid_shift=3,
            rr_limit=7,
        ),
    )
    assert ifconfig("lagg0 -use_flowid -laggport eth0 laggport eth1") == 0
    assert world.commands.configs["lagg0"].ports == ("eth1",)
    assert not world.commands.configs["lagg0"].options.use_flowid
    assert ifconfig("lagg0 destroy") == 0
    assert world.commands.configs == {}


def test_a_port_that_is_refused_does_not_stop_the_line(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    ifconfig("lagg1 create laggport eth1")
    line = "lagg0 create laggport eth0 laggport eth1 laggport eth2 laggport eth0"
    assert ifconfig(f"{line} laggproto none") == 1
    assert capfd.readouterr().err == (
        "laggctl: lagg0: port eth1: already a port of lagg1 (EBUSY)\n"
    )
    config = world.commands.configs["lagg0"]
    assert (config.ports, config.proto) == (("eth0", "eth2"), Proto.NONE)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("lagg9 destroy", "lagg9: no such lagg (ENXIO)"),
        ("lagg9 laggport eth0", "lagg9: no such lagg (ENXIO)"),
        ("lagg0 create", "lagg0: exists already (EEXIST)"),
        ("lagg0 rr_limit -1", "lagg0: rr_limit: -1 is not a whole number from 0 to"),
        ("lagg0 -laggport eth9", "lagg0: port eth9: no port of it (ENOENT)"),
        ("nowhere0 up", "nowhere0: no such interface (ENODEV)"),
        ("nowhere0", "nowhere0: no such interface (ENODEV)"),
        ("nowhere0 descr x", "nowhere0: no such interface (ENODEV)"),
        ("lo-and-sixteen-bytes up", "lo-and-sixteen-bytes: no such interface (ENODEV)"),
        ("lo mtu 0xffffffffff", "lo: set the MTU: 1099511627775 is none (EINVAL)"),
    ],
)
def test_a_refusal_ends_the_line(
    capfd: pytest.CaptureFixture[str], line: str, complaint: str
) -> None:
    ifconfig("lagg0 create")
    assert ifconfig(line) == 1
    assert capfd.readouterr().err.startswith(f"laggctl: {complaint}")


def test_lagg_create_takes_the_first_free_unit(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("lagg0", "lagg2"):
        ifconfig(f"{name} create")
    assert ifconfig("lagg create laggproto none") == 0
    assert capfd.readouterr().out == "lagg1\n"
    assert world.commands.configs["lagg1"].proto is Proto.NONE


def test_under_the_name_ifconfig_no_command_is_needed(
    world: World, tmp_path: Path
) -> None:
    link = tmp_path / "ifconfig"
    link.symlink_to(Path(sys.executable).parent / "laggctl")
    made = subprocess.run([link, "lagg0", "create"], cwd=ROOT, check=False)
    assert made.returncode == 0
    assert [*world.commands.configs] == ["lagg0"]
    again = subprocess.run([link, "lagg0", "create"], capture_output=True, check=False)
    assert again.returncode == 1
    assert again.stderr == b"ifconfig: lagg0: exists already (EEXIST)\n"


# What is printed

FACTS = Facts(
    "lagg0",
    flags=0x1 | 0x2 | 0x1000,
    mac="02:00:5e:00:53:01",
    mtu=1500,
    inet=Inet("192.0.2.1", "255.255.255.0", "192.0.2.255"),
)

PLAIN = """\
lagg0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> metric 0 mtu 1500
\tether 02:00:5e:00:53:01
\tinet 192.0.2.1 netmask 0xffffff00 broadcast 192.0.2.255
\tlaggproto failover lagghash l2,l3,l4
\tlaggport: eth0 flags=5<MASTER,ACTIVE>
\tlaggport: eth1 flags=0<>
\tgroups: lagg
\tmedia: Ethernet autoselect
\tstatus: active"""

VERBOSE = """\
\tlaggproto roundrobin lagghash l2,l3,l4
\tlagg options:
\t\tflags=1<USE_FLOWID>
\t\tflowid_shift: 16
\t\trr_limit: 5
\tlagg statistics:
\t\tactive ports: 1
\t\tflapping: 0
\tlaggport: eth0"""

LACP = """\
\tlaggproto lacp lagghash l2,l3,l4
\tlagg options:
\t\tflags=90<LACP_STRICT,LACP_FAST_TIMO>
\t\tflowid_shift: 16
\tlagg statistics:
\t\tactive ports: 1
\t\tflapping: 3
\tlag id: [(8000,02-00-5E-00-53-01,018B,8000,0001),
\t\t (0000,00-00-00-00-00-00,0000,0000,0000)]
\tlaggport: eth0 flags=1c<ACTIVE,COLLECTING,DISTRIBUTING>\
 state=3d<ACTIVITY,AGGREGATION,SYNC,COLLECTING,DISTRIBUTING>
\t\t[(8000,02-00-5E-00-53-01,018B,8000,0001),
\t\t (0001,02-00-5E-00-53-AA,0007,00FF,0010)]
\tgroups: lagg"""

ACTOR = {
    "system_priority": 32768,
    "system": "02:00:5e:00:53:01",
    "key": 395,
    "port_priority": 32768,
    "port": 1,
    "state": 61,
}
PARTNER = {
    "system_priority": 1,
    "system": "02:00:5e:00:53:aa",
    "key": 7,
    "port_priority": 255,
    "port": 16,
    "state": 61,
}


def record(*ports: str, **changes: object) -> dict[str, Any]:
    made = record_of(LaggConfig("lagg0", ports=ports))
    return {**cast(dict[str, Any], made), **changes}


def page(lagg: dict[str, Any], *, verbose: bool = False) -> str:
    return interface_page(FACTS, cast(LaggRecord, lagg), verbose=verbose)


def test_a_lagg_is_printed_as_freebsd_prints_it() -> None:
    assert page(record("eth0", "eth1")) == PLAIN


def test_with_v_options_and_statistics_follow() -> None:
    lagg = record("eth0", "eth1", proto="roundrobin")
    lagg["options"] |= {"use_flowid": True, "rr_limit": 5, "lacp_strict": True}
    assert VERBOSE in page(lagg, verbose=True)
    assert "\tlagg options" not in page(lagg)
    assert "rr_limit" not in page(lagg | {"proto": "failover"}, verbose=True)


def test_with_v_lacp_shows_who_the_parties_are() -> None:
    lagg = record("eth0", proto="lacp")
    lagg["options"] |= {"lacp_strict": True, "lacp_fast_timeout": True}
    lagg["lacp"] = {"aggregator": 1, "actor": ACTOR, "partner": None, "flapping": 3}
    lagg["ports"][0] |= {
        "flags": ["ACTIVE", "COLLECTING", "DISTRIBUTING"],
        "lacp": {"actor": ACTOR, "partner": PARTNER},
    }
    assert LACP in page(lagg, verbose=True)
    assert "state=" not in page(lagg)


def test_a_lagg_without_carrier_says_so() -> None:
    assert page(record()).endswith("\tstatus: no carrier")


def test_an_interface_that_is_no_lagg_has_the_first_lines_only() -> None:
    assert interface_page(FACTS, None, verbose=True) == "\n".join(
        PLAIN.splitlines()[:3]
    )


def test_an_interface_without_a_mac_has_no_line_for_one() -> None:
    loopback = FACTS._replace(mac="00:00:00:00:00:00")
    assert "ether" not in interface_page(loopback, None, verbose=False)


def test_help_is_asked_for_as_of_any_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert ifconfig("--help") == 0
    assert capfd.readouterr().out.startswith("usage: laggctl ifconfig")


def test_what_is_down_is_neither_up_nor_running() -> None:
    down = facts_of(cast(LaggRecord, record(up=False)))
    assert interface_page(down, None, verbose=False).startswith(
        "lagg0: flags=8802<BROADCAST,SIMPLEX,MULTICAST> metric 0 mtu 1500\n"
    )


@pytest.mark.usefixtures("world")
def test_laggs_of_another_namespace_are_shown_by_their_record(
    capfd: pytest.CaptureFixture[str],
) -> None:
    ifconfig("laggx create laggport eth0")
    ifconfig("laggx")
    shown = capfd.readouterr().out
    assert shown.startswith("laggx: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST>")
    ifconfig("-a")
    everything = capfd.readouterr().out
    assert shown in everything
    assert "lo: flags=" in everything
    ifconfig("-l")
    assert {"lo", "laggx"} <= set(capfd.readouterr().out.split())
    assert cli.main(["--json", "ifconfig", "-a"]) == 0
    assert [lagg["name"] for lagg in json.loads(capfd.readouterr().out)] == ["laggx"]


def test_a_sources_own_environment_is_no_matter(world: World) -> None:
    """`ifconfig` reads LAGGD_SOCKET like every command, and takes --socket before."""
    code = cli.main(["--socket", "/nowhere", "ifconfig", "-a"])
    assert (code, os.environ["LAGGD_SOCKET"]) == (3, world.path)


# sysctl


@pytest.mark.usefixtures("world")
def test_the_tree_prints_every_knob(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sysctl", "net.link.lagg"]) == 0
    assert {*capfd.readouterr().out.splitlines()} >= {
        "net.link.lagg.failover_rx_all: 0",
        "net.link.lagg.default_use_flowid: 0",
        "net.link.lagg.default_flowid_shift: 16",
    }


def test_a_default_counts_for_laggs_made_from_then_on(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    ifconfig("lagg0 create")
    assert cli.main(["sysctl", "net.link.lagg.default_flowid_shift=7"]) == 0
    assert capfd.readouterr().out == "net.link.lagg.default_flowid_shift: 16 -> 7\n"
    ifconfig("lagg1 create")
    cli.main(["create", "lagg2", "--flowid-shift", "3"])
    shifts = [each.options.flowid_shift for each in world.commands.configs.values()]
    assert shifts == [16, 7, 3]


def test_failover_rx_all_is_of_every_lagg_at_once(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    ifconfig("lagg0 create")
    assert cli.main(["sysctl", "-n", "net.link.lagg.failover_rx_all=1"]) == 0
    assert capfd.readouterr().out == "1\n"
    ifconfig("lagg1 create")
    laggs = world.commands.configs.values()
    assert all(each.options.failover_rx_all for each in laggs)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("word", "code", "complaint"),
    [
        ("net.link.lagg.nothing", 1, "no such knob; one of net.link.lagg.failover"),
        ("net.link.lagg.default_use_numa=1", 1, "laggd knows no NUMA domains (EOPN"),
        ("net.link.lagg.lacp.debug", 1, "laggd --log-level debug logs"),
        ("net.link.lagg.failover_rx_all=2", 1, "2 is neither 0 nor 1 (EINVAL)"),
        ("net.link.lagg.failover_rx_all=x", 2, "'x' is not a whole number"),
        ("net.link.lagg.default_flowid_shift=32", 1, "32 is not a whole number from 0"),
    ],
)
def test_a_knob_that_means_nothing_here_says_why(
    capfd: pytest.CaptureFixture[str], word: str, code: int, complaint: str
) -> None:
    assert cli.main(["sysctl", word]) == code
    assert complaint in capfd.readouterr().err


def test_every_sysctl_of_lagg4_is_known() -> None:
    tree = "net.link.lagg."
    assert {name.removeprefix(tree) for name in KNOBS.keys() | MEANINGLESS.keys()} == {
        "failover_rx_all",
        "default_use_flowid",
        "default_use_numa",
        "default_flowid_shift",
        "lacp.debug",
        "lacp.default_strict_mode",
    }
