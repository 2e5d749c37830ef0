# SPDX-License-Identifier: BSD-2-Clause
"""laggd(8), laggctl(8) and laggd.toml(5)."""

from collections.abc import Iterable
from dataclasses import fields
from enum import Enum

from lagg.daemon.command_line import make_parser as make_laggd_parser
from lagg.model import Options, PortOptions
from lagg.options import OPTIONS
from lagg.port_options import PORT_OPTIONS
from manual import text
from manual.man import Page
from manual.words import Option, Place, Words, commands, globals_of_laggctl, words_of

ROWS = (*OPTIONS, *PORT_OPTIONS)

KEYS = text.KEYS | {row.key: row.sentence for row in ROWS}
"""What the manual says of every key of a [[lagg]] table, and of a port's in it."""

CONFIGURED = frozenset({"proto", "mac", "mtu", *(row.key for row in ROWS)})
"""What is a key of the configuration and an option of a command, with one text."""

OPTIONS_IN_TITLE = 3
"""More of them would hide the command."""


def laggd_page() -> str:
    """laggd(8)."""
    page = Page("laggd", 8, "link aggregation as lagg(4), in user space")
    options = words_of(make_laggd_parser()).options
    page.section("synopsis")
    page.paragraphs(f"`laggd` {' '.join(f'[{_written(each)}]' for each in options)}")
    page.section("description")
    page.paragraphs(text.LAGGD)
    page.section("options")
    page.terms(_option_terms(options))
    page.section("signals")
    page.terms(text.SIGNALS)
    page.section("exit status")
    page.terms(text.LAGGD_EXITS)
    page.section("environment")
    page.terms([("`LAGGD_SOCKET`", "The control socket, unless `--socket` is given.")])
    page.section("files")
    page.terms(text.LAGGD_FILES)
    page.section("see also")
    page.paragraphs("laggctl(8), laggd.toml(5), ip(8)")
    return page.text


def laggctl_page() -> str:
    """laggctl(8)."""
    page = Page("laggctl", 8, "control laggd")
    everywhere = globals_of_laggctl()
    page.section("synopsis")
    options = " ".join(f"[{_written(each)}]" for each in everywhere)
    page.paragraphs(f"`laggctl` {options} *COMMAND* ...")
    page.section("description")
    page.paragraphs(text.LAGGCTL)
    page.section("options")
    page.paragraphs("Before the command or after it.")
    page.terms(_option_terms(everywhere))
    page.section("commands")
    for words in commands():
        _add_command(page, words)
    page.section("exit status")
    page.terms(text.LAGGCTL_EXITS)
    page.section("environment")
    page.terms(
        [
            ("`LAGGD_SOCKET`", "The control socket, unless `--socket` is given."),
            ("`NO_COLOR`", "Set: no colours, on a terminal neither."),
        ]
    )
    page.section("examples")
    page.example(text.LAGGCTL_EXAMPLES)
    page.section("see also")
    page.paragraphs("laggd(8), laggd.toml(5), ip(8)")
    return page.text


def toml_page() -> str:
    """laggd.toml(5)."""
    page = Page("laggd.toml", 5, "configuration of laggd")
    page.section("description")
    page.paragraphs(text.TOML)
    page.section("keys")
    options = [row.key for row in OPTIONS]
    keys = ("name", "proto", "ports", "mac", "mtu", *options, "port")
    page.terms((f"`{key}`", f"{KEYS[key]}{_default(key)}") for key in keys)
    page.section("keys of a port")
    of_port = [row.key for row in PORT_OPTIONS]
    page.terms((f"`{key}`", f"{KEYS[key]}{_default(key)}") for key in of_port)
    page.section("examples")
    page.example(text.TOML_EXAMPLE)
    page.section("see also")
    page.paragraphs("laggd(8), laggctl(8)")
    return page.text


def _add_command(page: Page, words: Words) -> None:
    options = [f"[{_written(each)}]" for each in words.options]
    if len(options) > OPTIONS_IN_TITLE:
        options = ["[*OPTION*...]"]
    places = [_written_place(each) for each in words.places]
    page.subsection(" ".join((f"`{words.command}`", *places, *options)))
    page.paragraphs(_sentence(words.purpose))
    if words.command in text.COMMANDS:
        page.paragraphs(text.COMMANDS[words.command])
    page.terms((f"*{each.value}*", _sentence(each.help)) for each in words.places)
    page.terms(_option_terms(words.options))


def _option_terms(options: Iterable[Option]) -> Iterable[tuple[str, str]]:
    for option in options:
        key = _key(option)
        if key in CONFIGURED:
            yield _written(option), f"{KEYS[key]}{_default(key)}"
        else:
            yield _written(option), _sentence(option.help)


def _key(option: Option) -> str:
    return option.flags[0].removeprefix("--").replace("-", "_")


def _written(option: Option) -> str:
    flags = "|".join(f"`{flag}`" for flag in option.flags)
    if not option.value:
        return flags
    return (
        f"{flags} [*{option.value}*]"
        if option.optional
        else f"{flags} *{option.value}*"
    )


def _written_place(place: Place) -> str:
    written = f"*{place.value}*" + ("..." if place.repeated else "")
    return f"[{written}]" if place.optional else written


def _sentence(words: str) -> str:
    """The line of --help, as the manual writes it.

    What is a word of a program's, as "rc.conf" or "net.link.lagg", stays as it is.
    """
    first = words.split()[0].strip(",;:")
    head = words[0] if set(first) & set("./_=") else words[0].upper()
    return head + words[1:] + "."


def _default(key: str) -> str:
    for field in (*fields(Options), *fields(PortOptions)):
        if field.name == key and field.default is not None:
            return f"  Default: {_shown(field.default)}."
    return ""


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_shown(each) for each in value)}]"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value.value if isinstance(value, Enum) else value}`"
