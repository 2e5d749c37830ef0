# SPDX-License-Identifier: BSD-2-Clause
"""The grammar of FreeBSD's ifconfig(8), as far as lagg(4) and its examples use it.

Owns each word and what it asks for, as a list of steps in the order written, and for
a word of FreeBSD's that another program has here, which one; the words of options are
in lagg/options.py.  Pure: a line with a word that is none is refused whole, before any
step.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from lagg.cli.ifconfig_elsewhere import ELSEWHERE, INET6_WORDS
from lagg.cli.output import UsageError
from lagg.cli.words import whole
from lagg.option_row import Kind, Option, Whole
from lagg.options import OPTIONS


class Step(NamedTuple):
    """One thing to do: `verb` of ifconfig.py's table, and what with."""

    verb: str
    value: object = None


class Elsewhere(NamedTuple):
    """The value of such a step: a word that is FreeBSD's, and what does it here."""

    said: str  # without what may be secret
    remedy: str


class Line(NamedTuple):
    """A whole command line."""

    verbose: bool
    every: bool  # -a: show all
    names_only: bool  # -l
    name: str | None
    steps: tuple[Step, ...]


def parse_line(words: Sequence[str]) -> Line:
    """What was asked for.  Raises UsageError naming the word that is none."""
    left = list(words)
    options = set()
    while left and left[0] in ("-a", "-v", "-l", "-m"):
        options.add(left.pop(0))
    if left and left[0].startswith("-"):
        raise UsageError(f"{left[0]}: no such option; one of -a, -l, -v")
    name = left.pop(0) if left else None
    return Line(
        verbose="-v" in options,
        every="-a" in options or name is None,
        names_only="-l" in options,
        name=name,
        steps=tuple(_steps(left)),
    )


def _steps(words: list[str]) -> list[Step]:
    found: list[Step] = []
    while words:
        found += take_word(words)
    return joined(found)


def take_word(words: list[str]) -> list[Step]:
    """What the next word asks for; it and its values are taken.  UsageError."""
    word = words.pop(0)
    if word in _ALONE:
        return _ALONE[word]
    if word in _WITH_VALUE:
        return _WITH_VALUE[word](_value(word, words))
    if word == "inet6":
        return [_inet6(words)]
    if word in ELSEWHERE:
        return [_elsewhere(word, words)]
    return [_inet(word)]


def _value(word: str, words: list[str]) -> str:
    if not words:
        raise UsageError(f"{word}: a value must follow")
    return words.pop(0)


# ---- words that belong together ----------------------------------------------------


def joined(steps: Iterable[Step]) -> list[Step]:
    """`192.0.2.1 netmask 255.255.255.0` is one step; with `alias` it is none of ours.

    UsageError for a netmask or broadcast address without an address before it.
    """
    found: list[Step] = []
    for step in steps:
        if step.verb not in ("netmask", "broadcast"):
            found.append(step)
        elif found and found[-1].verb == "inet":
            address, netmask, broadcast = _inet_value(found[-1])
            if step.verb == "netmask":
                netmask = str(step.value)
            else:
                broadcast = str(step.value)
            found[-1] = Step("inet", (address, netmask, broadcast))
        else:
            raise UsageError(f"{step.verb}: must follow an address")
    return _with_aliases(found) if any(s.verb == "alias" for s in found) else found


def _with_aliases(steps: list[Step]) -> list[Step]:
    """`alias` stands before its address or after it, and says what is done with all."""
    verb = next(step.value for step in steps if step.verb == "alias")
    addresses = [_with_bits(step) for step in steps if step.verb == "inet"]
    remedies = [f"ip addr {verb} {each} dev NAME" for each in addresses]
    remedy = f"use ip(8): {'; '.join(remedies) or f'ip addr {verb} ADDRESS dev NAME'}"
    said = " ".join(["alias" if verb == "add" else "-alias", *addresses])
    left = [step for step in steps if step.verb not in ("alias", "inet")]
    return [*left, Step("elsewhere", Elsewhere(said, remedy))]


def _with_bits(inet: Step) -> str:
    """As ip(8) writes it, if the line says how long the prefix is."""
    address, netmask, _ = _inet_value(inet)
    if netmask is None:
        return f"{address}/BITS"
    return f"{address}/{int.from_bytes(socket.inet_aton(netmask), 'big').bit_count()}"


def _inet_value(step: Step) -> tuple[str, str | None, str | None]:
    assert isinstance(step.value, tuple)
    address, netmask, broadcast = step.value
    return address, netmask, broadcast


def _inet6(words: list[str]) -> Step:
    """The address and its words are taken together: each says what the others mean."""
    taken: list[str] = []
    while words and (words[0] in INET6_WORDS or _is_address(words[0], socket.AF_INET6)):
        taken.append(words.pop(0))
        if INET6_WORDS.get(taken[-1]) and words:
            taken.append(words.pop(0))
    said = " ".join(["inet6", *taken])
    addresses = [each for each in taken if _is_address(each, socket.AF_INET6)]
    verb = "del" if {"-alias", "delete"} & set(taken) else "add"
    remedy = f"ip -6 addr {verb} {addresses[0] if addresses else 'ADDRESS'} dev NAME"
    return Step("elsewhere", Elsewhere(said, f"use ip(8): {remedy}"))


def _elsewhere(word: str, words: list[str]) -> Step:
    found = ELSEWHERE[word]
    said, remedy = word, found.remedy
    if found.takes_value:
        value = _value(word, words)
        shown = "VALUE" if found.secret else value
        said, remedy = f"{word} {shown}", remedy.replace("VALUE", shown)
    return Step("elsewhere", Elsewhere(said, remedy))


# ---- values ------------------------------------------------------------------------


def _inet(word: str) -> Step:
    address, slash, prefix = word.partition("/")
    if not _is_address(address, socket.AF_INET) or "/" in address:
        raise UsageError(f"{word}: no word of ifconfig for a lagg, and no IPv4 address")
    if not slash:
        return Step("inet", (address, None, None))
    plain = prefix.isascii() and prefix.isdecimal() and len(prefix) <= 2
    if not plain or int(prefix) > 32:
        raise UsageError(f"{word}: {prefix!r} is no prefix length from 0 to 32")
    mask = (0xFFFFFFFF << (32 - int(prefix))) & 0xFFFFFFFF
    return Step("inet", (address, socket.inet_ntoa(mask.to_bytes(4, "big")), None))


def _is_address(word: str, family: socket.AddressFamily) -> bool:
    try:
        socket.inet_pton(family, word.partition("/")[0])
    except (OSError, ValueError):  # ValueError: of a NUL
        return False
    return True


def _netmask(word: str) -> list[Step]:
    if word.startswith("0x"):
        mask = _number(word)
        if not 0 <= mask <= 0xFFFFFFFF:
            raise UsageError(f"netmask: {word!r} has more than 32 bits")
        return [Step("netmask", socket.inet_ntoa(mask.to_bytes(4, "big")))]
    return [Step("netmask", _address("netmask", word))]


def _address(word: str, value: str) -> str:
    if not _is_address(value, socket.AF_INET) or "/" in value:
        raise UsageError(f"{word}: {value!r} is none")
    return value


def _number(word: str) -> int:
    try:
        return whole(word)
    except ValueError:
        raise UsageError(f"{word!r} is not a whole number") from None


def _option(key: str, read: Callable[[str], object]) -> Callable[[str], list[Step]]:
    return lambda word: [Step("option", (key, read(word)))]


def _reader(row: Option) -> Callable[[str], object]:
    return _number if isinstance(row.value, Whole) else _layers


def _layers(word: str) -> list[str]:
    return word.split(",")


def _proto(word: str) -> list[Step]:
    return [Step("proto", "failover" if word == "default" else word)]  # F-ID-1


def _type(word: str) -> list[Step]:
    if word != "ethernet":
        raise UsageError(f"laggtype: {word!r}: a lagg is made of Ethernet here")
    return []


def _metric(word: str) -> list[Step]:
    if _number(word) == 0:
        return []  # as it is anyway
    remedy = f"Linux has metrics of routes only: ip route ... metric {word}"
    return [Step("elsewhere", Elsewhere(f"metric {word}", remedy))]


_SWITCHES = {
    row.freebsd.word: row.key
    for row in sorted(OPTIONS, key=lambda row: row.freebsd.bit)
    if row.freebsd.word and row.value is Kind.SWITCH
}
"""lagg(4)'s options that a minus sign clears, by their words."""

_FLAGS = ("promisc", "arp", "debug")
"""Flags of any interface that a minus sign clears."""

_ALONE: dict[str, list[Step]] = {
    "create": [Step("create")],
    "plumb": [Step("create")],
    "destroy": [Step("destroy")],
    "unplumb": [Step("destroy")],
    "up": [Step("up", True)],
    "down": [Step("up", False)],
    "inet": [],
    "-use_numa": [],  # it is off: there are no NUMA domains to keep apart here
    "-description": [Step("description", "")],
    "-descr": [Step("description", "")],
    "alias": [Step("alias", "add")],
    "add": [Step("alias", "add")],
    "-alias": [Step("alias", "del")],
    "delete": [Step("alias", "del")],
    "remove": [Step("alias", "del")],
    **{word: [Step("option", (key, True))] for word, key in _SWITCHES.items()},
    **{f"-{word}": [Step("option", (key, False))] for word, key in _SWITCHES.items()},
    **{word: [Step(word, True)] for word in _FLAGS},
    **{f"-{word}": [Step(word, False)] for word in _FLAGS},
}

_WITH_VALUE: dict[str, Callable[[str], list[Step]]] = {
    "laggproto": _proto,
    "laggport": lambda word: [Step("attach", word)],
    "-laggport": lambda word: [Step("detach", word)],
    "laggtype": _type,
    **{
        row.freebsd.word: _option(row.key, _reader(row))
        for row in OPTIONS
        if row.freebsd.word and row.value is not Kind.SWITCH
    },
    "ether": lambda word: [Step("mac", word)],
    "link": lambda word: [Step("mac", word)],
    "lladdr": lambda word: [Step("mac", word)],
    "mtu": lambda word: [Step("mtu", _number(word))],
    "metric": _metric,
    "description": lambda word: [Step("description", word)],
    "descr": lambda word: [Step("description", word)],
    "netmask": _netmask,
    "broadcast": lambda word: [Step("broadcast", _address("broadcast", word))],
}

WORDS = (*_ALONE, *_WITH_VALUE)
"""Every word that is done here, for completions and the manual."""
