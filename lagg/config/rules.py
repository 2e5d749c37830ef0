# SPDX-License-Identifier: BSD-2-Clause
"""What each word and value that a user gives may be: the rules that keys share.

Owns the wording of what is allowed, once for files and for requests.  Pure; keys.py
says which key has which rule.
"""

from collections.abc import Iterable
from enum import Enum
from errno import EEXIST, EINVAL, ENOSPC, EPROTONOSUPPORT
from functools import partial
from typing import TypeVar

from lagg.errors import nearest
from lagg.model import BUCKETS, HashLayer, Pin, Proto

_Word = TypeVar("_Word", bound=Enum)

NAME_BYTES_MAX = 15
"""The kernel's IFNAMSIZ less its NUL."""

ALTNAME_BYTES_MAX = 127
"""ALTIFNAMSIZ less its NUL."""

ALTNAMES_MAX = 32
"""How many alternative names: every message about an interface carries them all."""

MTU_MIN = 68
MTU_MAX = 65521
"""The smallest and largest MTU in bytes that a TAP, and so a lagg, accepts."""

SHOWN_CHARS = 40
"""The most characters of a value in a complaint, which is one line."""


_DIGITS_MAX = 9
"""A bucket that is written as a word has fewer."""


class BadValueError(Exception):
    """A value that a rule refuses; the caller knows the key."""

    def __init__(self, cause: str, code: int = EINVAL, place: str = "") -> None:
        """`place`: where in the key's value, as "[0].vlan"."""
        super().__init__(cause)
        self.cause = cause
        self.code = code
        self.place = place


def interface_name(value: object, *, most: int) -> str:
    """A name of an interface as the kernel accepts it, without its traps."""
    if not isinstance(value, str):
        raise BadValueError(f"{shown(value)} is not an interface name")
    if value in ("", ".", "..", "all", "default"):
        # "all" and "default" would mean every interface under /proc/sys/net.
        raise BadValueError(f"{shown(value)} cannot name an interface")
    if len(value.encode(errors="replace")) > most:
        raise BadValueError(f"{shown(value)} has more than {most} bytes")
    # The kernel would number a name with "%d" by itself.
    if any(c in "/:%" or c.isspace() or not c.isprintable() for c in value):
        raise BadValueError(f"{shown(value)} holds a character no name may hold")
    return value


def parse_name(value: object) -> str:
    """The name that an interface is made with."""
    name = interface_name(value, most=NAME_BYTES_MAX)
    if b"\xa0" in name.encode():  # as in "à": to the kernel it is Latin-1's blank
        raise BadValueError(f"{shown(value)} holds a character the kernel refuses")
    return name


parse_any_name = partial(interface_name, most=ALTNAME_BYTES_MAX)
"""Any name of an interface: the one it is made with, or an alternative one."""


def altnames(value: object) -> tuple[str, ...]:
    """Alternative names of an interface, each once; may be none."""
    if not isinstance(value, list):
        raise BadValueError(f"{shown(value)} is not a list of interface names")
    names = tuple(map(parse_any_name, value))
    for name in names:
        if names.count(name) > 1:
            raise BadValueError(f"{shown(name)} is given more than once", EEXIST)
    if len(names) > ALTNAMES_MAX:
        cause = f"{len(names)} names; an interface has at most {ALTNAMES_MAX} of these"
        raise BadValueError(cause, ENOSPC)
    return names


def parse_proto(value: object) -> Proto:
    """A protocol by lagg(4)'s word.  EPROTONOSUPPORT as SIOCSLAGG answers."""
    words = [proto.value for proto in Proto]
    if value in words:
        return Proto(value)
    if not isinstance(value, str):
        raise BadValueError(f"{shown(value)} is not one of {listed(words)}")
    cause = f"no such protocol {shown(value)}{nearest(str(value), words)}"
    raise BadValueError(f"{cause}; one of {listed(words)}", EPROTONOSUPPORT)


def parse_mac(value: object) -> str:
    """A unicast MAC address, in lower case."""
    wanted = "a unicast MAC address such as 02:00:5e:00:53:01"
    octets = value.split(":") if isinstance(value, str) else []
    if len(octets) != 6 or not all(_is_octet(each) for each in octets):
        raise BadValueError(f"{shown(value)} is not {wanted}")
    if int(octets[0], 16) & 1 or not any(int(each, 16) for each in octets):
        raise BadValueError(f"{shown(value)} is multicast or zero, not {wanted}")
    return ":".join(octets).lower()


def _is_octet(text: str) -> bool:
    return len(text) == 2 and all(c in "0123456789abcdefABCDEF" for c in text)


def whole_number(value: object, *, least: int, most: int, zero: str = "") -> int:
    """An integer in a range, its ends included; `zero`: a word for 0."""
    if zero and value == zero:
        return 0
    # A bool is an int to Python, and to no user.
    if type(value) is not int or not least <= value <= most:
        cause = f"{shown(value)} is not a whole number from {least} to {most}"
        raise BadValueError(f"{cause}, or {zero}" if zero else cause)
    return value


def switch(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise BadValueError(f"{shown(value)} is neither true nor false")
    return value


def word_of(value: object, *, kind: type[_Word]) -> _Word:
    """One of the words of an enumeration."""
    words = [str(each.value) for each in kind]
    if value not in words:
        cause = f"{shown(value)} is not one of {listed(words)}"
        raise BadValueError(cause + nearest(str(value), words))
    return kind(value)


def mac_or_auto(value: object) -> str | None:
    """A MAC; None for "auto": the lagg's own, whatever it is."""
    return None if value == "auto" else parse_mac(value)


def name_or_none(value: object) -> str | None:
    """A name of an interface; None for "": no one in particular."""
    return None if value == "" else parse_name(value)


def layers(value: object) -> tuple[HashLayer, ...]:
    """Some of lagghash's layers, each once."""
    words = [layer.value for layer in HashLayer]
    if not isinstance(value, list) or not value:
        cause = f"{shown(value)} is not a list of one or more of {listed(words)}"
        raise BadValueError(cause)
    for each in value:
        if each not in words:
            raise BadValueError(f"no layer {shown(each)}; any of {listed(words)}")
        if value.count(each) > 1:
            raise BadValueError(f"{each} is given more than once")
    if value == [HashLayer.INNER.value]:
        raise BadValueError("inner says whose layers count: give l2, l3 or l4 as well")
    return tuple(layer for layer in HashLayer if layer.value in value)


def bucket_number(value: object) -> int:
    """An entry of the flow table."""
    return whole_number(value, least=0, most=BUCKETS - 1)


def pins(value: object) -> tuple[Pin, ...]:
    """Buckets with the port of each, every bucket once; may be none."""
    if not isinstance(value, list):
        raise BadValueError(f'{shown(value)} is not a list as ["17=eth1"]')
    found = [_pin(word, f"[{at}]") for at, word in enumerate(value)]
    buckets = [pin.bucket for pin in found]
    for at, bucket in enumerate(buckets):
        if bucket in buckets[:at]:
            cause = f"bucket {bucket} is given more than once"
            raise BadValueError(cause, EEXIST, f"[{at}]")
    return tuple(sorted(found, key=lambda pin: pin.bucket))


def _pin(word: object, place: str) -> Pin:
    number, _, port = word.partition("=") if isinstance(word, str) else ("", "", "")
    is_number = number.isascii() and number.isdecimal()
    if not (port and is_number and len(number) <= _DIGITS_MAX):
        cause = f"{shown(word)} is not a bucket and its port, as '17=eth1'"
        raise BadValueError(cause, place=place)
    try:
        return Pin(bucket_number(int(number)), parse_name(port))
    except BadValueError as bad:
        raise BadValueError(bad.cause, bad.code, place) from None


def shown(value: object) -> str:
    """The value as it was written, short enough for a line."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        text = repr(value)
    except ValueError:
        # Python refuses to print an integer of thousands of digits.
        return "a huge number"
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 3] + "..."


def listed(words: Iterable[str]) -> str:
    """The words as a complaint names them."""
    return ", ".join(words)
