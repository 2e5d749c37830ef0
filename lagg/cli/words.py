# SPDX-License-Identifier: BSD-2-Clause
"""Words of a command line as values: numbers, times, lists.

Owns how each is written and how large a number may be at all; what an option allows is
for laggd to say.  The converters raise what argparse turns into a complaint.
"""

from __future__ import annotations

import argparse

U64_MAX = 2**64 - 1
"""No option is larger, and Python refuses to make thousands of digits text again."""

_CHARS_MAX = 66
"""A 64-bit number in binary, with its 0b."""


def whole(word: str) -> int:
    """A whole number in any of Python's notations.  ValueError when it is none."""
    found = int(word, 0) if len(word) <= _CHARS_MAX else U64_MAX + 1
    if abs(found) > U64_MAX:
        raise ValueError("more than 64 bits")
    return found


def number(word: str) -> int:
    """A whole number as argparse wants it."""
    try:
        return whole(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number") from None


def count(word: str) -> int:
    """A whole number of at least 1."""
    found = number(word)
    if found < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not at least 1")
    return found


SECONDS_RANGE = "0.1 to 3600"


def seconds(word: str) -> float:
    """A time from a tenth of a second to an hour."""
    try:
        found = float(word)
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 3600:
        told = f"{word!r} is not from {SECONDS_RANGE} seconds"
        raise argparse.ArgumentTypeError(told)
    return found


_TIME_CHARS_MAX = 9
"""Digits: a span of years in any unit, and no number that JSON cannot carry."""

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def confirm_ms(word: str) -> int:
    """A time as 30s, 2m, 1h or plain seconds, in milliseconds: 1s to 24h."""
    from lagg.model import CONFIRM_MS_MAX, CONFIRM_MS_MIN  # here: who confirms, waits

    digits = word.rstrip("smh")
    unit = _SECONDS.get(word.removeprefix(digits))
    if not digits.isdecimal() or len(digits) > _TIME_CHARS_MAX or unit is None:
        told = f"{word!r} is no time as 30s, 2m, 1h or plain seconds"
        raise argparse.ArgumentTypeError(told)
    found = int(digits) * unit * 1000
    if not CONFIRM_MS_MIN <= found <= CONFIRM_MS_MAX:
        raise argparse.ArgumentTypeError(f"{word!r} is not from 1s to 24h")
    return found


def listed(word: str) -> list[str]:
    """A list with commas."""
    return word.split(",") if word else []
