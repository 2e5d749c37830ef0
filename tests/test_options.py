# SPDX-License-Identifier: BSD-2-Clause
"""A row is all that an option needs: what is made of it, and that its twin agrees."""

import dataclasses
import json
import os
import subprocess
import sys
from enum import Enum
from typing import Any, cast

import pytest

from lagg.cli.parser import COMMANDS, command_parser
from lagg.config.rules import MTU_MAX, MTU_MIN
from lagg.model import Options, PortOptions, Proto
from lagg.option_row import Kind, Option, Whole
from lagg.options import OPTIONS
from lagg.port_options import PORT_OPTIONS
from tests.tree import ROOT

Defaults = Options | PortOptions
ROWS = [
    *((row, Options()) for row in OPTIONS),
    *((row, PortOptions()) for row in PORT_OPTIONS),
]
IDS = [row.key for row, _ in ROWS]


def test_the_rows_are_the_fields_of_their_twins() -> None:
    for rows, twin in ((OPTIONS, Options), (PORT_OPTIONS, PortOptions)):
        fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(twin)
        assert [row.key for row in rows] == [field.name for field in fields]


@pytest.mark.parametrize(("row", "defaults"), ROWS, ids=IDS)
def test_a_row_allows_the_default_of_its_twin(row: Option, defaults: Defaults) -> None:
    default = getattr(defaults, row.key)
    match row.value:
        case Whole(least, most):
            assert default is None or (
                type(default) is int and least <= default <= most
            )
        case Kind.SWITCH:
            assert type(default) is bool
        case Kind.WORD:
            assert isinstance(default, Enum)
        case Kind.MAC | Kind.NAME:
            assert default is None
        case Kind.LAYERS | Kind.NAMES | Kind.PINS | Kind.WATCHES:
            assert isinstance(default, tuple)


@pytest.mark.parametrize(("row", "defaults"), ROWS, ids=IDS)
def test_what_show_need_not_tell_is_the_default_of_its_twin(
    row: Option, defaults: Defaults
) -> None:
    assert row.usual == told(getattr(defaults, row.key))


def test_help_says_what_each_number_may_be_and_each_default() -> None:
    (command,) = (row for row in COMMANDS if row.word == "set")
    said = " ".join(command_parser(command).format_help().split())
    for text in (
        "so much later (0 to 3600000; default 0)",
        "stable, primary (as lagg(4)), active or own (default stable)",
        "with inner: those inside of tunnels (default l2,l3,l4)",
        "carry nothing without a partner (default on)",
        "each by any port (1 to 4294967295, or random; default 1)",
        "its share of the frames (1 to 255, or speed; default 1)",
        f"in bytes, {MTU_MIN} to {MTU_MAX}; the first port's unless given",
    ):
        assert text in said


def told(default: object) -> object:
    if isinstance(default, tuple):
        return tuple(map(told, default))
    return default.value if isinstance(default, Enum) else default


@pytest.mark.parametrize("row", [row for row, _ in ROWS], ids=IDS)
def test_a_row_counts_for_protocols_that_there_are(row: Option) -> None:
    assert set(row.protos) <= {proto.value for proto in Proto}


def test_a_flag_of_freebsd_has_a_bit_of_its_own() -> None:
    flags = {row.freebsd.flag: row.freebsd.bit for row in OPTIONS if row.freebsd.flag}
    assert all(bit.bit_count() == 1 for bit in flags.values())
    assert len(set(flags.values())) == len(flags)


@pytest.fixture(scope="module")
def with_one_more() -> list[dict[str, Any]]:
    """What a laggd with lacp_colour and a port's lacp_weight knows of them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.one_more_option"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tools' / 'packages'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return cast(list[dict[str, Any]], json.loads(done.stdout))


def test_a_row_more_is_a_key_of_the_configuration(
    with_one_more: list[dict[str, Any]],
) -> None:
    of_configuration, _, _, _ = with_one_more
    assert of_configuration == {
        "saved": '[[lagg]]\nname = "lagg0"\nproto = "lacp"\nports = ["eth0"]\n'
        'lacp_colour = 7\n[lagg.port."eth0"]\nlacp_weight = 80\n',
        "again": True,
        "complaints": [
            "file: lagg0: port.eth0: lacp_weight: 1001 is not a whole number from 0"
            " to 1000",
            "file: lagg0: lacp_colour: 2 is not a whole number from 3 to 9",
        ],
        "schema": {"type": "integer", "minimum": 3, "maximum": 9},
        "schema of a port": {"type": "integer", "minimum": 0, "maximum": 1000},
    }


def test_a_row_more_crosses_the_socket(with_one_more: list[dict[str, Any]]) -> None:
    _, of_socket, _, _ = with_one_more
    assert of_socket == {
        "record": 5,
        "types": ["int", "int"],
        "type of a port": "int",
        "varlink": ["lacp_colour: ?int", "lacp_colour: int", "lacp_weight: ?int"],
    }


def test_a_row_more_is_a_word_of_laggctl_and_of_freebsd(
    with_one_more: list[dict[str, Any]],
) -> None:
    _, _, of_client, _ = with_one_more
    assert of_client == {
        "options": {"lacp_colour": 7},
        "of a port": {"eth0": {"lacp_weight": 80}},
        "show": [["  lacp_colour 7"], []],
        "ifconfig": [["option", ["lacp_colour", 7]]],
        "ifconfig -v": "flags=200<COLOUR>",
        "knob": "lacp_colour",
    }


def test_a_row_more_is_in_the_manual_and_the_completions(
    with_one_more: list[dict[str, Any]],
) -> None:
    _, _, _, of_book = with_one_more
    assert of_book == {
        "toml": [True, True],
        "laggctl": [True, True],
        "shells": [True, True, True],
    }
