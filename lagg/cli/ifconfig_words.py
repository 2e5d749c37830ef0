# SPDX-License-Identifier: BSD-2-Clause
"""The grammar of FreeBSD's ifconfig(8), as far as lagg(4) and its examples use it.

Owns each word and what it asks for, as a list of steps in the order written.  Pure: a
line with a word that is none is refused whole, before any step.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lagg.cli.output import UsageError


class Step(NamedTuple):
    """One thing to do: `verb` of ifconfig.py's table, and what with."""

    verb: str
    value: object = None


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
    return _with_netmask(found)


def take_word(words: list[str]) -> list[Step]:
    """What the next word asks for; it and its value are taken.  UsageError."""
    word = words.pop(0)
    if word in _ALONE:
        return _ALONE[word]
    if word in _WITH_VALUE:
        if not words:
            raise UsageError(f"{word}: a value must follow")
        return _WITH_VALUE[word](words.pop(0))
    if word in _MEANINGLESS:
        raise UsageError(f"{word}: {_MEANINGLESS[word]}")
    return [_inet(word)]


def _with_netmask(steps: list[Step]) -> list[Step]:
    """`192.0.2.1 netmask 255.255.255.0` is one step."""
    found: list[Step] = []
    for step in steps:
        if step.verb != "netmask":
            found.append(step)
        elif found and found[-1].verb == "inet":
            address, _ = _pair(found[-1].value)
            found[-1] = Step("inet", (address, step.value))
        else:
            raise UsageError("netmask: must follow an address")
    return found


def _pair(value: object) -> tuple[object, object]:
    assert isinstance(value, tuple)
    return value[0], value[1]


def _inet(word: str) -> Step:
    address, slash, prefix = word.partition("/")
    if not _is_ipv4(address):
        raise UsageError(f"{word}: no word of ifconfig for a lagg, and no IPv4 address")
    if not slash:
        return Step("inet", (address, None))
    if not prefix.isdecimal() or int(prefix) > 32:
        raise UsageError(f"{word}: {prefix!r} is no prefix length from 0 to 32")
    mask = (0xFFFFFFFF << (32 - int(prefix))) & 0xFFFFFFFF
    return Step("inet", (address, socket.inet_ntoa(mask.to_bytes(4, "big"))))


def _is_ipv4(word: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, word)
    except OSError:
        return False
    return True


def _netmask(word: str) -> list[Step]:
    if word.startswith("0x"):
        return [Step("netmask", socket.inet_ntoa(_number(word).to_bytes(4, "big")))]
    if not _is_ipv4(word):
        raise UsageError(f"netmask: {word!r} is none")
    return [Step("netmask", word)]


def _number(word: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        raise UsageError(f"{word!r} is not a whole number") from None


def _option(key: str, read: Callable[[str], object]) -> Callable[[str], list[Step]]:
    return lambda word: [Step("option", (key, read(word)))]


def _layers(word: str) -> list[str]:
    return word.split(",")


def _proto(word: str) -> list[Step]:
    return [Step("proto", "failover" if word == "default" else word)]  # F-ID-1


def _type(word: str) -> list[Step]:
    if word != "ethernet":
        raise UsageError(f"laggtype: {word!r}: a lagg is made of Ethernet here")
    return []


_SWITCHES = (
    "use_flowid",
    "lacp_strict",
    "lacp_txtest",
    "lacp_rxtest",
    "lacp_fast_timeout",
)
"""lagg(4)'s options that a minus sign clears."""

_ALONE: dict[str, list[Step]] = {
    "create": [Step("create")],
    "plumb": [Step("create")],
    "destroy": [Step("destroy")],
    "unplumb": [Step("destroy")],
    "up": [Step("up", True)],
    "down": [Step("up", False)],
    "inet": [],
    "-use_numa": [],  # it is off: there are no NUMA domains to keep apart here
    **{word: [Step("option", (word, True))] for word in _SWITCHES},
    **{f"-{word}": [Step("option", (word, False))] for word in _SWITCHES},
}

_WITH_VALUE: dict[str, Callable[[str], list[Step]]] = {
    "laggproto": _proto,
    "laggport": lambda word: [Step("attach", word)],
    "-laggport": lambda word: [Step("detach", word)],
    "laggtype": _type,
    "lagghash": _option("lagghash", _layers),
    "flowid_shift": _option("flowid_shift", _number),
    "rr_limit": _option("rr_limit", _number),
    "ether": lambda word: [Step("mac", word)],
    "link": lambda word: [Step("mac", word)],
    "lladdr": lambda word: [Step("mac", word)],
    "mtu": lambda word: [Step("mtu", _number(word))],
    "netmask": _netmask,
}

_MEANINGLESS = {
    "use_numa": "laggd knows no NUMA domains",
    "inet6": "use ip(8): ip -6 addr add ADDRESS dev NAME",
    "alias": "use ip(8): ip addr add ADDRESS dev NAME",
    "-alias": "use ip(8): ip addr del ADDRESS dev NAME",
    "delete": "use ip(8): ip addr flush dev NAME",
    "name": "use ip(8), laggd follows: ip link set NAME name NEW",
}

WORDS = (*_ALONE, *_WITH_VALUE)
"""Every word, for completions and the manual."""
