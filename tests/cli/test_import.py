# SPDX-License-Identifier: BSD-2-Clause
"""`import`: what other systems' files ask for, in ours, and what is left out."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lagg import cli
from lagg.cli.ifconfig_elsewhere import ELSEWHERE
from lagg.cli.importing import converted, ifcfg, keyfile, linux, ovs, procfs
from lagg.cli.importing.netplan import PARAMETERS
from lagg.cli.importing.networkd import BOND as NETWORKD_KEYS
from lagg.cli.importing.text import Source
from lagg.cli.importing.writer import LEFT_TITLE
from lagg.cli.output import UsageError
from lagg.config.files import parse_toml
from tests.cli.imported import CASES, DATA, WANTED, sources

SECRET = "hunter2"
"""Every secret of the files begins with it."""


@pytest.mark.parametrize("case", CASES)
def test_files_of_another_system_become_ours(case: str) -> None:
    wanted = (DATA / case / WANTED).read_text(encoding="utf-8")
    assert converted(sources(case)).rstrip("\n") == wanted.rstrip("\n")


@pytest.mark.parametrize("case", CASES)
def test_what_is_printed_is_a_file_that_laggd_takes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    assert (
        cli.main(["import", *(str(DATA / case / s.name) for s in sources(case))]) == 0
    )
    path = tmp_path / WANTED
    path.write_text(capfd.readouterr().out)
    assert cli.main(["check", str(path)]) == 0


@pytest.mark.parametrize("case", CASES)
def test_no_secret_is_copied(case: str) -> None:
    assert SECRET not in converted(sources(case))


def test_the_cases_have_secrets_to_be_copied() -> None:
    texts = [source.text for case in CASES for source in sources(case)]
    assert sum(text.count(SECRET) for text in texts) > 10


# ---- every word is accounted for ---------------------------------------------------

NONCE = "zz7nonce"


def places(text: str) -> list[re.Match[str]]:
    """Every word of a file that is no comment and no secret."""
    found = re.finditer(r"[^\s\"'=;,{}\[\]():<>|&\\]+", text)
    return [each for each in found if not is_apart(text, each)]


def is_apart(text: str, word: re.Match[str]) -> bool:
    before = text[text.rfind("\n", 0, word.start()) + 1 : word.start()]
    secret = re.search(r"pass|psk|key\b|curl|EOF", before + word[0], re.IGNORECASE)
    return "#" in before + word[0] or bool(secret) or SECRET in word[0]


def line_at(text: str, at: int) -> str:
    return text[text.rfind("\n", 0, at) + 1 :].split("\n", 1)[0]


def is_told(file: Source, at: int, left: str) -> bool:
    """Whether the output names the statement, in place of all its words."""
    lines, line = file.text[:at].split("\n"), line_at(file.text, at)
    head = re.split(r"[\s=]", line.strip(), maxsplit=1)[0]
    if file.name == "interfaces":
        stanza = [each.split() for each in lines if each.startswith("iface ")][-1:]
        told = [f"{' '.join(stanza[0])}:", f"{stanza[0][1]} {head}:"] if stanza else []
        return any(each in left for each in told)
    if file.name.endswith(".txt") and is_of_a_port_told(file, at, left):
        return True
    if file.name.endswith(".yaml"):
        return re.search(rf"\b{netplan_path(file, at)}[:,]", left) is not None
    names = re.findall(r"(?:^|[\s;])(\w+)\+?=", "\n".join([*lines[:-1], line]))
    of_name = bool(names) and re.search(rf"\b{names[-1]}\b", left) is not None
    of_file = re.search(rf"{file.name}[:,]", left) is not None
    of_line = f"line {len(lines)}:" in left
    of_inner_line = re.search(r"(?:rc\.conf|ifcfg-\w+) line \d+:", left) is not None
    return of_name or of_file or of_line or of_inner_line


def is_state(file: Source, at: int) -> bool:
    """Whether a line of what runs says what is, and no setting."""
    label = line_at(file.text, at).partition(":")[0].strip()
    if file.text.startswith("Ethernet Channel Bonding Driver"):
        of_partner = file.text[:at].rfind("details partner") > file.text[:at].rfind(
            "details actor"
        )
        return label in procfs.HARMLESS or (of_partner and label == "port priority")
    if file.name == "show.txt":
        return at < file.text.index("Bridge") or label == "ovs_version"
    return "_uuid" in file.text and label in ovs.HARMLESS - OVS_SETTINGS


OVS_SETTINGS = {"name", "interfaces", "bond_mode", "lacp"}


def is_of_a_port_told(file: Source, at: int, left: str) -> bool:
    """Whether Open vSwitch's port or interface that is no bond is named."""
    starts = [m.end() for m in re.finditer(r"^|\n\n|\n +(?=Port )", file.text)]
    first = max(start for start in starts if start <= at)
    last = min([s for s in starts if s > at] or [len(file.text)])
    names = re.findall(r"(?m)^(?:name +:|_uuid +:|Port) (\S+)", file.text[first:last])
    return any(re.search(f" {name}[,:]", left) for name in names)


def netplan_path(file: Source, at: int) -> str:
    """The section and the ID of the entry that a word is in."""
    text = (
        file.text[:at] + line_at(file.text, at)[at - file.text.rfind("\n", 0, at) - 1 :]
    )
    levels = (re.findall(rf"(?m)^ {{{indent}}}(\w[^:]*):", text) for indent in (2, 4))
    return ".".join(names[-1] for names in levels if names)


def is_harmless(file: Source, at: int) -> bool:
    """Whether the statement says nothing, whatever its words are."""
    before, line = file.text[:at].rpartition("\n")[2], line_at(file.text, at)
    if is_state(file, at):
        return True
    command = re.split(r"[;&|]", before + NONCE)[-1].split()
    if file.name.startswith("ifcfg-"):
        return re.split(r"[\s=]", line, maxsplit=1)[0] in ifcfg.HARMLESS
    if file.name == "rc.conf":
        return line.startswith("if_lagg_load=") or before.endswith("${")
    if file.name.endswith(".nmconnection"):
        key = line.partition("=")[0].strip()
        return ("connection", key) in keyfile.HARMLESS
    sets_only = re.match(r"\s*\w+=", line) is not None  # what uses it, has its value
    of_loop = line.startswith(("for ", "done"))
    up_or_down = re.search(r"\blink set (?:dev )?\w+ (?:up|down)\b", line) is not None
    says_nothing = bool({*command[:2]} & linux.HARMLESS) and "/sys/" not in line
    return sets_only or of_loop or up_or_down or says_nothing or SECRET in line


def disturbed(case: str) -> Iterator[tuple[list[Source], Source, int]]:
    """Each word replaced by the nonce, and with it on either side: (all files, that of
    the word, where the nonce is)."""
    for which, (name, text) in enumerate(sources(case)):
        for word in places(text):
            for new in (NONCE, f"{word[0]} {NONCE}", f"{NONCE} {word[0]}"):
                file = Source(name, text[: word.start()] + new + text[word.end() :])
                files = sources(case)
                files[which] = file
                yield files, file, word.start() + new.index(NONCE)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_word_ends_in_the_output_or_its_statement_is_told(case: str) -> None:
    lost = []
    for files, file, at in disturbed(case):
        try:
            toml = converted(files)
        except UsageError:
            continue
        left = toml.partition(LEFT_TITLE)[2]
        if NONCE in toml or is_told(file, at, left) or is_harmless(file, at):
            continue
        lost.append(line_at(file.text, at))
    assert lost == []


BOND_OPTIONS = [
    *("mode", "xmit_hash_policy", "lacp_rate", "lacp_active", "coupled_control"),
    *("all_slaves_active", "ad_select", "ad_actor_sys_prio", "ad_actor_system"),
    *("min_links", "packets_per_slave", "primary", "miimon", "updelay", "queue_id"),
    *("arp_interval", "arp_ip_target", "anything"),
]
PLAIN_OPTIONS = ["address", "mtu", "hwaddress", "use", "dns-search", "accept-ra", "vrf"]
PORT_OPTIONS = ["bond-slaves", "bond-members", "requires", "bond-ports"]
RC_WORDS = (
    *(word for word, tool in ELSEWHERE.items() if tool.takes_value and not tool.secret),
    *("laggproto", "laggport", "lagghash", "flowid_shift", "rr_limit", "ether", "mtu"),
    *("metric", "description", "descr", "anything"),
)
TEAM_KEYS = [
    "runner",
    "hwaddr",
    "link_watch",
    "notify_peers",
    "debug_level",
    "anything",
]
RUNNER_KEYS = ["name", "active", "fast_rate", "sys_prio", "min_ports", "tx_hash"]
RUNNER_KEYS += ["agg_select_policy", "tx_balancer", "fallback"]


def nonces(count: int) -> list[str]:
    return [f"zz{number}q" for number in range(count)]


def keyed(*keys: str) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Some of the keys, in any order and as often as it falls, each with a nonce."""
    chosen = st.lists(st.sampled_from(keys), min_size=1, max_size=12)
    return chosen.map(lambda found: list(zip(found, nonces(len(found)), strict=True)))


@st.composite
def generated(draw: st.DrawFn) -> tuple[Source, int]:
    """A file of any kind whose values are nonces, and how many they are."""
    kinds = an_interfaces, a_script, an_rc_conf, a_team, an_ifcfg, a_netdev, a_netplan
    return draw(draw(st.sampled_from(kinds))())


def an_interfaces() -> st.SearchStrategy[tuple[Source, int]]:
    dashed = [f"bond-{key.replace('_', '-')}" for key in BOND_OPTIONS]
    hooks = ["up ip addr add", "down ethtool -K bond0", "pre-up sleep"]
    lines = keyed(*dashed, *PLAIN_OPTIONS, *PORT_OPTIONS, *hooks)
    head = "auto bond0\niface bond0 inet manual\n bond-slaves eth0\n"
    return lines.map(
        lambda found: (
            Source("interfaces", head + "".join(f"  {k}\t{v} \n" for k, v in found)),
            len(found),
        )
    )


def a_script() -> st.SearchStrategy[tuple[Source, int]]:
    return keyed(*BOND_OPTIONS).map(
        lambda found: (
            Source(
                "bond.sh",
                "ip link add bond0 type bond\n"
                + "".join(f"ip link set bond0 type bond {k} {v}\n" for k, v in found),
            ),
            len(found),
        )
    )


def an_rc_conf() -> st.SearchStrategy[tuple[Source, int]]:
    return keyed(*RC_WORDS).map(
        lambda found: (
            Source(
                "rc.conf",
                'ifconfig_lagg0="laggproto none '
                + " ".join(f"{k} {v}" for k, v in found)
                + '"\n',
            ),
            len(found),
        )
    )


def a_team() -> st.SearchStrategy[tuple[Source, int]]:
    def document(found: list[tuple[str, str]]) -> tuple[Source, int]:
        top = {k: v for k, v in found if k not in RUNNER_KEYS}
        runner = {k: v for k, v in found if k in RUNNER_KEYS}
        text = json.dumps({**top, "runner": runner, "ports": {}})
        return Source("team0.conf", text), len(found)

    keys = [key for key in (*TEAM_KEYS, *RUNNER_KEYS) if key != "runner"]
    unique = st.lists(st.sampled_from(keys), min_size=1, unique=True)
    return unique.map(
        lambda found: document(list(zip(found, nonces(len(found)), strict=True)))
    )


def an_ifcfg() -> st.SearchStrategy[tuple[Source, int]]:
    return keyed(*BOND_OPTIONS).map(
        lambda found: (
            Source(
                "ifcfg-bond0",
                f'BONDING_OPTS="{" ".join(f"{k}={v}" for k, v in found)}"\n',
            ),
            len(found),
        )
    )


def a_netdev() -> st.SearchStrategy[tuple[Source, int]]:
    """The keys of [Bond], and settings that no bond has, in any order."""
    head = "[NetDev]\nName=bond0\nKind=bond\n"

    def file(found: list[tuple[str, str]]) -> tuple[Source, int]:
        lines = "".join(f"[Bond]\n {k} = {v}\n" for k, v in found)
        return Source("bond0.netdev", head + lines), len(found)

    return keyed(*NETWORKD_KEYS, "Anything").map(file)


def a_netplan() -> st.SearchStrategy[tuple[Source, int]]:
    head = "network:\n  bonds:\n    bond0:\n      parameters:\n"

    def file(keys: list[str]) -> tuple[Source, int]:
        pairs = zip(keys, nonces(len(keys)), strict=True)
        lines = (f"        {key}: {netplan_value(key, word)}\n" for key, word in pairs)
        return Source("a.yaml", head + "".join(lines)), len(keys)

    keys = st.sampled_from([*PARAMETERS, "anything"])
    return st.lists(keys, min_size=1, unique=True).map(file)


def netplan_value(key: str, word: str) -> str:
    return f"[{word}]" if key == "arp-ip-targets" else word


@settings(max_examples=300)
@given(generated())
def test_every_value_of_a_file_ends_in_the_output(made: tuple[Source, int]) -> None:
    source, count = made
    toml = converted([source])
    parse_toml(toml, "what was made of it")
    assert [nonce for nonce in nonces(count) if nonce not in toml] == [], toml


def test_no_file_name_adds_a_line() -> None:
    name = "a\n[[lagg]]\nname = 'x'\n\udcff"
    toml = converted([Source(name, '{"device": "team0", "runner": {"name": "lacp"}}')])
    assert toml.splitlines()[0].startswith("# From a\\n[[lagg]]\\n")
    assert len(tomllib.loads(toml)["lagg"]) == 1


def test_files_of_several_kinds_are_one_configuration() -> None:
    toml = converted(
        [each for case in ("teamd", "ip", "rc-lacp") for each in sources(case)]
    )
    names = [lagg["name"] for lagg in tomllib.loads(toml)["lagg"]]
    assert sorted(names) == ["bond7", "lagg0", "team7", "team8"]


# ---- what laggd would refuse -------------------------------------------------------

THIRTY_THREE = [f"e{number}" for number in range(33)]

REFUSED = {
    "a port of two": (
        "iface b0\n bond-mode 1\n bond-slaves e0 e1\n"
        "iface b1\n bond-mode 1\n bond-slaves e1 e2\n",
        "# port e1: already a port of b0",
    ),
    "a lagg in a lagg": (
        "iface b0\n bond-mode 1\n bond-slaves e0\n"
        "iface b1\n bond-mode 1\n bond-slaves b0 e2\n",
        "# port b0: a lagg cannot be the port of a lagg",
    ),
    "itself": (
        "iface b0\n bond-mode 1\n bond-slaves b0 e1\n",
        "# port b0: a lagg cannot be its own port",
    ),
    "more ports than there may be": (
        f"iface b0\n bond-mode 1\n bond-slaves {' '.join(THIRTY_THREE)}\n",
        "# port e32: a lagg has at most 32 ports",
    ),
    "a port that none can be": (
        "iface b0\n bond-mode 1\n bond-slaves e0 an-interface-of-the-backbone\n",
        "# port an-interface-of-the-backbone: 'an-interface-of-the-backbone' has more",
    ),
    "a MAC that is none": (
        "iface b0\n bond-mode 1\n hwaddress ether 03:00:5e:00:53:01\n",
        "# hwaddress ether 03:00:5e:00:53:01: '03:00:5e:00:53:01' is multicast",
    ),
    "a number that is too large": (
        "iface b0\n bond-mode 4\n bond-min-links 99\n",
        "# min_links 99: 99 is not a whole number from 1 to 32",
    ),
    "a number of many digits": (
        f"iface b0\n bond-mode 4\n mtu {'9' * 5000}\n",
        "# mtu 99999",
    ),
    "a MAC that is not said": (
        "iface b0\n bond-mode 1\n hwaddress ether\n",
        "# hwaddress ether: stays in /etc/network/interfaces",
    ),
    "a MAC without its value": (
        "iface b0\n bond-mode 1\n hwaddress\n",
        "# hwaddress: stays in /etc/network/interfaces",
    ),
    "a mode that is none": (
        "iface b0\n bond-mode 7\n",
        "# mode 7: no such mode of bonding",
    ),
    "a policy that is none": (
        "iface b0\n bond-mode 2\n bond-xmit-hash-policy layer7\n",
        "# xmit_hash_policy layer7: no such policy of bonding",
    ),
    "a primary that is no port": (
        "iface b0\n bond-mode 1\n bond-slaves e0\n bond-primary e9\n",
        "# primary e9: no port of it",
    ),
}


@pytest.mark.parametrize(("text", "note"), REFUSED.values(), ids=REFUSED)
def test_what_laggd_would_refuse_is_a_comment(text: str, note: str) -> None:
    toml = converted([Source("interfaces", text)])
    assert note in toml
    assert parse_toml(toml, "what was made of it")


def test_two_files_of_one_lagg_are_told_apart() -> None:
    one = Source(
        "a.json", '{"device": "t0", "runner": {"name": "lacp"}, "ports": {"a": {}}}'
    )
    two = Source(
        "b.json", '{"device": "t0", "runner": {"name": "random"}, "ports": {"b": {}}}'
    )
    toml = converted([one, two])
    (lagg,) = tomllib.loads(toml)["lagg"]
    assert (lagg["proto"], lagg["ports"]) == ("lacp", ["a", "b"])
    assert "# proto roundrobin: of another file; the first one rules" in toml
