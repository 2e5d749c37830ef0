# SPDX-License-Identifier: BSD-2-Clause
"""`import` of what is no such file, or a damaged one: refused in a line, or read."""

import re
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from lagg import cli
from lagg.cli.importing import converted
from lagg.cli.importing.text import Source
from lagg.cli.output import UsageError
from lagg.config.files import parse_toml
from tests.cli.imported import CASES, sources

# ---- what is no such file, or no such lagg -----------------------------------------


def printed(tmp_path: Path, **texts: str) -> list[str]:
    """The words of a command line that imports these files."""
    paths = [tmp_path / name for name in texts]
    for path in paths:
        path.write_text(texts[path.name])
    return ["import", *map(str, paths)]


TURNS = "for a in 1 2 3 4 5 6 7 8 9; do\n" * 9 + "done\n" * 9
SLOW = frozenset({"more commands than are read", "more turns than are made"})
NOT_OURS = {
    "nothing at all": ("hello", "none of modprobe.d, teamd's JSON, /etc/network/inter"),
    "JSON that does not end": ("{", "none of modprobe.d, teamd's JSON"),
    "JSON of another program": ('{"PORTCHANNEL": {"Po1": {}}}', "none of modprobe.d"),
    "JSON that is too deep": ("[" * 100000, "not understood: too deep"),
    "netplan without a bond": (
        "network: {version: 2}\n",
        "no bond, team or lagg is in there",
    ),
    "networkd without a bond": (
        "[NetDev]\nName=br0\nKind=bridge\n",
        "no bond, team or lagg is in there",
    ),
    "networkd with a bond without a name": (
        "[NetDev]\nKind=bond\n",
        "not understood: file: a bond without Name=",
    ),
    "a keyfile of a bond without a name": (
        "[connection]\ntype=bond\n",
        "not understood: file: a bond without interface-name=",
    ),
    "a keyfile whose team is none": (
        "[connection]\ntype=team\ninterface-name=t0\n[team]\nconfig=[]\n",
        "not understood: file: [team] config is no team's",
    ),
    "Open vSwitch without a bond": (
        "    Bridge br0\n        Port br0\n            Interface br0\n",
        "no bond, team or lagg is in there",
    ),
    "kickstart": ("network --device=team0 --teamslaves=eth2\n", "none of modprobe.d"),
    "rc.conf without a lagg": (
        'cloned_interfaces="bridge0"\n',
        "no bond, team or lagg",
    ),
    "interfaces without a bond": ("iface eth0 inet dhcp\n", "no bond, team or lagg"),
    "Open vSwitch": (
        "iface bond0 inet manual\n  ovs_type OVSBond\n  ovs_bonds eth1 eth2\n",
        "no bond, team or lagg is in there",
    ),
    "all of it elsewhere": (
        "source interfaces.d/*\niface lo inet loopback\n",
        "no bond, team or lagg is in there; source interfaces.d/*: give these files",
    ),
    "an option in no stanza": (
        "auto bond0\nbond-mode 1\niface x\n",
        "not understood: {file}: bond-mode stands in no stanza",
    ),
    "a quote that is not closed": (
        'cloned_interfaces="lagg0\n',
        "not understood: line 1: a quote is not closed",
    ),
    "a name that is too long": (
        "iface bond-of-the-backbone\n  bond-mode 1\n",
        "bond-of-the-backbone: no lagg can have this name: 'bond-of-the-backbone' has",
    ),
    "a name that the shell makes": (
        "ip link add $NAME type bond mode 1\n",
        "$NAME: no lagg can have this name: what the shell makes of it is not known",
    ),
    "more than there is room for": (
        "a=11111111\n" + "a=$a$a$a$a$a$a$a$a\n" * 9 + "ip link add b type bond\n",
        "not understood: a word of more than 65536 characters",
    ),
    "more commands than are read": (
        "for a in 1 2 3 4 5 6 7 8 9; do\n" * 7 + "ip link set x up\n" + "done\n" * 7,
        "not understood: more than 100000 commands",
    ),
    "more turns than are made": (
        TURNS + "ip link add b type bond\n",
        "not understood: more than 100000 commands",
    ),
}


HEAD = "network:\n  bonds:\n"
MULTIPLIED = "x0: &x0 [a, a, a, a, a, a, a, a, a]\n" + "".join(
    f"x{n + 1}: &x{n + 1} [{', '.join([f'*x{n}'] * 9)}]\n" for n in range(9)
)
NOT_NETPLAN = {
    "a tab": (
        f"{HEAD}\t\tbond0: {{}}\n",
        "file line 3: a tab: YAML is indented with blanks alone",
    ),
    "a key that comes twice": (
        f"{HEAD}    bond0:\n      mtu: 1400\n      mtu: 1500\n",
        "file line 5: the key mtu comes twice",
    ),
    "two documents": (
        f"{HEAD}    bond0: {{}}\n---\nnetwork: {{}}\n",
        "file line 4: no YAML: expected a single document in the stream, but found",
    ),
    "a bracket that is not closed": (
        "network: {bonds: {bond0: {}\n",
        "file line 2: no YAML: while parsing a flow mapping, expected ',' or '}'",
    ),
    "an anchor that is not there": (f"{HEAD}    bond0: *a\n", "found undefined alias"),
    "aliases that multiply": (
        f"{MULTIPLIED}{HEAD}    bond0: {{}}\n",
        "file: more than 10000 values",
    ),
    "a long word that aliases multiply": (
        f"x: &x {'a' * 90_000}\ny: [{'*x, ' * 9000}]\n{HEAD}    bond0: {{}}\n",
        "file: more than 10000 values",
    ),
    "an alias in itself": ("network: &a\n  bonds: *a\n  b: [*a]\n", "too deep"),
    "brackets in brackets": (f"network: {'[' * 5000}\n", "not understood: too deep"),
    "more than is read": (
        f"{HEAD}    bond0: {{}}\n" + "# and more\n" * 20_000,
        "file: more than 131072 characters",
    ),
    "a control character": (f"{HEAD}    bond0: \0\n", "file: no YAML: "),
    "a character that is none": (f'{HEAD}    "\\UFFFFFFFF": {{}}\n', "file: no YAML: "),
    "half a character": (f'{HEAD}    "\\uD800": {{}}\n', "no lagg can have this name"),
    "a key that is a list": (
        f"{HEAD}    ? [a]\n    : b\n",
        "line 3: a key is one word",
    ),
    "a merge": (f"{HEAD}    <<: {{}}\n", "file line 3: a key is one word here"),
    "bonds in a list": ("network:\n  bonds: [a, b]\n", "bonds: [a, b] is no mapping"),
    "a bond that is a word": (f"{HEAD}    bond0: yes\n", "bonds.bond0: yes is no ma"),
    "ports that are a word": (
        f"{HEAD}    bond0: {{interfaces: eth0}}\n",
        "bonds.bond0.interfaces: eth0 is no list of words",
    ),
    "an entry of two sections": (
        f"{HEAD}    bond0: {{}}\n  vlans: {{bond0: {{}}}}\n",
        "vlans.bond0: is bonds.bond0 already",
    ),
}
NOT_OURS |= {f"netplan with {name}": each for name, each in NOT_NETPLAN.items()}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param(*each, id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for name, each in NOT_OURS.items()
    ],
)
def test_a_file_without_any_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, complaint: str
) -> None:
    assert cli.main(printed(tmp_path, file=text)) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert complaint.replace("{file}", str(tmp_path / "file")) in err
    assert err.count("\n") == 1


def test_one_file_of_no_kind_refuses_all(tmp_path: Path) -> None:
    team = '{"device": "team0", "runner": {"name": "lacp"}}'
    assert cli.main(printed(tmp_path, team=team)) == 0
    assert cli.main(printed(tmp_path, team=team, other="hello")) == 2


def test_a_file_that_is_not_there_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import", "/nowhere/rc.conf"]) == 2
    assert capfd.readouterr().err == (
        "laggctl: /nowhere/rc.conf: No such file or directory\n"
    )


# ---- what nobody meant to write ----------------------------------------------------

DAMAGED_SHORT, DAMAGED_LONG = 200, 20_000
JUNK = (
    "",
    "\n",
    '"',
    "'",
    "{",
    "=",
    "iface",
    " 7 ",
    "[]",
    "$",
    "\0",
    "9" * 5000,
    "\u0667",
)


def is_converted_or_refused(damaged: list[Source]) -> None:
    with suppress(UsageError):
        assert parse_toml(converted(damaged), "what was made of it")


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_file_is_converted_or_refused(
    rng: Random, case: str, long_run: bool
) -> None:
    for _ in range(DAMAGED_LONG if long_run else DAMAGED_SHORT):
        damaged = []
        for name, text in sources(case):
            at, size = rng.randrange(len(text)), rng.choice((0, 1, 3, 20))
            damaged.append(
                Source(name, text[:at] + rng.choice(JUNK) + text[at + size :])
            )
        is_converted_or_refused(damaged)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_file_in_which_any_word_is_missing_is_converted_or_refused(case: str) -> None:
    """The word alone, or with the rest of its line: a key without its value."""
    for which, (name, text) in enumerate(sources(case)):
        for word in re.finditer(r"[^\s=]+", text):
            line_end = (text + "\n").index("\n", word.end())
            for after in (word.end(), line_end):
                files = sources(case)
                files[which] = Source(name, text[: word.start()] + text[after:])
                is_converted_or_refused(files)
