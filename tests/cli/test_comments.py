# SPDX-License-Identifier: BSD-2-Clause
"""`save` over a file: what runs is in it, and what an operator wrote beside stays."""

import sys

import pytest
from hypothesis import given, settings

from lagg.cli.comments import kept
from lagg.config.files import parse_toml, to_toml
from lagg.model import LaggConfig
from tests.config.test_diff import by_name, worlds

FILE = """\
# The uplinks of host 7

[[lagg]]             # core
name = "lagg0"
proto = "failover"   # until the switch can do LACP
ports = [
  "eth1", # rack 1
  "eth2", # rack 2
]
up_delay_ms = 500
[lagg.port.eth1]
priority = 3 # it is the faster

# the second
[[lagg]]
name = "lagg1"
ports = ["eth5"]
"""

RUNS = """\
[[lagg]]
name = "lagg0"
proto = "lacp"
ports = ["eth1", "eth2"]
mtu = 9000
[lagg.port."eth1"]
priority = 4
"""

SAVED = """\
# The uplinks of host 7

[[lagg]]             # core
name = "lagg0"
proto = "lacp"   # until the switch can do LACP
ports = [
  "eth1", # rack 1
  "eth2", # rack 2
]
mtu = 9000
[lagg.port.eth1]
priority = 4 # it is the faster

# the second
"""


def test_what_changed_is_written_where_it_was_among_the_comments() -> None:
    assert kept(FILE, RUNS).rstrip() == SAVED.rstrip()


def test_what_did_not_change_is_left_as_it_was_written() -> None:
    assert kept(SAVED, RUNS) == SAVED
    assert kept(FILE, to_toml(parse_toml(FILE, ""))).count("#") == FILE.count("#")


def test_a_file_of_comments_alone_keeps_them_above() -> None:
    saved = kept("# Laggs of this host.\n", RUNS)
    assert saved.startswith("# Laggs of this host.\n\n[[lagg]]\n")
    assert parse_toml(saved, "") == parse_toml(RUNS, "")


@pytest.mark.parametrize(
    "old",
    [
        "",
        "[[lagg]]\nname = 'lagg0'\n",
        "# not TOML\n[[",
        "# of another program\n[server]\n",
        "# two of one name\n" + "[[lagg]]\nname = 'lagg0'\n" * 2,
        "#" * (1 << 19),
    ],
    ids=["empty", "no comment", "no TOML", "other keys", "twice", "too long"],
)
def test_what_is_no_configuration_with_comments_is_replaced(old: str) -> None:
    assert kept(old, RUNS) == RUNS


def test_without_tomlkit_a_file_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    assert kept(FILE, RUNS) == RUNS


@settings(max_examples=40)
@given(old=worlds(), runs=worlds())
def test_over_any_file_what_runs_is_written_and_the_first_comment_stays(
    old: list[LaggConfig], runs: list[LaggConfig]
) -> None:
    lines = to_toml(old).replace("\n", " # why\n")
    text = kept(f"# head\n{lines}", to_toml(runs))
    assert by_name(parse_toml(text, "")) == by_name(parse_toml(to_toml(runs), ""))
    assert text.startswith("# head\n")
