# SPDX-License-Identifier: BSD-2-Clause
"""The command lines as values: every command, its options, and what each takes.

Owns the way into argparse's parsers, which keep these in attributes of their own.
"""

import argparse
from dataclasses import dataclass

from lagg.cli.parser import COMMANDS, command_parser, head_parser
from lagg.model import Options, PortOptions
from lagg.option_row import Kind
from lagg.options import OPTIONS
from lagg.port_options import PORT_OPTIONS

WORDS_OF_FLAG = {
    row.flag: tuple(str(word.value) for word in type(getattr(twin, row.key)))
    for rows, twin in ((OPTIONS, Options()), (PORT_OPTIONS, PortOptions()))
    for row in rows
    if row.value is Kind.WORD
}
"""What may follow a flag, for laggd to say: argparse refuses no other word."""


@dataclass(frozen=True, slots=True)
class Option:
    """A word with dashes."""

    flags: tuple[str, ...]  # every way to write it
    value: str  # what must follow, as "PATH"; "" for none
    help: str
    choices: tuple[str, ...] = ()
    optional: bool = False  # nothing need follow


@dataclass(frozen=True, slots=True)
class Place:
    """A word without."""

    value: str
    help: str
    optional: bool
    repeated: bool


@dataclass(frozen=True, slots=True)
class Words:
    """What a parser takes."""

    command: str
    purpose: str
    options: tuple[Option, ...]
    places: tuple[Place, ...]


def commands() -> tuple[Words, ...]:
    """Each command of laggctl, without the options that all have."""
    everywhere = {option.flags for option in globals_of_laggctl()}
    found = []
    for row in COMMANDS:
        words = words_of(command_parser(row), row.word, row.purpose)
        own = tuple(each for each in words.options if each.flags not in everywhere)
        found.append(Words(row.word, row.purpose, own, words.places))
    return tuple(found)


def globals_of_laggctl() -> tuple[Option, ...]:
    """The options that stand before any command, and most after it, too."""
    return words_of(head_parser()).options


def words_of(
    parser: argparse.ArgumentParser, command: str = "", purpose: str = ""
) -> Words:
    """A parser's own words; `--help` is nobody's."""
    options, places = [], []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        if action.option_strings:
            options.append(_option(action))
        else:
            places.append(_place(action))
    return Words(command, purpose, tuple(options), tuple(places))


def _option(action: argparse.Action) -> Option:
    takes = action.nargs != 0
    choices = tuple(map(str, action.choices or ()))
    choices = choices or WORDS_OF_FLAG.get(action.option_strings[0], ())
    value = str(action.metavar or "|".join(choices)) if takes else ""
    return Option(
        flags=tuple(action.option_strings),
        value=value,
        help=action.help or "",
        choices=choices,
        optional=action.nargs == "?",
    )


def _place(action: argparse.Action) -> Place:
    return Place(
        str(action.metavar),
        action.help or "",
        optional=action.nargs in ("?", "*"),
        repeated=action.nargs in ("+", "*"),
    )
